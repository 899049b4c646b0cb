//! The store's integration tests: one binary.

mod model;
mod volumes;
