//! Virtual children of streams and tables.

use super::{Done, Ops};
use crate::VirtualEntry;
use crate::attributes::virtual_attributes;
use crate::limits::VIRTUAL_CHILDREN_MAX;
use ballast_tree::Inode;
use ballast_types::{Ino, Kind};
use fuser::{Errno, FileAttr};
use std::ffi::OsStr;

impl Ops {
    /// The child of a stream or table; anything else is no directory.
    pub(super) async fn lookup_virtual(&self, parent: Ino, name: &OsStr) -> Done<FileAttr> {
        let inode = self.tree.inode(parent).await?;
        if !matches!(inode.kind, Kind::Stream | Kind::Table) {
            return Err(Errno::ENOTDIR.into());
        }
        let name = name.to_str().ok_or(Errno::ENOENT)?;
        self.lookup_virtual_name(&inode, name).await
    }

    pub(super) async fn lookup_virtual_name(&self, parent: &Inode, name: &str) -> Done<FileAttr> {
        let entry = self.virtual_entry(parent, name).await?;
        let number = self.numbers.look_up(parent.ino, name);
        Ok(virtual_attributes(parent, number, entry.mode, entry.size.unwrap_or(0)))
    }

    pub(super) async fn virtual_attributes(&self, number: u64) -> Done<FileAttr> {
        let (parent, name) = self.numbers.child(number).ok_or(Errno::ESTALE)?;
        let parent = self.tree.inode(parent).await?;
        let entry = self.virtual_entry(&parent, &name).await?;
        Ok(virtual_attributes(&parent, number, entry.mode, entry.size.unwrap_or(0)))
    }

    pub(super) async fn virtual_entries(&self, parent: &Inode) -> Done<Vec<VirtualEntry>> {
        let mut entries = self.virtuals.list(parent).await?;
        entries.truncate(VIRTUAL_CHILDREN_MAX);
        Ok(entries)
    }

    async fn virtual_entry(&self, parent: &Inode, name: &str) -> Done<VirtualEntry> {
        let entries = self.virtual_entries(parent).await?;
        Ok(entries.into_iter().find(|entry| entry.name == name).ok_or(Errno::ENOENT)?)
    }
}
