//! From rows into memory.
//!
//! The last index row says everything. It is found without knowing where it is by doubling steps from the start
//! and then halving: about 2 log2(n) short scans, some ms for a partition of a million rows, once.

use super::{Partition, PartitionId, Writer};
use crate::keys::index::{self, IndexRow};
use crate::keys::partition::{self, PartitionRow};
use crate::streams::Inner;
use crate::{Error, Result, limits};
use ballast_store::{Pointer, Read};

/// An index row with its place.
#[derive(Clone, Debug)]
pub(crate) struct Indexed {
    pub last_offset: i64,
    pub row: IndexRow,
    pub pointer: Pointer,
}

impl Indexed {
    /// Bytes of the partition before this row.
    pub fn bytes_before(&self) -> u64 {
        self.row.bytes_so_far.saturating_sub(self.pointer.length.into())
    }
}

impl Partition {
    /// Reads the state from the rows, if it is not in memory yet.
    pub async fn load(&self, inner: &Inner) -> Result<()> {
        self.loaded.get_or_try_init(|| self.load_now(inner)).await.map(|_| ())
    }

    async fn load_now(&self, inner: &Inner) -> Result<()> {
        let row = inner.volume.get(&partition::key(self.id)).await?;
        let row = row.map(|value| PartitionRow::decode(&value.bytes)).transpose()?.unwrap_or_default();
        let last = last_row(inner.reader(), self.id, row.log_start).await?;
        // What was read may not be durable yet, and readers are shown it at once.
        inner.volume.durable(inner.volume.position()).await?;
        let next_offset = last.as_ref().map_or(row.log_start, |last| last.last_offset + 1);
        let mut writer = self.writer.lock().await;
        *writer = Writer { next_offset, max_timestamp_so_far: -1, max_timestamp_at: -1, ..Writer::default() };
        if let Some(last) = last {
            writer.bytes_so_far = last.row.bytes_so_far;
            writer.max_timestamp_so_far = last.row.max_timestamp_so_far;
            writer.max_timestamp_at = last.row.max_timestamp_at;
        }
        let mut shared = self.shared.lock();
        shared.log_start = row.log_start;
        shared.next_offset = next_offset;
        shared.high_watermark = next_offset;
        Ok(())
    }
}

/// Up to `rows_max` index rows from the one that holds `offset` on.
pub(crate) async fn rows_from(
    reader: &dyn Read,
    id: PartitionId,
    offset: i64,
    rows_max: usize,
) -> Result<Vec<Indexed>> {
    let mut scan = reader.scan(index::range_from(id, offset)).await?;
    scan.next(rows_max).await?.into_iter().map(indexed).collect()
}

pub(crate) fn indexed(row: ballast_store::Row) -> Result<Indexed> {
    let bad = || Error::Corrupt("an index row of a stream has no payload".into());
    let (_, last_offset) = index::parse(&row.key).ok_or_else(bad)?;
    let pointer = *row.value.pointers.first().ok_or_else(bad)?;
    Ok(Indexed { last_offset, row: IndexRow::decode(&row.value.bytes)?, pointer })
}

/// The last row of the partition that holds offsets from `start` on.
pub(crate) async fn last_row(reader: &dyn Read, id: PartitionId, start: i64) -> Result<Option<Indexed>> {
    let mut known: Option<Indexed> = None;
    // There is no row at `high` or behind it.
    let (mut low, mut high, mut step) = (start, None, 1_024i64);
    loop {
        let rows = rows_from(reader, id, low, limits::SCAN_ROWS).await?;
        let count = rows.len();
        match rows.into_iter().next_back() {
            Some(last) if count < limits::SCAN_ROWS => return Ok(Some(last)),
            Some(last) => known = Some(last),
            None => high = Some(low),
        }
        let floor = known.as_ref().map_or(start, |last| last.last_offset.saturating_add(1));
        low = match high {
            None => floor.saturating_add(step),
            Some(high) if floor >= high => return Ok(known),
            Some(high) => floor + (high - floor) / 2,
        };
        step = step.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ballast_store::{Batch, MemoryVolume, Volume};
    use ballast_types::Ino;

    #[tokio::test]
    async fn the_last_row_is_found_wherever_it_is() {
        for (count, width) in [(0, 1), (1, 1), (63, 1), (64, 1), (65, 3), (1_000, 1), (5_000, 7), (300, 1 << 40)] {
            let volume = MemoryVolume::new();
            let id = PartitionId { ino: Ino(5), partition: 1 };
            let payload =
                volume.append_payload(&volume.room().await.unwrap(), &[bytes::Bytes::from_static(b"x")]).await.unwrap();
            let mut batch = Batch::new();
            for number in 0..count {
                let base_offset = number * width;
                let row = IndexRow {
                    base_offset,
                    appended_ms: 0,
                    max_timestamp: 0,
                    max_timestamp_so_far: 0,
                    max_timestamp_at: 0,
                    bytes_so_far: 0,
                };
                batch.put_with_payload(index::key(id, base_offset + width - 1), row.encode(), [payload.pointer]);
            }
            volume.commit(batch).await.unwrap();
            let last = last_row(&volume, id, 0).await.unwrap().map(|last| last.last_offset);
            assert_eq!(last, (count > 0).then_some(count * width - 1), "{count} rows of {width}");
        }
    }
}
