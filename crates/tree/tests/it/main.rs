//! Tests of the tree on a volume in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod caches;
mod concurrency;
mod model;
mod operations;
mod promises;
mod rights;
mod shaken;
mod support;
