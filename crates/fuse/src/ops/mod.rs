//! What each request does, without the kernel's side of it: plain async functions over tree and files.

mod content;
mod directories;
mod inodes;
mod names;
mod virtual_children;
mod xattrs;

pub(crate) use content::{Write, file_flags};
pub(crate) use directories::Line;
pub(crate) use inodes::Change;

use crate::Settings;
use crate::attributes::attributes;
use crate::errno::Fault;
use crate::handles::Handles;
use crate::virtuals::{Numbers, Virtual};
use crate::who::Who;
use ballast_files::Files;
use ballast_tree::{Inode, Tree, access};
use ballast_types::{Call, Ino, Kind, Name};
use bytes::Bytes;
use fuser::{Errno, FileAttr};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

pub(crate) type Done<T> = Result<T, Fault>;

/// Everything that requests need.
pub(crate) struct Ops {
    pub tree: Tree,
    pub files: Files,
    pub virtuals: Arc<dyn Virtual>,
    pub numbers: Numbers,
    pub handles: Handles,
    pub settings: Settings,
}

impl Ops {
    /// What stat shows, with what is not committed yet.
    async fn shown(&self, inode: Inode) -> Done<FileAttr> {
        let inode = self.files.current(inode).await?;
        Ok(attributes(&inode, self.files.allocated(&inode)))
    }

    /// The call of who changes a file's content, with the groups if it depends on them whether a bit of its mode stays.
    async fn changer(&self, who: &Who, ino: Ino) -> Call {
        let matters = who.uid != 0 && self.tree.inode(ino).await.is_ok_and(|inode| access::groups_keep_set_gid(&inode));
        if matters { who.call_with_groups() } else { who.call() }
    }

    /// A change inside a stream or table is not permitted, whatever the tree calls it.
    async fn refuse_inside<T>(&self, parent: Ino, done: Result<T, ballast_tree::Error>) -> Done<T> {
        match done {
            Err(ballast_tree::Error::NotADirectory(_)) if self.is_engine_directory(parent).await => {
                Err(Errno::EPERM.into())
            }
            done => Ok(done?),
        }
    }

    /// True for a stream or a table.
    async fn is_engine_directory(&self, ino: Ino) -> bool {
        let inode = self.tree.inode(ino).await;
        inode.is_ok_and(|inode| matches!(inode.kind, Kind::Stream | Kind::Table))
    }
}

fn name_of(name: &OsStr) -> Done<Name> {
    Ok(Name::new(Bytes::copy_from_slice(name.as_bytes()))?)
}
