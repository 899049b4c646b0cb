//! The newest batches of a partition in memory: the same bytes that were appended.
//!
//! One budget for all partitions of the engine; the oldest append goes first, whosever it is.

use super::Partition;
use crate::batch::StoredBatch;
use crate::limits;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// The appends at the end of a partition, without a gap.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    last_offset: i64,
    batches: SmallVec<[StoredBatch; 1]>,
}

impl Tail {
    pub fn push(&mut self, batches: SmallVec<[StoredBatch; 1]>) {
        if let Some(last) = batches.last() {
            self.entries.push_back(Entry { last_offset: last.last_offset, batches });
        }
    }

    /// The first offset that is in memory.
    pub fn start(&self) -> Option<i64> {
        self.entries.front()?.batches.first().map(|batch| batch.base_offset)
    }

    /// Whole batches from the one that holds `offset` on, before `end`: as many as fit `bytes_max`, and at least
    /// one if `at_least_one`. `None` if they are not in memory.
    pub fn read(&self, offset: i64, end: i64, bytes_max: usize, at_least_one: bool) -> Option<Read> {
        if self.start().is_none_or(|start| offset < start) {
            return None;
        }
        let first = self.entries.partition_point(|entry| entry.last_offset < offset);
        let batches = self.entries.range(first..).flat_map(|entry| &entry.batches);
        let mut read = Read::default();
        for batch in batches.skip_while(|batch| batch.last_offset < offset) {
            if batch.last_offset >= end || !read.take(batch, bytes_max, at_least_one) {
                break;
            }
        }
        Some(read)
    }

    /// Forgets everything up to `offset`.
    fn forget(&mut self, offset: i64) {
        while self.entries.front().is_some_and(|entry| entry.last_offset <= offset) {
            self.entries.pop_front();
        }
    }
}

/// Batches that were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Read {
    pub parts: Vec<bytes::Bytes>,
    pub bytes: usize,
    /// The offset behind the last batch.
    pub next_offset: i64,
}

impl Read {
    /// Drops whole batches from the end until no more than `bytes_max` are left, or one batch. Each part must be a
    /// whole batch.
    pub fn shorten(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && self.parts.len() > 1 {
            if let Some(part) = self.parts.pop() {
                self.bytes -= part.len();
                // The first bytes of a batch are its offset.
                self.next_offset = part.first_chunk().map_or(self.next_offset, |bytes| i64::from_be_bytes(*bytes));
            }
        }
    }

    /// Adds a batch if there is room for it; whether there was.
    pub fn take(&mut self, batch: &StoredBatch, bytes_max: usize, at_least_one: bool) -> bool {
        let fits = self.bytes + batch.len() <= bytes_max || (at_least_one && self.bytes == 0);
        if fits {
            batch.push_to(&mut self.parts);
            self.bytes += batch.len();
            self.next_offset = batch.last_offset + 1;
        }
        fits
    }
}

/// Memory for the tails of all partitions.
pub(crate) struct TailBudget {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    bytes: usize,
    /// Every entry of every tail, in the order of the appends: partition, last offset, bytes.
    order: VecDeque<(Weak<Partition>, i64, usize)>,
}

impl TailBudget {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: Mutex::default() }
    }

    /// Counts an entry that was pushed to the partition's tail, and makes room for it.
    pub fn kept(&self, partition: &Arc<Partition>, last_offset: i64, bytes: usize) {
        let bytes = bytes + limits::TAIL_ENTRY_OVERHEAD;
        let mut out: SmallVec<[(Weak<Partition>, i64); 4]> = SmallVec::new();
        {
            let mut kept = self.kept.lock();
            kept.bytes += bytes;
            kept.order.push_back((Arc::downgrade(partition), last_offset, bytes));
            while kept.bytes > self.bytes_max {
                let Some((partition, last_offset, bytes)) = kept.order.pop_front() else { break };
                kept.bytes -= bytes;
                out.push((partition, last_offset));
            }
        }
        for (partition, last_offset) in out {
            if let Some(partition) = partition.upgrade() {
                partition.shared.lock().tail.forget(last_offset);
            }
        }
    }
}
