//! A map that forgets what was used least recently when it grows beyond a number of bytes.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    inner: Mutex<Inner<K, V>>,
    bytes_max: usize,
}

#[derive(Debug)]
struct Inner<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Keys by the tick of their last use.
    order: BTreeMap<u64, K>,
    tick: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    tick: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Lru<K, V> {
    pub fn new(bytes_max: usize) -> Self {
        let inner = Inner { entries: HashMap::new(), order: BTreeMap::new(), tick: 0, bytes: 0 };
        Self { inner: Mutex::new(inner), bytes_max }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let mut inner = self.inner.lock();
        inner.tick += 1;
        let tick = inner.tick;
        let Inner { entries, order, .. } = &mut *inner;
        let entry = entries.get_mut(key)?;
        let key = order.remove(&entry.tick)?;
        order.insert(tick, key);
        entry.tick = tick;
        Some(entry.value.clone())
    }

    pub fn contains(&self, key: &K) -> bool {
        self.inner.lock().entries.contains_key(key)
    }

    /// Puts a value of so many bytes; one that is larger than an eighth of the map is not kept.
    pub fn put(&self, key: K, value: V, bytes: usize) {
        if bytes > self.bytes_max / 8 {
            return;
        }
        self.inner.lock().put(key, value, bytes, self.bytes_max);
    }

    /// As [`Lru::put`], but only if `still` says so while the map is locked.
    pub fn put_if(&self, key: K, value: V, bytes: usize, still: impl FnOnce() -> bool) {
        if bytes <= self.bytes_max / 8 {
            let mut inner = self.inner.lock();
            if still() {
                inner.put(key, value, bytes, self.bytes_max);
            }
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }
}

impl<K: Hash + Eq + Clone, V> Inner<K, V> {
    fn put(&mut self, key: K, value: V, bytes: usize, bytes_max: usize) {
        self.tick += 1;
        let tick = self.tick;
        if let Some(old) = self.entries.insert(key.clone(), Entry { value, bytes, tick }) {
            self.order.remove(&old.tick);
            self.bytes -= old.bytes;
        }
        self.order.insert(tick, key);
        self.bytes += bytes;
        while self.bytes > bytes_max {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some(gone) = self.entries.remove(&oldest) {
                self.bytes -= gone.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_the_bytes_stay_bounded() {
        let lru = Lru::new(80);
        (0..8).for_each(|key| lru.put(key, key, 10));
        assert_eq!(lru.get(&0), Some(0));
        lru.put(8, 8, 10);
        assert_eq!((lru.get(&0), lru.get(&1), lru.get(&8)), (Some(0), None, Some(8)));
        lru.put(8, 9, 5);
        assert_eq!((lru.get(&8), lru.bytes()), (Some(9), 75));
        lru.put(9, 9, 11);
        assert!(!lru.contains(&9), "one value never fills the map");
    }
}
