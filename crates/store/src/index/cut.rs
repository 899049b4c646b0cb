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
        scan_cut(Arc::clone(&self.snapshot), range, Some(Arc::clone(&self.ticket))).await
    }

    async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        self.inner.ready().await?;
        self.inner.read_payload(pointer).await
    }
}

/// Starts a scan of the present: of one cut, however long it takes.
pub(crate) async fn scan_now(inner: &Arc<Inner>, range: KeyRange) -> Result<Box<dyn Scan>> {
    let snapshot = inner.db.snapshot().map_err(|error| inner.error(error))?;
    scan_cut(snapshot, range, Some(Arc::clone(inner))).await
}

/// Starts a scan that may take as long as the cut is held: it looks for its place anew now and then, since the index's
/// files do not stay, but what the cut shows of them does.
async fn scan_cut<K: Send + Sync + 'static>(
    snapshot: Arc<DbSnapshot>,
    range: KeyRange,
    keep: Option<Arc<K>>,
) -> Result<Box<dyn Scan>> {
    let Some(bounds) = bounds_of(range) else { return Ok(Box::new(EmptyScan)) };
    let iterator = iterate(snapshot.as_ref(), bounds.clone()).await?;
    let renewal = Some(Renewal { snapshot, bounds, at: Instant::now() + limits::SCAN_RENEWED });
    Ok(Box::new(IndexScan { iterator, done: false, renewal, _keep: keep }))
}

/// Starts a scan of anything that SlateDB can read; `keep` lives as long as the scan. A transaction's is to end within
/// the 15 minutes for which compaction keeps what it replaces: to look for its place anew would show it what it has
/// written since. The files of a named snapshot stay.
pub(crate) async fn scan<K: Send + Sync + 'static>(
    source: &(impl DbReadOps + Sync),
    range: KeyRange,
    keep: Option<Arc<K>>,
) -> Result<Box<dyn Scan>> {
    let Some(bounds) = bounds_of(range) else { return Ok(Box::new(EmptyScan)) };
    let iterator = iterate(source, bounds).await?;
    Ok(Box::new(IndexScan { iterator, done: false, renewal: None, _keep: keep }))
}

type Bounds = (Bound<Bytes>, Bound<Bytes>);

/// `None` if nothing lies within.
fn bounds_of(range: KeyRange) -> Option<Bounds> {
    if range.end.as_ref().is_some_and(|end| *end <= range.start) {
        return None;
    }
    Some((Bound::Included(range.start), range.end.map_or(Bound::Unbounded, Bound::Excluded)))
}

async fn iterate(source: &(impl DbReadOps + Sync), bounds: Bounds) -> Result<DbIterator> {
    // The defaults fetch one block at a time and cache none; our scans are short and come again.
    let options = ScanOptions { read_ahead_bytes: 256 << 10, cache_blocks: true, ..ScanOptions::default() };
    source.scan_with_options(bounds, &options).await.map_err(super::index_error)
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
    renewal: Option<Renewal>,
    _keep: Option<Arc<K>>,
}

/// What is left of a scan, and when to begin it anew.
struct Renewal {
    snapshot: Arc<DbSnapshot>,
    bounds: Bounds,
    at: Instant,
}

#[async_trait]
impl<K: Send + Sync> Scan for IndexScan<K> {
    async fn next(&mut self, rows_max: usize) -> Result<Vec<Row>> {
        if let Some(renewal) = self.renewal.as_mut().filter(|renewal| !self.done && renewal.at <= Instant::now()) {
            self.iterator = iterate(renewal.snapshot.as_ref(), renewal.bounds.clone()).await?;
            renewal.at = Instant::now() + limits::SCAN_RENEWED;
        }
        let mut rows = Vec::new();
        while !self.done && rows.len() < rows_max {
            match self.iterator.next().await.map_err(super::index_error)? {
                Some(found) => rows.push(Row { key: found.key, value: value::decode(found.value)? }),
                None => self.done = true,
            }
        }
        if let Some((renewal, last)) = self.renewal.as_mut().zip(rows.last()) {
            renewal.bounds.0 = Bound::Excluded(last.key.clone());
        }
        Ok(rows)
    }
}
