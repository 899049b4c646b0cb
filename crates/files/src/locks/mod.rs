//! Advisory locks: POSIX record locks and flock, in memory, for the one server that owns the volume.
//!
//! The two sorts know nothing of each other, as on Linux. A wait is a future: dropping it ends the wait, which is
//! how an interrupted system call leaves. Whoever waits checks again when any lock of the inode goes. POSIX
//! waits that would close a circle are refused.

mod ranges;

use crate::limits::LOCKS_PER_INODE_MAX;
use crate::{Error, Result};
use ballast_types::Ino;
use parking_lot::Mutex;
pub use ranges::Held;
use ranges::Ranges;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Who holds a lock: what the kernel calls the lock owner. Unique within a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(pub u64);

/// A lock that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    pub owner: Owner,
    /// Only told to those who ask what is in their way.
    pub pid: u32,
    /// First and last byte; `u64::MAX` is the end of every file.
    pub start: u64,
    pub last: u64,
    pub exclusive: bool,
}

/// The two sorts of advisory locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sort {
    /// fcntl: byte ranges that merge and split.
    Posix,
    /// flock: whole files.
    Flock,
}

#[derive(Debug, Default)]
struct Table {
    inodes: HashMap<(Ino, Sort), Ranges>,
    /// POSIX owners that wait, and what they wait for.
    waiting: HashMap<Owner, (Ino, Lock)>,
}

/// All locks of a volume.
#[derive(Debug, Default)]
pub struct Locks {
    table: Mutex<Table>,
    /// Woken whenever a lock goes.
    freed: Mutex<HashMap<Ino, Arc<Notify>>>,
}

impl Locks {
    /// A lock that is in the way of `lock`, if there is one.
    pub fn test(&self, ino: Ino, sort: Sort, lock: &Lock) -> Option<Held> {
        self.table.lock().inodes.get(&(ino, sort)).and_then(|ranges| ranges.conflict(lock))
    }

    /// Takes a lock, or changes one that the owner has; `Locked` if another owner is in the way.
    pub fn take(&self, ino: Ino, sort: Sort, lock: &Lock) -> Result<()> {
        let mut table = self.table.lock();
        let ranges = table.inodes.entry((ino, sort)).or_default();
        if ranges.conflict(lock).is_some() {
            return Err(Error::Locked);
        }
        if ranges.len() >= LOCKS_PER_INODE_MAX {
            return Err(Error::TooManyLocks);
        }
        ranges.set(lock);
        drop(table);
        // An exclusive lock may have become a shared one.
        self.wake(ino);
        Ok(())
    }

    /// Takes a lock when nobody is in the way any more. Dropping the future gives up.
    pub async fn wait(&self, ino: Ino, sort: Sort, lock: &Lock) -> Result<()> {
        loop {
            let notify = Arc::clone(self.freed.lock().entry(ino).or_default());
            let freed = notify.notified();
            tokio::pin!(freed);
            // Registered before the look, so that nothing that goes in between is missed.
            freed.as_mut().enable();
            match self.take(ino, sort, lock) {
                Err(Error::Locked) => {}
                done => return done,
            }
            let _waiting = (sort == Sort::Posix).then(|| Waiting::begin(self, ino, lock)).transpose()?;
            freed.await;
        }
    }

    /// Gives up what the owner holds of a range.
    pub fn release(&self, ino: Ino, sort: Sort, owner: Owner, start: u64, last: u64) {
        let mut table = self.table.lock();
        if let Some(ranges) = table.inodes.get_mut(&(ino, sort)) {
            ranges.clear(owner, start, last);
            if ranges.len() == 0 {
                table.inodes.remove(&(ino, sort));
            }
        }
        drop(table);
        self.wake(ino);
    }

    /// Gives up everything that the owner holds of an inode: it closed it, or died.
    pub fn release_owner(&self, ino: Ino, sort: Sort, owner: Owner) {
        self.release(ino, sort, owner, 0, u64::MAX);
    }

    fn wake(&self, ino: Ino) {
        let mut freed = self.freed.lock();
        if let Some(notify) = freed.get(&ino) {
            notify.notify_waiters();
            // Two are the table's and ours; waiters hold one each.
            if Arc::strong_count(notify) == 1 {
                freed.remove(&ino);
            }
        }
    }
}

/// Marks an owner as waiting while it lives.
struct Waiting<'a> {
    locks: &'a Locks,
    owner: Owner,
}

impl<'a> Waiting<'a> {
    fn begin(locks: &'a Locks, ino: Ino, lock: &Lock) -> Result<Self> {
        let mut table = locks.table.lock();
        if table.would_close_circle(ino, lock) {
            return Err(Error::Deadlock);
        }
        table.waiting.insert(lock.owner, (ino, *lock));
        Ok(Self { locks, owner: lock.owner })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.locks.table.lock().waiting.remove(&self.owner);
    }
}

impl Table {
    /// True if whoever is in the way waits, over any number of others, for the asking owner.
    fn would_close_circle(&self, ino: Ino, lock: &Lock) -> bool {
        let mut to_visit = vec![(ino, *lock)];
        let mut seen = std::collections::HashSet::new();
        while let Some((ino, wanted)) = to_visit.pop() {
            let Some(ranges) = self.inodes.get(&(ino, Sort::Posix)) else { continue };
            for holder in ranges.conflicts(&wanted) {
                if holder == lock.owner {
                    return true;
                }
                if seen.insert(holder) {
                    to_visit.extend(self.waiting.get(&holder).copied());
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
