//! The locks of one inode: ranges that belong to owners.

use super::{Lock, Owner};

/// A lock that somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub owner: Owner,
    pub pid: u32,
    pub start: u64,
    pub last: u64,
    pub exclusive: bool,
}

/// Ranges of one owner neither overlap nor touch, unless they differ in kind.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    held: Vec<Held>,
}

impl Ranges {
    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn conflict(&self, lock: &Lock) -> Option<Held> {
        self.held.iter().find(|held| conflicts(held, lock)).copied()
    }

    /// The owners that are in the way.
    pub fn conflicts(&self, lock: &Lock) -> Vec<Owner> {
        self.held.iter().filter(|held| conflicts(held, lock)).map(|held| held.owner).collect()
    }

    /// Puts a lock in place of whatever its owner held there, and joins it with its neighbours of the same kind.
    pub fn set(&mut self, lock: &Lock) {
        self.clear(lock.owner, lock.start, lock.last);
        let Lock { owner, pid, mut start, mut last, exclusive } = *lock;
        self.held.retain(|held| {
            let same = held.owner == owner && held.exclusive == exclusive;
            let before = held.last.checked_add(1) == Some(start);
            let behind = last.checked_add(1) == Some(held.start);
            if same && before {
                start = held.start;
            }
            if same && behind {
                last = held.last;
            }
            !(same && (before || behind))
        });
        self.held.push(Held { owner, pid, start, last, exclusive });
    }

    /// Takes a range away from an owner; what it holds around it stays.
    pub fn clear(&mut self, owner: Owner, start: u64, last: u64) {
        let mut kept = Vec::with_capacity(self.held.len() + 1);
        for held in self.held.drain(..) {
            if held.owner != owner || held.last < start || held.start > last {
                kept.push(held);
                continue;
            }
            if held.start < start {
                kept.push(Held { last: start - 1, ..held });
            }
            if held.last > last {
                kept.push(Held { start: last + 1, ..held });
            }
        }
        self.held = kept;
    }
}

fn conflicts(held: &Held, lock: &Lock) -> bool {
    held.owner != lock.owner && held.start <= lock.last && lock.start <= held.last && (held.exclusive || lock.exclusive)
}
