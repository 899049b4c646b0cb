//! Reading, and waiting for more.
//!
//! A reader at the end is served from the tail in memory and woken by the append itself; nothing is polled. A
//! reader further back scans index rows and reads their payloads, several at a time. Batches are given out whole:
//! the first is the one that holds the offset, and there is at least one, however small the limit.
//!
//! Memory comes from one budget: a fetch takes its share before it reads, and the answer holds it until its reader has
//! taken it. When little is left, answers are smaller.

use super::tail::Read;
use super::{Partition, PartitionId, load};
use crate::batch::split_stored;
use crate::streams::{Inner, Streams};
use crate::{Error, Result, limits};
use ballast_runtime::memory::Share;
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

/// What a fetch has read.
pub struct Answer {
    /// One for each part of the request, in its order.
    pub parts: Vec<Result<Fetched>>,
    /// The memory that it takes: keep it as long as the records.
    pub share: Share,
    /// Whether there was less memory than the request allows.
    cut_short: bool,
}

impl Answer {
    fn bytes(&self) -> usize {
        self.parts.iter().flatten().map(|fetched| fetched.bytes).sum()
    }

    fn is_enough(&self, request: &FetchRequest) -> bool {
        let bytes = self.bytes();
        let full = bytes >= request.bytes_min.min(request.bytes_max) || (self.cut_short && bytes > 0);
        full || self.parts.iter().any(Result::is_err)
    }
}

/// The share of a fetch while it reads.
struct Room {
    share: Share,
    /// Bytes of what has been read.
    used: usize,
}

impl Room {
    /// Returns when there is room for `bytes` more.
    async fn make(&mut self, bytes: usize) {
        self.share.grow(self.used + bytes).await;
    }

    /// Counts `bytes` as read, if there is room for them; whether there was.
    fn take(&mut self, bytes: usize) -> bool {
        let fits = self.share.allows(self.used + bytes);
        if fits {
            self.used += bytes;
        }
        fits
    }
}

impl Streams {
    /// Reads partitions. Waits up to `wait` for `bytes_min`; an error in any part is answered at once.
    pub async fn fetch(&self, request: &FetchRequest) -> Answer {
        let answer = self.fetch_or_wait(request).await;
        self.inner.counters.fetches.inc();
        self.inner.counters.fetched_bytes.inc_by(answer.bytes() as u64);
        answer
    }

    async fn fetch_or_wait(&self, request: &FetchRequest) -> Answer {
        let deadline = Instant::now() + request.wait;
        let first = self.inner.fetch_all(request).await;
        if request.wait.is_zero() || first.is_enough(request) {
            return first;
        }
        drop(first);
        let waiter = Arc::new(Notify::new());
        loop {
            // First in the line, then look: what comes in between is seen or heard.
            self.inner.wait_all(request, &waiter).await;
            let answer = self.inner.fetch_all(request).await;
            if answer.is_enough(request) {
                return answer;
            }
            drop(answer);
            if tokio::time::timeout_at(deadline, waiter.notified()).await.is_err() {
                return self.inner.fetch_all(request).await;
            }
        }
    }
}

impl Inner {
    async fn fetch_all(self: &Arc<Self>, request: &FetchRequest) -> Answer {
        let wanted = request.parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.bytes_max));
        let wanted = wanted.min(request.bytes_max);
        // Nobody takes all that is left.
        let mut left = wanted.min((self.fetching.free() / 2).max(limits::FETCH_SHARE_MIN));
        let cut_short = left < wanted;
        let mut room = Room { share: self.fetching.share(), used: 0 };
        room.make(left).await;
        let mut parts = Vec::with_capacity(request.parts.len());
        let mut nothing_yet = true;
        for part in &request.parts {
            let bytes_max = part.bytes_max.min(left);
            let result = self.fetch_one(part, bytes_max, nothing_yet, &mut room).await;
            if let Ok(fetched) = &result {
                left = left.saturating_sub(fetched.bytes);
                nothing_yet &= fetched.bytes == 0;
            }
            parts.push(result);
        }
        room.share.shrink(room.used);
        Answer { parts, share: room.share, cut_short }
    }

    async fn wait_all(&self, request: &FetchRequest, waiter: &Arc<Notify>) {
        for part in &request.parts {
            if let Ok(partition) = self.partition(part.id).await {
                partition.shared.lock().wait(waiter);
            }
        }
    }

    async fn fetch_one(
        self: &Arc<Self>,
        part: &FetchPart,
        bytes_max: usize,
        at_least_one: bool,
        room: &mut Room,
    ) -> Result<Fetched> {
        let (_, partition) = self.known_partition(part.id).await?;
        let mut fetched = Fetched::default();
        let end = loop {
            let (read, end) = {
                let shared = partition.shared.lock();
                if shared.gone {
                    return Err(Error::Stopping);
                }
                let (start, next, end) = (shared.log_start, shared.next_offset, shared.high_watermark);
                if part.offset < start || part.offset > next {
                    return Err(Error::OffsetOutOfRange { offset: part.offset, start, end });
                }
                (fetched.high_watermark, fetched.log_start) = (end, start);
                if part.offset >= end || (bytes_max == 0 && !at_least_one) {
                    return Ok(fetched);
                }
                (shared.tail.read(part.offset, end, bytes_max, at_least_one), end)
            };
            let Some(read) = read else { break end };
            if room.take(read.bytes) {
                (fetched.records, fetched.bytes) = (read.parts, read.bytes);
                return Ok(fetched);
            }
            // One batch larger than the share. It is not kept while others have the memory for it.
            let bytes = read.bytes;
            drop(read);
            room.make(bytes).await;
        };
        let read = self.read_behind(&partition, part.offset, end, bytes_max, at_least_one, room).await?;
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
        room: &mut Room,
    ) -> Result<Read> {
        let id = partition.id;
        self.counters.log_reads.inc();
        let mut ahead = self.ahead.take(id, offset).await.and_then(Result::ok).unwrap_or_default();
        ahead.shorten(bytes_max);
        let read = match ahead.bytes > 0 && room.take(ahead.bytes) {
            true => ahead,
            false => {
                drop(ahead);
                self.read_log(id, offset, end, bytes_max, at_least_one, Some(room)).await?
            }
        };
        if read.bytes > bytes_max && !at_least_one {
            return Ok(Read::default());
        }
        let next = read.next_offset;
        let in_memory = partition.shared.lock().tail.start().is_some_and(|start| start <= next);
        let worth = bytes_max >= limits::READ_AHEAD_FROM_BYTES;
        if worth && read.bytes > 0 && next < end && !in_memory && !self.ahead.has(id, next) {
            let (inner, bytes_max) = (Arc::clone(self), bytes_max.min(limits::READ_AHEAD_BYTES));
            let ahead = tokio::spawn(async move { inner.read_log(id, next, end, bytes_max, true, None).await });
            self.ahead.keep(id, next, ahead);
        }
        Ok(read)
    }

    /// Reads from the log and segments; without a room, ahead of its reader. Starts again if payload has settled meanwhile.
    async fn read_log(
        &self,
        id: PartitionId,
        offset: i64,
        end: i64,
        bytes_max: usize,
        at_least_one: bool,
        mut room: Option<&mut Room>,
    ) -> Result<Read> {
        for _ in 0..limits::MOVED_RETRIES {
            match self.read_rows(id, offset, end, bytes_max, at_least_one, room.as_deref_mut()).await {
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
        mut room: Option<&mut Room>,
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
        match &mut room {
            Some(room) => room.make(bytes).await,
            // Read ahead: only what is of the usual size.
            None if bytes > limits::READ_AHEAD_ROWS_BYTES => return Ok(Read::default()),
            None => {}
        }
        let mut payloads = stream::iter(rows)
            .map(|row| async move { self.volume.read_payload(&row.pointer).await })
            .buffered(limits::READS_IN_FLIGHT);
        let (mut read, mut held) = (Read::default(), 0);
        'payloads: while let Some(payload) = payloads.try_next().await? {
            let (length, before) = (payload.len(), read.bytes);
            for batch in split_stored(payload)?.iter().filter(|batch| batch.last_offset >= offset) {
                if !read.take(batch, bytes_max, at_least_one) {
                    break 'payloads;
                }
                // A batch keeps all of the append that it came with.
                held += if read.bytes == before + batch.len() { length } else { 0 };
            }
        }
        if let Some(room) = room {
            room.take(held);
        }
        Ok(read)
    }
}
