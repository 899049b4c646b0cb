//! Settling: live payload leaves the log's old files, and the files go.
//!
//! 1. *Move* what the candidates point to in old files into segments. Writers go on; what they touch stays.
//! 2. *Condemn* the files: from now on no commit can point into them. Files that a write under way holds stay.
//! 3. Move the few rows that were committed between the two steps.
//! 4. Copy what named snapshots still need of them, and *remove* the files when no cut is open that was made
//!    before, or a few seconds later.
//!
//! A crash anywhere leaves only copies that nothing points at (collected later) and files that are settled again.

use super::candidates::is_in_log;
use super::{Inner, relocate, rows, snapshot, value};
use crate::log::LogFile;
use crate::pointer::Place;
use crate::{Batch, Error, Mutation, Position, Result, Space};
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
    /// Condemned files out of which the last rows have not been moved yet.
    condemned: Mutex<Vec<LogFile>>,
    /// Condemned files with the mark of the cuts that may still read them, for a while.
    retiring: Mutex<Vec<(LogFile, u64)>>,
    /// Writes to spaces with payload since the last round of collecting.
    churn: AtomicU64,
    /// Bytes of the log before the background task settles.
    pub log_bytes: u64,
    /// Held by the volume's background task.
    stopped: tokio_util::sync::CancellationToken,
}

impl Settling {
    pub fn new(unread: Vec<LogFile>, log_bytes: u64) -> Self {
        Self { unread: Mutex::new(unread), log_bytes, ..Self::default() }
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

    /// A round was not finished.
    pub fn has_more(&self) -> bool {
        !self.retiring.lock().is_empty() || !self.condemned.lock().is_empty()
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
    }
    condemn(inner, target, &mut settled).await?;
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
        let records = match inner.log().read_records(file).await {
            // An earlier server was still removing it when this one opened: nothing points into it.
            Err(Error::NotFound(_) | Error::PayloadMoved) => continue,
            records => records?,
        };
        for record in records {
            for row in rows::decode(&record)? {
                if let ValueDeletable::Value(bytes) = &row.value
                    && is_in_log(&value::decode_pointers(bytes)?)
                {
                    inner.shared.candidates.note(std::slice::from_ref(&row.key));
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
    let condemned = {
        // Also those of a round that failed here.
        let mut condemned = inner.settling.condemned.lock();
        condemned.extend(inner.log().condemn(target));
        condemned.clone()
    };
    if condemned.is_empty() {
        return Ok(());
    }
    let places: BTreeSet<Place> = condemned.iter().flat_map(|file| inner.log().places(*file)).collect();
    // Nobody can add rows that point there any more, so this ends.
    while move_candidates(inner, &places, settled).await? {}
    // The moves must be durable before the old copies go.
    inner.durable(inner.log().position()).await?;
    let mark = inner.cuts.mark();
    inner.settling.condemned.lock().clear();
    inner.settling.retiring.lock().extend(condemned.into_iter().map(|file| (file, mark)));
    Ok(())
}

/// Removes condemned files that no cut can still read, after saving what named snapshots need of them.
async fn remove_retired(inner: &Arc<Inner>) -> Result<u64> {
    let retiring = inner.settling.retiring.lock().clone();
    let free = retiring.iter().filter(|(_, mark)| inner.cuts.none_before(*mark)).map(|(file, _)| *file);
    let removable: Vec<LogFile> = free.collect();
    if removable.is_empty() {
        return Ok(0);
    }
    snapshot::rescue(inner, &removable).await?;
    inner.log().remove(&removable).await?;
    inner.settling.retiring.lock().retain(|(file, _)| !removable.contains(file));
    Ok(removable.len() as u64)
}
