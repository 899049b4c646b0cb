//! The server from outside, over a volume in memory.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod clients;
mod hostile;
mod listeners;
mod metrics;
mod names;
mod serving;
mod stopping;
mod timeouts;
mod usage;
