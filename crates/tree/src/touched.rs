//! Times that were changed in memory and not yet written.
//!
//! A read changes the access time of what it reads; a commit for each would cost more than the read. Such a time
//! is kept here and laid over the stored row; the next commit of the inode writes it along, or
//! [`crate::Tree::flush_touched`] does. A crash loses it.

use crate::Inode;
use ballast_types::{Ino, Timestamp};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    pub atime: Option<Timestamp>,
    pub mtime: Option<Timestamp>,
}

impl Times {
    pub fn apply(self, inode: &mut Inode) {
        inode.atime = self.atime.unwrap_or(inode.atime);
        if let Some(mtime) = self.mtime {
            (inode.mtime, inode.ctime) = (mtime, mtime);
        }
    }
}

#[derive(Default)]
pub struct Touched {
    times: Mutex<HashMap<Ino, Times>>,
    /// How many there are: nearly always none, and then nobody takes the lock.
    count: AtomicUsize,
}

impl Touched {
    /// The caller holds the inode's lock.
    pub fn keep(&self, ino: Ino, times: Times) {
        let mut kept = self.times.lock();
        let slot = kept.entry(ino).or_default();
        slot.atime = times.atime.or(slot.atime);
        slot.mtime = times.mtime.or(slot.mtime);
        self.count.store(kept.len(), Ordering::Release);
    }

    pub fn lay_over(&self, inode: &mut Inode) {
        if self.count() > 0
            && let Some(times) = self.times.lock().get(&inode.ino)
        {
            times.apply(inode);
        }
    }

    /// The times of this inode are written, or it is gone.
    pub fn settle(&self, ino: Ino) {
        if self.count() > 0 {
            let mut kept = self.times.lock();
            kept.remove(&ino);
            self.count.store(kept.len(), Ordering::Release);
        }
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    pub fn inos(&self) -> Vec<Ino> {
        self.times.lock().keys().copied().collect()
    }
}
