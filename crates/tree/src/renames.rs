//! Tells whether a path that was put together from several inodes ever was one.
//!
//! A path is read name by name. If a rename became visible between two of them, the whole may be a path that
//! never was; so renames are counted, and may be held off for the moment that a walk through memory takes.

use parking_lot::{RwLock, RwLockReadGuard};

/// The number of renames that became visible.
#[derive(Default)]
pub struct Renames(RwLock<u64>);

impl Renames {
    /// Makes a rename visible. Short: nothing in it waits.
    pub fn during<T>(&self, publish: impl FnOnce() -> T) -> T {
        let mut count = self.0.write();
        *count += 1;
        publish()
    }

    pub fn count(&self) -> u64 {
        *self.0.read()
    }

    /// No rename becomes visible while this is held. Not to be held over anything that waits.
    pub fn hold_off(&self) -> RwLockReadGuard<'_, u64> {
        self.0.read()
    }
}
