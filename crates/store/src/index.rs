//! The real volume: SlateDB as the index, our log as its write-ahead log, segments for settled payload.
//!
//! A commit costs a hop to SlateDB's writer task and back, which those that come together share ([`combine`]); it is
//! durable with the group of the log that holds it. SlateDB's own tickers are off: the log's committer decides when to
//! flush, a task of the volume's own when to compact. Payload never enters SlateDB.
//!
//! Payload moves while rows that point at it are read and written. The rules that keep this safe:
//! * a commit takes a hold on every place it points into, and fails with `PayloadMoved` if one is condemned;
//! * a place is condemned only when nothing holds it, and removed only when no row points into it and no cut
//!   that could still read such a row is open ([`settle`], [`collect`]).

pub(crate) mod candidates;
mod checked;
mod clock;
mod collect;
mod combine;
mod compaction;
mod cut;
pub(crate) mod fsck;
mod inspect;
mod open;
mod ready;
mod relocate;
mod rows;
mod settle;
mod snapshot;
mod transaction;
pub(crate) mod value;
pub(crate) mod wal;
mod writing;

pub use collect::Collected;
pub use fsck::{Progress as FsckProgress, Report as FsckReport, hex};
pub use inspect::LoggedRow;
pub use open::{Components, Gate, Local, Store, Unshared, VolumeId};
pub use settle::Settled;

use crate::log::Entrant;
use crate::pointer::Place;
use crate::reserve::Reserve;
use crate::segment::Segments;
use crate::volume::{Isolation, Read, Room, Scan, SnapshotEntry, Transaction, Volume, VolumeStats};
use crate::{Batch, Error, KeyRange, Payload, Pointer, Position, Result, Value, limits};
use async_trait::async_trait;
use ballast_runtime::Clock;
use ballast_runtime::telemetry::Metrics;
use bytes::Bytes;
use checked::CheckedStore;
use cut::{Cuts, IndexCut};
use slatedb::Db;
use snapshot::Snapshots;
use std::sync::Arc;
use wal::Shared;

/// One volume of a bucket, open in this server alone.
pub struct IndexedVolume {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub id: VolumeId,
    pub db: Db,
    /// Where the index's objects lie, and their common prefix.
    pub index: Arc<CheckedStore>,
    pub index_path: object_store::path::Path,
    pub shared: Arc<Shared>,
    pub segments: Segments,
    pub snapshots: Snapshots,
    pub cuts: Cuts,
    pub clock: Arc<dyn Clock>,
    pub gate: Arc<dyn Gate>,
    /// Of the disk below a local bucket.
    pub reserve: Option<Arc<Reserve>>,
    pub settling: settle::Settling,
    pub combiner: combine::Combiner,
    pub compaction: compaction::Compaction,
}

impl Inner {
    pub fn log(&self) -> &crate::log::Log {
        self.shared.log().expect("an open volume has opened its log")
    }

    /// Refuses work when the right to serve is lost or the log has stopped.
    pub fn check(&self) -> Result<()> {
        match (self.gate.check(), self.closed_reason()) {
            (Err(error), _) if !matches!(error, Error::Unavailable { .. }) => Err(error),
            // A lease that is only late must not hide that the log has stopped for good; nor is a log that
            // stopped because its bucket did not answer worth waiting for.
            (_, Some(Error::Unavailable { what, .. })) => Err(Error::Closed(what)),
            (_, Some(reason)) => Err(reason),
            (gate, None) => gate,
        }
    }

    /// Why the volume has stopped. SlateDB closes the log when it is the first to see that it is fenced.
    pub fn closed_reason(&self) -> Option<Error> {
        match self.shared.closed_reason() {
            Some(Error::Closed(_)) if self.db.status().close_reason == Some(slatedb::CloseReason::Fenced) => {
                Some(fenced())
            }
            reason => reason.cloned(),
        }
    }

    /// SlateDB's error in our words; the log's own reason where it stopped.
    pub fn error(&self, error: slatedb::Error) -> Error {
        if let (slatedb::ErrorKind::Closed(_), Some(reason)) = (error.kind(), self.closed_reason()) {
            return reason;
        }
        index_error(error)
    }

    /// Returns when everything up to `position` is on stable storage.
    pub async fn durable(&self, position: Position) -> Result<()> {
        self.log().durable(position).await.map_err(|error| self.why(error))
    }

    /// Returns when the log has room.
    pub async fn room(&self, entrant: Entrant) -> Result<()> {
        self.log().room(entrant).await.map_err(|error| self.why(error))
    }

    /// The log's error, with the reason if it was closed by the index.
    fn why(&self, error: Error) -> Error {
        match error {
            Error::Closed(_) => self.closed_reason().unwrap_or(error),
            other => other,
        }
    }

    pub async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        if pointer.length == 0 {
            return Ok(Bytes::new());
        }
        match pointer.place {
            // In this order: a file of the log is a segment before it leaves the log.
            Place::Log { .. } => match self.log().read_payload(pointer).await {
                Err(Error::PayloadMoved) => self.segments.read(pointer).await,
                read => read,
            },
            Place::Segment { .. } => self.segments.read(pointer).await,
        }
    }

    /// Payload that is about to be copied. What is damaged is copied as it is, with zeros where nothing is, under the
    /// CRC that it had: it stays damaged to whoever reads it, and holds up nobody else. What cannot be read at all,
    /// and may be some day, is `Corrupt`.
    pub async fn read_to_copy(&self, pointer: &Pointer) -> Result<Bytes> {
        let what = match self.read_payload(pointer).await {
            Err(Error::Corrupt(what)) => what,
            read => return read,
        };
        let read = match pointer.place {
            Place::Log { .. } => match self.log().read_unchecked(pointer).await {
                Err(Error::PayloadMoved) => self.segments.read_unchecked(pointer).await,
                read => read,
            },
            Place::Segment { .. } => self.segments.read_unchecked(pointer).await,
        };
        let mut bytes = read?.to_vec();
        bytes.resize(pointer.length as usize, 0);
        tracing::error!(%what, "payload is damaged: it is copied as it is");
        Ok(bytes.into())
    }

    pub fn stats(&self) -> VolumeStats {
        let log = self.log();
        let files = log.files();
        let manifest = self.db.manifest();
        VolumeStats {
            position: log.position(),
            durable: log.durable_position(),
            log_bytes: files.iter().map(crate::log::LogFile::byte_len).sum(),
            log_files: files.len() as u64,
            tail_bytes: self.shared.tail_bytes(),
            segment_bytes: self.segments.bytes(),
            segments: self.segments.count(),
            index_bytes: manifest.all_sst_views().map(slatedb::manifest::SsTableView::estimate_size).sum(),
        }
    }

    pub async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.ready().await?;
        let bytes = self.db.get(key).await.map_err(|error| self.error(error))?;
        bytes.map(value::decode).transpose()
    }

    /// Moves everything committed so far from the log's tail into the index, so that a restart replays nothing.
    pub async fn flush_index(&self) -> Result<()> {
        // What is frozen is stamped with the durable end of the log: behind it, rows would be replayed again.
        self.durable(self.log().position()).await?;
        self.shared.note_freeze();
        let options = slatedb::config::FlushOptions { flush_type: slatedb::config::FlushType::MemTable };
        self.db.flush_with_options(options).await.map_err(|error| self.error(error))
    }

    /// The same before a close, if the bucket answers in time. Everything is durable in any case.
    async fn flush_to_close(&self) -> Result<()> {
        self.durable(self.log().position()).await?;
        // It may wait for room at the index's top, which the compactor makes.
        match tokio::time::timeout(limits::CLOSE_FLUSH_MAX, self.flush_index()).await {
            Ok(flushed) => flushed,
            Err(_) => {
                tracing::warn!("the index was not written in time: the next open replays the log's tail");
                Ok(())
            }
        }
    }
}

/// Closes an index, and its log with it.
async fn close_index(db: &Db) -> std::result::Result<(), slatedb::Error> {
    db.close_with_options(slatedb::config::CloseOptions { flush_type: None }).await
}

fn fenced() -> Error {
    Error::Fenced("another server has opened it".into())
}

/// SlateDB's error in our words, where nothing more is known.
pub(crate) fn index_error(error: slatedb::Error) -> Error {
    use slatedb::{CloseReason, ErrorKind};
    if let Some(damage) = checked::damage_in(&error) {
        return Error::Corrupt(damage.to_string());
    }
    let text = error.to_string();
    match error.kind() {
        ErrorKind::Transaction => Error::Conflict,
        ErrorKind::Closed(CloseReason::Fenced) => fenced(),
        ErrorKind::Closed(_) => Error::Closed(text),
        ErrorKind::Data => Error::Corrupt(format!("the index: {text}")),
        ErrorKind::Invalid => Error::Invalid(format!("the index: {text}")),
        _ => Error::unavailable("the index does not answer", error),
    }
}

#[async_trait]
impl Read for IndexedVolume {
    async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.inner.get(key).await
    }

    async fn scan(&self, range: KeyRange) -> Result<Box<dyn Scan>> {
        self.inner.ready().await?;
        cut::scan_now(&self.inner, range).await
    }

    async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        self.inner.ready().await?;
        self.inner.read_payload(pointer).await
    }
}

#[async_trait]
impl Volume for IndexedVolume {
    async fn room(&self) -> Result<Room> {
        self.inner.ready().await?;
        self.inner.room(Entrant::Payload).await?;
        Ok(Room(()))
    }

    fn check_space(&self) -> Result<()> {
        self.inner.reserve.as_ref().map_or(Ok(()), |reserve| reserve.check())
    }

    async fn append_payload(&self, _room: &Room, parts: &[Bytes]) -> Result<Payload> {
        self.inner.ready().await?;
        let bytes: usize = parts.iter().map(Bytes::len).sum();
        if bytes > limits::PAYLOAD_BYTES_MAX {
            return Err(Error::Invalid(format!("a payload of {bytes} bytes is too large")));
        }
        self.inner.room(Entrant::Again).await?;
        self.inner.log().append_payload(parts).map_err(|error| self.inner.why(error))
    }

    async fn write_segment(&self, payloads: Vec<Bytes>) -> Result<Vec<Payload>> {
        self.inner.ready().await?;
        let written = self.inner.segments.write(payloads).await;
        // Garbage, unless a commit points at it; also if it was written and the bucket did not say so.
        self.inner.settling.note_churn(1);
        written
    }

    async fn commit(&self, batch: Batch) -> Result<Position> {
        // Whoever brings payload was let in before it was appended. To wait again would keep the payload's place from
        // being freed, and that may be all that could make room.
        if !batch.is_empty() && !batch.holds_payload() {
            self.inner.ready().await?;
            self.inner.room(Entrant::Rows).await?;
        }
        match self.inner.commit(&batch).await {
            // The last rows of a place are being moved right now: when that is over, the rows read right.
            Err(Error::PayloadMoved) => {
                self.inner.settling.finished().await;
                Err(Error::PayloadMoved)
            }
            other => other,
        }
    }

    async fn durable(&self, position: Position) -> Result<()> {
        self.inner.durable(position).await?;
        self.inner.ready().await
    }

    async fn ready(&self) -> Result<()> {
        self.inner.ready().await
    }

    fn check(&self) -> Result<()> {
        self.inner.check()
    }

    fn position(&self) -> Position {
        self.inner.log().position()
    }

    async fn begin(&self, isolation: Isolation) -> Result<Box<dyn Transaction>> {
        self.inner.ready().await?;
        Ok(Box::new(transaction::begin(Arc::clone(&self.inner), isolation)?))
    }

    async fn cut(&self) -> Result<Arc<dyn Read>> {
        self.inner.ready().await?;
        Ok(Arc::new(IndexCut::now(Arc::clone(&self.inner))?))
    }

    async fn create_snapshot(&self, name: &str) -> Result<SnapshotEntry> {
        self.inner.ready().await?;
        let (inner, name) = (Arc::clone(&self.inner), name.to_owned());
        writing::to_the_end(async move { snapshot::create(&inner, &name).await }).await
    }

    async fn snapshots(&self) -> Result<Vec<SnapshotEntry>> {
        self.inner.ready().await?;
        Ok(self.inner.snapshots.list())
    }

    async fn open_snapshot(&self, name: &str) -> Result<Arc<dyn Read>> {
        self.inner.ready().await?;
        snapshot::open(&self.inner, name).await
    }

    async fn delete_snapshot(&self, name: &str) -> Result<()> {
        self.inner.ready().await?;
        let (inner, name) = (Arc::clone(&self.inner), name.to_owned());
        writing::to_the_end(async move { snapshot::delete(&inner, &name).await }).await
    }

    fn stats(&self) -> VolumeStats {
        self.inner.stats()
    }

    async fn close(&self) -> Result<()> {
        let inner = &self.inner;
        let closed = match inner.closed_reason() {
            None => {
                inner.settling.stop().await;
                let flushed = inner.flush_to_close().await;
                inner.compaction.stop().await;
                flushed?;
                // What waits for the bucket is cut off: the next open is as after a crash.
                tokio::time::timeout(limits::INDEX_CLOSE_MAX, close_index(&inner.db)).await.unwrap_or(Ok(()))
            }
            // What still runs may wait for a full disk forever. It can be cut off: the next open is as after a crash.
            Some(reason) => {
                let close = async {
                    inner.settling.stop().await;
                    inner.compaction.stop().await;
                    close_index(&inner.db).await
                };
                tokio::time::timeout(limits::INDEX_CLOSE_MAX, close).await.map_err(|_| reason.clone())?
            }
        };
        // A volume that had stopped before reports why it stopped, not that it is closed.
        match (inner.closed_reason(), closed) {
            (Some(reason @ (Error::Fenced(_) | Error::Unavailable { .. } | Error::Exhausted(_))), _) => Err(reason),
            (_, Err(error)) => Err(index_error(error)),
            _ => Ok(()),
        }
    }
}

impl IndexedVolume {
    pub fn id(&self) -> VolumeId {
        self.inner.id
    }

    /// Shows the volume's counters and sizes under `ballast_volume_`.
    pub fn register_metrics(&self, metrics: &Metrics) {
        crate::metrics::register(metrics, self.inner.log().metrics(), &self.inner);
    }

    /// Flushes the index while serving, so that a close or a crash leaves next to nothing to replay.
    pub async fn flush_index(&self) -> Result<()> {
        self.inner.flush_index().await
    }

    /// Moves live payload out of the log's old files and frees them; see [`settle`].
    pub async fn settle(&self) -> Result<Settled> {
        settle::settle(&self.inner).await
    }

    /// Removes segments that nothing points into; see [`collect`].
    pub async fn collect(&self) -> Result<Collected> {
        collect::collect(&self.inner).await
    }
}
