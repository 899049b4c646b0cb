//! The tree of one volume.

use crate::{Entry, Inode, NewInode, Rename, Result, SetAttributes};
use async_trait::async_trait;
use ballast_runtime::Clock;
use ballast_store::{Batch, Position, Volume};
use ballast_types::{Call, Ino, Kind, Name, TreePath};
use bytes::Bytes;
use std::sync::Arc;

/// An engine, as far as the tree knows it: it empties inodes that have lost their last name and last user.
#[async_trait]
pub trait Content: Send + Sync {
    /// The kinds whose content this engine keeps.
    fn kinds(&self) -> &'static [Kind];
    /// Removes all rows of the inode's content, in batches of bounded size. Called again after a crash.
    async fn purge(&self, ino: Ino) -> Result<()>;
}

/// Clones share one tree. All changes to a volume's names go through it, so that its caches are the truth.
#[derive(Clone)]
pub struct Tree {
    _inner: Arc<()>,
}

/// Keeps an inode without a name alive, as an open file does.
pub struct Pin;

#[expect(clippy::unimplemented, reason = "the signatures come first")]
#[allow(unused_variables)]
impl Tree {
    /// Opens the tree of a volume; a new volume gets its root directory (owner as given, mode 0755).
    pub async fn open(volume: Arc<dyn Volume>, clock: Arc<dyn Clock>, owner: (u32, u32)) -> Result<Self> {
        unimplemented!()
    }

    pub fn volume(&self) -> &Arc<dyn Volume> {
        unimplemented!()
    }

    /// The inode, whoever asks. From the cache if it is hot: no I/O.
    pub async fn inode(&self, ino: Ino) -> Result<Inode> {
        unimplemented!()
    }

    /// The inode of a name; needs the right to search `parent`.
    pub async fn lookup(&self, call: &Call, parent: Ino, name: &Name) -> Result<Inode> {
        unimplemented!()
    }

    /// The inode at the end of a path; follows no symlinks.
    pub async fn resolve(&self, call: &Call, path: &TreePath) -> Result<Inode> {
        unimplemented!()
    }

    /// The path of an inode that has one.
    pub async fn path_of(&self, ino: Ino) -> Result<TreePath> {
        unimplemented!()
    }

    /// Makes an inode and its name in one commit; `rows` adds the engine's own rows to it. Visible on return,
    /// durable when the position is.
    pub async fn create(
        &self,
        call: &Call,
        parent: Ino,
        name: &Name,
        new: NewInode,
        rows: &(dyn Fn(&Inode, &mut Batch) + Send + Sync),
    ) -> Result<(Inode, Position)> {
        unimplemented!()
    }

    /// Makes every missing directory of the path (mode 0755); the last one's inode.
    pub async fn create_directories(&self, call: &Call, path: &TreePath) -> Result<(Inode, Position)> {
        unimplemented!()
    }

    pub async fn link(&self, call: &Call, ino: Ino, parent: Ino, name: &Name) -> Result<(Inode, Position)> {
        unimplemented!()
    }

    /// Removes the name of anything but a directory, a stream or a table (those: [`Tree::remove_directory`]).
    pub async fn unlink(&self, call: &Call, parent: Ino, name: &Name) -> Result<Position> {
        unimplemented!()
    }

    /// rmdir: removes an empty directory, or drops a stream or a table with all it holds.
    pub async fn remove_directory(&self, call: &Call, parent: Ino, name: &Name) -> Result<Position> {
        unimplemented!()
    }

    pub async fn rename(&self, call: &Call, from: (Ino, &Name), to: (Ino, &Name), how: Rename) -> Result<Position> {
        unimplemented!()
    }

    /// chmod, chown, utimens under POSIX's rules.
    pub async fn set_attributes(&self, call: &Call, ino: Ino, set: SetAttributes) -> Result<(Inode, Position)> {
        unimplemented!()
    }

    /// Changes an inode in the same commit as rows of its content: how an engine sets size, times and descriptor.
    /// `change` runs under the inode's lock and may add rows; it checks no rights. An error from it stops the commit.
    pub async fn update(
        &self,
        ino: Ino,
        change: &mut (dyn FnMut(&mut Inode, &mut Batch) -> Result<()> + Send),
    ) -> Result<(Inode, Position)> {
        unimplemented!()
    }

    /// The entries of a directory, without `.` and `..`, in the order of their names.
    pub async fn list(&self, call: &Call, ino: Ino) -> Result<Arc<Vec<Entry>>> {
        unimplemented!()
    }

    pub async fn attribute(&self, call: &Call, ino: Ino, name: &[u8]) -> Result<Bytes> {
        unimplemented!()
    }

    pub async fn attributes(&self, call: &Call, ino: Ino) -> Result<Vec<Bytes>> {
        unimplemented!()
    }

    /// `create`: Some(true) must not exist yet, Some(false) must exist, None either.
    pub async fn set_attribute(
        &self,
        call: &Call,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        create: Option<bool>,
    ) -> Result<Position> {
        unimplemented!()
    }

    pub async fn remove_attribute(&self, call: &Call, ino: Ino, name: &[u8]) -> Result<Position> {
        unimplemented!()
    }

    /// Keeps the inode's content while the pin lives, also when its last name goes.
    pub fn pin(&self, ino: Ino) -> Pin {
        unimplemented!()
    }

    /// Registers the engine that empties inodes of its kinds.
    pub fn register(&self, content: Arc<dyn Content>) {
        unimplemented!()
    }

    /// Removes inodes that have neither name nor pin, with their content; how many. Run in the background, and
    /// woken by [`Tree::reapable`].
    pub async fn reap(&self) -> Result<usize> {
        unimplemented!()
    }

    /// Returns when there may be something to reap.
    pub async fn reapable(&self) {
        unimplemented!()
    }
}
