//! The bytes that wait in memory to be written, over all files.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts; who is over it flushes before writing more.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    pub fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub fn is_over(&self) -> bool {
        self.used() >= self.max
    }

    /// Notes that an overlay went from `before` to `after` bytes.
    pub fn moved(&self, before: usize, after: usize) {
        if after >= before {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            let taken = before - after;
            let was = self.used.fetch_sub(taken, Ordering::Relaxed);
            assert!(was >= taken, "the dirty budget lost count");
        }
    }
}
