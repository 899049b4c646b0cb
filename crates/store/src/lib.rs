//! A volume: one durable log, with an index and segments over a bucket.
//!
//! Engines see three things here. A [`Batch`] of rows is committed at once and becomes durable in the order
//! of the log; *payload* (file bytes, record batches) is appended to the same log before the rows that point
//! at it and never enters the index; [`Volume::durable`] waits until a position of the log is on stable
//! storage. Reads, scans and snapshots see one cut over rows and payload.
//!
//! Reading order: [`volume`] (the interface), [`batch`] and [`pointer`] (what goes through it), [`memory`]
//! (the small model that tests compare with), [`frozen`] (a snapshot as a volume), [`keys`] (who owns which keys), [`limits`].

pub mod batch;
pub mod bucket;
mod codec;
pub mod disk;
pub mod error;
pub mod frozen;
pub mod index;
pub mod keys;
pub mod lease;
pub mod limits;
pub mod log;
pub mod memory;
mod metrics;
pub mod pointer;
pub mod probe;
mod reserve;
mod segment;
#[cfg(test)]
mod simulation;
pub mod superblock;
pub mod volume;

pub use batch::{Batch, Mutation};
pub use bucket::Bucket;
pub use error::{Error, Result};
pub use frozen::FrozenVolume;
pub use index::{Components, Gate, IndexedVolume, Local, Store, Unshared, VolumeId};
pub use keys::{KeyRange, Space};
pub use lease::{Claim, Holder, Lease, LeaseGuard, LeaseState};
pub use memory::MemoryVolume;
pub use pointer::{Payload, Pointer, Position, Value};
pub use reserve::Reserve;
pub use superblock::Superblock;
pub use volume::{Isolation, Read, Room, Row, Scan, SnapshotEntry, Transaction, Volume, VolumeStats, ready};
