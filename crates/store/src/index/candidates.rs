//! The keys of rows that may point into the log: what settling looks through.
//!
//! Every commit notes its rows that point into the log when they are visible, and so does replay; settling takes
//! them, and puts back what it does not finish. A key that is noted in vain costs one look-up.

use crate::Pointer;
use crate::pointer::Place;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeSet;

#[derive(Default)]
pub(crate) struct Candidates(Mutex<BTreeSet<Bytes>>);

pub(crate) fn is_in_log(pointers: &[Pointer]) -> bool {
    pointers.iter().any(|pointer| matches!(pointer.place, Place::Log { .. }))
}

impl Candidates {
    pub fn note(&self, keys: &[Bytes]) {
        if !keys.is_empty() {
            // Copies: a key may be a slice of a whole batch, which must not stay in memory for it.
            self.0.lock().extend(keys.iter().map(|key| Bytes::copy_from_slice(key)));
        }
    }

    pub fn put_back(&self, keys: impl IntoIterator<Item = Bytes>) {
        self.0.lock().extend(keys);
    }

    /// All of them, in key order: neighbours become neighbours in a segment.
    pub fn take(&self) -> BTreeSet<Bytes> {
        std::mem::take(&mut self.0.lock())
    }
}
