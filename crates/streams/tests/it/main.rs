//! Streams on the volume in memory, through crashes and restarts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod append;
mod fetched;
mod groups;
mod model;
mod names;
mod retention;
mod world;
