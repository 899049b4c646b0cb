//! The store's integration tests: one binary.

mod fsck;
mod gate;
mod model;
mod volumes;
