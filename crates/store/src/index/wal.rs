//! Our log as the write-ahead log of the index.
//!
//! SlateDB hands every commit to [`LogWriter::append`] from its one writer task; the rows go into the same
//! buffer as the payload that went before them, and that order is the whole guarantee. SlateDB never decides
//! when to flush: the log's committer does, and tells SlateDB through the observer. What SlateDB calls the id
//! of a WAL file is here the [`Position`] at the end of a group that holds rows.
//!
//! Telling wakes a task of SlateDB, which costs more than the rest of a small commit. Who commits does not wait for
//! it, and what does, a table of the index on its way into the manifest, has taken milliseconds to write. So it is
//! told every few milliseconds, when it flushes, and when nothing more comes; asked, it hears of every group.

use super::candidates::{Candidates, log_places};
use super::{rows, value};
use crate::log::{self, DurableGroup, Log, LogListener, Medium, Replay};
use crate::{Error, Position, limits};
use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use slatedb::ValueDeletable;
use slatedb::wal::{
    WalError, WalEvent, WalFlushResult, WalIterator, WalObserver, WalRows, WalStatus, WalStatusListener, WalWriter,
    WriterInit, WriterInitResult, WriterManifest,
};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use tokio::time::Instant;

/// What the volume and SlateDB's side of the log share.
pub(crate) struct Shared {
    log: OnceLock<Log>,
    status: Mutex<WalStatus>,
    told: Mutex<Told>,
    observers: RwLock<Vec<WalStatusListener>>,
    /// Sequence numbers that are not durable yet, with the end of their record.
    ends: Mutex<VecDeque<(u64, Position)>>,
    /// Why the log stopped, in our words.
    closed: OnceLock<Error>,
    pub candidates: Candidates,
    /// Bytes of rows, and durable groups.
    row_bytes: Tail,
    groups: Tail,
}

/// What came since the last freeze of the memtable, and how much of it may come before the next.
struct Tail {
    ever: AtomicU64,
    frozen: AtomicU64,
    max: u64,
}

impl Tail {
    fn new(max: u64) -> Self {
        Self { ever: AtomicU64::new(0), frozen: AtomicU64::new(0), max }
    }

    fn add(&self, more: u64) {
        self.ever.fetch_add(more, Ordering::Relaxed);
    }

    fn len(&self) -> u64 {
        self.ever.load(Ordering::Relaxed).saturating_sub(self.frozen.load(Ordering::Relaxed))
    }

    fn is_full(&self) -> bool {
        self.len() > self.max
    }

    fn note_freeze(&self) {
        self.frozen.store(self.ever.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// What SlateDB was told last, and when. Held while it is told, so that it hears of nothing out of turn.
#[derive(Default)]
struct Told {
    wal_id: u64,
    at: Option<Instant>,
}

impl Shared {
    pub fn new(tail_bytes_max: u64, tail_groups_max: u64) -> Self {
        let status = WalStatus {
            closed_reason: None,
            estimated_bytes: 0,
            last_flushed_wal_id: 0,
            last_flushed_seq: None,
            buffered_wal_entries_count: 0,
        };
        Self {
            log: OnceLock::new(),
            status: Mutex::new(status),
            told: Mutex::default(),
            observers: RwLock::default(),
            ends: Mutex::default(),
            closed: OnceLock::new(),
            candidates: Candidates::default(),
            row_bytes: Tail::new(tail_bytes_max),
            groups: Tail::new(tail_groups_max),
        }
    }

    /// The log; there is one once SlateDB has opened it.
    pub fn log(&self) -> Option<&Log> {
        self.log.get()
    }

    pub fn closed_reason(&self) -> Option<&Error> {
        self.closed.get()
    }

    /// The log has said why it cannot go on.
    pub fn has_failed(&self) -> bool {
        !matches!(self.closed.get(), None | Some(Error::Closed(_)))
    }

    /// Opening fails for this reason, of which SlateDB would only pass on the text.
    fn failed(&self, error: Error) -> WalError {
        let _ = self.closed.set(error.clone());
        wal_error(error)
    }

    /// The end of the commit with this sequence number, or of a later one that is durable already.
    pub fn end_of(&self, seq: u64) -> Position {
        let ends = self.ends.lock();
        let index = ends.partition_point(|(other, _)| *other < seq);
        match ends.get(index) {
            Some((_, end)) => *end,
            None => self.log().map(Log::durable_position).unwrap_or_default(),
        }
    }

    /// Bytes of rows that a restart would replay.
    pub fn tail_bytes(&self) -> u64 {
        self.row_bytes.len()
    }

    /// A restart would replay more than it should.
    pub fn tail_is_full(&self) -> bool {
        self.row_bytes.is_full() || self.groups.is_full()
    }

    /// The memtable was frozen: what comes now is the new tail.
    pub fn note_freeze(&self) {
        self.row_bytes.note_freeze();
        self.groups.note_freeze();
    }

    /// Tells SlateDB what has become durable since it was told last.
    fn tell(&self) {
        let mut told = self.told.lock();
        let status = self.status.lock().clone();
        if status.last_flushed_wal_id <= told.wal_id || status.closed_reason.is_some() {
            return;
        }
        *told = Told { wal_id: status.last_flushed_wal_id, at: Some(Instant::now()) };
        self.publish(&WalEvent::WalFlushed(status));
    }

    fn publish(&self, event: &WalEvent) {
        let observers = self.observers.read().clone();
        observers.iter().for_each(|observer| observer(event.clone()));
    }

    fn current_status(&self) -> Result<WalStatus, WalStatus> {
        let mut status = self.status.lock().clone();
        status.estimated_bytes = self.log().map_or(0, Log::pending_bytes);
        if status.closed_reason.is_some() { Err(status) } else { Ok(status) }
    }
}

/// Weak, because what it tells holds the log: neither would ever end.
struct Listener(Weak<Shared>);

impl LogListener for Listener {
    fn durable(&self, group: DurableGroup) {
        if let Some(shared) = self.0.upgrade() {
            shared.durable(group);
        }
    }

    fn idle(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.tell();
        }
    }

    fn closed(&self, reason: Error) {
        if let Some(shared) = self.0.upgrade() {
            shared.closed(reason);
        }
    }
}

impl Shared {
    fn durable(&self, group: DurableGroup) {
        self.groups.add(1);
        {
            let mut status = self.status.lock();
            if group.rows_end.0 <= status.last_flushed_wal_id {
                return; // payload alone: SlateDB must not see a new id without rows
            }
            status.last_flushed_wal_id = group.rows_end.0;
            status.last_flushed_seq = Some(group.rows_seq);
        }
        let mut ends = self.ends.lock();
        let durable = ends.partition_point(|(seq, _)| *seq <= group.rows_seq);
        ends.drain(..durable);
        drop(ends);
        let told = self.told.lock().at;
        if told.is_none_or(|told| told.elapsed() >= limits::INDEX_UNTOLD) {
            self.tell();
        }
    }

    fn closed(&self, reason: Error) {
        let _ = self.closed.set(reason.clone());
        self.tell();
        let _told = self.told.lock();
        let status = {
            let mut status = self.status.lock();
            status.closed_reason.get_or_insert(wal_error(reason));
            status.clone()
        };
        self.publish(&WalEvent::WalClosed(status));
        // Nothing more is to be told, and who listens may hold this.
        let observers = std::mem::take(&mut *self.observers.write());
        drop(observers);
    }
}

/// Our errors as SlateDB's.
pub(crate) fn wal_error(error: Error) -> WalError {
    match error {
        Error::Fenced(_) => WalError::Fenced,
        Error::Closed(_) => WalError::Closed,
        Error::Corrupt(_) => WalError::DataError(Arc::new(error)),
        Error::Unavailable { .. } | Error::Exhausted(_) => WalError::Unavailable(Arc::new(error)),
        other => WalError::InternalError(Arc::new(other)),
    }
}

/// Opens the log when SlateDB has raised the writer's epoch.
pub(crate) struct LogInit {
    pub medium: Medium,
    pub settings: log::Settings,
    pub shared: Arc<Shared>,
}

#[async_trait]
impl WriterInit for LogInit {
    async fn fence_and_init(&self, manifest: &mut WriterManifest) -> Result<WriterInitResult, WalError> {
        let replay_after = Position(manifest.replay_after_wal_id());
        let listener = Arc::new(Listener(Arc::downgrade(&self.shared)));
        let opened = log::open(self.medium.clone(), manifest.epoch(), replay_after, listener, self.settings.clone());
        let opened = opened.await.map_err(|error| self.shared.failed(error))?;
        self.shared.status.lock().last_flushed_wal_id = replay_after.0;
        let fresh = self.shared.log.set(opened.log.clone()).is_ok();
        assert!(fresh, "a volume opens its log once");
        let replay_iterator = Box::new(LogReplay { replay: opened.replay, shared: Arc::clone(&self.shared) });
        let wal_writer = LogWriter { log: opened.log, shared: Arc::clone(&self.shared), encoded: Vec::new() };
        Ok(WriterInitResult { replay_iterator, wal_writer: Box::new(wal_writer) })
    }
}

struct LogReplay {
    replay: Replay,
    shared: Arc<Shared>,
}

#[async_trait]
impl WalIterator for LogReplay {
    async fn next(&mut self) -> Result<Option<WalRows>, WalError> {
        let replayed = self.replay.next().await;
        let Some(records) = replayed.map_err(|error| self.shared.failed(error))? else { return Ok(None) };
        let Some(last) = records.last() else { return Ok(None) };
        let (last_end, last_seq) = (last.group_end.0, last.seq);
        let groups = records.chunk_by(|record, next| record.group_end == next.group_end).count() as u64;
        self.shared.groups.add(groups);
        let mut replayed = Vec::with_capacity(records.len() * 3);
        for record in &records {
            self.shared.row_bytes.add(record.rows.len() as u64);
            for row in rows::decode(record).map_err(|error| self.shared.failed(error))? {
                if let ValueDeletable::Value(bytes) = &row.value {
                    let pointers = value::decode_pointers(bytes).map_err(|error| self.shared.failed(error))?;
                    self.shared.candidates.note(log_places(&pointers).map(|place| (place, row.key.clone())));
                }
                replayed.push(row);
            }
        }
        let mut status = self.shared.status.lock();
        status.last_flushed_wal_id = status.last_flushed_wal_id.max(last_end);
        status.last_flushed_seq = status.last_flushed_seq.max(Some(last_seq));
        Ok(Some(WalRows { rows: replayed, last_consumed_wal_file_id: last_end }))
    }
}

struct LogWriter {
    log: Log,
    shared: Arc<Shared>,
    /// Reused from commit to commit.
    encoded: Vec<u8>,
}

#[async_trait]
impl WalWriter for LogWriter {
    async fn append(&mut self, batch: &[slatedb::RowEntry]) -> Result<(), WalError> {
        let Some(seq) = batch.first().map(|row| row.seq) else { return Ok(()) };
        self.encoded.clear();
        rows::encode(batch, &mut self.encoded).map_err(wal_error)?;
        self.shared.row_bytes.add(self.encoded.len() as u64);
        // Under the lock, so that the group cannot become durable before its end is known.
        let mut ends = self.shared.ends.lock();
        let end = self.log.append_rows(seq, &self.encoded).map_err(wal_error)?;
        ends.push_back((seq, end));
        Ok(())
    }

    async fn flush(&mut self) -> Result<WalFlushResult, WalError> {
        let end = self.log.seal().map_err(wal_error)?;
        let wal_id = end.0.max(self.shared.status.lock().last_flushed_wal_id);
        let (log, shared) = (self.log.clone(), Arc::clone(&self.shared));
        let completion = Box::pin(async move {
            log.durable(end).await.map_err(wal_error)?;
            shared.tell();
            Ok(())
        });
        Ok(WalFlushResult { wal_id, completion })
    }

    /// Bounds what a restart replays. SlateDB asks after every batch and freezes at once when told to.
    fn should_flush_memtable(&self, _replay_after: u64) -> bool {
        let full = self.shared.tail_is_full();
        if full {
            self.shared.note_freeze();
        }
        full
    }

    fn observer(&self) -> Box<dyn WalObserver> {
        Box::new(Observer(Arc::clone(&self.shared)))
    }

    fn status(&self) -> Result<WalStatus, WalStatus> {
        self.shared.current_status()
    }

    async fn close(&mut self) -> Result<(), WalError> {
        self.log.close().await.map_err(wal_error)
    }
}

struct Observer(Arc<Shared>);

impl WalObserver for Observer {
    fn status(&self) -> Result<WalStatus, WalStatus> {
        self.0.current_status()
    }

    fn subscribe(&self, listener: WalStatusListener) -> Result<(), WalError> {
        self.0.observers.write().push(listener);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(rows_end: u64, rows_seq: u64) -> DurableGroup {
        DurableGroup { end: Position(rows_end), rows_end: Position(rows_end), rows_seq }
    }

    /// What a listener of SlateDB's hears: sequence numbers that are durable, and the end.
    fn heard_by_slatedb(shared: &Arc<Shared>) -> Arc<Mutex<Vec<Option<u64>>>> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let listener = move |event| match event {
            WalEvent::WalFlushed(status) => hears.lock().push(status.last_flushed_seq),
            WalEvent::WalClosed(_) => hears.lock().push(None),
        };
        Observer(Arc::clone(shared)).subscribe(Arc::new(listener)).unwrap();
        heard
    }

    #[tokio::test(start_paused = true)]
    async fn slatedb_is_told_at_times_and_knows_everything_when_it_asks() {
        let shared = Arc::new(Shared::new(1 << 20, u64::MAX));
        let heard = heard_by_slatedb(&shared);
        (1..=3).for_each(|i| shared.durable(group(i * 512, i)));
        assert_eq!(*heard.lock(), [Some(1)], "more of them come at once");
        assert_eq!(shared.current_status().unwrap().last_flushed_wal_id, 3 * 512);
        tokio::time::advance(limits::INDEX_UNTOLD).await;
        shared.durable(group(4 * 512, 4));
        assert_eq!(*heard.lock(), [Some(1), Some(4)]);
    }

    #[tokio::test(start_paused = true)]
    async fn slatedb_is_told_everything_when_the_log_is_idle_and_before_it_is_closed() {
        let shared = Arc::new(Shared::new(1 << 20, u64::MAX));
        let heard = heard_by_slatedb(&shared);
        (1..=2).for_each(|i| shared.durable(group(i * 512, i)));
        shared.tell();
        shared.tell();
        assert_eq!(*heard.lock(), [Some(1), Some(2)], "and nothing twice");
        shared.durable(group(3 * 512, 3));
        shared.closed(Error::Closed("for a test".to_owned()));
        shared.tell();
        assert_eq!(*heard.lock(), [Some(1), Some(2), Some(3), None]);
    }
}
