//! The interface of a volume: all that an engine may know of storage.
//!
//! Two things implement it: `IndexedVolume`, the real one, and [`crate::MemoryVolume`], a few hundred lines
//! that property tests compare engines and the real one with.
//!
//! What holds for both:
//! * Commits are atomic and totally ordered. A commit is visible to every read that starts after it returned,
//!   and, until it is durable, may be lost by a crash. A crash loses a suffix of the commits, never one from
//!   the middle: if a position is durable, everything before it is.
//! * An answer to anybody outside that depends on what was read must wait until what was read is durable.
//! * Payload is appended before the commit that points at it, and is durable no later than that commit.
//! * After a failed write to the log nothing is acknowledged any more: every call answers `Closed` or `Fenced`.
//! * Dropping the future of a commit does not undo it: it may or may not happen.

use crate::{Batch, KeyRange, Payload, Pointer, Position, Result, Value};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;

/// One row of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Bytes,
    pub value: Value,
}

/// Reads of one cut over rows and payload: of the present, of a snapshot or of a transaction.
#[async_trait]
pub trait Read: Send + Sync {
    /// Cost: 10 to 30 µs from the index's cache; engines cache what is hot.
    async fn get(&self, key: &[u8]) -> Result<Option<Value>>;

    /// The rows of a range in key order. Cost: 100 µs or more before the first row, then 2 to 8 µs each.
    async fn scan(&self, range: KeyRange) -> Result<Box<dyn Scan>>;

    /// The payload, checked against its CRC. `PayloadMoved` if it settled elsewhere since its row was read:
    /// read the row again. From memory while it is not yet durable.
    async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes>;
}

/// A scan under way.
#[async_trait]
pub trait Scan: Send {
    /// Up to `rows_max` further rows; none at the end.
    async fn next(&mut self, rows_max: usize) -> Result<Vec<Row>>;
}

/// How much a transaction is protected from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Reads are of one cut; two transactions that write the same row conflict.
    Snapshot,
    /// As if transactions ran one after the other: reads conflict with writes as well.
    #[default]
    Serializable,
}

/// Reads of one cut plus own writes. Dropped without a commit, it leaves no trace.
#[async_trait]
pub trait Transaction: Read {
    fn put(&self, key: Bytes, value: Value) -> Result<()>;
    fn delete(&self, key: Bytes) -> Result<()>;
    /// Commits the transaction's writes and, in the same batch, `extra`. `Conflict` if another commit got in
    /// the way; nothing is written then. Visible on return, durable when the position is.
    ///
    /// Settling rewrites rows that point at payload, and so gets in the way of a transaction that reads or writes
    /// such a row: try again. Rows of spaces without payload, tables' among them, it never touches.
    async fn commit(self: Box<Self>, extra: Batch) -> Result<Position>;
}

/// A named snapshot of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotEntry {
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created: i64,
    pub position: Position,
}

/// Sizes of a volume, for people and for metrics. Bytes unless named otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeStats {
    pub position: Position,
    pub durable: Position,
    pub log_bytes: u64,
    pub log_files: u64,
    /// Bytes of rows that a restart would replay.
    pub tail_bytes: u64,
    pub segment_bytes: u64,
    pub segments: u64,
    pub index_bytes: u64,
}

/// The right to append the payload of one batch.
#[derive(Debug)]
pub struct Room(pub(crate) ());

/// One volume, open for reading and writing by this server alone.
#[async_trait]
pub trait Volume: Read {
    /// Refuses while the disk below has little space left. Engines ask before they take new data, and not before what
    /// may free space or was taken already. Cost: some 50 ns, or now and then one call.
    fn check_space(&self) -> Result<()> {
        Ok(())
    }

    /// Lets in a writer of payload: waits while the log is over its budget. Ask once for all payload of a batch, and
    /// before any lock that others hold while they commit: payload that is not committed yet keeps the log from being
    /// emptied, so who brings it must wait for nobody who waits here.
    async fn room(&self) -> Result<Room>;

    /// Appends payload to the log and fixes its place at once; the parts are written one behind the other.
    /// Not durable yet: it is when the batch that points at it is. Waits while too much in memory is not durable.
    async fn append_payload(&self, room: &Room, parts: &[Bytes]) -> Result<Payload>;

    /// Writes payloads into a segment, past the log: for large sequential data. Durable on return; garbage
    /// until a committed row points at them. Cost: one or more PUTs in parallel.
    async fn write_segment(&self, payloads: Vec<Bytes>) -> Result<Vec<Payload>>;

    /// Writes the batch. Visible to reads on return; durable when [`Volume::durable`] says so of the position.
    /// Waits while the log is far over its budget, unless the batch holds payload that was let in before.
    /// `PayloadMoved` if a pointer's place is gone; nothing is written then: read the rows again and retry.
    async fn commit(&self, batch: Batch) -> Result<Position>;

    /// Returns when everything up to `position` is on stable storage. This call, not the commit, is what makes
    /// an idle log flush at once.
    async fn durable(&self, position: Position) -> Result<()>;

    /// Refuses once this server must not serve the volume any more: its lease is lost, it is closed, or its log has
    /// failed. No I/O: whoever answers from memory asks it first. Cost: some 50 ns.
    fn check(&self) -> Result<()>;

    /// The same, but waits for a lease that is only late.
    async fn ready(&self) -> Result<()> {
        self.check()
    }

    /// The end of the log as of now: everything committed so far lies before it.
    fn position(&self) -> Position;

    async fn begin(&self, isolation: Isolation) -> Result<Box<dyn Transaction>>;

    /// A cut of the present. Keep it for seconds, not hours: its rows stay readable while it is held, and what they
    /// point at for [`CUT_PAYLOAD_KEPT`](crate::limits::CUT_PAYLOAD_KEPT) at least. After that it may have settled or
    /// gone, and reading it answers `PayloadMoved`: writers, who wait for room in the log, wait for no reader.
    async fn cut(&self) -> Result<Arc<dyn Read>>;

    /// Makes a named snapshot of everything committed so far: constant time, durable on return.
    async fn create_snapshot(&self, name: &str) -> Result<SnapshotEntry>;
    async fn snapshots(&self) -> Result<Vec<SnapshotEntry>>;
    async fn open_snapshot(&self, name: &str) -> Result<Arc<dyn Read>>;
    async fn delete_snapshot(&self, name: &str) -> Result<()>;

    fn stats(&self) -> VolumeStats;

    /// Makes everything durable and lets go of the volume, so that another server may open it at once.
    async fn close(&self) -> Result<()>;
}

/// Returns when this server may serve the volume: at once, and without an allocation, where it may already.
pub async fn ready(volume: &dyn Volume) -> Result<()> {
    match volume.check() {
        Ok(()) => Ok(()),
        Err(_) => volume.ready().await,
    }
}
