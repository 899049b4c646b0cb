//! Reading, and waiting for more.
//!
//! A reader at the end is served from the tail in memory and woken by the append itself; nothing is polled. A
//! reader further back scans index rows and reads their payloads, several at a time. Batches are given out whole:
//! the first is the one that holds the offset, and there is at least one, however small the limit.

use super::tail::Read;
use super::{Partition, PartitionId, load};
use crate::batch::split_stored;
use crate::streams::{Inner, Streams};
use crate::{Error, Result, limits};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Clone, Debug)]
pub struct FetchRequest {
    pub parts: Vec<FetchPart>,
    /// Bytes of all parts together. A first batch that is larger is given out all the same.
    pub bytes_max: usize,
    /// With less than this the answer waits.
    pub bytes_min: usize,
    pub wait: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct FetchPart {
    pub id: PartitionId,
    pub offset: i64,
    pub bytes_max: usize,
}

/// What was read of one partition.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    pub high_watermark: i64,
    pub log_start: i64,
    /// Record batches, in pieces that follow each other.
    pub records: Vec<Bytes>,
    /// Bytes of `records`.
    pub bytes: usize,
}

impl Streams {
    /// Reads partitions. Waits up to `wait` for `bytes_min`; an error in any part is answered at once.
    pub async fn fetch(&self, request: &FetchRequest) -> Vec<Result<Fetched>> {
        let results = self.fetch_or_wait(request).await;
        self.inner.counters.fetches.inc();
        self.inner.counters.fetched_bytes.inc_by(bytes_of(&results) as u64);
        results
    }

    async fn fetch_or_wait(&self, request: &FetchRequest) -> Vec<Result<Fetched>> {
        let deadline = Instant::now() + request.wait;
        let first = self.inner.fetch_all(request).await;
        if request.wait.is_zero() || is_enough(&first, request) {
            return first;
        }
        let waiter = Arc::new(Notify::new());
        loop {
            // First in the line, then look: what comes in between is seen or heard.
            self.inner.wait_all(request, &waiter).await;
            let results = self.inner.fetch_all(request).await;
            if is_enough(&results, request) {
                return results;
            }
            if tokio::time::timeout_at(deadline, waiter.notified()).await.is_err() {
                return results;
            }
        }
    }
}

fn is_enough(results: &[Result<Fetched>], request: &FetchRequest) -> bool {
    results.iter().any(Result::is_err) || bytes_of(results) >= request.bytes_min.min(request.bytes_max)
}

fn bytes_of(results: &[Result<Fetched>]) -> usize {
    results.iter().map(|result| result.as_ref().map_or(0, |fetched| fetched.bytes)).sum()
}

impl Inner {
    async fn fetch_all(self: &Arc<Self>, request: &FetchRequest) -> Vec<Result<Fetched>> {
        let mut results = Vec::with_capacity(request.parts.len());
        let mut left = request.bytes_max;
        let mut nothing_yet = true;
        for part in &request.parts {
            let bytes_max = part.bytes_max.min(left);
            let result = self.fetch_one(part, bytes_max, nothing_yet).await;
            if let Ok(fetched) = &result {
                left = left.saturating_sub(fetched.bytes);
                nothing_yet &= fetched.bytes == 0;
            }
            results.push(result);
        }
        results
    }

    async fn wait_all(&self, request: &FetchRequest, waiter: &Arc<Notify>) {
        for part in &request.parts {
            if let Ok(partition) = self.partition(part.id).await {
                partition.shared.lock().wait(waiter);
            }
        }
    }

    async fn fetch_one(self: &Arc<Self>, part: &FetchPart, bytes_max: usize, at_least_one: bool) -> Result<Fetched> {
        let (_, partition) = self.known_partition(part.id).await?;
        let mut fetched = Fetched::default();
        let end = {
            let shared = partition.shared.lock();
            if shared.gone {
                return Err(Error::Stopping);
            }
            let (start, next) = (shared.log_start, shared.next_offset);
            if part.offset < start || part.offset > next {
                return Err(Error::OffsetOutOfRange { offset: part.offset, start, end: shared.high_watermark });
            }
            let end = shared.high_watermark;
            (fetched.high_watermark, fetched.log_start) = (end, start);
            if part.offset >= end || (bytes_max == 0 && !at_least_one) {
                return Ok(fetched);
            }
            if let Some(read) = shared.tail.read(part.offset, end, bytes_max, at_least_one) {
                (fetched.records, fetched.bytes) = (read.parts, read.bytes);
                return Ok(fetched);
            }
            end
        };
        let read = self.read_behind(&partition, part.offset, end, bytes_max, at_least_one).await?;
        (fetched.records, fetched.bytes) = (read.parts, read.bytes);
        Ok(fetched)
    }

    /// Reads what is not in memory, and starts to read what follows.
    async fn read_behind(
        self: &Arc<Self>,
        partition: &Arc<Partition>,
        offset: i64,
        end: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<Read> {
        let id = partition.id;
        self.counters.log_reads.inc();
        let mut read = match self.ahead.take(id, offset).await {
            Some(Ok(read)) if read.bytes > 0 => read,
            _ => self.read_log(id, offset, end, bytes_max, at_least_one).await?,
        };
        read.shorten(bytes_max);
        if read.bytes > bytes_max && !at_least_one {
            return Ok(Read::default());
        }
        let next = read.next_offset;
        let in_memory = partition.shared.lock().tail.start().is_some_and(|start| start <= next);
        let worth = bytes_max >= limits::READ_AHEAD_FROM_BYTES;
        if worth && read.bytes > 0 && next < end && !in_memory && !self.ahead.has(id, next) {
            let (inner, bytes_max) = (Arc::clone(self), bytes_max.min(limits::READ_AHEAD_BYTES));
            let ahead = tokio::spawn(async move { inner.read_log(id, next, end, bytes_max, true).await });
            self.ahead.keep(id, next, ahead);
        }
        Ok(read)
    }

    /// Reads from the log and segments. Starts again if payload has settled meanwhile.
    async fn read_log(
        &self,
        id: PartitionId,
        offset: i64,
        end: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<Read> {
        for _ in 0..limits::MOVED_RETRIES {
            match self.read_rows(id, offset, end, bytes_max, at_least_one).await {
                Err(Error::Store(ballast_store::Error::PayloadMoved)) => {}
                done => return done,
            }
        }
        Err(Error::Store(ballast_store::Error::PayloadMoved))
    }

    async fn read_rows(
        &self,
        id: PartitionId,
        offset: i64,
        end: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<Read> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        let mut scan = self.volume.scan(crate::keys::index::range_from(id, offset)).await?;
        // A row may be an answer by itself, or a thousandth of one.
        let mut page_rows = 8;
        'pages: loop {
            let page = scan.next(page_rows).await?;
            let last_page = page.len() < page_rows;
            page_rows = limits::FETCH_ROWS.min(2 * page_rows);
            for row in page {
                let row = load::indexed(row)?;
                if row.last_offset >= end || (bytes >= bytes_max && !rows.is_empty()) {
                    break 'pages;
                }
                bytes += row.pointer.length as usize;
                rows.push(row);
            }
            if last_page {
                break;
            }
        }
        drop(scan);
        let mut payloads = stream::iter(rows)
            .map(|row| async move { self.volume.read_payload(&row.pointer).await })
            .buffered(limits::READS_IN_FLIGHT);
        let mut read = Read::default();
        'payloads: while let Some(payload) = payloads.try_next().await? {
            for batch in split_stored(payload)?.iter().filter(|batch| batch.last_offset >= offset) {
                if !read.take(batch, bytes_max, at_least_one) {
                    break 'payloads;
                }
            }
        }
        Ok(read)
    }
}
