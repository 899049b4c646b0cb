//! Reading.
//!
//! A read is planned under the node's lock from what is not committed; the gaps come from the committed bytes: the
//! inode itself, or the payload that the blocks' rows point at. Settling may move payload at any moment; the
//! plan is then made anew. Cost when nothing is cached: one row per 128 KiB and one payload per piece.

use crate::block::{Block, Piece};
use crate::descriptor::Descriptor;
use crate::files::NodeRef;
use crate::limits::{BLOCK_BYTES, MOVED_RETRIES_MAX, READ_AHEAD_BYTES, READS_AT_ONCE, SCAN_ROWS, SCAN_ROWS_FIRST};
use crate::overlay::Cover;
use crate::{Error, Files, Handle, Result};
use ballast_store::Pointer;
use ballast_types::Ino;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What holes are made of.
static ZEROS: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];

/// One part of the answer to a read.
enum Part {
    Bytes(Bytes),
    Zeros(u64),
    /// Committed bytes, in blocks.
    Stored(Range<u64>),
}

impl Files {
    /// The bytes from `offset`, up to `length` or the end of the file, in parts that follow each other.
    pub async fn read(&self, ino: Ino, offset: u64, length: u64) -> Result<Vec<Bytes>> {
        let node = self.node(ino).await?;
        self.read_node(&node, offset, length).await
    }

    /// As [`Files::read`], through an open handle: reads in sequence are read ahead.
    pub async fn read_at(&self, handle: &Handle, offset: u64, length: u64) -> Result<Vec<Bytes>> {
        self.read_ahead(handle, offset, length);
        self.read_node(&handle.node, offset, length).await
    }

    pub(crate) async fn read_node(&self, node: &NodeRef, offset: u64, length: u64) -> Result<Vec<Bytes>> {
        self.inner.ready().await?;
        for _ in 0..MOVED_RETRIES_MAX {
            let plan = plan(node, offset, length);
            match self.fetch(node, plan).await {
                Err(error) if error.is_payload_moved() => self.forget_rows(node),
                done => {
                    let parts = done?;
                    self.inner.metrics.read_bytes.inc_by(parts.iter().map(|part| part.len() as u64).sum());
                    return Ok(parts);
                }
            }
        }
        Err(Error::Store(ballast_store::Error::PayloadMoved))
    }

    async fn fetch(&self, node: &NodeRef, plan: Vec<Part>) -> Result<Vec<Bytes>> {
        let mut bytes = Vec::with_capacity(plan.len());
        for part in plan {
            match part {
                Part::Bytes(part) => bytes.push(part),
                Part::Zeros(length) => push_zeros(&mut bytes, length),
                Part::Stored(range) => self.stored(node, range, &mut bytes).await?,
            }
        }
        Ok(bytes)
    }

    /// Committed bytes of a range that lies below the committed size.
    pub(crate) async fn stored(&self, node: &NodeRef, range: Range<u64>, into: &mut Vec<Bytes>) -> Result<()> {
        let mut pieces: Vec<(u64, Piece)> = Vec::new();
        for number in range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES) {
            let base = number * BLOCK_BYTES;
            let within =
                block_offset(range.start.max(base) - base)..block_offset(range.end.min(base + BLOCK_BYTES) - base);
            let block = self.block(node, number).await?;
            let touched = block.pieces().iter().filter(|piece| piece.start < within.end && piece.end() > within.start);
            pieces.extend(touched.map(|piece| (base, piece.slice(&within))));
        }
        let mut at = range.start;
        if let [(base, piece)] = pieces[..] {
            let bytes = self.piece(&piece).await?;
            push_zeros(into, base + u64::from(piece.start) - at);
            into.push(bytes);
            at = base + u64::from(piece.end());
        } else {
            let mut reads = futures::stream::iter(pieces)
                .map(|(base, piece)| async move { Ok::<_, Error>((base, piece, self.piece(&piece).await?)) })
                .buffered(READS_AT_ONCE);
            while let Some(read) = reads.next().await {
                let (base, piece, bytes) = read?;
                push_zeros(into, base + u64::from(piece.start) - at);
                into.push(bytes);
                at = base + u64::from(piece.end());
            }
        }
        push_zeros(into, range.end - at);
        Ok(())
    }

    /// The bytes of one piece. A payload of which only a part is wanted is kept: its other parts will be too.
    async fn piece(&self, piece: &Piece) -> Result<Bytes> {
        let Piece { pointer, offset, length, .. } = *piece;
        let payload = match self.inner.content.get(&pointer) {
            Some(payload) => payload,
            None => {
                let payload = self.inner.volume.read_payload(&pointer).await?;
                if length < pointer.length {
                    self.keep_content(pointer, &payload);
                }
                payload
            }
        };
        let (from, to) = (offset as usize, offset as usize + length as usize);
        if to > payload.len() {
            return Err(Error::Corrupt(format!("a payload of {} bytes, not {}", payload.len(), pointer.length)));
        }
        Ok(payload.slice(from..to))
    }

    fn keep_content(&self, pointer: Pointer, payload: &Bytes) {
        self.inner.content.put(pointer, payload.clone(), payload.len());
    }

    /// The row of a block, from the cache or the index; a block without a row has no pieces.
    pub(crate) async fn block(&self, node: &NodeRef, number: u64) -> Result<Arc<Block>> {
        let key = (node.ino, self.inner.epochs.of(node.ino), number);
        let commits = node.commits.load(Ordering::Acquire);
        if let Some(block) = self.inner.rows.get(&key) {
            return Ok(block);
        }
        let row = self.inner.volume.get(&Block::key(node.ino, number)).await?;
        let block = Arc::new(row.as_ref().map_or(Ok(Block::default()), Block::decode)?);
        // A commit raises the count before it puts its own rows: ours is either dropped here or replaced then.
        let still = || node.commits.load(Ordering::Acquire) == commits;
        self.inner.rows.put_if(key, Arc::clone(&block), row_bytes(&block), still);
        Ok(block)
    }

    /// Shows `visit` the blocks of a range that have rows, in order, until it breaks off; what it broke off with.
    pub(crate) async fn visit_rows<T>(
        &self,
        node: &NodeRef,
        numbers: Range<u64>,
        mut visit: impl FnMut(u64, Block) -> ControlFlow<T>,
    ) -> Result<Option<T>> {
        let range =
            ballast_store::KeyRange::new(Block::key(node.ino, numbers.start), Block::key(node.ino, numbers.end));
        let mut scan = self.inner.volume.scan(range).await?;
        // Few at first: it may break off soon.
        let mut rows_max = SCAN_ROWS_FIRST;
        loop {
            let rows = scan.next(rows_max).await?;
            if rows.is_empty() {
                return Ok(None);
            }
            for row in rows {
                if let ControlFlow::Break(found) = visit(Block::number_of(&row.key)?, Block::decode(&row.value)?) {
                    return Ok(Some(found));
                }
            }
            rows_max = (rows_max * 2).min(SCAN_ROWS);
        }
    }

    /// Drops all cached rows of a file.
    pub(crate) fn forget_rows(&self, node: &NodeRef) {
        self.inner.epochs.begin(node.ino);
    }

    /// Starts to read what a sequential reader will want next.
    fn read_ahead(&self, handle: &Handle, offset: u64, length: u64) {
        let ahead = {
            let mut sequence = handle.sequence.lock();
            // The kernel's own read-ahead may ask a little out of order.
            let goes_on = offset.abs_diff(sequence.next) <= READ_AHEAD_BYTES / 2 && offset > 0;
            sequence.length = if goes_on { sequence.length.saturating_add(1) } else { 0 };
            sequence.next = if goes_on { sequence.next.max(offset + length) } else { offset + length };
            if sequence.length < 3 {
                sequence.ahead = sequence.next;
                return;
            }
            let window = (length << sequence.length.min(10)).min(READ_AHEAD_BYTES);
            // Ask for half a window at once, not for a block at every read.
            if sequence.ahead > sequence.next + window / 2 {
                return;
            }
            let from = sequence.ahead.max(sequence.next);
            sequence.ahead = sequence.next + window;
            from..sequence.ahead
        };
        let node = handle.node.clone();
        let (size, stored) = {
            let state = node.state.lock();
            (state.base_size, matches!(state.base, Descriptor::Blocks { .. }))
        };
        if stored && ahead.start < size {
            let files = self.clone();
            tokio::spawn(async move { files.warm(&node, ahead.start..ahead.end.min(size)).await });
        }
    }

    /// Brings payload into memory. Failures are left to whoever reads it.
    async fn warm(&self, node: &NodeRef, range: Range<u64>) {
        let mut pointers: Vec<Pointer> = Vec::new();
        for number in range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES) {
            let Ok(block) = self.block(node, number).await else { return };
            pointers.extend(block.pieces().iter().map(|piece| piece.pointer));
        }
        pointers.dedup();
        let reads =
            pointers.into_iter().filter(|pointer| !self.inner.content.contains(pointer)).map(|pointer| async move {
                if let Ok(payload) = self.inner.volume.read_payload(&pointer).await {
                    self.keep_content(pointer, &payload);
                }
            });
        futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE).for_each(async |()| {}).await;
    }
}

/// What to answer, as of now.
fn plan(node: &NodeRef, offset: u64, length: u64) -> Vec<Part> {
    let state = node.state.lock();
    let end = offset.saturating_add(length).min(state.size);
    let mut parts = Vec::new();
    if offset >= end {
        return parts;
    }
    for (range, cover) in state.dirty.covers(offset..end) {
        if cover != Cover::Gap {
            parts.push(part_of(&range, cover));
            continue;
        }
        for (range, cover) in state.flushing.covers(range) {
            match cover {
                Cover::Gap => plan_base(&state.base, state.base_size, range, &mut parts),
                cover => parts.push(part_of(&range, cover)),
            }
        }
    }
    parts
}

fn part_of(range: &Range<u64>, cover: Cover) -> Part {
    match cover {
        Cover::Data(bytes) => Part::Bytes(bytes),
        Cover::Zeros | Cover::Gap => Part::Zeros(range.end - range.start),
    }
}

fn plan_base(base: &Descriptor, base_size: u64, range: Range<u64>, parts: &mut Vec<Part>) {
    let stored_end = match base {
        Descriptor::Empty => 0,
        Descriptor::Inline(bytes) => bytes.len() as u64,
        Descriptor::Blocks { .. } => base_size,
    };
    let split = stored_end.clamp(range.start, range.end);
    if range.start < split {
        parts.push(match base {
            // Both ends lie within the bytes of a small file.
            Descriptor::Inline(bytes) => Part::Bytes(bytes.slice(range.start as usize..split as usize)),
            _ => Part::Stored(range.start..split),
        });
    }
    if split < range.end {
        parts.push(Part::Zeros(range.end - split));
    }
}

pub(crate) fn push_zeros(into: &mut Vec<Bytes>, mut length: u64) {
    while length > 0 {
        let part = length.min(BLOCK_BYTES);
        into.push(Bytes::from_static(&ZEROS[..block_offset(part) as usize]));
        length -= part;
    }
}

/// An offset within a block, or a length of up to one.
pub(crate) fn block_offset(offset: u64) -> u32 {
    assert!(offset <= BLOCK_BYTES, "{offset} does not lie within a block");
    offset as u32
}

/// Bytes that a cached row takes up, about.
pub(crate) fn row_bytes(block: &Block) -> usize {
    128 + size_of_val(block.pieces())
}

/// The parts as one buffer, without a copy if there is only one.
pub fn join(mut parts: Vec<Bytes>) -> Bytes {
    if parts.len() <= 1 {
        return parts.pop().unwrap_or_default();
    }
    let mut joined = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    parts.iter().for_each(|part| joined.extend_from_slice(part));
    joined.freeze()
}
