//! Collecting: segments that nothing points into any more go; half-empty ones are packed together.
//!
//! The truth is a scan of all rows that may hold pointers, of the present and of every named snapshot (whose
//! rows never change, so that one scan each is enough). A segment that no row points into, that no write has
//! touched since the scan began, and that no open cut may still read, is removed. That also sweeps orphans:
//! segments of a crashed writer that no row ever pointed at. Cost: about 2 µs a row with payload. Settling
//! goes on meanwhile: to it, collecting is a writer like others.

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
    let _collecting = inner.settling.collecting().await;
    inner.check()?;
    let churn = inner.settling.churn();
    let mut collected = Collected::default();
    inner.segments.look_for_strays().await?;
    let generation = inner.segments.next_generation();
    let live = used(inner).await?;
    let pinned = super::snapshot::places(inner).await?;
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
    // A snapshot that was under way may need what no row needed any more when it was looked for.
    let pinned = {
        let _round = inner.settling.round().await;
        let pinned = super::snapshot::places(inner).await?;
        doomed.retain(|(place, _)| !pinned.contains(place) && inner.segments.condemn(*place, generation));
        pinned
    };
    let mut unremoved = Ok(());
    for (place, bytes) in doomed {
        match inner.segments.remove(place).await {
            Ok(()) => {
                collected.segments_removed += 1;
                collected.bytes_removed += bytes;
            }
            failed => unremoved = failed,
        }
    }
    collected.rows_moved = pack(inner, &sparse).await?;
    // The next round tries it again.
    unremoved?;
    inner.settling.end_churn(churn);
    let is_needed = |place: &Place| live.contains_key(place) || pinned.contains(place);
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
    let (mut keys, mut bytes) = (Vec::<Bytes>::new(), 0);
    let cut = IndexCut::now(Arc::clone(inner))?;
    for_each_row(&cut, |row| {
        let inside = row.value.pointers.iter().filter(|pointer| sparse.contains(&pointer.place));
        let more: u64 = inside.map(|pointer| u64::from(pointer.length)).sum();
        if more > 0 && keys.len() < limits::PACK_ROWS_MAX && bytes < limits::PACK_BYTES_MAX {
            keys.push(row.key.clone());
            bytes += more;
        }
    })
    .await?;
    drop(cut);
    let moved = relocate::move_rows(inner, keys, &|place| sparse.contains(&place)).await?;
    Ok(moved.rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::World;
    use crate::{Batch, Volume};

    #[tokio::test(start_paused = true)]
    async fn settling_goes_on_while_segments_are_collected() {
        let world = World::on_disk();
        let volume = world.open().await.unwrap();
        let cut = volume.cut().await.unwrap();
        let inner = Arc::clone(&volume.inner);
        // It waits for the cut, for seconds.
        let collecting = tokio::spawn(async move { collect(&inner).await });
        tokio::time::sleep(limits::CUT_PAYLOAD_KEPT / 2).await;
        let payload = volume.append_payload(&volume.room().await.unwrap(), &[Bytes::from_static(b"payload")]).await;
        let (payload, mut batch) = (payload.unwrap(), Batch::new());
        batch.hold(&payload);
        batch.put_with_payload(Space::Block.key(&[b"row"]), Bytes::new(), [payload.pointer]);
        volume.commit(batch).await.unwrap();
        volume.settle().await.unwrap();
        assert!(!collecting.is_finished());
        drop(cut);
        collecting.await.unwrap().unwrap();
    }
}
