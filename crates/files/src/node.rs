//! What is known of a file in use that its inode does not say yet.
//!
//! A node exists while its file is open, dirty or being worked on. Its bytes are the committed ones (`base`), under
//! those of a flush under way (`flushing`), under those written since (`dirty`). Everything below that lies
//! beyond `size` is hidden by zeros in an overlay, so that a file that shrinks and grows reads as zeros.

use crate::descriptor::Descriptor;
use crate::overlay::Overlay;
use crate::{Error, Result};
use ballast_tree::Inode;
use ballast_types::{Ino, Timestamp};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Node {
    pub ino: Ino,
    pub state: Mutex<State>,
    /// Held by the one flush, or other change of the committed bytes, that is under way.
    pub turn: tokio::sync::Mutex<()>,
    /// Commits of rows so far: tells a reader of the index that what it read may be old.
    pub commits: AtomicU64,
    /// A background flush is on its way.
    pub flush_queued: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct State {
    /// False until the inode was read. It is read after the node is in the table, so that no commit is missed.
    pub loaded: bool,
    pub size: u64,
    pub dirty: Overlay,
    pub flushing: Overlay,
    /// The committed size and descriptor. Only whoever has the turn changes them.
    pub base_size: u64,
    pub base: Descriptor,
    /// A flush ended without a known result: the committed state has to be read again before the next one.
    pub unsure: bool,
    /// Times to be set by the next commit.
    pub mtime: Option<Timestamp>,
    pub ctime: Option<Timestamp>,
    /// When the oldest dirty byte was written.
    pub dirty_since: Option<Timestamp>,
    pub opens: u32,
    /// Those of them through which a program may have mapped the file, to change it.
    pub mappable: u32,
    /// The inode is gone: nothing is written any more.
    pub gone: bool,
    /// The last failure of a flush, and how many there were.
    pub failure: Option<Error>,
    pub failures: u64,
}

impl Node {
    pub fn new(ino: Ino) -> Self {
        let state = State {
            loaded: false,
            size: 0,
            dirty: Overlay::default(),
            flushing: Overlay::default(),
            base_size: 0,
            base: Descriptor::default(),
            unsure: false,
            mtime: None,
            ctime: None,
            dirty_since: None,
            opens: 0,
            mappable: 0,
            gone: false,
            failure: None,
            failures: 0,
        };
        Self {
            ino,
            state: Mutex::new(state),
            turn: tokio::sync::Mutex::new(()),
            commits: AtomicU64::new(0),
            flush_queued: AtomicBool::new(false),
        }
    }

    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    /// Takes the committed size and descriptor from the inode, unless somebody has done so before.
    pub fn load(&self, inode: &Inode) -> Result<()> {
        let base = Descriptor::decode(&inode.descriptor)?;
        let mut state = self.state.lock();
        if !state.loaded {
            state.loaded = true;
            state.size = inode.size;
            state.base_size = inode.size;
            state.base = base;
        }
        Ok(())
    }

    /// Puts what is not committed yet into an inode's attributes.
    pub fn merge(&self, inode: &mut Inode) {
        let state = self.state.lock();
        if state.gone || !state.loaded {
            return;
        }
        inode.size = state.size;
        inode.mtime = state.mtime.unwrap_or(inode.mtime);
        inode.ctime = state.ctime.map_or(inode.ctime, |ctime| ctime.max(inode.ctime));
    }
}

impl State {
    /// True if the inode or its rows do not say everything yet.
    pub fn is_dirty(&self) -> bool {
        !self.gone
            && (!self.dirty.is_empty()
                || !self.flushing.is_empty()
                || self.size != self.base_size
                || self.mtime.is_some())
    }

    /// Notes that the content changed now.
    pub fn touch(&mut self, now: Timestamp) {
        self.mtime = Some(now);
        self.ctime = Some(now);
        self.dirty_since.get_or_insert(now);
    }

    /// Sets the size, hiding whatever lies beyond a smaller one.
    pub fn resize(&mut self, size: u64) {
        if size < self.size {
            self.dirty.zero(size..self.size);
        }
        self.size = size;
    }

    /// Forgets all that is not committed: how many bytes that were. Only whoever has the turn does.
    pub fn revert(&mut self) -> usize {
        let bytes = std::mem::take(&mut self.dirty).bytes();
        (self.size, self.mtime, self.dirty_since) = (self.base_size, None, None);
        bytes
    }

    /// The same, for good.
    pub fn discard(&mut self) -> usize {
        self.gone = true;
        self.revert()
    }
}
