//! The store's integration tests: one binary.

mod late;
mod model;
mod volumes;
