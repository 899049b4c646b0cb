//! Hot inodes and hot directories in memory.
//!
//! The tree is the only writer of its rows, so that what is here is the truth, not a copy that may be old: a
//! change puts its outcome here before it lets go of its locks, and what is missing is filled in under the lock
//! of the inode it belongs to. A directory is here with all of its entries or not at all, so that a name that
//! is missing here is missing.
//!
//! Nothing in this module waits for I/O. Locks, always in this order: directories by number, then shards by
//! index. [`Cache::publish`] holds all that it needs at once, so that no reader sees half of a change.
//!
//! Bounded by a budget in bytes, by estimate. Beyond it, what was not asked for since the hand came by last
//! goes. Cost of a hit: one uncontended lock for an inode, two for a name.

mod directory;
mod ring;

pub use directory::Directory;

use crate::{Entry, Inode, limits};
use ballast_types::{Ino, Name};
use parking_lot::RwLock;
use ring::Ring;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

pub struct Cache {
    shards: Box<[RwLock<Shard>]>,
    bytes: AtomicUsize,
    budget: usize,
    /// The shard that gives something up next.
    hand: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    ring: Ring<Key, Cached>,
    /// Counts the changes of this shard's inodes, so that a scan knows whether what it read is still so.
    changes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Inode(Ino),
    Directory(Ino),
}

enum Cached {
    Inode(Arc<Inode>),
    Directory(Arc<Directory>),
    /// A directory that is not here, and how often it was asked for one name.
    Cold(AtomicU32),
}

/// What a change did, to be shown to readers.
#[derive(Default)]
pub struct Outcome {
    pub inodes: SmallVec<[Arc<Inode>; 4]>,
    pub gone: SmallVec<[Ino; 1]>,
    /// In the order of the change: a name of a directory leads to this entry now, or to none.
    pub entries: SmallVec<[(Ino, Name, Option<Entry>); 2]>,
    /// Directories that were made by the change: empty, and known to be.
    pub made: SmallVec<[Ino; 1]>,
}

/// The state of all shards at one moment; see [`Cache::put_unchanged`].
pub struct Moment(Vec<u64>);

/// Use of the cache, for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    pub bytes: usize,
    pub budget_bytes: usize,
    pub inodes: usize,
    pub directories: usize,
}

impl Cache {
    pub fn new(budget: usize) -> Self {
        let shards = (0..limits::CACHE_SHARDS).map(|_| RwLock::default()).collect();
        Self { shards, bytes: AtomicUsize::new(0), budget, hand: AtomicUsize::new(0) }
    }

    fn shard_of(ino: Ino) -> usize {
        (ino.0 % limits::CACHE_SHARDS as u64) as usize
    }

    fn shard(&self, ino: Ino) -> &RwLock<Shard> {
        &self.shards[Self::shard_of(ino)]
    }

    pub fn inode(&self, ino: Ino) -> Option<Arc<Inode>> {
        match self.shard(ino).read().ring.get(&Key::Inode(ino)) {
            Some(Cached::Inode(inode)) => Some(Arc::clone(inode)),
            _ => None,
        }
    }

    /// The directory, if all of its entries are here.
    pub fn directory(&self, ino: Ino) -> Option<Arc<Directory>> {
        match self.shard(ino).read().ring.get(&Key::Directory(ino)) {
            Some(Cached::Directory(directory)) => Some(Arc::clone(directory)),
            _ => None,
        }
    }

    /// True if a directory of this size may be here.
    pub fn takes(&self, directory: &Inode) -> bool {
        let share = (self.budget / limits::CACHE_DIRECTORY_SHARE) as u64;
        directory.size.saturating_mul(limits::ENTRY_CACHE_BYTES as u64) <= share
    }

    /// Counts a look-up of one name in a directory that is not here. True if it should be filled now: at once if
    /// it is small, else when single look-ups have cost as much as one scan.
    pub fn wants(&self, directory: &Inode) -> bool {
        if !self.takes(directory) {
            return false;
        }
        if directory.size <= limits::FILL_AT_ONCE_ENTRIES {
            return true;
        }
        let key = Key::Directory(directory.ino);
        let shard = self.shard(directory.ino);
        if let Some(Cached::Cold(gets)) = shard.read().ring.get(&key) {
            let gets = gets.fetch_add(1, Ordering::Relaxed);
            return u64::from(gets) >= directory.size / limits::FILL_ENTRIES_PER_GET;
        }
        self.add(limits::SLOT_CACHE_BYTES);
        let old = shard.write().ring.insert(key, Cached::Cold(AtomicU32::new(1)));
        self.discard(old);
        false
    }

    /// Fills in an inode. The caller holds its lock, so that it is not changed meanwhile.
    pub fn put_inode(&self, inode: Arc<Inode>) {
        self.add(inode_bytes(&inode));
        let old = self.shard(inode.ino).write().ring.insert(Key::Inode(inode.ino), Cached::Inode(inode));
        self.discard(old);
        self.shrink();
    }

    /// Fills in a directory. The caller holds its lock.
    pub fn put_directory(&self, ino: Ino, directory: Arc<Directory>) {
        self.add(directory.bytes());
        let old = self.shard(ino).write().ring.insert(Key::Directory(ino), Cached::Directory(directory));
        self.discard(old);
        self.shrink();
    }

    /// To be called before a scan whose inodes go to [`Cache::put_unchanged`].
    pub fn moment(&self) -> Moment {
        Moment(self.shards.iter().map(|shard| shard.read().changes).collect())
    }

    /// Fills in an inode that was read without its lock; false if it may have changed since the moment.
    pub fn put_unchanged(&self, inode: &Arc<Inode>, moment: &Moment) -> bool {
        let index = Self::shard_of(inode.ino);
        let mut shard = self.shards[index].write();
        if shard.changes != moment.0[index] {
            return false;
        }
        self.add(inode_bytes(inode));
        let old = shard.ring.insert(Key::Inode(inode.ino), Cached::Inode(Arc::clone(inode)));
        drop(shard);
        self.discard(old);
        self.shrink();
        true
    }

    /// Shows a change to readers: all of it at once. The caller holds the locks of all inodes in it.
    pub fn publish(&self, outcome: Outcome) {
        for ino in &outcome.made {
            self.put_directory(*ino, Arc::default());
        }
        let mut changed: SmallVec<[Ino; 2]> = outcome.entries.iter().map(|(ino, ..)| *ino).collect();
        changed.sort_unstable();
        changed.dedup();
        let here: SmallVec<[_; 2]> = changed.iter().filter_map(|ino| Some((*ino, self.directory(*ino)?))).collect();
        let mut directories: SmallVec<[_; 2]> =
            here.iter().map(|(ino, directory)| (*ino, directory.change())).collect();

        let inos = outcome.inodes.iter().map(|inode| inode.ino).chain(outcome.gone.iter().copied());
        let mut indexes: SmallVec<[usize; 4]> = inos.map(Self::shard_of).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let mut shards: SmallVec<[_; 4]> = indexes.iter().map(|index| self.shards[*index].write()).collect();
        let at = |ino: Ino| indexes.binary_search(&Self::shard_of(ino)).expect("every shard of the outcome is locked");

        let mut replaced: SmallVec<[Option<Cached>; 8]> = SmallVec::new();
        for inode in outcome.inodes {
            self.add(inode_bytes(&inode));
            let shard = &mut shards[at(inode.ino)];
            shard.changes += 1;
            replaced.push(shard.ring.insert(Key::Inode(inode.ino), Cached::Inode(inode)));
        }
        for ino in outcome.gone {
            let shard = &mut shards[at(ino)];
            shard.changes += 1;
            replaced.push(shard.ring.remove(&Key::Inode(ino)));
            replaced.push(shard.ring.remove(&Key::Directory(ino)));
        }
        let mut too_large: SmallVec<[Ino; 1]> = SmallVec::new();
        for (ino, name, entry) in outcome.entries {
            if let Some((_, directory)) = directories.iter_mut().find(|(other, _)| *other == ino) {
                self.adjust(directory.set(name, entry));
                if directory.bytes() > self.budget / limits::CACHE_DIRECTORY_SHARE {
                    too_large.push(ino);
                }
            }
        }
        drop(shards);
        drop(directories);
        replaced.into_iter().for_each(|old| self.discard(old));
        for ino in too_large {
            let old = self.shard(ino).write().ring.remove(&Key::Directory(ino));
            self.discard(old);
        }
        self.shrink();
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn adjust(&self, (more, less): (usize, usize)) {
        self.add(more);
        self.bytes.fetch_sub(less, Ordering::Relaxed);
    }

    /// Uncounts what was taken out. Locks the directory, so no shard may be locked.
    fn discard(&self, old: Option<Cached>) {
        let bytes = match old {
            None => 0,
            Some(Cached::Inode(inode)) => inode_bytes(&inode),
            Some(Cached::Directory(directory)) => directory.retire(),
            Some(Cached::Cold(_)) => limits::SLOT_CACHE_BYTES,
        };
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Gives up what was not asked for lately until the budget is kept.
    fn shrink(&self) {
        let mut empty = 0;
        while self.bytes.load(Ordering::Relaxed) > self.budget && empty < self.shards.len() {
            let index = self.hand.fetch_add(1, Ordering::Relaxed) % self.shards.len();
            let old = self.shards[index].write().ring.evict();
            empty = if old.is_none() { empty + 1 } else { 0 };
            self.discard(old);
        }
    }

    pub fn stats(&self) -> CacheStats {
        let mut stats = CacheStats {
            bytes: self.bytes.load(Ordering::Relaxed),
            budget_bytes: self.budget,
            ..CacheStats::default()
        };
        for shard in &self.shards {
            for cached in shard.read().ring.values() {
                match cached {
                    Cached::Inode(_) => stats.inodes += 1,
                    Cached::Directory(_) => stats.directories += 1,
                    Cached::Cold(_) => {}
                }
            }
        }
        stats
    }
}

fn inode_bytes(inode: &Inode) -> usize {
    let name = inode.parent.as_ref().map_or(0, |(_, name)| name.as_bytes().len());
    limits::INODE_CACHE_BYTES + name + inode.descriptor.len()
}
