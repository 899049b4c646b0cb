//! The log of a volume: an ordered, append-only chain of records, and the only durable write path.
//!
//! A record is payload, or opaque rows with a sequence number. The log knows nothing of the index. Records
//! gather in the open *group*; a group is written with one write and one sync (`disk`) or one conditional
//! PUT (`object`), and acknowledged strictly in order. Positions count bytes of the endless log.

use crate::{Payload, Pointer, Position, Result};
use bytes::Bytes;
use std::sync::Arc;

/// A record of rows, as replay gives it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub seq: u64,
    pub rows: Bytes,
    /// The end of the group that holds it: replay may start behind it next time.
    pub group_end: Position,
}

/// A group that has just become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableGroup {
    pub end: Position,
    /// End of the last durable group that held rows, and the last sequence number in it.
    pub rows_end: Position,
    pub rows_seq: u64,
}

/// Called from the committer, in order, without any lock of the log held.
pub trait LogListener: Send + Sync + 'static {
    /// Runs after the durable position has moved and before the waiters wake.
    fn durable(&self, group: DurableGroup);
    /// The log has stopped for good: closed, fenced or failed.
    fn closed(&self, reason: crate::Error);
}

/// Stands for the log; clones share it.
#[derive(Clone)]
pub struct Log {
    _inner: Arc<()>,
}

/// A file (or a run of objects) of the log, oldest first: what settling empties and frees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub place: crate::pointer::Place,
    pub start: Position,
    /// Durable bytes end here; for the newest file it still moves.
    pub end: Position,
}

#[expect(clippy::unimplemented, reason = "the signatures come first")]
impl Log {
    /// Puts payload into the open group and fixes its place. The payload's hold keeps its file from being freed.
    pub fn append_payload(&self, _parts: &[Bytes]) -> Result<Payload> {
        unimplemented!()
    }

    /// Puts a record of rows behind everything appended so far; the record's end. Does not flush.
    pub fn append_rows(&self, _seq: u64, _rows: &[u8]) -> Result<Position> {
        unimplemented!()
    }

    /// Returns when there is room in the budgets: bytes not yet durable in memory, and bytes of the log on disk.
    pub async fn room(&self) -> Result<()> {
        unimplemented!()
    }

    /// Returns when everything before `position` is durable; starts a flush if none runs.
    pub async fn durable(&self, _position: Position) -> Result<()> {
        unimplemented!()
    }

    /// Ends the open group if it holds anything, so that later rows get a later group; the end of the last group.
    pub fn seal(&self) -> Result<Position> {
        unimplemented!()
    }

    pub fn position(&self) -> Position {
        unimplemented!()
    }

    pub fn durable_position(&self) -> Position {
        unimplemented!()
    }

    /// Bytes in memory that are not durable yet.
    pub fn pending_bytes(&self) -> usize {
        unimplemented!()
    }

    /// Checked against its CRC; from memory while it is not durable. `PayloadMoved` if the file was freed.
    pub async fn read_payload(&self, _pointer: &Pointer) -> Result<Bytes> {
        unimplemented!()
    }

    /// True if the file that holds the pointer is still there and not condemned.
    pub fn holds(&self, _pointer: &Pointer) -> bool {
        unimplemented!()
    }

    pub fn files(&self) -> Vec<LogFile> {
        unimplemented!()
    }

    /// The records of rows in whole files, read without their payload: what settling looks through.
    pub async fn read_records(&self, _file: LogFile) -> Result<Vec<Record>> {
        unimplemented!()
    }

    /// Condemns the files that end at or before `position`, unless payload of a write under way lies in one:
    /// from now on `holds` is false for them. Those condemned.
    pub fn condemn(&self, _position: Position) -> Vec<LogFile> {
        unimplemented!()
    }

    /// Removes condemned files from the store and from the budget. Readers that already hold one may finish.
    pub async fn remove(&self, _files: &[LogFile]) -> Result<()> {
        unimplemented!()
    }

    /// Flushes, stops the committer and lets go of everything.
    pub async fn close(&self) -> Result<()> {
        unimplemented!()
    }
}

#[derive(Clone, Default)]
pub struct Settings {}
#[derive(Clone)]
pub enum Medium {
    Disk { disk: Arc<dyn crate::disk::Disk>, directory: std::path::PathBuf },
    Object { store: Arc<dyn object_store::ObjectStore>, prefix: object_store::path::Path },
}
pub struct Opened {
    pub log: Log,
    pub replay: Replay,
}
pub struct Replay;
impl Replay {
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>> {
        unimplemented!()
    }
}
pub async fn open(_: Medium, _: u64, _: Position, _: Arc<dyn LogListener>, _: Settings) -> Result<Opened> {
    unimplemented!()
}
impl Log {
    pub fn hold(&self, _: &Pointer) -> Option<Arc<dyn std::any::Any + Send + Sync>> {
        unimplemented!()
    }
}
