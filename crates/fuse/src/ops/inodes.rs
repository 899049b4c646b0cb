//! Attributes of inodes.

use super::{Done, Ops};
use crate::attributes::attributes;
use crate::virtuals::Numbers;
use crate::who::{Who, as_caller};
use ballast_tree::{Access, SetAttributes};
use ballast_types::Ino;
use fuser::{Errno, FileAttr};

/// What a setattr request changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub attributes: SetAttributes,
    pub size: Option<u64>,
    /// The file is open for writing: the right to it was checked then.
    pub open: bool,
}

impl Ops {
    pub async fn getattr(&self, ino: Ino) -> Done<FileAttr> {
        if Numbers::is_virtual(ino.0) {
            return self.virtual_attributes(ino.0).await;
        }
        let inode = self.files.attributes(ino).await?;
        Ok(attributes(&inode, self.files.allocated(&inode)))
    }

    pub async fn setattr(&self, who: &Who, ino: Ino, change: Change) -> Done<FileAttr> {
        if Numbers::is_virtual(ino.0) {
            // `echo … > append` truncates first; there is nothing to truncate, and nothing else to change.
            let only_truncates = change.attributes == SetAttributes::default();
            return if only_truncates { self.virtual_attributes(ino.0).await } else { Err(Errno::EPERM.into()) };
        }
        if let Some(size) = change.size {
            if !change.open {
                as_caller!(who, call => self.tree.access(&call, ino, Access::WRITE))?;
            }
            self.files.truncate(&self.changer(who, ino).await, ino, size).await?;
        }
        let set = change.attributes;
        if set == SetAttributes::default() {
            return self.getattr(ino).await;
        }
        // Who may give a file to a group, or set or keep its set-group-id bit, depends on all groups of the caller:
        // without them the bit is left out, and nothing refused.
        let (inode, _) = match set.mode.is_some() || set.uid.is_some() || set.gid.is_some() {
            true => self.files.set_attributes(&who.call_with_groups(), ino, set).await?,
            false => as_caller!(who, call => self.files.set_attributes(&call, ino, set.clone()))?,
        };
        self.shown(inode).await
    }

    pub async fn access(&self, who: &Who, ino: Ino, mask: i32) -> Done<()> {
        if Numbers::is_virtual(ino.0) {
            return Ok(());
        }
        let wanted = u32::try_from(mask).ok().and_then(Access::from_bits).ok_or(Errno::EINVAL)?;
        as_caller!(who, call => self.tree.access(&call, ino, wanted))?;
        Ok(())
    }
}
