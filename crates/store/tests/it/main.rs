//! The store's integration tests: one binary.

mod fsck;
mod model;
mod volumes;
