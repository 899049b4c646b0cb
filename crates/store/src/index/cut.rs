//! Reads of one cut: of a moment of the present.
//!
//! Its rows stay while it is held: SlateDB keeps them. What they point at in the log or a segment is removed when no
//! cut is open that was made before, or [`limits::CUT_PAYLOAD_KEPT`] later: a transaction that a client forgot must
//! not fill the log, behind which every writer would wait.

use super::{Inner, value};
use crate::volume::{Read, Row, Scan};
use crate::{KeyRange, Pointer, Result, Value, limits};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use slatedb::config::ScanOptions;
use slatedb::{DbIterator, DbReadOps, DbSnapshot};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use tokio::time::Instant;

/// The cuts that are open, by the order in which they were made. A place that a cut may still need is
/// condemned but not removed.
#[derive(Default)]
pub(crate) struct Cuts(Arc<Mutex<OpenCuts>>);

#[derive(Default)]
struct OpenCuts {
    next: u64,
    /// With the time at which each was made.
    open: BTreeMap<u64, Instant>,
}

/// An open cut's place in the order; gone when dropped.
pub(crate) struct CutTicket {
    number: u64,
    cuts: Arc<Mutex<OpenCuts>>,
}

impl Drop for CutTicket {
    fn drop(&mut self) {
        self.cuts.lock().open.remove(&self.number);
    }
}

impl Cuts {
    pub fn ticket(&self) -> CutTicket {
        let mut cuts = self.0.lock();
        let number = cuts.next;
        cuts.next += 1;
        cuts.open.insert(number, Instant::now());
        CutTicket { number, cuts: Arc::clone(&self.0) }
    }

    /// A mark such that [`Cuts::none_before`] tells whether all cuts made so far are gone or old.
    pub fn mark(&self) -> u64 {
        self.0.lock().next
    }

    /// Waits for the cuts made before the mark, but for no longer than they count.
    pub async fn wait_for_none_before(&self, mark: u64) {
        while !self.none_before(mark) {
            tokio::time::sleep(limits::CUT_WAIT).await;
        }
    }

    pub fn none_before(&self, mark: u64) -> bool {
        let cuts = self.0.lock();
        let youngest = cuts.open.range(..mark).next_back();
        youngest.is_none_or(|(_, made)| made.elapsed() >= limits::CUT_PAYLOAD_KEPT)
    }
}

pub(crate) struct IndexCut {
    inner: Arc<Inner>,
    snapshot: Arc<DbSnapshot>,
    /// Shared with every scan of this cut.
    ticket: Arc<CutTicket>,
}

impl IndexCut {
    pub fn now(inner: Arc<Inner>) -> Result<Self> {
        // The ticket comes first: what is removed after this moment is still there for the cut.
        let ticket = Arc::new(inner.cuts.ticket());
        let snapshot = inner.db.snapshot().map_err(|error| inner.error(error))?;
        Ok(Self { inner, snapshot, ticket })
    }
}

#[async_trait]
impl Read for IndexCut {
    async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.inner.ready().await?;
        let bytes = self.snapshot.get(key).await.map_err(|error| self.inner.error(error))?;
        bytes.map(value::decode).transpose()
    }

    async fn scan(&self, range: KeyRange) -> Result<Box<dyn Scan>> {
        self.inner.ready().await?;
        scan(self.snapshot.as_ref(), range, Some(Arc::clone(&self.ticket))).await
    }

    async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        self.inner.ready().await?;
        self.inner.read_payload(pointer).await
    }
}

/// Starts a scan of anything that SlateDB can read; `keep` lives as long as the scan.
pub(crate) async fn scan<K: Send + Sync + 'static>(
    source: &(impl DbReadOps + Sync),
    range: KeyRange,
    keep: Option<Arc<K>>,
) -> Result<Box<dyn Scan>> {
    if range.end.as_ref().is_some_and(|end| *end <= range.start) {
        return Ok(Box::new(EmptyScan));
    }
    let end = range.end.map_or(Bound::Unbounded, Bound::Excluded);
    let bounds = (Bound::Included(range.start), end);
    // The defaults fetch one block at a time and cache none; our scans are short and come again.
    let options = ScanOptions { read_ahead_bytes: 256 << 10, cache_blocks: true, ..ScanOptions::default() };
    let iterator = source.scan_with_options(bounds, &options).await.map_err(super::index_error)?;
    Ok(Box::new(IndexScan { iterator, done: false, _keep: keep }))
}

struct EmptyScan;

#[async_trait]
impl Scan for EmptyScan {
    async fn next(&mut self, _rows_max: usize) -> Result<Vec<Row>> {
        Ok(Vec::new())
    }
}

struct IndexScan<K> {
    iterator: DbIterator,
    done: bool,
    _keep: Option<Arc<K>>,
}

#[async_trait]
impl<K: Send + Sync> Scan for IndexScan<K> {
    async fn next(&mut self, rows_max: usize) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        while !self.done && rows.len() < rows_max {
            match self.iterator.next().await.map_err(super::index_error)? {
                Some(found) => rows.push(Row { key: found.key, value: value::decode(found.value)? }),
                None => self.done = true,
            }
        }
        Ok(rows)
    }
}
