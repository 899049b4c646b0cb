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
    /// Moves the start of the partition, then removes the rows before it.
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
            if offset <= start {
                return Ok(start);
            }
            let mut batch = Batch::new();
            batch.put(partition::key(id), PartitionRow { log_start: offset }.encode());
            let position = self.volume.commit(batch).await?;
            partition.shared.lock().log_start = offset;
            self.volume.durable(position).await?;
            offset
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
