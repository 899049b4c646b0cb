//! The log of a volume: an ordered, append-only chain of records, and the only durable write path.
//!
//! A record is payload, or opaque rows with a sequence number. The log knows nothing of the index. Records
//! gather in the open *group*; a group is written with one write and one sync (`disk`) or one conditional
//! PUT (`object`), and acknowledged strictly in order. Positions count bytes of the endless log.
//!
//! How it works: appending takes one short lock and does no I/O; it fixes the place of the record at once. The
//! *committer*, a thread of its own on disk, writes the open group as soon as somebody waits for it in
//! [`Log::durable`], and lets the next group gather meanwhile: no timer, and no flush per request. What nobody
//! waits for is written after a tenth of a second, or when 4 MiB have gathered.
//!
//! Invariants:
//! * A waiter is woken only after its group and all before it are on stable storage, and the fence was checked
//!   after that. Woken are waiters in the order of their positions, after the [`LogListener`] ran.
//! * After a failed write or sync nothing is acknowledged any more: what the disk holds is unknown.
//! * A crash loses a suffix of the groups, never a part of one and never one from the middle. Only the tail
//!   that was never acknowledged is cut; damage elsewhere refuses the open and names the file and the offset.
//! * Opening fences every writer with a lower epoch before it looks for the end.
//!
//! Cost of a durable record: one write, one sync and one `fstat` per group, shared by all that gathered; two
//! thread hops; payload is not copied before the kernel takes it.
//!
//! Reading order: `format` (the bytes), `group`, `files`, `state` (what the lock guards), `shared` (the
//! committer's round and the waiters), `on_disk` and `recovery`, `on_objects` and `object_recovery` (the two
//! back ends).

mod committer;
mod files;
mod format;
mod group;
mod object_recovery;
mod on_disk;
mod on_objects;
mod open;
mod read;
mod recovery;
mod replay;
mod settings;
mod settled;
mod shared;
mod state;
#[cfg(test)]
pub(crate) mod tests;

pub use open::{Kind, Medium, Opened, open};
pub use recovery::{Cut, TailReport};
pub use replay::Replay;
pub use settings::{Drive, Settings};
pub(crate) use settled::SettledFiles;
pub use state::Entrant;

use crate::metrics::LogMetrics;
use crate::pointer::Hold;
use crate::{Error, Payload, Pointer, Position, Result, limits};
use bytes::Bytes;
use format::{FileId, GroupKind};
use shared::Shared;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Nothing has been appended for a while.
    fn idle(&self);
    /// The log has stopped for good: closed, fenced or failed.
    fn closed(&self, reason: Error);
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoListener;

impl LogListener for NoListener {
    fn durable(&self, _group: DurableGroup) {}
    fn idle(&self) {}
    fn closed(&self, _reason: Error) {}
}

/// A file (or a run of objects) of the log, oldest first: what settling empties and frees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub place: crate::pointer::Place,
    pub start: Position,
    /// Durable bytes end here; for the newest file it still moves.
    pub end: Position,
    /// Nothing can come to point into it any more.
    pub condemned: bool,
}

impl LogFile {
    /// Durable bytes of groups.
    pub fn byte_len(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }
}

/// Stands for the log; clones share it. When the last clone is dropped without [`Log::close`], the log stops
/// as if the process had been killed: what is not durable yet may be lost.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    _stop: Arc<StopWhenDropped>,
}

struct StopWhenDropped(Arc<Shared>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.stop(Error::Closed("its last user let go of it".to_owned()));
    }
}

impl Log {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { _stop: Arc::new(StopWhenDropped(Arc::clone(&shared))), shared }
    }

    /// Replaces the listener. Groups that are durable already are not told again.
    pub fn set_listener(&self, listener: Arc<dyn LogListener>) {
        self.shared.set_listener(listener);
    }

    /// Puts payload into the open group and fixes its place. The payload's hold keeps its file from being freed.
    /// It is not copied before it is written: the parts stay in memory until then.
    pub fn append_payload(&self, parts: &[Bytes]) -> Result<Payload> {
        let length: usize = parts.iter().map(Bytes::len).sum();
        if length > limits::PAYLOAD_BYTES_MAX {
            return Err(Error::Invalid(format!("a payload of {length} bytes is too large")));
        }
        let crc = parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        let mut state = self.shared.state.lock();
        state.check()?;
        if state.is_overfull() {
            let pending = state.pending_bytes();
            return Err(Error::Exhausted(format!("{pending} bytes wait for the log: write more slowly")));
        }
        state.make_place(length as u64, 0);
        let offset = state.open.push_payload(parts, length as u32, crc);
        let id = state.open.id;
        let hold = state.files.get(id).and_then(files::FileEntry::hold);
        self.shared.appended(state);
        Ok(Payload { pointer: Pointer { place: id.place(), offset, length: length as u32, crc }, hold })
    }

    /// Puts a record of rows behind everything appended so far; the record's end. Does not flush.
    pub fn append_rows(&self, seq: u64, rows: &[u8]) -> Result<Position> {
        if rows.len() > u32::MAX as usize / 2 {
            return Err(Error::Invalid(format!("a record of {} bytes is too large", rows.len())));
        }
        let mut state = self.shared.state.lock();
        state.check()?;
        state.make_place(0, rows.len() as u64);
        state.open.push_rows(seq, rows);
        let end = state.open.end();
        self.shared.appended(state);
        Ok(end)
    }

    /// Returns when there is room in the budgets: bytes not yet durable in memory, and bytes of the log on disk.
    pub async fn room(&self, entrant: Entrant) -> Result<()> {
        self.shared.room(entrant).await
    }

    /// Returns when everything before `position` is durable; starts a flush if none runs.
    pub async fn durable(&self, position: Position) -> Result<()> {
        self.shared.durable(position).await
    }

    /// Ends the open group if it holds rows, so that later rows get a later group, and starts a flush; the end of
    /// the last group that holds rows.
    pub fn seal(&self) -> Result<Position> {
        let mut state = self.shared.state.lock();
        state.check()?;
        if state.open.has_rows() {
            state.seal(GroupKind::Data);
        }
        let (end, _) = state.open.rows_before();
        self.shared.wake(state);
        Ok(end)
    }

    /// The end of everything appended so far.
    pub fn position(&self) -> Position {
        self.shared.state.lock().open.end()
    }

    pub fn durable_position(&self) -> Position {
        self.shared.state.lock().durable.end
    }

    /// Bytes in memory that are not durable yet.
    pub fn pending_bytes(&self) -> usize {
        self.shared.state.lock().pending_bytes() as usize
    }

    /// Bytes of the log's files or objects, as the budget counts them.
    pub fn bytes(&self) -> u64 {
        self.shared.state.lock().files.bytes()
    }

    /// Checked against its CRC; from memory while it is not durable. `PayloadMoved` if the file was freed.
    pub async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        self.shared.read_payload(pointer).await
    }

    /// What is there of payload that is damaged: it may be other bytes, or fewer.
    pub async fn read_unchecked(&self, pointer: &Pointer) -> Result<Bytes> {
        self.shared.read_unchecked(pointer).await
    }

    /// Keeps the file that holds the pointer from being condemned; `None` if it is gone or condemned already.
    pub fn hold(&self, pointer: &Pointer) -> Hold {
        let state = self.shared.state.lock();
        let entry = FileId::of(pointer.place).and_then(|id| state.files.get(id))?;
        if entry.condemned { None } else { entry.hold() }
    }

    /// The places that a [`LogFile`] stands for: one file, or a run of objects.
    pub fn places(&self, file: LogFile) -> Vec<crate::pointer::Place> {
        self.shared.state.lock().files.inside(file).into_iter().map(FileId::place).collect()
    }

    /// The files with durable groups, oldest first.
    pub fn files(&self) -> Vec<LogFile> {
        let state = self.shared.state.lock();
        state.files.list(state.durable.end)
    }

    /// The records of rows in whole files, read without their payload: what settling looks through.
    pub async fn read_records(&self, file: LogFile) -> Result<Vec<Record>> {
        self.shared.read_records(file, false).await
    }

    /// The same, after every byte of the files, also of payload, was compared with its checksum.
    pub async fn check_records(&self, file: LogFile) -> Result<Vec<Record>> {
        self.shared.read_records(file, true).await
    }

    pub(crate) fn metrics(&self) -> &LogMetrics {
        &self.shared.settings.metrics
    }

    /// Makes a blocking call as the log makes its own.
    pub(crate) async fn blocking<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        shared::blocking(self.shared.is_inline(), call).await
    }

    /// Condemns, from the oldest on, the files that end at or before `position`, up to one with payload of a
    /// write under way: from now on nothing can hold them. Those condemned, also by earlier calls. The newest
    /// file always stays.
    pub fn condemn(&self, position: Position) -> Vec<LogFile> {
        self.shared.condemn(position)
    }

    /// Takes back that files were condemned: what points into them could not be moved.
    pub fn pardon(&self, files: &[LogFile]) {
        self.shared.state.lock().files.pardon(files);
    }

    /// Removes condemned files from the store and from the budget. Readers that already hold one may finish. One that
    /// cannot be removed leaves the budget all the same, and a call some time later tries it again.
    pub async fn remove(&self, files: &[LogFile]) {
        self.shared.remove(files).await;
    }

    /// True if there are files to be removed, of which a call of [`Log::remove`] was interrupted or failed some time
    /// ago.
    pub fn is_removing(&self) -> bool {
        self.shared.is_removing()
    }

    /// Makes everything durable, stops the committer and lets go of everything. A second call does nothing.
    pub async fn close(&self) -> Result<()> {
        self.shared.close().await
    }

    /// Lets the committer write the next group, if there is one to write: for [`Drive::Manual`]. `due` also writes
    /// what nobody waits for. False if there was nothing to do.
    pub fn round(&self, due: bool) -> bool {
        matches!(self.shared.round(due), shared::Round::Wrote)
    }
}
