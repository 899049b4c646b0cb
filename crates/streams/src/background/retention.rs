//! Retention: removes records that are too old or too many, producers that are silent, offsets of dead groups.
//!
//! A tick walks over partitions that hold rows, by their first row: one short scan each. It looks at a bounded
//! number and goes on from there the next time, so that a million partitions cost no more at once than a thousand.
//! A partition or an offset that cannot be read does not keep the walk from the others.

use crate::keys::index;
use crate::partition::trim::next_partition;
use crate::partition::{Partition, PartitionId, load};
use crate::streams::{Inner, Streams};
use crate::{Result, limits};
use ballast_store::{KeyRange, Space};
use ballast_types::Ino;
use std::time::Duration;

/// How often the server should call [`Streams::retain`]: Kafka's `log.retention.check.interval.ms`.
pub const INTERVAL: Duration = Duration::from_secs(300);

/// What a tick did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    pub partitions: usize,
    pub shortened: usize,
    /// True when the walk reached the end: the next tick starts over.
    pub complete: bool,
}

impl Streams {
    /// One tick. Call it again at once while it is not `complete` and there is time. After an error, which is the first
    /// of those that it met, the next tick goes on behind what was looked at.
    pub async fn retain(&self) -> Result<Retained> {
        let inner = &self.inner;
        let mut done = Retained::default();
        let mut failed = None;
        let mut cursor = *inner.retention_cursor.lock();
        while done.partitions < limits::RETENTION_PARTITIONS && !done.complete {
            match inner.next_with_rows(cursor).await? {
                Some(id) => {
                    done.partitions += 1;
                    match inner.retain_partition(id).await {
                        Ok(shortened) => done.shortened += usize::from(shortened),
                        Err(error) => drop(failed.get_or_insert(error)),
                    }
                    cursor = Some(next_partition(id));
                }
                None => {
                    cursor = None;
                    done.complete = true;
                    if let Err(error) = inner.groups.expire(inner).await {
                        failed.get_or_insert(error);
                    }
                }
            }
            *inner.retention_cursor.lock() = cursor;
        }
        failed.map_or(Ok(done), Err)
    }
}

impl Inner {
    /// The first partition from `cursor` on that has index rows.
    async fn next_with_rows(&self, cursor: Option<PartitionId>) -> Result<Option<PartitionId>> {
        let from = cursor.unwrap_or(PartitionId { ino: Ino(0), partition: 0 });
        let range = KeyRange { start: index::key(from, 0), end: Space::StreamIndex.range(&[]).end };
        let row = self.volume.scan(range).await?.next(1).await?.pop();
        Ok(row.and_then(|row| index::parse(&row.key)).map(|(id, _)| id))
    }

    /// Shortens a partition by its stream's rules; whether anything went.
    async fn retain_partition(&self, id: PartitionId) -> Result<bool> {
        // A stream without a name is emptied by the tree.
        let Ok(stream) = self.stream(id.ino).await else { return Ok(false) };
        let partition = self.partition(id).await?;
        // Nothing, unless the server stopped while it deleted.
        let log_start = partition.shared.lock().log_start;
        self.delete_all(index::range_before(id, log_start)).await?;
        let now = self.now_ms();
        let silence = i64::try_from(limits::PRODUCER_EXPIRY.as_millis()).unwrap_or(i64::MAX);
        self.expire_producers(id, now.saturating_sub(silence)).await?;
        let settings = stream.settings();
        if !settings.cleanup().deletes() {
            return Ok(false);
        }
        let (ms, bytes) = (settings.retention_ms(), settings.retention_bytes());
        let oldest = if ms < 0 { None } else { Some(now.saturating_sub(ms)) };
        let excess = if bytes < 0 { 0 } else { self.size(id).await?.saturating_sub(bytes.unsigned_abs()) };
        let Some(end) = self.end_of_expired(&partition, (oldest, now), excess).await? else { return Ok(false) };
        self.trim(&partition, Some(end)).await?;
        Ok(true)
    }

    /// Bytes of a partition.
    pub(crate) async fn size(&self, id: PartitionId) -> Result<u64> {
        let first = load::rows_from(self.reader(), id, 0, 1).await?.pop();
        let Some(first) = first else { return Ok(0) };
        let last = load::last_row(self.reader(), id, first.row.base_offset).await?;
        Ok(last.map_or(0, |last| last.row.bytes_so_far.saturating_sub(first.bytes_before())))
    }

    /// The offset behind the rows that have to go: older than `oldest`, or the first `excess` bytes as far as whole
    /// rows fit in it.
    async fn end_of_expired(
        &self,
        partition: &Partition,
        (oldest, now): (Option<i64>, i64),
        mut excess: u64,
    ) -> Result<Option<i64>> {
        let durable = partition.shared.lock().high_watermark;
        let mut end = None;
        let mut scan = self.volume.scan(index::range_from(partition.id, 0)).await?;
        loop {
            let rows = scan.next(limits::SCAN_ROWS).await?;
            let last_page = rows.len() < limits::SCAN_ROWS;
            for row in rows {
                let row = load::indexed(row)?;
                // Records without a timestamp are as old as their append, and so are those from the future: one of them
                // would keep all that come after it.
                let has_come = (0..=now).contains(&row.row.max_timestamp);
                let time = if has_come { row.row.max_timestamp } else { row.row.appended_ms };
                let too_many = excess >= u64::from(row.pointer.length);
                if row.last_offset >= durable || !(too_many || oldest.is_some_and(|oldest| time < oldest)) {
                    return Ok(end);
                }
                excess = excess.saturating_sub(row.pointer.length.into());
                end = Some(row.last_offset + 1);
            }
            if last_page {
                return Ok(end);
            }
        }
    }
}
