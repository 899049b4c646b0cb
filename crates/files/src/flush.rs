//! A flush: what is dirty becomes payload, rows and one commit.
//!
//! 1. Take the dirty overlay; it stays readable as `flushing`. Writes go on into a new one.
//! 2. Small enough for the inode? Then the inode's descriptor is all there is to write.
//! 3. Else append one payload for each dirty block, or, for long runs, write a segment; lay the new pieces over the
//!    old ones; and commit the rows with the inode's size, times and descriptor.
//! 4. On success the rows go into the cache and the overlay goes. On failure it goes back below what was written
//!    since, and every handle hears of it.
//!
//! Blocks that are zeros throughout lose their rows. Should those be more than one commit takes, the file first
//! shrinks, or its hole grows, in steps: each of them a state the file could have been in.

use crate::block::{Block, Piece};
use crate::descriptor::Descriptor;
use crate::files::NodeRef;
use crate::limits::{
    BLOCK_BYTES, DELETES_PER_COMMIT, INLINE_BYTES_MAX, MOVED_RETRIES_MAX, PIECES_MAX, SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN,
};
use crate::overlay::{Cover, Overlay};
use crate::read::{block_offset, join, push_zeros, row_bytes};
use crate::{Error, Files, Result};
use ballast_store::{Batch, Payload, Position, Room};
use ballast_tree::Inode;
use ballast_types::Timestamp;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::OnceCell;

/// What one flush writes.
struct Work {
    overlay: Overlay,
    size: u64,
    base: Descriptor,
    base_size: u64,
    /// For all payload that goes to the log: who holds some of it must not wait for room.
    room: OnceCell<Room>,
}

/// Where a commit ended, and the times that it set.
struct Committed {
    position: Position,
    times: (Option<Timestamp>, Option<Timestamp>),
}

/// Gives an overlay back to its node unless the flush succeeded, also when its future is dropped.
struct Taken<'a> {
    files: &'a Files,
    node: &'a NodeRef,
    done: bool,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.node.state.lock();
        let flushing = std::mem::take(&mut state.flushing);
        let before = flushing.bytes() + state.dirty.bytes();
        if !self.done && !state.gone {
            // A commit whose end nobody saw may have happened all the same.
            state.unsure = true;
            let newer = std::mem::replace(&mut state.dirty, flushing);
            state.dirty.lay_over(newer);
        }
        self.files.inner.budget.moved(before, state.dirty.bytes());
    }
}

/// What was written of each block: its payload, and the ranges of the block that lie in it one behind the other.
type Payloads = BTreeMap<u64, (Payload, Vec<Range<u32>>)>;

/// A block that changes: its new row, and the payload appended for it.
struct NewRow {
    block: Block,
    fresh: Option<Payload>,
    allocated_before: u64,
}

impl Files {
    /// Commits what is dirty; where the commit ended, or `None` if nothing was dirty.
    pub(crate) async fn flush_node(&self, node: &NodeRef) -> Result<Option<Position>> {
        let _turn = node.turn.lock().await;
        match self.be_sure(node).await {
            Err(error) if error.is_gone() => return Ok(self.forget(node)),
            sure => sure?,
        }
        let work = {
            let mut state = node.state.lock();
            if !state.is_dirty() {
                return Ok(None);
            }
            state.flushing = std::mem::take(&mut state.dirty);
            state.dirty_since = None;
            Work {
                overlay: state.flushing.clone(),
                size: state.size,
                base: state.base.clone(),
                base_size: state.base_size,
                room: OnceCell::new(),
            }
        };
        let mut taken = Taken { files: self, node, done: false };
        self.inner.metrics.flushes.inc();
        self.inner.metrics.flushed_bytes.inc_by(work.overlay.bytes() as u64);
        let result = self.write_out(node, work).await;
        match result {
            Ok(position) => {
                taken.done = true;
                Ok(Some(position))
            }
            Err(error) if error.is_gone() => {
                taken.done = true;
                Ok(self.forget(node))
            }
            Err(error) => {
                self.inner.metrics.flush_failures.inc();
                let mut state = node.state.lock();
                state.failures += 1;
                state.dirty_since.get_or_insert(self.now());
                state.failure = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The file has neither a name nor a user left: there is nobody to miss its bytes.
    fn forget(&self, node: &NodeRef) -> Option<Position> {
        let forgotten = node.state.lock().discard();
        self.inner.budget.moved(forgotten, 0);
        None
    }

    /// Reads the committed state anew if the last flush did not come to a good end.
    async fn be_sure(&self, node: &NodeRef) -> Result<()> {
        if !node.state.lock().unsure {
            return Ok(());
        }
        // Under the inode's lock, which a commit whose flush was dropped holds until it is over.
        let (inode, _) = self.inner.tree.update(node.ino, &mut |_, _| Ok(())).await?;
        let base = Descriptor::decode(&inode.descriptor)?;
        node.commits.fetch_add(1, Ordering::AcqRel);
        self.forget_rows(node);
        let mut state = node.state.lock();
        (state.base, state.base_size, state.unsure) = (base, inode.size, false);
        Ok(())
    }

    async fn write_out(&self, node: &NodeRef, work: Work) -> Result<Position> {
        let stays_inline = !matches!(work.base, Descriptor::Blocks { .. }) && work.size <= INLINE_BYTES_MAX;
        if stays_inline {
            let descriptor = inline(&work);
            let committed = self.commit_inode(node, &work, &descriptor, |_| {}).await?;
            self.settle_base(node, &work, descriptor, &committed);
            return Ok(committed.position);
        }
        self.write_blocks(node, work).await
    }

    async fn write_blocks(&self, node: &NodeRef, mut work: Work) -> Result<Position> {
        if let Descriptor::Inline(bytes) = &work.base {
            // The small file's bytes become part of what is written.
            let mut whole = Overlay::default();
            whole.put(0, bytes.clone());
            whole.lay_over(std::mem::take(&mut work.overlay));
            work.overlay = whole;
        }
        let mut deleted = self.clear_whole_blocks(node, &mut work).await?;
        let payloads = self.write_payloads(&work).await?;
        for _ in 0..MOVED_RETRIES_MAX {
            match self.commit_rows(node, &work, &payloads, &deleted).await {
                Err(error) if error.is_payload_moved() => {
                    self.forget_rows(node);
                    deleted = self.rows_of_whole_zeros(node, &work).await?;
                }
                done => return done,
            }
        }
        Err(Error::Store(ballast_store::Error::PayloadMoved))
    }

    /// Blocks that the overlay zeroes wholly and that have rows: number and stored bytes.
    async fn rows_of_whole_zeros(&self, node: &NodeRef, work: &Work) -> Result<Vec<(u64, u64)>> {
        let mut found = Vec::new();
        if !matches!(work.base, Descriptor::Blocks { .. }) {
            return Ok(found);
        }
        for blocks in whole_zero_blocks(work) {
            if blocks.end - blocks.start == 1 {
                let block = self.block(node, blocks.start).await?;
                found.extend((!block.is_empty()).then(|| (blocks.start, block.allocated())));
                continue;
            }
            let all = self.visit_rows(node, blocks, |number, block| {
                found.push((number, block.allocated()));
                ControlFlow::<()>::Continue(())
            });
            all.await?;
        }
        Ok(found)
    }

    /// Deletes rows in steps while they are more than one commit takes; what is left to delete. From the end of the file
    /// forward, so that a file that is being cut shrinks.
    async fn clear_whole_blocks(&self, node: &NodeRef, work: &mut Work) -> Result<Vec<(u64, u64)>> {
        let mut left = self.rows_of_whole_zeros(node, work).await?;
        while left.len() > DELETES_PER_COMMIT {
            let step = left.split_off(left.len() - DELETES_PER_COMMIT);
            let Descriptor::Blocks { allocated } = work.base else { break };
            let freed: u64 = step.iter().map(|(_, bytes)| bytes).sum();
            let base = Descriptor::Blocks { allocated: allocated.saturating_sub(freed) };
            let first = step.first().map_or(0, |(number, _)| number * BLOCK_BYTES);
            let cut = work.size < work.base_size && first >= work.size;
            let size = if cut { first } else { work.base_size };
            let (ino, encoded) = (node.ino, base.encode());
            let change = &mut |inode: &mut Inode, batch: &mut Batch| {
                step.iter().for_each(|(number, _)| batch.delete(Block::key(ino, *number)));
                inode.size = size;
                inode.descriptor = encoded.clone();
                Ok(())
            };
            self.inner.tree.update(ino, change).await?;
            (work.base, work.base_size) = (base, size);
            self.forget_rows(node);
            let mut state = node.state.lock();
            (state.base, state.base_size) = (work.base.clone(), size);
        }
        Ok(left)
    }

    /// Writes the overlay's data as payload: one for each block, in segments for long runs, else in the log. Each with
    /// the runs that lie in it.
    async fn write_payloads(&self, work: &Work) -> Result<Payloads> {
        let mut payloads = BTreeMap::new();
        let mut run: Vec<(u64, Bytes)> = Vec::new();
        let mut numbers = data_blocks(&work.overlay).into_iter().peekable();
        while let Some(number) = numbers.next() {
            let (runs, parts) = data_of(work, number);
            let whole = matches!(runs[..], [Range { start: 0, end }] if u64::from(end) == BLOCK_BYTES);
            if whole {
                run.push((number, join(parts)));
            } else if !parts.is_empty() {
                let payload = self.append_payload(work, &parts).await?;
                payloads.insert(number, (payload, runs));
            }
            let run_bytes = run.len() as u64 * BLOCK_BYTES;
            let goes_on = whole && numbers.peek() == Some(&(number + 1));
            if !goes_on || run_bytes >= SEGMENT_BYTES_MAX {
                self.write_run(work, std::mem::take(&mut run), &mut payloads).await?;
            }
        }
        Ok(payloads)
    }

    async fn append_payload(&self, work: &Work, parts: &[Bytes]) -> Result<Payload> {
        let room = work.room.get_or_try_init(|| self.inner.volume.room()).await?;
        Ok(self.inner.volume.append_payload(room, parts).await?)
    }

    /// Writes consecutive whole blocks.
    async fn write_run(&self, work: &Work, run: Vec<(u64, Bytes)>, payloads: &mut Payloads) -> Result<()> {
        let all = || std::iter::once(0..block_offset(BLOCK_BYTES)).collect();
        if (run.len() as u64) * BLOCK_BYTES < SEGMENT_BYTES_MIN {
            for (number, bytes) in run {
                let payload = self.append_payload(work, &[bytes]).await?;
                payloads.insert(number, (payload, all()));
            }
            return Ok(());
        }
        let (numbers, blocks): (Vec<u64>, Vec<Bytes>) = run.into_iter().unzip();
        let written = self.inner.volume.write_segment(blocks).await?;
        payloads.extend(numbers.into_iter().zip(written).map(|(number, payload)| (number, (payload, all()))));
        Ok(())
    }

    async fn commit_rows(
        &self,
        node: &NodeRef,
        work: &Work,
        payloads: &Payloads,
        deleted: &[(u64, u64)],
    ) -> Result<Position> {
        let mut rows: BTreeMap<u64, NewRow> = BTreeMap::new();
        for number in touched_blocks(work, payloads) {
            let row = self.new_row(node, work, number, payloads.get(&number)).await?;
            rows.insert(number, row);
        }
        let freed: u64 =
            deleted.iter().map(|(_, bytes)| bytes).chain(rows.values().map(|row| &row.allocated_before)).sum();
        let stored: u64 = rows.values().map(|row| row.block.allocated()).sum();
        let before = if let Descriptor::Blocks { allocated } = work.base { allocated } else { 0 };
        let allocated = (before + stored).saturating_sub(freed);
        // Without a single row the file may live in its inode again.
        let is_empty = allocated == 0 && stored == 0;
        let descriptor = if is_empty { Descriptor::Empty } else { Descriptor::Blocks { allocated } };
        let ino = node.ino;
        let add = |batch: &mut Batch| {
            deleted.iter().for_each(|(number, _)| batch.delete(Block::key(ino, *number)));
            for (number, row) in &rows {
                if row.block.is_empty() {
                    batch.delete(Block::key(ino, *number));
                    continue;
                }
                let (bytes, pointers) = row.block.encode(row.fresh.as_ref().map(|payload| &payload.pointer));
                row.fresh.iter().for_each(|payload| batch.hold(payload));
                batch.put_with_payload(Block::key(ino, *number), bytes, pointers);
            }
        };
        let committed = self.commit_inode(node, work, &descriptor, add).await?;
        self.cache_rows(node, rows, deleted);
        self.settle_base(node, work, descriptor, &committed);
        Ok(committed.position)
    }

    /// The row of a block with what was written laid over what was there.
    async fn new_row(
        &self,
        node: &NodeRef,
        work: &Work,
        number: u64,
        written: Option<&(Payload, Vec<Range<u32>>)>,
    ) -> Result<NewRow> {
        let base = number * BLOCK_BYTES;
        let whole = written.is_some_and(|(payload, _)| u64::from(payload.pointer.length) == BLOCK_BYTES);
        let stored = matches!(work.base, Descriptor::Blocks { .. }) && base < work.base_size;
        let old = if stored { self.block(node, number).await? } else { Arc::default() };
        let allocated_before = old.allocated();
        if whole {
            let (payload, _) = written.expect("whole is only true of something written");
            let mut block = Block::default();
            block.put(Piece { start: 0, length: block_offset(BLOCK_BYTES), pointer: payload.pointer, offset: 0 });
            return Ok(NewRow { block, fresh: Some(payload.clone()), allocated_before });
        }
        let mut block = Block::clone(&old);
        for (range, cover) in work.overlay.covers(base..base + BLOCK_BYTES) {
            if cover != Cover::Gap {
                block.clear(block_offset(range.start - base)..block_offset(range.end - base));
            }
        }
        if let Some((payload, runs)) = written {
            let mut offset = 0;
            for run in runs {
                let length = run.end - run.start;
                block.put(Piece { start: run.start, length, pointer: payload.pointer, offset });
                offset += length;
            }
        }
        let fresh = written.map(|(payload, _)| payload.clone());
        if block.pieces().len() > PIECES_MAX {
            return self.rewrite(node, work, number, allocated_before).await;
        }
        Ok(NewRow { block, fresh, allocated_before })
    }

    /// Writes a block that has come to pieces anew, as one payload.
    async fn rewrite(&self, node: &NodeRef, work: &Work, number: u64, allocated_before: u64) -> Result<NewRow> {
        let base = number * BLOCK_BYTES;
        let end = work.size.min(base + BLOCK_BYTES);
        let stored_end = work.base_size.clamp(base, end);
        let mut parts = Vec::new();
        for (range, cover) in work.overlay.covers(base..end) {
            match cover {
                Cover::Data(bytes) => parts.push(bytes),
                Cover::Zeros => push_zeros(&mut parts, range.end - range.start),
                Cover::Gap => {
                    let split = stored_end.clamp(range.start, range.end);
                    if range.start < split && matches!(work.base, Descriptor::Blocks { .. }) {
                        self.stored(node, range.start..split, &mut parts).await?;
                        push_zeros(&mut parts, range.end - split);
                    } else {
                        push_zeros(&mut parts, range.end - range.start);
                    }
                }
            }
        }
        let payload = self.append_payload(work, &parts).await?;
        let mut block = Block::default();
        block.put(Piece { start: 0, length: block_offset(end - base), pointer: payload.pointer, offset: 0 });
        Ok(NewRow { block, fresh: Some(payload), allocated_before })
    }

    /// Commits the inode, and whatever `add` adds.
    async fn commit_inode(
        &self,
        node: &NodeRef,
        work: &Work,
        descriptor: &Descriptor,
        add: impl Fn(&mut Batch) + Send + Sync,
    ) -> Result<Committed> {
        let encoded = descriptor.encode();
        let mut times = (None, None);
        let change = &mut |inode: &mut Inode, batch: &mut Batch| {
            // Read here, under the inode's lock, so that a utimens that came before is not undone.
            times = {
                let state = node.state.lock();
                (state.mtime, state.ctime)
            };
            inode.size = work.size;
            inode.descriptor = encoded.clone();
            inode.mtime = times.0.unwrap_or(inode.mtime);
            inode.ctime = times.1.map_or(inode.ctime, |ctime| ctime.max(inode.ctime));
            add(batch);
            Ok(())
        };
        let (_, position) = self.inner.tree.update(node.ino, change).await?;
        node.commits.fetch_add(1, Ordering::AcqRel);
        Ok(Committed { position, times })
    }

    fn cache_rows(&self, node: &NodeRef, rows: BTreeMap<u64, NewRow>, deleted: &[(u64, u64)]) {
        let epoch = self.inner.epochs.of(node.ino);
        for (number, row) in rows {
            let bytes = row_bytes(&row.block);
            self.inner.rows.put((node.ino, epoch, number), Arc::new(row.block), bytes);
        }
        if deleted.len() > 64 {
            self.forget_rows(node);
        } else {
            for (number, _) in deleted {
                self.inner.rows.put((node.ino, epoch, *number), Arc::default(), row_bytes(&Block::default()));
            }
        }
    }

    /// What was written is what is committed now.
    fn settle_base(&self, node: &NodeRef, work: &Work, descriptor: Descriptor, committed: &Committed) {
        let mut state = node.state.lock();
        // A write that came since has left a later time.
        let (mtime, ctime) = committed.times;
        state.mtime = state.mtime.filter(|pending| Some(*pending) != mtime);
        state.ctime = state.ctime.filter(|pending| Some(*pending) != ctime);
        state.base = descriptor;
        state.base_size = work.size;
        let flushed = std::mem::take(&mut state.flushing);
        self.inner.budget.moved(flushed.bytes(), 0);
    }
}

/// The descriptor of a small file with what was written laid over what was there.
fn inline(work: &Work) -> Descriptor {
    let old: &[u8] = if let Descriptor::Inline(bytes) = &work.base { bytes } else { &[] };
    // A small file's size was checked by the caller.
    let mut content = vec![0; work.size as usize];
    let kept = old.len().min(content.len());
    content[..kept].copy_from_slice(&old[..kept]);
    for (range, cover) in work.overlay.covers(0..work.size) {
        let target = &mut content[range.start as usize..range.end as usize];
        match cover {
            Cover::Data(bytes) => target.copy_from_slice(&bytes),
            Cover::Zeros => target.fill(0),
            Cover::Gap => {}
        }
    }
    let length = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    content.truncate(length);
    if content.is_empty() { Descriptor::Empty } else { Descriptor::Inline(Bytes::from(content)) }
}

/// Ranges of blocks that the overlay zeroes wholly, as far as rows can exist; in order.
fn whole_zero_blocks(work: &Work) -> Vec<Range<u64>> {
    let rows_end = work.base_size.div_ceil(BLOCK_BYTES);
    let zeros = work.overlay.iter().filter(|(_, data)| !data).map(|(range, _)| {
        // Nothing lies behind the end of the file: a cut in its last block takes the whole rest of it.
        let end = if range.end >= work.base_size { rows_end } else { range.end / BLOCK_BYTES };
        range.start.div_ceil(BLOCK_BYTES)..end.min(rows_end)
    });
    let data = data_blocks(&work.overlay);
    // A block behind a cut may have been written anew since.
    let untouched = |blocks: Range<u64>| {
        let mut free = Vec::new();
        let mut at = blocks.start;
        for number in data.range(blocks.clone()) {
            free.push(at..*number);
            at = number + 1;
        }
        free.push(at..blocks.end);
        free
    };
    zeros
        .filter(|blocks| blocks.start < blocks.end)
        .flat_map(untouched)
        .filter(|blocks| blocks.start < blocks.end)
        .collect()
}

/// Blocks that hold data of the overlay.
fn data_blocks(overlay: &Overlay) -> BTreeSet<u64> {
    let data = overlay.iter().filter(|(_, data)| *data).map(|(range, _)| range);
    data.flat_map(|range| range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES)).collect()
}

/// Blocks whose row changes but does not simply go: those with data, and those that are zeroed in part.
fn touched_blocks(work: &Work, payloads: &Payloads) -> BTreeSet<u64> {
    let mut touched: BTreeSet<u64> = payloads.keys().copied().collect();
    if matches!(work.base, Descriptor::Blocks { .. }) {
        let whole = whole_zero_blocks(work);
        let goes = |number: &u64| {
            let at = whole.partition_point(|blocks| blocks.end <= *number);
            whole.get(at).is_some_and(|blocks| blocks.contains(number))
        };
        for (range, _) in work.overlay.iter().filter(|(_, data)| !data) {
            let edges = [range.start / BLOCK_BYTES, (range.end - 1) / BLOCK_BYTES];
            let partly = edges.into_iter().filter(|number| number * BLOCK_BYTES < work.base_size && !goes(number));
            touched.extend(partly);
        }
    }
    touched
}

/// The overlay's data in a block, below the end of the file: neighbouring extents make one run.
fn data_of(work: &Work, number: u64) -> (Vec<Range<u32>>, Vec<Bytes>) {
    let base = number * BLOCK_BYTES;
    let end = work.size.min(base + BLOCK_BYTES);
    let (mut runs, mut parts): (Vec<Range<u32>>, Vec<Bytes>) = (Vec::new(), Vec::new());
    if end <= base {
        return (runs, parts);
    }
    for (range, cover) in work.overlay.covers(base..end) {
        let Cover::Data(bytes) = cover else { continue };
        let (from, to) = (block_offset(range.start - base), block_offset(range.end - base));
        match runs.last_mut() {
            Some(last) if last.end == from => last.end = to,
            _ => runs.push(from..to),
        }
        parts.push(bytes);
    }
    (runs, parts)
}
