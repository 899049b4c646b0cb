//! Locks over row keys, and where in the log each key was last written.
//!
//! Every write of a row goes through this server, so a short lock over the row's key makes read, check and
//! commit of a single-row statement one step, without a transaction of the volume. Keys share locks by hash.
//! Each lock also remembers the log position of its last commit: a reader learns at no cost what its answer
//! depends on, and waits for that alone to be durable.

use ballast_store::{Position, Volume};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use tokio::sync::{Mutex, MutexGuard};

/// Who writes here now, and where the last write ended.
#[derive(Debug, Default)]
pub(crate) struct Written {
    writers: AtomicU32,
    last: AtomicU64,
    /// Commits whose future was dropped: they may have happened, or still happen, at a position that nobody noted.
    dropped: AtomicU64,
    /// How many of them lie before `last`: the volume writes commits in the order of their calls.
    covered: AtomicU64,
}

impl Written {
    /// The position that an answer depends on which was read before this call.
    pub(crate) fn seen(&self, volume: &dyn Volume) -> Position {
        // A commit may be visible before its writer has noted it: then everything up to now is waited for.
        match self.writers.load(SeqCst) {
            0 if self.covered.load(SeqCst) == self.dropped.load(SeqCst) => Position(self.last.load(SeqCst)),
            _ => volume.position(),
        }
    }

    /// How many commits have been dropped before this one.
    fn begin(&self) -> u64 {
        self.writers.fetch_add(1, SeqCst);
        self.dropped.load(SeqCst)
    }

    fn end(&self, dropped_before: u64, position: Option<Position>) {
        match position {
            Some(position) => {
                self.last.fetch_max(position.0, SeqCst);
                self.covered.fetch_max(dropped_before, SeqCst);
            }
            None => {
                self.dropped.fetch_add(1, SeqCst);
            }
        }
        self.writers.fetch_sub(1, SeqCst);
    }
}

#[derive(Debug, Default)]
struct KeyLock {
    mutex: Mutex<()>,
    written: Written,
}

#[derive(Debug)]
pub(crate) struct KeyLocks(Box<[KeyLock]>);

/// The number of a key's lock.
pub(crate) type LockNumber = u16;

impl KeyLocks {
    pub(crate) fn new(locks: usize) -> Self {
        Self((0..locks).map(|_| KeyLock::default()).collect())
    }

    pub(crate) fn number(&self, key: &[u8]) -> LockNumber {
        // FNV-1a: keys are short, and nobody gains by making them collide.
        let hash = key
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
        let folded = (hash ^ hash >> 32) as usize % self.0.len();
        LockNumber::try_from(folded).expect("there are fewer locks than 65,536")
    }

    /// Waits for the locks. Taken in the order of their numbers, so that two writers never wait for each other.
    pub(crate) async fn lock(&self, mut numbers: SmallVec<[LockNumber; 8]>) -> KeyGuard<'_> {
        numbers.sort_unstable();
        numbers.dedup();
        let mut guards = SmallVec::with_capacity(numbers.len());
        for number in &numbers {
            guards.push(self.0[usize::from(*number)].mutex.lock().await);
        }
        KeyGuard { locks: self, numbers, _guards: guards }
    }

    /// The position that a read of this key, made before this call, depends on.
    pub(crate) fn seen(&self, key: &[u8], volume: &dyn Volume) -> Position {
        self.0[usize::from(self.number(key))].written.seen(volume)
    }
}

/// Holds the locks of some keys.
pub(crate) struct KeyGuard<'a> {
    locks: &'a KeyLocks,
    numbers: SmallVec<[LockNumber; 8]>,
    _guards: SmallVec<[MutexGuard<'a, ()>; 8]>,
}

impl<'a> KeyGuard<'a> {
    /// The position that reads of these keys, made before this call, depend on.
    pub(crate) fn seen(&self, volume: &dyn Volume) -> Position {
        let own = self.numbers.iter().map(|number| self.locks.0[usize::from(*number)].written.seen(volume));
        own.max().unwrap_or_default()
    }

    /// To hold from before the commit until its position is noted.
    pub(crate) fn writing<'w>(&'w self, tables: impl Iterator<Item = &'w Written>) -> Writing<'w> {
        let own = self.numbers.iter().map(|number| &self.locks.0[usize::from(*number)].written);
        let places = own.chain(tables).map(|place| (place, place.begin())).collect();
        Writing { places, position: None }
    }
}

/// A commit under way. Dropped without a position, it may still happen: until a later one is known, readers of its places
/// wait for everything.
pub(crate) struct Writing<'a> {
    /// Each with how many commits have been dropped there before.
    places: SmallVec<[(&'a Written, u64); 8]>,
    position: Option<Position>,
}

impl Writing<'_> {
    pub(crate) fn done(mut self, position: Position) {
        self.position = Some(position);
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.places.iter().for_each(|(place, dropped_before)| place.end(*dropped_before, self.position));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ballast_store::{Batch, MemoryVolume};

    #[tokio::test]
    async fn a_dropped_commit_is_waited_for_until_a_later_one_is_known() {
        let (volume, locks) = (MemoryVolume::new(), KeyLocks::new(1));
        let commit = async || {
            let mut batch = Batch::new();
            batch.put(&b"\x01key"[..], &b"value"[..]);
            volume.commit(batch).await.expect("it commits")
        };
        let guard = locks.lock(SmallVec::from_iter([0])).await;
        drop(guard.writing(std::iter::empty()));
        // It happens all the same, after its future is gone.
        commit().await;
        assert_eq!(locks.seen(b"key", &volume), volume.position());
        let writing = guard.writing(std::iter::empty());
        let known = commit().await;
        writing.done(known);
        commit().await;
        assert_eq!(locks.seen(b"key", &volume), known, "others' commits are not waited for");
    }
}
