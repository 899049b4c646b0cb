//! Tells whether a path that was put together from several inodes ever was one.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts renames at both ends of their becoming visible.
#[derive(Default)]
pub struct Renames {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Renames {
    /// Makes a rename visible.
    pub fn during<T>(&self, publish: impl FnOnce() -> T) -> T {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let published = publish();
        self.ended.fetch_add(1, Ordering::SeqCst);
        published
    }

    /// `None` while a rename is becoming visible.
    pub fn quiet(&self) -> Option<u64> {
        let ended = self.ended.load(Ordering::SeqCst);
        (self.begun.load(Ordering::SeqCst) == ended).then_some(ended)
    }

    /// True if no rename became visible since [`Renames::quiet`] answered so.
    pub fn none_since(&self, quiet: u64) -> bool {
        self.begun.load(Ordering::SeqCst) == quiet
    }
}
