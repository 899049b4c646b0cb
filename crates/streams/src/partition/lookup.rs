//! Offsets by meaning: the first, the next, the newest, the first of a time.

use super::{PartitionId, load};
use crate::batch::BatchHeader;
use crate::records::{first_since, newest_from};
use crate::streams::{Inner, Streams};
use crate::{Error, Result, limits};
use load::Indexed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetAt {
    /// The first that may be read.
    Earliest,
    /// Behind the last that may be read.
    Latest,
    /// The first record with the largest timestamp.
    MaxTimestamp,
    /// The first record that is as young as this; milliseconds.
    Time(i64),
}

/// An offset and, where a record was looked for, its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    pub offset: i64,
    pub timestamp: Option<i64>,
}

impl Streams {
    /// `None`: no record is that young.
    pub async fn find_offset(&self, id: PartitionId, at: OffsetAt) -> Result<Option<FoundOffset>> {
        let inner = &self.inner;
        let (_, partition) = inner.known_partition(id).await?;
        let (start, end) = {
            let shared = partition.shared.lock();
            (shared.log_start, shared.high_watermark)
        };
        let plain = |offset| Ok(Some(FoundOffset { offset, timestamp: None }));
        match at {
            OffsetAt::Earliest => plain(start),
            OffsetAt::Latest => plain(end),
            OffsetAt::Time(time) => inner.first_since(id, start, end, time).await,
            OffsetAt::MaxTimestamp => inner.newest(id, start, end).await,
        }
    }
}

impl Inner {
    /// The first record in `start..end` that is as young as `time`: halving over the largest timestamp so far, then
    /// one look into a payload. Cost: about log2(offsets) short scans.
    async fn first_since(&self, id: PartitionId, start: i64, end: i64, time: i64) -> Result<Option<FoundOffset>> {
        let (mut low, mut high) = (start, end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.row_at(id, middle).await? {
                Some(row) if row.row.max_timestamp_so_far < time => low = row.last_offset + 1,
                Some(row) => high = row.row.base_offset.min(middle),
                None => high = middle,
            }
        }
        self.scan_since(id, low.max(start), end, time).await
    }

    /// The record with the largest timestamp. The last row knows it, unless that record has been deleted.
    async fn newest(&self, id: PartitionId, start: i64, end: i64) -> Result<Option<FoundOffset>> {
        let Some(last) = load::last_row(self.reader(), id, start).await? else { return Ok(None) };
        let known = self.first_since(id, start, end, last.row.max_timestamp_so_far).await?;
        if known.is_some() {
            return Ok(known);
        }
        let (mut from, mut newest) = (start, None);
        while from < end {
            let rows = load::rows_from(self.reader(), id, from, limits::SCAN_ROWS).await?;
            let Some(last) = rows.last() else { break };
            from = last.last_offset + 1;
            for row in rows.iter().filter(|row| row.last_offset < end) {
                let time = match row.row.base_offset < start {
                    // Only the end of this row is left.
                    true => self.payload_of(id, row).await?.and_then(|payload| newest_in_payload(&payload, start)),
                    false => Some(row.row.max_timestamp),
                };
                newest = newest.max(time);
            }
        }
        match newest {
            Some(time) => self.scan_since(id, start, end, time).await,
            None => Ok(None),
        }
    }

    async fn row_at(&self, id: PartitionId, offset: i64) -> Result<Option<Indexed>> {
        Ok(load::rows_from(self.reader(), id, offset, 1).await?.pop())
    }

    /// Looks on row by row: the row that halving found nearly always is the one, unless an older one with a larger
    /// timestamp has been deleted.
    async fn scan_since(&self, id: PartitionId, start: i64, end: i64, time: i64) -> Result<Option<FoundOffset>> {
        let mut from = start;
        while from < end {
            let rows = load::rows_from(self.reader(), id, from, limits::SCAN_ROWS).await?;
            let Some(last) = rows.last() else { break };
            from = last.last_offset + 1;
            for row in rows.iter().filter(|row| row.last_offset < end && row.row.max_timestamp >= time) {
                let Some(payload) = self.payload_of(id, row).await? else { continue };
                if let Some((offset, timestamp)) = first_in_payload(&payload, time, start) {
                    return Ok(Some(FoundOffset { offset, timestamp: Some(timestamp) }));
                }
            }
        }
        Ok(None)
    }

    /// The payload of a row, wherever it has settled meanwhile; `None` if the row is gone.
    async fn payload_of(&self, id: PartitionId, row: &Indexed) -> Result<Option<bytes::Bytes>> {
        let mut pointer = row.pointer;
        for _ in 0..limits::MOVED_RETRIES {
            match self.volume.read_payload(&pointer).await {
                Err(ballast_store::Error::PayloadMoved) => match self.row_at(id, row.last_offset).await? {
                    Some(now) if now.last_offset == row.last_offset => pointer = now.pointer,
                    _ => return Ok(None),
                },
                done => return Ok(Some(done?)),
            }
        }
        Err(Error::Store(ballast_store::Error::PayloadMoved))
    }
}

fn first_in_payload(payload: &[u8], time: i64, from: i64) -> Option<(i64, i64)> {
    in_batches(payload)
        .filter(|(header, _)| header.last_offset() >= from)
        .find_map(|(_, batch)| first_since(batch, time, from))
}

fn newest_in_payload(payload: &[u8], from: i64) -> Option<i64> {
    let batches = in_batches(payload).filter(|(header, _)| header.last_offset() >= from);
    batches.filter_map(|(_, batch)| newest_from(batch, from)).max()
}

/// The batches of a payload, with what stands behind each.
fn in_batches(payload: &[u8]) -> impl Iterator<Item = (BatchHeader, &[u8])> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let (header, batch) = (BatchHeader::parse(rest).ok()?, rest);
        rest = &rest[header.length..];
        Some((header, batch))
    })
}
