//! A map that knows what was not used lately: the CLOCK algorithm.
//!
//! A use sets a bit, which needs no more than a shared lock. The hand goes round; what it finds without the bit
//! goes, and the bits it passes are cleared.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Ring<K, V> {
    index: HashMap<K, usize>,
    slots: Vec<Option<Slot<K, V>>>,
    free: Vec<usize>,
    hand: usize,
}

struct Slot<K, V> {
    key: K,
    value: V,
    used: AtomicBool,
}

impl<K, V> Default for Ring<K, V> {
    fn default() -> Self {
        Self { index: HashMap::new(), slots: Vec::new(), free: Vec::new(), hand: 0 }
    }
}

impl<K: Copy + Eq + Hash, V> Ring<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        let slot = self.slots[*self.index.get(key)?].as_ref()?;
        // Most hits are of what is marked already: do not make the cores fight for the line.
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(&slot.value)
    }

    /// The value that was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(slot) = self.index.get(&key).and_then(|at| self.slots[*at].as_mut()) {
            *slot.used.get_mut() = true;
            return Some(std::mem::replace(&mut slot.value, value));
        }
        let slot = Some(Slot { key, value, used: AtomicBool::new(false) });
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.index.insert(key, at);
        None
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.index.remove(key)?;
        self.free.push(at);
        self.slots[at].take().map(|slot| slot.value)
    }

    /// Takes out what was not used since the hand came by last. In two rounds it finds something, if there is
    /// anything at all.
    pub fn evict(&mut self) -> Option<V> {
        for _ in 0..self.slots.len() * 2 {
            let at = self.hand % self.slots.len();
            self.hand = at + 1;
            if let Some(slot) = &mut self.slots[at]
                && !std::mem::take(slot.used.get_mut())
            {
                let key = slot.key;
                return self.remove(&key);
            }
        }
        None
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.slots.iter().flatten().map(|slot| &slot.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_outlives_what_was_not() {
        let mut ring = Ring::default();
        for key in 0..10 {
            ring.insert(key, key);
        }
        (0..10).filter(|key| key % 2 == 0).for_each(|key| assert_eq!(ring.get(&key), Some(&key)));
        let mut gone: Vec<i32> = (0..5).filter_map(|_| ring.evict()).collect();
        gone.sort_unstable();
        assert_eq!(gone, [1, 3, 5, 7, 9]);
        assert_eq!(ring.values().count(), 5);
    }

    #[test]
    fn places_are_used_again_and_an_empty_ring_has_nothing_to_give() {
        let mut ring = Ring::default();
        assert_eq!(ring.evict(), None::<u8>);
        for round in 0..100u8 {
            assert_eq!(ring.insert(1, round), None);
            assert_eq!(ring.insert(1, round + 1), Some(round));
            assert_eq!(ring.remove(&1), Some(round + 1));
        }
        assert_eq!(ring.slots.len(), 1);
        assert_eq!((ring.evict(), ring.get(&1)), (None, None));
    }
}
