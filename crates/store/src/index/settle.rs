//! Settling: live payload leaves the log's old files, and the files go.
//!
//! A full file whose payload is mostly used becomes a segment as it is; see `log::settled`. The others are emptied:
//!
//! 1. *Move* what the candidates point to in old files into segments. Writers go on; what they touch stays.
//! 2. *Condemn* the files: from now on no commit can point into them. Files that a write under way holds stay.
//! 3. Move the few rows that were committed between the two steps.
//! 4. Copy what named snapshots still need of them, and *remove* the files when no cut is open that was made
//!    before, or a few seconds later.
//!
//! What cannot be read is not moved: a payload that the disk or the bucket has lost, or a row in a damaged block of
//! the index. Its file is *left*: it becomes a segment as it is, or where the log is objects, counts as one. So
//! nothing waits for it, rows go on pointing to it, and it is there when the disk or the bucket gives back what it
//! had lost. That a bucket does not answer is no loss: the round fails, and the next one tries again.
//!
//! A crash anywhere leaves only copies that nothing points at (collected later) and files that are settled again.

use super::candidates::log_places;
use super::cut::IndexCut;
use super::{Inner, collect, relocate, rows, snapshot, value};
use crate::log::{self, LogFile};
use crate::pointer::Place;
use crate::volume::Row;
use crate::{Batch, Error, Position, Result, Space, limits};
use bytes::Bytes;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use slatedb::ValueDeletable;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Mutex as AsyncMutex, RwLock};

/// What one round of settling did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    pub rows: u64,
    pub bytes: u64,
    pub files_removed: u64,
    /// Files that became segments as they are.
    pub files_kept: u64,
}

/// Files from before this open, whose rows have not been looked through.
#[derive(Clone, Default)]
pub(crate) struct Unread {
    pub files: Vec<LogFile>,
    /// None is missing between them. The records in one that is may tell of payload in an older one.
    pub is_whole: bool,
}

/// The state of settling and collecting of one volume.
#[derive(Default)]
pub(crate) struct Settling {
    /// One round of settling at a time; also whoever condemns segments, and snapshots that come and go.
    round: AsyncMutex<()>,
    /// One round of collecting at a time. Whoever wants both takes this one first.
    collecting: AsyncMutex<()>,
    /// Held for writing between condemning files and having moved their last rows.
    condemning: RwLock<()>,
    unread: Mutex<Unread>,
    /// Condemned files out of which the last rows have not been moved yet.
    condemned: Mutex<Vec<LogFile>>,
    /// Places that stay as they are because something cannot be read, and what that is.
    left: Mutex<BTreeMap<Place, String>>,
    /// Condemned files with the mark of the cuts that may still read them, for a while.
    retiring: Mutex<Vec<(LogFile, u64)>>,
    /// What may have made garbage and was not collected after: segments, writes to spaces with payload, deleted snapshots,
    /// and what came before the open.
    churn: AtomicU64,
    /// Bytes of the log before the background task settles.
    pub log_bytes: u64,
    /// Bytes of a full file of the log.
    file_bytes: u64,
    /// Held by the volume's background task.
    stopped: tokio_util::sync::CancellationToken,
}

impl Settling {
    pub fn new(unread: Unread, settings: &log::Settings) -> Self {
        let (log_bytes, file_bytes) = (settings.settle_bytes, settings.file_bytes);
        Self { unread: Mutex::new(unread), log_bytes, file_bytes, churn: AtomicU64::new(1), ..Self::default() }
    }

    pub fn note_churn(&self, churn: u64) {
        self.churn.fetch_add(churn, Ordering::Relaxed);
    }

    /// So much of it has been collected after.
    pub fn end_churn(&self, churn: u64) {
        self.churn.fetch_sub(churn, Ordering::Relaxed);
    }

    pub fn churn(&self) -> u64 {
        self.churn.load(Ordering::Relaxed)
    }

    /// From now on the place stays as it is, because of something that cannot be read. Told once of each place and
    /// of each reason.
    pub fn leave(&self, place: Place, error: &Error) {
        let (mut left, why) = (self.left.lock(), error.to_string());
        if !left.contains_key(&place) {
            if left.values().all(|told| *told != why) {
                tracing::error!(%place, error = %why, "what cannot be read is kept where it is");
            }
            left.insert(place, why);
        }
    }

    pub fn is_left(&self, place: Place) -> bool {
        self.left.lock().contains_key(&place)
    }

    /// How many of these files come before the first that is left.
    fn count_before_left(&self, files: &[LogFile]) -> usize {
        files.iter().position(|file| self.is_left(file.place)).unwrap_or(files.len())
    }

    /// A round was not finished.
    pub fn has_more(&self) -> bool {
        !self.retiring.lock().is_empty() || !self.condemned.lock().is_empty()
    }

    pub async fn round(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.round.lock().await
    }

    pub async fn collecting(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.collecting.lock().await
    }

    /// Returns when no round is between condemning and having moved.
    pub async fn finished(&self) {
        drop(self.condemning.read().await);
    }

    pub async fn stop(&self) {
        self.stopped.cancel();
        drop(self.collecting.lock().await);
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
    inner.shared.candidates.retain(|place| inner.log().contains(place));
    if old_files(inner, target).next().is_some() {
        read_unread(inner).await?;
    }
    if !inner.settling.condemned.lock().is_empty() {
        condemn(inner, Position(0), &mut settled).await?; // A round has failed before they were empty.
    }
    // From the oldest on: the record of a row that points into a file lies in that file or in a later one, and
    // after a restart the candidates are found by these records.
    loop {
        keep_files(inner, target, &mut settled).await?;
        let copied = files_to_copy(inner, target).await?;
        let places = copied.iter().flat_map(|file| inner.log().places(*file)).collect();
        move_candidates(inner, &places, &mut settled).await?;
        let emptied = &copied[..inner.settling.count_before_left(&copied)];
        let end = emptied.last().map_or(Position(0), |file| file.end);
        condemn(inner, end, &mut settled).await?;
        settled.files_removed += remove_retired(inner).await?;
        let oldest = old_files(inner, target).next();
        let waits = oldest == copied.first().copied() && !oldest.is_some_and(|file| inner.settling.is_left(file.place));
        if copied.is_empty() || oldest.is_none() || waits {
            break;
        }
    }
    Ok(settled)
}

/// Files that end here or before are to be freed: all but the newest, if the index no longer needs their rows.
async fn target(inner: &Arc<Inner>) -> Result<Position> {
    let Some(newest) = inner.log().files().last().map(|file| file.start) else { return Ok(Position(0)) };
    if old_files(inner, newest).next().is_none() {
        return Ok(Position(0));
    }
    let replay_after = || Position(inner.db.manifest().replay_after_wal_id());
    if replay_after() < newest {
        // A row of our own, so that there is something to flush and the index's replay position moves.
        let mut batch = Batch::new();
        batch.put(Space::System.key(&[b"settled"]), newest.0.to_le_bytes().to_vec());
        inner.commit(&batch).await?;
        inner.flush_index().await?;
    }
    let target = newest.min(replay_after());
    // The index moves its position first and writes the manifest with it then: a restart still replays from the old
    // one. It does nothing else meanwhile, so when it has looked for a newer manifest, its own is written.
    inner.db.refresh_manifest().await.map_err(|error| inner.error(error))?;
    Ok(target)
}

fn old_files(inner: &Inner, target: Position) -> impl Iterator<Item = LogFile> {
    inner.log().files().into_iter().filter(move |file| file.end <= target && !file.condemned)
}

/// Candidates of files that were written before this open.
async fn read_unread(inner: &Arc<Inner>) -> Result<()> {
    let unread = inner.settling.unread.lock().clone();
    if unread.files.is_empty() {
        return Ok(());
    }
    let all = match read_records(inner, &unread).await {
        Err(error) if inner.log().is_files() || matches!(error, Error::Corrupt(_)) => {
            tracing::error!(%error, "a file of the log cannot be read");
            false
        }
        read => read?,
    };
    if !all {
        tracing::warn!("a part of the log is missing or damaged: all rows are looked through for what it tells");
        let cut = IndexCut::now(Arc::clone(inner))?;
        let note = |row: &Row| {
            let places = log_places(&row.value.pointers);
            inner.shared.candidates.note(places.map(|place| (place, row.key.clone())));
        };
        match collect::for_each_row(&cut, note).await {
            // Nobody knows what the other rows point at.
            Err(error @ Error::Corrupt(_)) => {
                let places = unread.files.iter().flat_map(|file| inner.log().places(*file));
                places.for_each(|place| inner.settling.leave(place, &error));
            }
            looked => looked?,
        }
    }
    // Only now: an error means that they are read again next time.
    *inner.settling.unread.lock() = Unread::default();
    Ok(())
}

/// Whether the records of all rows were read that point into these files.
async fn read_records(inner: &Arc<Inner>, unread: &Unread) -> Result<bool> {
    let read: Vec<_> = unread.files.iter().map(|file| inner.log().read_records(*file)).collect();
    let mut read = stream::iter(read).buffered(inner.log().reads_at_once());
    let mut all = unread.is_whole;
    while let Some(records) = read.next().await {
        let records = match records {
            // An earlier server was still removing it when this one opened, or it got lost.
            Err(Error::NotFound(_) | Error::PayloadMoved) => {
                all = false;
                continue;
            }
            records => records?,
        };
        for record in records {
            for row in rows::decode(&record)? {
                if let ValueDeletable::Value(bytes) = &row.value {
                    let pointers = value::decode_pointers(bytes)?;
                    inner.shared.candidates.note(log_places(&pointers).map(|place| (place, row.key.clone())));
                }
            }
        }
    }
    Ok(all)
}

/// Makes the oldest files segments as they are, up to one that need not stay.
async fn keep_files(inner: &Arc<Inner>, target: Position, settled: &mut Settled) -> Result<()> {
    for file in old_files(inner, target) {
        if !stays(inner, file).await? {
            break;
        }
        let Some((bytes, hold)) = inner.log().settle_file(file.place).await? else { break };
        inner.segments.expect(file.place, bytes, hold);
        inner.log().forget(file.place);
        settled.files_kept += 1;
    }
    Ok(())
}

/// The oldest files, up to one that stays.
async fn files_to_copy(inner: &Arc<Inner>, target: Position) -> Result<Vec<LogFile>> {
    let mut files = Vec::new();
    for file in old_files(inner, target) {
        if stays(inner, file).await? {
            break;
        }
        files.push(file);
    }
    Ok(files)
}

/// It is left, or at least half of a full file is still used, so that neither dead bytes nor small segments become
/// many.
async fn stays(inner: &Arc<Inner>, file: LogFile) -> Result<bool> {
    if inner.settling.is_left(file.place) || !inner.log().is_files() {
        return Ok(inner.settling.is_left(file.place));
    }
    match used_bytes(inner, file.place).await {
        Err(error @ Error::Corrupt(_)) => {
            inner.settling.leave(file.place, &error);
            Ok(true)
        }
        used => Ok(2 * used? >= inner.settling.file_bytes),
    }
}

/// Bytes of payload in a file that rows point at: an estimate from some of the rows.
async fn used_bytes(inner: &Arc<Inner>, place: Place) -> Result<u64> {
    let (count, keys) = inner.shared.candidates.sample(place, limits::SETTLE_SAMPLE);
    let (mut used, looked_at) = (0, keys.len().max(1) as u64);
    for key in keys {
        let pointers = inner.get(&key).await?.map(|value| value.pointers).unwrap_or_default();
        let inside = pointers.iter().filter(|pointer| pointer.place == place);
        used += inside.map(|pointer| u64::from(pointer.length)).sum::<u64>();
    }
    Ok(used * count as u64 / looked_at)
}

/// Moves what lies in `places`; the keys of rows that changed meanwhile become candidates again, and all of a place
/// that is left stay.
async fn move_candidates(inner: &Arc<Inner>, places: &BTreeSet<Place>, settled: &mut Settled) -> Result<bool> {
    let mut taken = inner.shared.candidates.take(places);
    // In key order: neighbours become neighbours in a segment.
    let keys: BTreeSet<Bytes> = taken.values().flatten().cloned().collect();
    let moved = match relocate::move_rows(inner, keys, &|place| places.contains(&place)).await {
        Ok(moved) => moved,
        Err(error) => {
            inner.shared.candidates.put_back(taken);
            return Err(error);
        }
    };
    let unfinished = !moved.changed.is_empty();
    for (place, keys) in &mut taken {
        if let Some(error) = keys.iter().find_map(|key| moved.unread.get(key)) {
            inner.settling.leave(*place, error);
        }
        if !inner.settling.is_left(*place) {
            keys.retain(|key| moved.changed.contains(key));
        }
    }
    inner.shared.candidates.put_back(taken);
    settled.rows += moved.rows;
    settled.bytes += moved.bytes;
    Ok(unfinished)
}

async fn condemn(inner: &Arc<Inner>, target: Position, settled: &mut Settled) -> Result<()> {
    let _condemning = inner.settling.condemning.write().await;
    let condemned = {
        // Also those of a round that failed below.
        let mut condemned = inner.settling.condemned.lock();
        condemned.extend(inner.log().condemn(target));
        condemned.clone()
    };
    if condemned.is_empty() {
        return Ok(());
    }
    let places: BTreeSet<Place> = condemned.iter().flat_map(|file| inner.log().places(*file)).collect();
    // Nobody can add rows that point there any more, so this ends, unless the index and the log contradict each other.
    let (mut vain, mut moved) = (0, settled.rows);
    while move_candidates(inner, &places, settled).await? {
        vain = if settled.rows > moved { 0 } else { vain + 1 };
        moved = settled.rows;
        if vain >= limits::SETTLE_VAIN_MAX {
            return Err(Error::Corrupt(
                "rows point at payload of the log that is not there, and cannot be moved".into(),
            ));
        }
    }
    // The moves must be durable before the old copies go.
    inner.durable(inner.log().position()).await?;
    let mark = inner.cuts.mark();
    let (emptied, others) = condemned.split_at(inner.settling.count_before_left(&condemned));
    inner.log().pardon(others);
    inner.settling.condemned.lock().clear();
    inner.settling.retiring.lock().extend(emptied.iter().map(|file| (*file, mark)));
    Ok(())
}

/// Removes condemned files that no cut can still read, after saving what named snapshots need of them.
async fn remove_retired(inner: &Arc<Inner>) -> Result<u64> {
    let retiring = inner.settling.retiring.lock().clone();
    let free = retiring.iter().filter(|(_, mark)| inner.cuts.none_before(*mark)).map(|(file, _)| *file);
    let free: Vec<LogFile> = free.collect();
    snapshot::rescue(inner, &free).await?;
    let (removable, others) = free.split_at(inner.settling.count_before_left(&free));
    inner.log().remove(removable).await;
    inner.log().pardon(others);
    inner.settling.retiring.lock().retain(|(file, _)| !free.contains(file));
    Ok(removable.len() as u64)
}
