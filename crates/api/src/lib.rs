//! The HTTP API: what is asked, what is answered, and the client that the command line uses.
//!
//! Reading order: [`messages`] (the nouns on the wire), [`routes`] (where they are sent), [`time`] and
//! [`error`] (how instants and failures look in JSON), [`client`].
//!
//! JSON over HTTP/1.1. A read is a GET, a change is a POST with `Content-Type: application/json`, which a
//! web page cannot send without asking first. A change is durable when its answer arrives.

pub mod client;
pub mod error;
pub mod messages;
pub mod routes;
pub mod time;

pub use client::Client;
pub use error::{Error, ErrorBody, Result};
pub use messages::{
    Activity, Create, Entry, Listeners, Listing, Remove, Removed, Snapshot, SnapshotName, Snapshots, Status, Usage,
    Used, Volume,
};
