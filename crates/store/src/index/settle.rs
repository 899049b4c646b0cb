//! Settling: live payload leaves the log's old files, and the files go.
//!
//! 1. *Move* what the candidates point to in old files into segments. Writers go on; what they touch stays.
//! 2. *Condemn* the files: from now on no commit can point into them. Files that a write under way holds stay.
//! 3. Move the few rows that were committed between the two steps.
//! 4. *Remove* the files when no cut is open that was made before. Files that a named snapshot may point into
//!    are kept, out of the log's budget, until the snapshot goes.
//!
//! A crash anywhere leaves only copies that nothing points at (collected later) and files that are settled again.

use super::{Inner, relocate, rows, value};
use crate::log::LogFile;
use crate::pointer::Place;
use crate::{Batch, Mutation, Position, Result, Space};
use parking_lot::Mutex;
use slatedb::ValueDeletable;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Mutex as AsyncMutex, RwLock};

/// What one round of settling did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    pub rows: u64,
    pub bytes: u64,
    pub files_removed: u64,
}

/// The state of settling and collecting of one volume.
#[derive(Default)]
pub(crate) struct Settling {
    /// One round at a time, of settling or of collecting.
    round: AsyncMutex<()>,
    /// Held for writing between condemning files and having moved their last rows.
    condemning: RwLock<()>,
    /// Files from before this open, whose rows have not been looked through.
    unread: Mutex<Vec<LogFile>>,
    /// Condemned files with the mark of the cuts that may still read them.
    retiring: Mutex<Vec<(LogFile, u64)>>,
    /// Writes to spaces with payload since the last round of collecting.
    churn: AtomicU64,
    /// Held by the volume's background task.
    stopped: tokio_util::sync::CancellationToken,
}

impl Settling {
    pub fn new(unread: Vec<LogFile>) -> Self {
        Self { unread: Mutex::new(unread), ..Self::default() }
    }

    pub fn note_churn(&self, mutations: &[Mutation]) {
        let writes = mutations.iter().filter(|mutation| Space::with_payload_of(mutation.key()).is_some());
        self.churn.fetch_add(writes.count() as u64, Ordering::Relaxed);
    }

    pub fn take_churn(&self) -> u64 {
        self.churn.swap(0, Ordering::Relaxed)
    }

    pub fn churn(&self) -> u64 {
        self.churn.load(Ordering::Relaxed)
    }

    pub fn has_retired(&self) -> bool {
        !self.retiring.lock().is_empty()
    }

    pub async fn round(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.round.lock().await
    }

    /// Returns when no round is between condemning and having moved.
    pub async fn finished(&self) {
        drop(self.condemning.read().await);
    }

    pub async fn stop(&self) {
        self.stopped.cancel();
        drop(self.round.lock().await);
    }

    pub fn stopped(&self) -> tokio_util::sync::CancellationToken {
        self.stopped.clone()
    }
}

pub(crate) async fn settle(inner: &Arc<Inner>) -> Result<Settled> {
    let _round = inner.settling.round().await;
    inner.check()?;
    let mut settled = Settled::default();
    let target = target(inner).await?;
    let old: BTreeSet<Place> = old_files(inner, target).flat_map(|file| inner.log().places(file)).collect();
    if !old.is_empty() {
        read_unread(inner).await?;
        move_candidates(inner, &old, &mut settled).await?;
        condemn(inner, target, &mut settled).await?;
    }
    settled.files_removed = remove_retired(inner).await?;
    Ok(settled)
}

/// Files that end here or before are to be freed: all but the newest, if the index no longer needs their rows.
async fn target(inner: &Arc<Inner>) -> Result<Position> {
    let Some(newest) = inner.log().files().last().map(|file| file.start) else { return Ok(Position(0)) };
    let replay_after = || Position(inner.db.manifest().replay_after_wal_id());
    if replay_after() < newest && old_files(inner, newest).next().is_some() {
        // A row of our own, so that there is something to flush and the index's replay position moves.
        let mut batch = Batch::new();
        batch.put(Space::System.key(&[b"settled"]), newest.0.to_le_bytes().to_vec());
        inner.commit(&batch).await?;
        inner.flush_index().await?;
    }
    Ok(newest.min(replay_after()))
}

fn old_files(inner: &Inner, target: Position) -> impl Iterator<Item = LogFile> {
    inner.log().files().into_iter().filter(move |file| file.end <= target && !file.condemned)
}

/// Candidates of files that were written before this open.
async fn read_unread(inner: &Arc<Inner>) -> Result<()> {
    let unread = inner.settling.unread.lock().clone();
    for file in unread {
        for record in inner.log().read_records(file).await? {
            for row in rows::decode(&record)? {
                if let ValueDeletable::Value(bytes) = &row.value {
                    inner.shared.candidates.note(&row.key, &value::decode_pointers(bytes)?);
                }
            }
        }
    }
    // Only when all of them were read: an error means that they are read again next time.
    inner.settling.unread.lock().clear();
    Ok(())
}

/// Moves what lies in `places`; the keys of rows that changed meanwhile become candidates again.
async fn move_candidates(inner: &Arc<Inner>, places: &BTreeSet<Place>, settled: &mut Settled) -> Result<bool> {
    let keys = inner.shared.candidates.take();
    let moved = relocate::move_rows(inner, keys.iter().cloned(), &|place| places.contains(&place)).await;
    let moved = moved.inspect_err(|_| inner.shared.candidates.put_back(keys.iter().cloned()))?;
    let unfinished = !moved.changed.is_empty();
    inner.shared.candidates.put_back(moved.changed.into_iter().chain(moved.unwanted));
    settled.rows += moved.rows;
    settled.bytes += moved.bytes;
    Ok(unfinished)
}

async fn condemn(inner: &Arc<Inner>, target: Position, settled: &mut Settled) -> Result<()> {
    let _condemning = inner.settling.condemning.write().await;
    let condemned = inner.log().condemn(target);
    if condemned.is_empty() {
        return Ok(());
    }
    let places: BTreeSet<Place> = condemned.iter().flat_map(|file| inner.log().places(*file)).collect();
    // Nobody can add rows that point there any more, so this ends.
    while move_candidates(inner, &places, settled).await? {}
    let mark = inner.cuts.mark();
    inner.settling.retiring.lock().extend(condemned.into_iter().map(|file| (file, mark)));
    // The moves must be durable before the old copies go.
    inner.log().durable(inner.log().position()).await
}

/// Removes condemned files that no cut and no named snapshot can still read.
pub(crate) async fn remove_retired(inner: &Arc<Inner>) -> Result<u64> {
    let retiring = inner.settling.retiring.lock().clone();
    let free = |(file, mark): &(LogFile, u64)| inner.cuts.none_before(*mark) && !inner.snapshots.pins(file.start);
    let pinned = retiring.iter().filter(|(file, _)| inner.snapshots.pins(file.start)).map(|(file, _)| *file);
    inner.log().keep(&pinned.collect::<Vec<_>>());
    let removable: Vec<LogFile> = retiring.iter().filter(|entry| free(entry)).map(|(file, _)| *file).collect();
    inner.log().remove(&removable).await?;
    inner.settling.retiring.lock().retain(|(file, _)| !removable.contains(file));
    Ok(removable.len() as u64)
}
