//! The server over real sockets, with a client made of the codec's other half.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod groups;
mod hostile;
mod topics;
mod versions;
