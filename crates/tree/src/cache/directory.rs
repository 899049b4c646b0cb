//! All entries of one directory.

use crate::{Entry, limits};
use ballast_types::{Ino, Kind, Name};
use bytes::Bytes;
use parking_lot::{RwLock, RwLockWriteGuard};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

#[derive(Default)]
pub struct Directory {
    entries: RwLock<Entries>,
}

#[derive(Default)]
pub struct Entries {
    by_name: BTreeMap<Name, (Ino, Kind)>,
    /// The whole listing, if somebody asked for it since the last change.
    listing: Option<Arc<Vec<Entry>>>,
    name_bytes: usize,
    /// No longer in the cache, and no longer counted.
    retired: bool,
}

impl Directory {
    /// The names are copied: what a scan returns are pieces of large blocks, which would stay in memory.
    pub fn filled(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut filled = Entries::default();
        for Entry { name, ino, kind } in entries {
            filled.set(name.clone(), Some(Entry { name, ino, kind }));
        }
        Self { entries: RwLock::new(filled) }
    }

    pub fn get(&self, name: &Name) -> Option<Entry> {
        let entries = self.entries.read();
        let (name, (ino, kind)) = entries.by_name.get_key_value(name)?;
        Some(Entry { name: name.clone(), ino: *ino, kind: *kind })
    }

    /// The listing; made at most once after each change.
    pub fn list(&self) -> Arc<Vec<Entry>> {
        if let Some(listing) = &self.entries.read().listing {
            return Arc::clone(listing);
        }
        let mut entries = self.entries.write();
        let Entries { by_name, listing, .. } = &mut *entries;
        let made = listing.get_or_insert_with(|| Arc::new(by_name.iter().map(entry).collect()));
        Arc::clone(made)
    }

    pub fn page(&self, after: Option<&Name>, entries_max: usize) -> Vec<Entry> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries.read();
        entries.by_name.range::<Name, _>((start, Bound::Unbounded)).take(entries_max).map(entry).collect()
    }

    pub fn bytes(&self) -> usize {
        self.entries.read().bytes()
    }

    pub fn change(&self) -> RwLockWriteGuard<'_, Entries> {
        self.entries.write()
    }

    /// Takes it out of the count: how many bytes it was counted with.
    pub fn retire(&self) -> usize {
        let mut entries = self.entries.write();
        if std::mem::replace(&mut entries.retired, true) { 0 } else { entries.bytes() }
    }
}

fn entry((name, (ino, kind)): (&Name, &(Ino, Kind))) -> Entry {
    Entry { name: name.clone(), ino: *ino, kind: *kind }
}

impl Entries {
    pub fn bytes(&self) -> usize {
        limits::SLOT_CACHE_BYTES + self.by_name.len() * limits::ENTRY_CACHE_BYTES + self.name_bytes
    }

    /// The name leads to `entry` now. By how many bytes the directory grew and shrank.
    pub fn set(&mut self, name: Name, entry: Option<Entry>) -> (usize, usize) {
        let before = self.bytes();
        self.listing = None;
        match entry {
            Some(Entry { ino, kind, .. }) => {
                let length = name.as_bytes().len();
                if self.by_name.insert(own(&name), (ino, kind)).is_none() {
                    self.name_bytes += length;
                }
            }
            None => {
                if let Some((name, _)) = self.by_name.remove_entry(&name) {
                    self.name_bytes -= name.as_bytes().len();
                }
            }
        }
        let after = self.bytes();
        if self.retired { (0, 0) } else { (after.saturating_sub(before), before.saturating_sub(after)) }
    }
}

/// The same name in memory of its own.
fn own(name: &Name) -> Name {
    Name::new(Bytes::copy_from_slice(name.as_bytes())).expect("a copy of a legal name is legal")
}
