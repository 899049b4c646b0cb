//! Writing: into memory, and with fsync to stable storage.

use crate::files::NodeRef;
use crate::limits::{
    EXTENTS_MAX, FILE_BYTES_MAX, FLUSH_STALL_MAX, FLUSH_START_BYTES, FLUSH_WAIT_BYTES, SEGMENT_BYTES_MIN,
};
use crate::{Error, Files, Handle, Result};
use ballast_store::Batch;
use ballast_tree::{Inode, access};
use ballast_types::{Call, Ino};
use bytes::Bytes;
use std::sync::atomic::Ordering;

impl Files {
    /// Writes bytes. They are in memory when this returns: visible to every read, durable by [`Files::fsync`] or a few
    /// seconds later. Waits while too much is dirty, and then reports what keeps it from being flushed.
    pub async fn write(&self, call: &Call, ino: Ino, offset: u64, bytes: Bytes) -> Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > FILE_BYTES_MAX {
            return Err(Error::TooLarge(end));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.inner.volume.check_space()?;
        let node = self.node(ino).await?;
        self.room(&node).await?;
        self.inner.metrics.written_bytes.inc_by(bytes.len() as u64);
        let now = self.now();
        let waiting = {
            let mut state = node.state.lock();
            let before = state.dirty.bytes();
            state.dirty.put(offset, bytes);
            state.size = state.size.max(end);
            state.touch(now);
            self.inner.budget.moved(before, state.dirty.bytes());
            state.dirty.bytes()
        };
        if waiting >= FLUSH_START_BYTES {
            self.flush_soon(&node);
        }
        if !call.caller.is_root() {
            self.drop_set_id(call, ino).await?;
        }
        Ok(())
    }

    /// Takes the set-id bits off a file that somebody other than the superuser changed.
    pub(crate) async fn drop_set_id(&self, call: &Call, ino: Ino) -> Result<()> {
        let inode = self.inner.tree.inode(ino).await?;
        if access::without_privileges(&inode, &call.caller) != inode.mode {
            let change = &mut |inode: &mut Inode, _: &mut Batch| {
                inode.mode = access::without_privileges(inode, &call.caller);
                Ok(())
            };
            self.inner.tree.update(ino, change).await?;
        }
        Ok(())
    }

    /// Returns when there is room for a write to this file.
    pub(crate) async fn room(&self, node: &NodeRef) -> Result<()> {
        loop {
            let (waiting, extents) = {
                let state = node.state.lock();
                if state.gone {
                    return Ok(());
                }
                (state.dirty.bytes(), state.dirty.extents())
            };
            if waiting >= FLUSH_WAIT_BYTES || extents >= EXTENTS_MAX {
                self.flush_node(node).await?;
            } else if self.inner.budget.is_over() {
                // Our own file first, then the others, until there is room: whoever causes the pressure works it off.
                self.flush_node(node).await?;
                for other in self.nodes() {
                    if !self.inner.budget.is_over() {
                        break;
                    }
                    // Its own handles hear of its failure.
                    let _ = self.flush_node(&other).await;
                }
                // What is left belongs to files that cannot be flushed; refusing writes would not help them.
                return Ok(());
            } else {
                return Ok(());
            }
        }
    }

    /// Starts a flush in the background, unless one is on its way.
    pub(crate) fn flush_soon(&self, node: &NodeRef) {
        if !node.flush_queued.swap(true, Ordering::AcqRel) {
            let (files, node) = (self.clone(), node.clone());
            tokio::spawn(async move {
                node.flush_queued.store(false, Ordering::Release);
                // A failure is kept in the node and reported on its handles.
                let _ = files.flush_node(&node).await;
            });
        }
    }

    /// Commits what is dirty of a file, in the order of the log but without a wait for it.
    pub async fn flush(&self, ino: Ino) -> Result<()> {
        match self.known_node(ino) {
            Some(node) => self.flush_node(&node).await.map(drop),
            None => Ok(()),
        }
    }

    /// What a close does, before the handle is released: hands the content to the log, which writes it within a moment
    /// by itself, and reports what fails at once, or, once a handle, what failed earlier. Waits neither for the log nor
    /// for what goes past it, which is only started.
    pub async fn hand_over(&self, handle: &Handle) -> Result<()> {
        let node = &handle.node;
        let (dirty, bytes) = {
            let state = node.state.lock();
            (state.is_dirty(), state.dirty.bytes())
        };
        // Nobody will read a file that has lost its last name, and its release forgets it.
        if dirty && !self.inner.tree.inode(node.ino).await.is_ok_and(|inode| inode.links == 0) {
            if bytes as u64 >= SEGMENT_BYTES_MIN || node.turn.try_lock().is_err() {
                self.flush_soon(node);
            } else if let Err(error) = self.flush_node(node).await {
                // This report counts as the handle's.
                let _ = handle.check();
                return Err(error);
            }
        }
        handle.check()
    }

    /// Returns when every write to the file that returned before, and every change of names and attributes before
    /// it, is on stable storage. Also reports, once a handle, a flush that failed earlier.
    pub async fn fsync(&self, handle: &Handle) -> Result<()> {
        self.inner.metrics.syncs.inc();
        let node = &handle.node;
        let position = match self.flush_node(node).await {
            // Nothing of this file was dirty: another flush has just committed it, or only its name or mode changed.
            Ok(committed) => committed.unwrap_or_else(|| self.inner.volume.position()),
            Err(error) => {
                // This report counts as the handle's.
                let _ = handle.check();
                return Err(error);
            }
        };
        self.inner.volume.durable(position).await?;
        handle.check()
    }

    /// Returns when every change of names so far, of this directory and all others, is on stable storage.
    pub async fn fsync_directory(&self, _ino: Ino) -> Result<()> {
        Ok(self.inner.volume.durable(self.inner.volume.position()).await?)
    }

    /// Commits everything that is dirty and waits for the log, as before an unmount. The first failure, if any.
    pub async fn flush_all(&self) -> Result<()> {
        let mut result = Ok(());
        for node in self.nodes() {
            let flushed = self.flush_node(&node).await;
            result = result.and(flushed.map(drop));
        }
        self.inner.volume.durable(self.inner.volume.position()).await?;
        result
    }

    /// As [`Files::flush_all`], as long as it gets on: an error when nothing that waits was committed for
    /// [`FLUSH_STALL_MAX`]. What was not written stays dirty.
    pub async fn flush_all_in_time(&self) -> Result<()> {
        let mut flushing = std::pin::pin!(self.flush_all());
        loop {
            let before = self.dirty_bytes();
            match tokio::time::timeout(FLUSH_STALL_MAX, &mut flushing).await {
                Ok(flushed) => return flushed,
                Err(_) if self.dirty_bytes() < before => {}
                Err(_) => {
                    let seconds = FLUSH_STALL_MAX.as_secs();
                    let what = format!("{before} bytes of files are not written: no progress for {seconds} s");
                    return Err(Error::Store(ballast_store::Error::Unavailable { what, source: None }));
                }
            }
        }
    }

    /// Closes a handle. Content of a file that has lost its last name is forgotten rather than flushed.
    pub async fn release(&self, handle: Handle) -> Result<()> {
        let node = handle.node.clone();
        let last = {
            let state = node.state.lock();
            state.opens == 1 && state.is_dirty()
        };
        if last {
            let inode = self.inner.tree.inode(node.ino).await;
            if inode.is_ok_and(|inode| inode.links == 0) {
                let _turn = node.turn.lock().await;
                let mut state = node.state.lock();
                if state.opens == 1 {
                    let forgotten = state.revert();
                    self.inner.budget.moved(forgotten, 0);
                }
            }
        }
        drop(handle);
        Ok(())
    }
}
