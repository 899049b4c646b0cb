//! An open file.

use crate::files::NodeRef;
use crate::{Files, Result};
use ballast_tree::{Access, Pin};
use ballast_types::Ino;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a file is opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    pub read: bool,
    pub write: bool,
    /// O_TRUNC: the file is emptied.
    pub truncate: bool,
    /// The file was made by the same call: its mode does not bind its maker.
    pub created: bool,
}

/// Keeps the content of a file while it lives, and remembers which failed flushes its holder has been told of.
/// Dropping it closes the file; what is dirty is flushed soon after.
pub struct Handle {
    files: Files,
    pub(crate) node: NodeRef,
    _pin: Pin,
    how: Open,
    /// Failures of the node that were reported here, or came before it was opened.
    failures_seen: AtomicU64,
    pub(crate) sequence: Mutex<Sequence>,
}

/// How far a reader that reads from front to back has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sequence {
    /// Where the next read begins if it goes on.
    pub next: u64,
    /// Reads in a row that went on.
    pub length: u32,
    /// The end of what was read ahead.
    pub ahead: u64,
}

impl Handle {
    pub(crate) fn new(files: Files, node: NodeRef, pin: Pin, how: Open) -> Self {
        let mut state = node.state.lock();
        state.opens += 1;
        state.mappable += u32::from(how.is_mappable());
        let failures_seen = AtomicU64::new(state.failures);
        drop(state);
        files.inner.metrics.open.inc();
        Self { files, node, _pin: pin, how, failures_seen, sequence: Mutex::default() }
    }

    pub fn ino(&self) -> Ino {
        self.node.ino
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    pub fn how(&self) -> Open {
        self.how
    }

    /// Whether content of the file is in memory only.
    pub fn is_dirty(&self) -> bool {
        self.node.state.lock().is_dirty()
    }

    /// Reports a flush that failed since the last report on this handle, once. What it did not write is still
    /// dirty and is tried again by the next flush.
    pub fn check(&self) -> Result<()> {
        let state = self.node.state.lock();
        if self.failures_seen.swap(state.failures, Ordering::Relaxed) == state.failures {
            return Ok(());
        }
        state.failure.clone().map_or(Ok(()), Err)
    }
}

impl Open {
    /// A shared mapping that changes the file takes both rights. The kernel closes a file behind its last mapping.
    fn is_mappable(self) -> bool {
        self.read && self.write
    }

    /// The rights that it takes.
    pub(crate) fn wanted(self) -> Access {
        let read = if self.read { Access::READ } else { Access::EXISTS };
        read.and(if self.write || self.truncate { Access::WRITE } else { Access::EXISTS })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.files.inner.metrics.open.dec();
        let mut state = self.node.state.lock();
        state.opens -= 1;
        state.mappable -= u32::from(self.how.is_mappable());
    }
}
