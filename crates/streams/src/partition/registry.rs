//! The partitions that are in memory: at most `PARTITIONS_LOADED_MAX` beyond those in use.

use super::{Partition, PartitionId};
use crate::limits;
use ballast_types::Ino;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

#[derive(Default)]
pub(crate) struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    partitions: HashMap<PartitionId, Arc<Partition>>,
    /// In the order of their loading: what goes first.
    order: VecDeque<PartitionId>,
}

impl Registry {
    /// The partition, perhaps not loaded yet.
    pub fn get(&self, id: PartitionId) -> Arc<Partition> {
        let mut inner = self.inner.lock();
        if let Some(partition) = inner.partitions.get(&id) {
            return Arc::clone(partition);
        }
        inner.make_room();
        let partition = Arc::new(Partition::new(id));
        inner.partitions.insert(id, Arc::clone(&partition));
        inner.order.push_back(id);
        partition
    }

    /// Takes this very partition out: the next who asks loads it from its rows.
    pub fn forget(&self, partition: &Arc<Partition>) {
        let mut inner = self.inner.lock();
        if inner.partitions.get(&partition.id).is_some_and(|known| Arc::ptr_eq(known, partition)) {
            inner.partitions.remove(&partition.id);
        }
    }

    /// The partitions of a stream that are in memory.
    pub fn of(&self, ino: Ino) -> Vec<Arc<Partition>> {
        let inner = self.inner.lock();
        inner.partitions.values().filter(|partition| partition.id.ino == ino).cloned().collect()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.inner.lock().partitions.len()
    }
}

impl Inner {
    /// Drops the oldest partition that nobody uses. One that is in use goes to the end of the line.
    fn make_room(&mut self) {
        for _ in 0..8 {
            if self.partitions.len() < limits::PARTITIONS_LOADED_MAX
                && self.order.len() < 2 * self.partitions.len() + 64
            {
                return;
            }
            let Some(id) = self.order.pop_front() else { return };
            let in_use = self.partitions.get(&id).is_some_and(|partition| Arc::strong_count(partition) > 1);
            if in_use {
                self.order.push_back(id);
            } else {
                self.partitions.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_partition_is_made_anew_and_only_that_very_one_is_forgotten() {
        let registry = Registry::default();
        let id = PartitionId { ino: Ino(2), partition: 0 };
        let first = registry.get(id);
        assert!(Arc::ptr_eq(&first, &registry.get(id)));
        registry.forget(&first);
        let second = registry.get(id);
        assert!(!Arc::ptr_eq(&first, &second));
        registry.forget(&first);
        assert!(Arc::ptr_eq(&second, &registry.get(id)), "the first has gone already");
    }

    #[test]
    fn partitions_in_use_stay_and_the_number_of_the_others_is_bounded() {
        let registry = Registry::default();
        let held = registry.get(PartitionId { ino: Ino(1), partition: 0 });
        for number in 0..limits::PARTITIONS_LOADED_MAX as u64 + 100 {
            registry.get(PartitionId { ino: Ino(number + 2), partition: 0 });
        }
        assert!(registry.len() <= limits::PARTITIONS_LOADED_MAX);
        assert!(Arc::ptr_eq(&held, &registry.get(held.id)));
    }
}
