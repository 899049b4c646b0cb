//! The store's integration tests: one binary.

mod damage;
mod fsck;
mod gate;
mod held;
mod late;
mod model;
mod settled;
mod volumes;
