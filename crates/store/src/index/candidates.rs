//! The keys of rows that may point into the log: what settling looks through, file by file.
//!
//! Every commit notes its rows that point into the log when they are visible, and so does replay; settling takes
//! those of the files that it empties, and puts back what it does not finish. A key that is noted in vain costs one
//! look-up.

use crate::Pointer;
use crate::pointer::Place;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};

/// By the place that the rows of these keys point into.
pub(crate) type Keys = BTreeMap<Place, BTreeSet<Bytes>>;

#[derive(Default)]
pub(crate) struct Candidates(Mutex<Keys>);

/// Where in the log these pointers lead.
pub(crate) fn log_places(pointers: &[Pointer]) -> impl Iterator<Item = Place> {
    pointers.iter().map(|pointer| pointer.place).filter(|place| matches!(place, Place::Log { .. }))
}

impl Candidates {
    pub fn note(&self, keys: impl Iterator<Item = (Place, Bytes)>) {
        let mut keys = keys.peekable();
        if keys.peek().is_none() {
            return; // Most commits have no payload: they spare the lock.
        }
        let mut all = self.0.lock();
        for (place, key) in keys {
            // A copy: a key may be a slice of a whole batch, which must not stay in memory for it.
            all.entry(place).or_default().insert(Bytes::copy_from_slice(&key));
        }
    }

    pub fn put_back(&self, keys: Keys) {
        let mut all = self.0.lock();
        keys.into_iter().for_each(|(place, keys)| all.entry(place).or_default().extend(keys));
    }

    /// All of these places.
    pub fn take(&self, places: &BTreeSet<Place>) -> Keys {
        let mut all = self.0.lock();
        places.iter().filter_map(|place| all.remove_entry(place)).collect()
    }

    /// How many keys a place has, and up to `most` of them, evenly spread.
    pub fn sample(&self, place: Place, most: usize) -> (usize, Vec<Bytes>) {
        let all = self.0.lock();
        let Some(keys) = all.get(&place) else { return (0, Vec::new()) };
        (keys.len(), keys.iter().step_by(keys.len().div_ceil(most).max(1)).cloned().collect())
    }

    /// Forgets all places but some.
    pub fn retain(&self, is_kept: impl Fn(Place) -> bool) {
        self.0.lock().retain(|place, _| is_kept(*place));
    }
}
