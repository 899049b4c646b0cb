//! Reading ahead: while a reader that is catching up takes one answer, the next is read from the log.
//!
//! What is written at an offset never changes, so that whatever was read ahead is right for ever. It is kept until
//! somebody asks for just that offset, or until others need the place.

use super::PartitionId;
use super::tail::Read;
use crate::{Error, Result, limits};
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::task::JoinHandle;

#[derive(Default)]
pub(crate) struct ReadAhead {
    reads: Mutex<VecDeque<Ahead>>,
}

struct Ahead {
    id: PartitionId,
    offset: i64,
    read: JoinHandle<Result<Read>>,
}

impl ReadAhead {
    /// Keeps a read that has been started. The oldest goes to make room.
    pub fn keep(&self, id: PartitionId, offset: i64, read: JoinHandle<Result<Read>>) {
        let mut reads = self.reads.lock();
        while reads.len() >= limits::READS_AHEAD_MAX {
            reads.pop_front();
        }
        reads.push_back(Ahead { id, offset, read });
    }

    /// Whether somebody has started to read this.
    pub fn has(&self, id: PartitionId, offset: i64) -> bool {
        self.reads.lock().iter().any(|ahead| (ahead.id, ahead.offset) == (id, offset))
    }

    /// What was read ahead from this offset on; waits if it is still being read.
    pub async fn take(&self, id: PartitionId, offset: i64) -> Option<Result<Read>> {
        let read = {
            let mut reads = self.reads.lock();
            let at = reads.iter().position(|ahead| (ahead.id, ahead.offset) == (id, offset))?;
            reads.remove(at)?.read
        };
        Some(read.await.unwrap_or(Err(Error::Stopping)))
    }
}
