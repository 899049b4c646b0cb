//! Kafka's wire protocol to streams.
//!
//! Requests are bounded before they are read, decoded without copying record batches, and started in their order;
//! what takes time (the disk, a long poll, a group that comes together) then goes on beside the next requests,
//! and answers leave in the order of the requests. Nothing is kept here: all state is in `ballast-streams`.
//!
//! Reading order: [`server`] (listener), [`connection`] (one client), [`frame`] (bytes in and out), [`apis`] (what
//! is advertised, and the shape of each request), [`api`] (one module for each family of requests), [`codes`] (errors),
//! [`limits`].

mod api;
mod apis;
mod codes;
mod connection;
mod frame;
pub mod limits;
mod metrics;
mod reply;
mod server;
mod shape;

pub use server::{Identify, Kafka, Settings};
