//! The tree of a snapshot: read only.

use crate::access::{self, Access};
use crate::tree::{Way, not_a_directory};
use crate::{Entry, Error, Inode, Result, ops, rows};
use ballast_store::Read;
use ballast_types::{Call, Ino, Kind, Name, TreePath};
use bytes::Bytes;
use std::sync::Arc;

/// The tree as it was when a snapshot, or a cut, was made. The rights are those of then. Nothing is cached: a
/// look-up costs two gets of the volume's index.
#[derive(Clone)]
pub struct TreeView {
    reader: Arc<dyn Read>,
}

impl TreeView {
    pub fn new(reader: Arc<dyn Read>) -> Self {
        Self { reader }
    }

    /// What engines read the content of this view's inodes from.
    pub fn reader(&self) -> &Arc<dyn Read> {
        &self.reader
    }

    pub async fn inode(&self, ino: Ino) -> Result<Inode> {
        rows::inode(&*self.reader, ino).await
    }

    /// The inode of a name; needs the right to search `parent`.
    pub async fn lookup(&self, call: &Call, parent: Ino, name: &Name) -> Result<Inode> {
        let directory = self.directory(parent, call, Access::SEARCH).await?;
        let entry = rows::entry(&*self.reader, directory.ino, name).await?;
        match self.inode(entry.ok_or_else(|| Error::NotFound(name.to_string()))?.ino).await {
            Err(Error::Stale(ino)) => Err(Error::corrupt(format!("the entry {name} leads to no inode {ino}"))),
            found => found,
        }
    }

    /// The inode at the end of a path; follows no symlinks.
    pub async fn resolve(&self, call: &Call, path: &TreePath) -> Result<Inode> {
        let mut inode = self.inode(Ino::ROOT).await?;
        for name in path.names() {
            inode = self.lookup(call, inode.ino, name).await?;
        }
        Ok(inode)
    }

    /// The path of an inode that has one.
    pub async fn path_of(&self, ino: Ino) -> Result<TreePath> {
        let mut way = Way::new(ino);
        while let Some(at) = way.next() {
            way.step(&self.inode(at).await?)?;
        }
        Ok(way.path())
    }

    /// Up to `entries_max` entries behind the name `after`, in the order of their names.
    pub async fn list_page(
        &self,
        call: &Call,
        ino: Ino,
        after: Option<&Name>,
        entries_max: usize,
    ) -> Result<Vec<Entry>> {
        self.directory(ino, call, Access::READ).await?;
        rows::entries(&*self.reader, ino, after, entries_max).await
    }

    pub async fn list(&self, call: &Call, ino: Ino) -> Result<Arc<Vec<Entry>>> {
        Ok(Arc::new(self.list_page(call, ino, None, usize::MAX).await?))
    }

    pub async fn attribute(&self, call: &Call, ino: Ino, name: &[u8]) -> Result<Bytes> {
        let inode = self.inode(ino).await?;
        ops::attribute::get_rows(&*self.reader, call, &inode, name).await
    }

    pub async fn attributes(&self, call: &Call, ino: Ino) -> Result<Vec<Bytes>> {
        match self.inode(ino).await?.attributes {
            0 => Ok(Vec::new()),
            _ => ops::attribute::list_rows(&*self.reader, call, ino).await,
        }
    }

    async fn directory(&self, ino: Ino, call: &Call, wanted: Access) -> Result<Inode> {
        let inode = self.inode(ino).await?;
        if inode.kind != Kind::Directory {
            return Err(not_a_directory(&inode));
        }
        access::require(&inode, &call.caller, wanted)?;
        Ok(inode)
    }
}
