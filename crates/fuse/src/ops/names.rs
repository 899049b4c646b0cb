//! Names: what makes, finds, moves and removes them.

use super::{Done, Ops, name_of};
use crate::attributes::kind_of_mode;
use crate::handles::Opened;
use crate::who::{Who, as_caller};
use ballast_files::Open;
use ballast_tree::{Access, Inode, NewInode, Pin, Rename};
use ballast_types::{Call, Ino, Kind};
use bytes::Bytes;
use fuser::{Errno, FileAttr, FileHandle, RenameFlags};
use std::ffi::OsStr;

impl Ops {
    /// `None`: the directory has no such name, until the tree tells of one.
    pub async fn lookup(&self, who: &Who, parent: Ino, name: &OsStr) -> Done<Option<FileAttr>> {
        let entry = name_of(name)?;
        let found = as_caller!(who, call => self.tree.lookup(&call, parent, &entry));
        match found {
            // Virtual children come and go without news.
            Err(ballast_tree::Error::NotADirectory(_)) => self.lookup_virtual(parent, name).await.map(Some),
            Err(ballast_tree::Error::NotFound(_)) => Ok(None),
            found => self.shown(found?).await.map(Some),
        }
    }

    pub async fn mknod(&self, who: &Who, parent: Ino, name: &OsStr, mode: u32, rdev: u32) -> Done<FileAttr> {
        let kind = kind_of_mode(mode).ok_or(Errno::EINVAL)?;
        let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        let new = NewInode { kind, mode: mode & 0o7777, rdev: if device { rdev } else { 0 }, descriptor: Bytes::new() };
        self.shown(self.make(who, parent, name, new).await?).await
    }

    pub async fn mkdir(&self, who: &Who, parent: Ino, name: &OsStr, mode: u32) -> Done<FileAttr> {
        let new = NewInode { kind: Kind::Directory, mode: mode & 0o7777, rdev: 0, descriptor: Bytes::new() };
        self.shown(self.make(who, parent, name, new).await?).await
    }

    pub async fn symlink(&self, who: &Who, parent: Ino, name: &OsStr, target: Bytes) -> Done<FileAttr> {
        // As long as a path may be, with the NUL that ends it.
        if target.len() >= libc::PATH_MAX as usize {
            return Err(Errno::ENAMETOOLONG.into());
        }
        let new = NewInode { kind: Kind::Symlink, mode: 0o777, rdev: 0, descriptor: target };
        self.shown(self.make(who, parent, name, new).await?).await
    }

    pub async fn readlink(&self, ino: Ino) -> Done<Bytes> {
        let inode = self.tree.inode(ino).await?;
        if inode.kind == Kind::Symlink { Ok(inode.descriptor) } else { Err(Errno::EINVAL.into()) }
    }

    /// Makes a file and opens it, or opens the one that somebody else has just made.
    pub async fn create(
        &self,
        who: &Who,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        flags: i32,
    ) -> Done<(FileAttr, FileHandle)> {
        let new = NewInode { kind: Kind::File, mode: mode & 0o7777, rdev: 0, descriptor: Bytes::new() };
        let how = open_of(flags);
        let (inode, how) = match self.make(who, parent, name, new).await {
            Ok(made) => (made, Open { created: true, truncate: false, ..how }),
            Err(exists) if exists.0 == Errno::EEXIST && flags & libc::O_EXCL == 0 => {
                let entry = name_of(name)?;
                (as_caller!(who, call => self.tree.lookup(&call, parent, &entry))?, how)
            }
            Err(error) => return Err(error),
        };
        let handle = as_caller!(who, call => self.files.open(&call, inode.ino, how))?;
        Ok((self.shown(inode).await?, self.handles.add(Opened::File(handle))))
    }

    async fn make(&self, who: &Who, parent: Ino, name: &OsStr, new: NewInode) -> Done<Inode> {
        let entry = name_of(name)?;
        let nothing = |_: &Inode, _: &mut ballast_store::Batch| {};
        let made = as_caller!(who, call => self.tree.create(&call, parent, &entry, new.clone(), &nothing));
        let (inode, _) = self.refuse_inside(parent, made).await?;
        Ok(inode)
    }

    pub async fn link(&self, who: &Who, ino: Ino, parent: Ino, name: &OsStr) -> Done<FileAttr> {
        let entry = name_of(name)?;
        let linked = as_caller!(who, call => self.tree.link(&call, ino, parent, &entry));
        let (inode, _) = self.refuse_inside(parent, linked).await?;
        self.shown(inode).await
    }

    pub async fn unlink(&self, who: &Who, parent: Ino, name: &OsStr) -> Done<()> {
        let entry = name_of(name)?;
        let removed = as_caller!(who, call => self.tree.unlink(&call, parent, &entry));
        self.refuse_inside(parent, removed).await?;
        Ok(())
    }

    /// Drops a stream or table. `rm -rf` tries this with a directory that it cannot list, and must fail then: so it takes
    /// the right to read, too.
    pub async fn rmdir(&self, who: &Who, parent: Ino, name: &OsStr) -> Done<()> {
        let entry = name_of(name)?;
        let found = as_caller!(who, call => self.tree.lookup(&call, parent, &entry)).ok();
        if let Some(inode) = found.as_ref().filter(|inode| matches!(inode.kind, Kind::Stream | Kind::Table)) {
            as_caller!(who, call => self.tree.access(&call, inode.ino, Access::READ))?;
        }
        let pin = found.and_then(|inode| self.pin_directory(&inode));
        let removed = as_caller!(who, call => self.tree.remove_directory(&call, parent, &entry));
        self.refuse_inside(parent, removed).await?;
        self.keep_removed(pin).await;
        Ok(())
    }

    /// Keeps a directory that is about to be removed. What a stream or a table holds goes at once.
    fn pin_directory(&self, inode: &Inode) -> Option<Pin> {
        (inode.kind == Kind::Directory).then(|| self.tree.pin(inode.ino))
    }

    /// Keeps it on if it has been removed.
    async fn keep_removed(&self, pin: Option<Pin>) {
        if let Some(pin) = pin
            && self.tree.inode(pin.ino()).await.is_ok_and(|inode| inode.links == 0)
        {
            self.handles.keep_removed(pin);
        }
    }

    pub async fn rename(&self, who: &Who, from: (Ino, &OsStr), to: (Ino, &OsStr), flags: RenameFlags) -> Done<()> {
        let how = match flags {
            none if none.is_empty() => Rename::Replace,
            RenameFlags::RENAME_NOREPLACE => Rename::NoReplace,
            RenameFlags::RENAME_EXCHANGE => Rename::Exchange,
            RenameFlags::RENAME_WHITEOUT => Rename::Whiteout,
            both if both == RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_WHITEOUT => Rename::WhiteoutNoReplace,
            _ => return Err(Errno::EINVAL.into()),
        };
        let (from_name, to_name) = (name_of(from.1)?, name_of(to.1)?);
        // Programs replace a file by writing another one and renaming it, often without fsync. The log is ordered:
        // committed first, the content cannot be lost by a crash that the name survives.
        let mut pin = None;
        if let Ok(inode) = self.tree.lookup(&Call::internal(), from.0, &from_name).await {
            self.files.flush(inode.ino).await?;
            if inode.kind == Kind::Directory {
                let replaced = self.tree.lookup(&Call::internal(), to.0, &to_name).await;
                pin = replaced.ok().and_then(|replaced| self.pin_directory(&replaced));
            }
        }
        let renamed = as_caller!(who, call => self.tree.rename(&call, (from.0, &from_name), (to.0, &to_name), how));
        match renamed {
            Err(ballast_tree::Error::NotADirectory(_))
                if self.is_engine_directory(from.0).await || self.is_engine_directory(to.0).await =>
            {
                Err(Errno::EPERM.into())
            }
            renamed => {
                renamed?;
                self.keep_removed(pin).await;
                Ok(())
            }
        }
    }
}

/// What the flags of open(2) ask for.
pub(super) fn open_of(flags: i32) -> Open {
    let access = flags & libc::O_ACCMODE;
    Open {
        read: access != libc::O_WRONLY,
        write: access != libc::O_RDONLY,
        truncate: flags & libc::O_TRUNC != 0,
        created: false,
    }
}
