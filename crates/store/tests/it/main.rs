//! The store's integration tests: one binary.

mod closed;
mod damage;
mod fsck;
mod gate;
mod held;
mod kinds;
mod late;
mod lost;
mod model;
mod settled;
mod volumes;
