//! Which cached rows of a file still count.
//!
//! The epoch is part of a cached row's key; a new epoch forgets all rows of a file at once. It must outlive the
//! node, because the cached rows do.

use crate::limits::EPOCHS_MAX;
use ballast_types::Ino;
use parking_lot::Mutex;
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(crate) struct Epochs {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The highest epoch given so far.
    last: u64,
    /// The epoch of every file that is not in `by_file`.
    others: u64,
    by_file: HashMap<Ino, u64>,
}

impl Epochs {
    pub fn of(&self, ino: Ino) -> u64 {
        let inner = self.inner.lock();
        inner.by_file.get(&ino).copied().unwrap_or(inner.others)
    }

    /// A new epoch for a file.
    pub fn begin(&self, ino: Ino) -> u64 {
        let mut inner = self.inner.lock();
        inner.last += 1;
        let epoch = inner.last;
        if inner.by_file.len() >= EPOCHS_MAX {
            // Everybody begins anew, which costs reading rows again and nothing else.
            inner.by_file.clear();
            inner.others = epoch;
        } else {
            inner.by_file.insert(ino, epoch);
        }
        epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_never_given_again() {
        let epochs = Epochs::default();
        let first = epochs.of(Ino(1));
        let second = epochs.begin(Ino(1));
        assert!(second > first && epochs.of(Ino(1)) == second && epochs.of(Ino(2)) == first);
        for number in 0..EPOCHS_MAX as u64 + 1 {
            let before = epochs.of(Ino(number));
            assert!(epochs.begin(Ino(number)) > before);
        }
        assert!(epochs.of(Ino(1)) > second);
    }
}
