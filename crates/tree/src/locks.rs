//! Locks of inodes.
//!
//! A fixed table of async locks; the lock of an inode is chosen by its number. An operation takes all of its
//! locks at once, in the order of the table, so that no two operations wait for each other in a circle; and
//! while it holds one it takes no other. A lock is held over a commit (10 to 25 µs), never over anything that
//! waits for a disk or another lock of this table.

use ballast_types::Ino;
use smallvec::SmallVec;
use std::sync::Arc;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

pub struct Locks {
    table: Box<[Arc<RwLock<()>>]>,
}

/// Held by a change. Owned, so that a commit whose caller went away can take it along.
pub type Guards = SmallVec<[OwnedRwLockWriteGuard<()>; 4]>;

impl Locks {
    pub fn new(locks: usize) -> Self {
        Self { table: (0..locks).map(|_| Arc::default()).collect() }
    }

    /// Numbers are given out in sequence, so that neighbours get different locks.
    fn slot(&self, ino: Ino) -> usize {
        (ino.0 % self.table.len() as u64) as usize
    }

    /// Waits for the locks of all of these inodes.
    pub async fn write(&self, inos: &[Ino]) -> Guards {
        let mut slots: SmallVec<[usize; 4]> = inos.iter().map(|ino| self.slot(*ino)).collect();
        slots.sort_unstable();
        slots.dedup();
        let mut guards = Guards::new();
        for slot in slots {
            guards.push(Arc::clone(&self.table[slot]).write_owned().await);
        }
        guards
    }

    /// Waits until nobody changes this inode, and keeps it so.
    pub async fn read(&self, ino: Ino) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.table[self.slot(ino)]).read_owned().await
    }
}
