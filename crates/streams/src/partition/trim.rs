//! Deleting from the start of a partition, and all of a dropped stream.

use super::{Partition, PartitionId};
use crate::keys::partition::PartitionRow;
use crate::keys::{index, partition, producer};
use crate::streams::{Inner, Streams};
use crate::{Error, Result, limits};
use ballast_store::{Batch, KeyRange, Space};
use ballast_types::Ino;
use std::sync::Arc;

impl Streams {
    /// Deletes the records before `offset`; `None` deletes all that can be read. The new first offset. Durable on
    /// return.
    pub async fn delete_records(&self, id: PartitionId, offset: Option<i64>) -> Result<i64> {
        let (_, partition) = self.inner.known_partition(id).await?;
        self.inner.trim(&partition, offset).await
    }
}

impl Inner {
    /// Moves the start of the partition, then removes the rows before it; also those that an earlier call has left,
    /// which was interrupted in between.
    pub(crate) async fn trim(&self, partition: &Arc<Partition>, offset: Option<i64>) -> Result<i64> {
        let id = partition.id;
        let log_start = {
            // The writer's lock keeps two trims in order.
            let _writer = partition.writer.lock().await;
            let (start, end) = {
                let shared = partition.shared.lock();
                (shared.log_start, shared.high_watermark)
            };
            let offset = offset.unwrap_or(end);
            if offset < 0 || offset > end {
                return Err(Error::OffsetOutOfRange { offset, start, end });
            }
            if offset > start {
                let mut batch = Batch::new();
                batch.put(partition::key(id), PartitionRow { log_start: offset }.encode());
                let position = self.volume.commit(batch).await?;
                partition.shared.lock().log_start = offset;
                self.volume.durable(position).await?;
            }
            offset.max(start)
        };
        self.delete_all(index::range_before(id, log_start)).await?;
        Ok(log_start)
    }

    /// Deletes every row of a range, in batches of bounded size.
    pub(crate) async fn delete_all(&self, range: KeyRange) -> Result<()> {
        loop {
            let rows = self.volume.scan(range.clone()).await?.next(limits::DELETE_ROWS).await?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new();
            let done = rows.len() < limits::DELETE_ROWS;
            rows.into_iter().for_each(|row| batch.delete(row.key));
            self.volume.commit(batch).await?;
            if done {
                return Ok(());
            }
        }
    }

    /// Removes all rows of a stream that has no name left. Committed offsets of groups go when retention finds them.
    pub(crate) async fn purge(&self, ino: Ino) -> Result<()> {
        for partition in self.partitions.of(ino) {
            partition.writer.lock().await.gone = true;
            {
                let mut shared = partition.shared.lock();
                shared.gone = true;
                shared.wake();
            }
            self.partitions.forget(&partition);
        }
        for space in [Space::StreamIndex, Space::StreamProducer, Space::StreamPartition, Space::StreamList] {
            self.delete_all(space.range(&[&ino.to_key()])).await?;
        }
        Ok(())
    }

    /// Forgets producers of a partition that have been silent since `before_ms`.
    pub(crate) async fn expire_producers(&self, id: PartitionId, before_ms: i64) -> Result<()> {
        let mut scan = self.volume.scan(producer::range(id)).await?;
        loop {
            let rows = scan.next(limits::DELETE_ROWS).await?;
            let mut batch = Batch::new();
            for row in &rows {
                if producer::decode(&row.value.bytes)?.appended_ms < before_ms {
                    batch.delete(row.key.clone());
                }
            }
            if !batch.is_empty() {
                // With the writer locked no append of the same producer is on its way; what it wrote since the scan
                // is checked again.
                let partition = self.partition(id).await?;
                let mut writer = partition.writer.lock().await;
                writer.producers.retain(|_, state| state.appended_ms >= before_ms);
                let mut batch = Batch::new();
                for row in &rows {
                    let value = self.volume.get(&row.key).await?;
                    let state = value.map(|value| producer::decode(&value.bytes)).transpose()?;
                    if state.is_some_and(|state| state.appended_ms < before_ms) {
                        batch.delete(row.key.clone());
                    }
                }
                if !batch.is_empty() {
                    self.volume.commit(batch).await?;
                }
            }
            if rows.len() < limits::DELETE_ROWS {
                return Ok(());
            }
        }
    }
}

/// The partition behind this one in the order of rows.
pub(crate) fn next_partition(id: PartitionId) -> PartitionId {
    match id.partition.checked_add(1) {
        Some(partition) => PartitionId { ino: id.ino, partition },
        None => PartitionId { ino: Ino(id.ino.0.saturating_add(1)), partition: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::BatchBuilder;
    use crate::{AppendPart, Config, Settings};
    use ballast_runtime::{ManualClock, Random};
    use ballast_store::{MemoryVolume, Volume};
    use ballast_tree::Tree;
    use ballast_types::Call;

    async fn open(volume: &MemoryVolume) -> Streams {
        let (shared, clock) = (Arc::new(volume.clone()), Arc::new(ManualClock::at(0)));
        let tree = Tree::open(Arc::clone(&shared) as _, Arc::clone(&clock) as _, (0, 0)).await.expect("it is new");
        Streams::new(shared, tree, clock, Random::from_seed(1), Config::default())
    }

    /// A partition of ten records that starts at 7, with all its rows.
    async fn interrupted() -> (MemoryVolume, PartitionId) {
        let volume = MemoryVolume::new();
        let streams = open(&volume).await;
        let stream = streams.create(&Call::internal(), "s", 1, Settings::default()).await.expect("the name is free");
        let id = PartitionId { ino: stream.ino, partition: 0 };
        for _ in 0..10 {
            let parts = vec![AppendPart { id, records: BatchBuilder::new().build() }];
            streams.append(parts).await.durable().await.remove(0).expect("it is taken");
        }
        let mut batch = Batch::new();
        batch.put(partition::key(id), PartitionRow { log_start: 7 }.encode());
        let position = volume.commit(batch).await.expect("memory takes it");
        volume.durable(position).await.expect("memory keeps it");
        (volume.crash(), id)
    }

    fn rows_before(volume: &MemoryVolume, id: PartitionId, offset: i64) -> usize {
        let range = index::range_before(id, offset);
        volume.rows().into_keys().filter(|key| range.contains(key)).count()
    }

    #[tokio::test]
    async fn what_an_interrupted_trim_has_left_goes_with_the_next() {
        let (volume, id) = interrupted().await;
        assert_eq!(rows_before(&volume, id, 7), 7);
        assert_eq!(open(&volume).await.delete_records(id, Some(5)).await.expect("it is below the start"), 7);
        assert_eq!((rows_before(&volume, id, 7), rows_before(&volume, id, 10)), (0, 3));
    }

    #[tokio::test]
    async fn what_an_interrupted_trim_has_left_goes_with_retention() {
        let (volume, id) = interrupted().await;
        open(&volume).await.retain().await.expect("nothing fails");
        assert_eq!((rows_before(&volume, id, 7), rows_before(&volume, id, 10)), (0, 3));
    }
}
