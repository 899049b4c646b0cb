//! The engine: files in use, and what they share.

use crate::block::Block;
use crate::budget::Budget;
use crate::descriptor::Descriptor;
use crate::epochs::Epochs;
use crate::limits::ATTRIBUTE_READS_MAX;
use crate::locks::Locks;
use crate::lru::Lru;
use crate::metrics::FilesMetrics;
use crate::node::Node;
use crate::{Error, Handle, Open, Result, Settings};
use async_trait::async_trait;
use ballast_runtime::Clock;
use ballast_runtime::telemetry::Metrics;
use ballast_store::{Batch, Pointer, Position, Volume};
use ballast_tree::{Content, Inode, SetAttributes, Tree, access};
use ballast_types::{Call, Ino, Kind, Timestamp};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// The files of one volume. Clones share everything.
#[derive(Clone)]
pub struct Files {
    pub(crate) inner: Arc<Inner>,
}

/// The key of a cached row: the file, its epoch, the block.
pub(crate) type RowKey = (Ino, u64, u64);

pub(crate) struct Inner {
    pub volume: Arc<dyn Volume>,
    pub tree: Tree,
    pub clock: Arc<dyn Clock>,
    pub budget: Budget,
    pub nodes: Mutex<HashMap<Ino, Arc<Node>>>,
    pub rows: Lru<RowKey, Arc<Block>>,
    pub epochs: Epochs,
    /// Payload by its pointer: it never changes, so it is never out of date.
    pub content: Lru<Pointer, Bytes>,
    pub locks: Locks,
    pub metrics: FilesMetrics,
}

impl Inner {
    /// Refuses once the volume must not be served any more; waits for a lease that is only late.
    pub async fn ready(&self) -> Result<()> {
        Ok(ballast_store::ready(&*self.volume).await?)
    }
}

/// A node that is being used. Nodes leave the table when nobody uses them and all is committed; they are
/// only ever taken out of the table under its lock, so that a file never has two.
pub(crate) struct NodeRef {
    inner: Arc<Inner>,
    node: Option<Arc<Node>>,
}

impl std::ops::Deref for NodeRef {
    type Target = Node;

    fn deref(&self) -> &Node {
        self.node.as_ref().expect("it is there until it is dropped")
    }
}

impl Clone for NodeRef {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), node: self.node.clone() }
    }
}

impl Drop for NodeRef {
    fn drop(&mut self) {
        let mut nodes = self.inner.nodes.lock();
        let Some(node) = self.node.take() else { return };
        // Two are the table's and ours.
        if Arc::strong_count(&node) == 2 && nodes.get(&node.ino).is_some_and(|known| Arc::ptr_eq(known, &node)) {
            let state = node.state.lock();
            if !state.is_dirty() && state.opens == 0 {
                nodes.remove(&node.ino);
            }
        }
    }
}

impl Files {
    /// Serves the files of a volume and empties those that the tree lets go. Call [`Files::background`] in a
    /// task of its own: it writes what nobody asked to be written.
    pub fn new(volume: Arc<dyn Volume>, tree: Tree, clock: Arc<dyn Clock>, settings: &Settings) -> Self {
        let inner = Arc::new(Inner {
            volume,
            tree: tree.clone(),
            clock,
            budget: Budget::new(settings.dirty_bytes_max),
            nodes: Mutex::default(),
            rows: Lru::new(settings.row_cache_bytes),
            epochs: Epochs::default(),
            content: Lru::new(settings.content_cache_bytes),
            locks: Locks::default(),
            metrics: FilesMetrics::default(),
        });
        tree.register(Arc::new(FileContent(Arc::downgrade(&inner))));
        Self { inner }
    }

    pub fn tree(&self) -> &Tree {
        &self.inner.tree
    }

    pub fn locks(&self) -> &Locks {
        &self.inner.locks
    }

    pub fn register_metrics(&self, metrics: &Metrics) {
        metrics.register("files", |registry| self.inner.metrics.register(registry));
    }

    /// Bytes that were written and are not committed yet.
    pub fn dirty_bytes(&self) -> usize {
        self.inner.budget.used()
    }

    /// Opens a file: it keeps its content while the handle lives, whatever happens to its names. The caller's
    /// rights are checked here, once, as POSIX has it.
    pub async fn open(&self, call: &Call, ino: Ino, how: Open) -> Result<Handle> {
        let (inode, pin) = self.inner.tree.pin_live(ino).await?;
        check_file(&inode)?;
        if !how.created {
            access::require(&inode, &call.caller, how.wanted())?;
        }
        let node = self.node(ino).await?;
        let handle = Handle::new(self.clone(), node, pin, how);
        if how.truncate {
            self.truncate(call, ino, 0).await?;
        }
        Ok(handle)
    }

    /// The inode with the size and the times that are not committed yet.
    pub async fn attributes(&self, ino: Ino) -> Result<Inode> {
        // In this order: a node that is gone has left what it knew in the inode, and one that is held stays.
        let Some(node) = self.known_node(ino) else { return Ok(self.inner.tree.inode(ino).await?) };
        let mut attempts = 0;
        loop {
            let commits = node.commits();
            let mut inode = self.inner.tree.inode(ino).await?;
            node.merge(&mut inode);
            attempts += 1;
            // A commit in between has moved times from the node into the inode, behind the look at it.
            if node.commits() == commits || attempts == ATTRIBUTE_READS_MAX {
                return Ok(inode);
            }
        }
    }

    /// The same of an inode that came from the tree, which may be older by now than what has been committed since.
    pub async fn current(&self, inode: Inode) -> Result<Inode> {
        if inode.kind != Kind::File {
            return Ok(inode);
        }
        match self.attributes(inode.ino).await {
            // It was removed in between.
            Err(error) if error.is_gone() => Ok(inode),
            current => current,
        }
    }

    /// Bytes that a file takes up: `st_blocks` in bytes.
    pub fn allocated(&self, inode: &Inode) -> u64 {
        if inode.kind != Kind::File {
            return 0;
        }
        let node = self.known_node(inode.ino);
        let committed = Descriptor::decode(&inode.descriptor).unwrap_or_default().allocated();
        node.map_or(committed, |node| {
            let state = node.state.lock();
            let waiting = (state.dirty.bytes() + state.flushing.bytes()) as u64;
            if !state.loaded {
                return committed;
            }
            (state.base.allocated() + waiting).min(state.size.next_multiple_of(512))
        })
    }

    /// chmod, chown and utimens of an inode of any kind. A time that is set stays as it was set: writes that
    /// came before do not move it when they are flushed.
    pub async fn set_attributes(&self, call: &Call, ino: Ino, set: SetAttributes) -> Result<(Inode, Position)> {
        let node = self.known_node(ino);
        let pending = node.as_ref().filter(|_| set.mtime.is_some()).and_then(|node| node.state.lock().mtime.take());
        let done = self.inner.tree.set_attributes(call, ino, set).await;
        if let (Err(_), Some(node), Some(pending)) = (&done, &node, pending) {
            node.state.lock().mtime.get_or_insert(pending);
        }
        let (inode, position) = done?;
        Ok((self.current(inode).await?, position))
    }

    /// The node of a file, made if need be. Refuses once the volume must not be served any more.
    pub(crate) async fn node(&self, ino: Ino) -> Result<NodeRef> {
        self.inner.ready().await?;
        let node = {
            let mut nodes = self.inner.nodes.lock();
            Arc::clone(nodes.entry(ino).or_insert_with(|| Arc::new(Node::new(ino))))
        };
        let node = NodeRef { inner: Arc::clone(&self.inner), node: Some(node) };
        let loaded = node.state.lock().loaded;
        if !loaded {
            let inode = self.inner.tree.inode(ino).await?;
            check_file(&inode)?;
            node.load(&inode)?;
        }
        Ok(node)
    }

    pub(crate) fn known_node(&self, ino: Ino) -> Option<NodeRef> {
        let node = self.inner.nodes.lock().get(&ino).cloned()?;
        Some(NodeRef { inner: Arc::clone(&self.inner), node: Some(node) })
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.inner.clock.now_nanos())
    }

    /// All nodes in use.
    pub(crate) fn nodes(&self) -> Vec<NodeRef> {
        let nodes: Vec<Arc<Node>> = self.inner.nodes.lock().values().cloned().collect();
        nodes.into_iter().map(|node| NodeRef { inner: Arc::clone(&self.inner), node: Some(node) }).collect()
    }
}

fn check_file(inode: &Inode) -> Result<()> {
    match inode.kind {
        Kind::File => Ok(()),
        kind if kind.looks_like_directory() => Err(Error::IsADirectory(inode.ino)),
        _ => Err(Error::NotAFile(inode.ino)),
    }
}

/// What the tree knows of this engine. Weak: the engine holds the tree.
struct FileContent(Weak<Inner>);

#[async_trait]
impl Content for FileContent {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::File]
    }

    async fn purge(&self, ino: Ino) -> ballast_tree::Result<()> {
        let closed = || ballast_store::Error::Closed("the files engine has stopped".into());
        let inner = self.0.upgrade().ok_or_else(closed)?;
        Files { inner }.purge(ino).await
    }
}

impl Files {
    /// Removes all rows of a file's blocks, from the first on. Called by the tree, which removes the inode after it.
    async fn purge(&self, ino: Ino) -> ballast_tree::Result<()> {
        let node = self.known_node(ino);
        let _turn = match &node {
            Some(node) => Some(node.turn.lock().await),
            None => None,
        };
        if let Some(node) = &node {
            let forgotten = node.state.lock().discard();
            self.inner.budget.moved(forgotten, 0);
        }
        loop {
            let mut scan = self.inner.volume.scan(ballast_store::Space::Block.range(&[&ino.to_key()])).await?;
            let rows = scan.next(crate::limits::DELETES_PER_COMMIT).await?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new();
            rows.into_iter().for_each(|row| batch.delete(row.key));
            self.inner.volume.commit(batch).await?;
        }
    }
}
