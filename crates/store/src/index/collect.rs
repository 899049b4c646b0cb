//! Collecting: segments that nothing points into any more go; half-empty ones are packed together.
//!
//! The truth is a scan of all rows that may hold pointers, of the present and of every named snapshot (whose
//! rows never change, so that one scan each is enough). A segment that no row points into, that no write has
//! touched since the scan began, and that no open cut may still read, is removed. That also sweeps orphans:
//! segments of a crashed writer that no row ever pointed at. Cost: about 2 µs a row with payload.

use super::cut::IndexCut;
use super::{Inner, relocate};
use crate::pointer::Place;
use crate::segment::Segments;
use crate::volume::{Read, Row};
use crate::{Result, Space, limits};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What one round of collecting found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    pub segments_removed: u64,
    pub bytes_removed: u64,
    /// Rows moved out of half-empty segments; those go in the next round, for which there is reason then.
    pub rows_moved: u64,
}

pub(crate) async fn collect(inner: &Arc<Inner>) -> Result<Collected> {
    let _round = inner.settling.round().await;
    inner.check()?;
    let churn = inner.settling.churn();
    let mut collected = Collected::default();
    inner.segments.look_for_strays().await?;
    let generation = inner.segments.next_generation();
    let live = used(inner).await?;
    let pinned = super::snapshot::places(inner).await?;
    let is_needed = |place: &Place| live.contains_key(place) || pinned.contains(place);
    let candidates = inner.segments.older_than(generation);
    let mut sparse = BTreeSet::new();
    let mut doomed = Vec::new();
    for (place, bytes) in candidates {
        match live.get(&place) {
            _ if pinned.contains(&place) => {}
            None => doomed.push((place, bytes)),
            Some(used) if used.bytes() * 2 < bytes => drop(sparse.insert(place)),
            Some(_) => {}
        }
    }
    // The rows that let go of the doomed segments must be durable before the segments are gone.
    inner.durable(inner.log().position()).await?;
    inner.cuts.wait_for_none_before(inner.cuts.mark()).await;
    for (place, bytes) in doomed {
        if inner.segments.condemn(place, generation) {
            inner.segments.remove(place).await?;
            collected.segments_removed += 1;
            collected.bytes_removed += bytes;
        }
    }
    collected.rows_moved = pack(inner, &sparse).await?;
    inner.settling.end_churn(churn);
    if inner.segments.places().iter().any(|(place, _)| !is_needed(place)) {
        // A write under way may yet give it up, and nothing would tell of that.
        inner.settling.note_churn(1);
    }
    Ok(collected)
}

/// What rows of the present point at in a segment.
#[derive(Default)]
struct Used {
    payloads: u64,
    payload_bytes: u64,
}

impl Used {
    /// Bytes of a segment of these payloads alone, or some more: packed once, none is packed again.
    fn bytes(&self) -> u64 {
        self.payload_bytes + Segments::overhead(self.payloads)
    }
}

async fn used(inner: &Arc<Inner>) -> Result<BTreeMap<Place, Used>> {
    let mut live = BTreeMap::<Place, Used>::new();
    let cut = IndexCut::now(Arc::clone(inner))?;
    for_each_row(&cut, |row| {
        for pointer in &row.value.pointers {
            let used = live.entry(pointer.place).or_default();
            used.payloads += 1;
            used.payload_bytes += u64::from(pointer.length);
        }
    })
    .await?;
    Ok(live)
}

/// Visits every row that may hold pointers.
pub(crate) async fn for_each_row(read: &dyn Read, mut visit: impl FnMut(&Row) + Send) -> Result<()> {
    for space in Space::WITH_PAYLOAD {
        let mut scan = read.scan(space.range(&[])).await?;
        loop {
            let rows = scan.next(limits::SCAN_ROWS).await?;
            if rows.is_empty() {
                break;
            }
            rows.iter().for_each(&mut visit);
        }
    }
    Ok(())
}

/// Moves the rows of sparse segments together; a bounded number a round.
async fn pack(inner: &Arc<Inner>, sparse: &BTreeSet<Place>) -> Result<u64> {
    if sparse.is_empty() {
        return Ok(0);
    }
    let mut keys: Vec<Bytes> = Vec::new();
    let cut = IndexCut::now(Arc::clone(inner))?;
    for_each_row(&cut, |row| {
        let points = row.value.pointers.iter().any(|pointer| sparse.contains(&pointer.place));
        if points && keys.len() < limits::PACK_ROWS_MAX {
            keys.push(row.key.clone());
        }
    })
    .await?;
    drop(cut);
    let moved = relocate::move_rows(inner, keys, &|place| sparse.contains(&place)).await?;
    Ok(moved.rows)
}
