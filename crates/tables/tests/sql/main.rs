//! Tables through SQL, on a volume in memory.
//!
//! One binary for all of it: what links DataFusion is large.

mod copying;
mod definition;
mod depth;
mod describing;
mod harness;
mod model;
mod postgresql;
mod reading;
mod settings;
mod transactions;
mod writing;
