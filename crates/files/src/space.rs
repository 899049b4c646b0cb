//! Sizes and holes: truncate, fallocate, and where data lies.

use crate::block::Block;
use crate::descriptor::Descriptor;
use crate::limits::{BLOCK_BYTES, FILE_BYTES_MAX};
use crate::{Error, Files, Result};
use ballast_types::{Call, Ino};
use std::ops::ControlFlow;

/// What fallocate does with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Extends the file if the range ends behind it. Space is not reserved: there is no writing in place.
    Extend,
    /// As `Extend`, without a change of the size: nothing to do.
    Keep,
    /// The range reads as zeros; the size stays.
    PunchHole,
    /// The range reads as zeros; the file grows if the range ends behind it.
    Zero,
}

/// What to look for from an offset on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    Data,
    Hole,
}

impl Files {
    /// Sets the size. As a write: visible at once, durable by fsync. The caller's right to write was checked
    /// when the file was opened, or by whoever calls for truncate(2).
    pub async fn truncate(&self, call: &Call, ino: Ino, size: u64) -> Result<()> {
        if size > FILE_BYTES_MAX {
            return Err(Error::TooLarge(size));
        }
        let node = self.node(ino).await?;
        let now = self.now();
        {
            let mut state = node.state.lock();
            let before = state.dirty.bytes();
            state.resize(size);
            state.touch(now);
            self.inner.budget.moved(before, state.dirty.bytes());
        }
        if !call.caller.is_root() {
            self.drop_set_id(call, ino).await?;
        }
        Ok(())
    }

    pub async fn fallocate(&self, call: &Call, ino: Ino, offset: u64, length: u64, how: Allocate) -> Result<()> {
        let end = offset.saturating_add(length);
        if length == 0 {
            return Err(Error::Invalid("a range of no bytes cannot be allocated".into()));
        }
        if end > FILE_BYTES_MAX {
            return Err(Error::TooLarge(end));
        }
        if how != Allocate::PunchHole {
            self.inner.volume.check_space()?;
        }
        let node = self.node(ino).await?;
        self.room(&node).await?;
        let now = self.now();
        {
            let mut state = node.state.lock();
            let before = state.dirty.bytes();
            if matches!(how, Allocate::PunchHole | Allocate::Zero) {
                let zeroed = offset.min(state.size)..end.min(state.size);
                state.dirty.zero(zeroed);
            }
            if matches!(how, Allocate::Extend | Allocate::Zero) {
                state.size = state.size.max(end);
            }
            if how != Allocate::Keep {
                state.touch(now);
            }
            self.inner.budget.moved(before, state.dirty.bytes());
        }
        if !call.caller.is_root() {
            self.drop_set_id(call, ino).await?;
        }
        Ok(())
    }

    /// Whether a program may have written to the file through a mapping. The kernel keeps such bytes for a while, and
    /// only it knows of them: what is a hole here may not be one.
    pub fn may_be_mapped(&self, ino: Ino) -> bool {
        self.known_node(ino).is_some_and(|node| node.state.lock().mappable > 0)
    }

    /// The first offset at or behind `offset` that holds data, or none. The end of the file is a hole.
    pub async fn seek(&self, ino: Ino, offset: u64, what: Seek) -> Result<u64> {
        let node = self.node(ino).await?;
        self.flush_node(&node).await?;
        let (size, base) = {
            let state = node.state.lock();
            (state.base_size, state.base.clone())
        };
        if offset >= size {
            return Err(Error::NothingThere(offset));
        }
        match (base, what) {
            (Descriptor::Empty, Seek::Data) => Err(Error::NothingThere(offset)),
            (Descriptor::Empty, Seek::Hole) | (Descriptor::Inline(_), Seek::Data) => Ok(offset),
            (Descriptor::Inline(_), Seek::Hole) => Ok(size),
            (Descriptor::Blocks { .. }, _) => {
                let mut at = offset;
                let blocks = offset / BLOCK_BYTES..size.div_ceil(BLOCK_BYTES);
                let visit = |number: u64, block: Block| {
                    for piece in block.pieces() {
                        let from = number * BLOCK_BYTES + u64::from(piece.start);
                        let to = number * BLOCK_BYTES + u64::from(piece.end());
                        match what {
                            _ if to <= at => {}
                            Seek::Data => return ControlFlow::Break(from.max(at)),
                            Seek::Hole if from > at => return ControlFlow::Break(at),
                            Seek::Hole => at = to,
                        }
                    }
                    ControlFlow::Continue(())
                };
                let found = self.visit_rows(&node, blocks, visit).await?;
                match (found, what) {
                    (Some(found), _) => Ok(found.min(size)),
                    (None, Seek::Hole) => Ok(at.min(size)),
                    (None, Seek::Data) => Err(Error::NothingThere(offset)),
                }
            }
        }
    }
}
