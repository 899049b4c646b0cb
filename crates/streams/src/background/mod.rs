//! Periodic work. The server calls each `tick` at its interval; a tick does a bounded amount.

pub mod retention;
