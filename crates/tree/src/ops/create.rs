//! Making inodes.

use crate::access::{self, Access};
use crate::change::What;
use crate::edit::Edit;
use crate::pins::{Pin, Pins};
use crate::tree::Inner;
use crate::{Entry, Error, Inode, NewInode, Result, keys, limits};
use ballast_store::{Batch, Position};
use ballast_types::{Call, Ino, Kind, Name, Timestamp, TreePath};
use bytes::Bytes;
use std::sync::Arc;

/// A new inode with the given owner, group and mode, without a name yet.
pub fn fresh(ino: Ino, new: &NewInode, (uid, gid, mode): (u32, u32, u32), now: Timestamp) -> Inode {
    Inode {
        ino,
        kind: new.kind,
        mode: mode & access::MODE,
        uid,
        gid,
        links: if new.kind.looks_like_directory() { 2 } else { 1 },
        size: 0,
        atime: now,
        mtime: now,
        ctime: now,
        btime: now,
        rdev: new.rdev,
        attributes: 0,
        parent: None,
        descriptor: new.descriptor.clone(),
    }
}

pub async fn create(
    tree: &Arc<Inner>,
    call: &Call,
    parent: Ino,
    name: &Name,
    new: NewInode,
    rows: &(dyn Fn(&Inode, &mut Batch) + Send + Sync),
) -> Result<(Inode, Position)> {
    check_new(call, &new)?;
    let mut edit = Edit::begin(tree, call.request, &[parent]).await;
    let directory = edit.load_directory(parent).await?;
    access::require(directory, &call.caller, Access::SEARCH)?;
    if edit.entry(parent, name).await?.is_some() {
        return Err(Error::AlreadyExists(name.to_string()));
    }
    tree.volume.check_space()?;
    let directory = edit.of(parent);
    access::require(directory, &call.caller, Access::WRITE)?;
    let (gid, mode) = access::inherited(directory, &call.caller, new.kind, new.mode);
    let ino = tree.numbers.next(&*tree.volume).await?;
    let now = tree.now();
    let mut inode = fresh(ino, &new, (call.caller.uid, gid, mode), now);
    inode.parent = Some((parent, name.clone()));
    add_name(&mut edit, parent, Entry { name: name.clone(), ino, kind: new.kind }, now);
    edit.tell(What::Created { parent, name: name.clone(), ino, kind: new.kind });
    rows(&inode, &mut edit.batch);
    edit.add(inode.clone());
    let position = edit.commit().await?;
    Ok((inode, position))
}

/// Adds an entry to a directory of the working set and counts it.
pub fn add_name(edit: &mut Edit, parent: Ino, entry: Entry, now: Timestamp) {
    let directory = edit.change(parent);
    directory.size += 1;
    directory.links += u32::from(entry.kind.looks_like_directory());
    (directory.mtime, directory.ctime) = (now, now);
    edit.put_entry(parent, entry);
}

fn check_new(call: &Call, new: &NewInode) -> Result<()> {
    // The device 0/0 is a whiteout, which opens nothing.
    let device = matches!(new.kind, Kind::CharDevice | Kind::BlockDevice);
    let whiteout = new.kind == Kind::CharDevice && new.rdev == 0;
    if device && !whiteout && !call.caller.is_root() {
        return Err(Error::NotPermitted("only the superuser makes devices".into()));
    }
    check_descriptor(&new.descriptor)
}

pub fn check_descriptor(descriptor: &Bytes) -> Result<()> {
    if descriptor.len() > limits::DESCRIPTOR_BYTES_MAX {
        return Err(Error::Invalid(format!("a descriptor of {} bytes is too large", descriptor.len())));
    }
    Ok(())
}

pub async fn create_unnamed(
    tree: &Arc<Inner>,
    call: &Call,
    parent: Ino,
    new: NewInode,
) -> Result<(Inode, Pin, Position)> {
    check_new(call, &new)?;
    tree.volume.check_space()?;
    if new.kind.looks_like_directory() {
        return Err(Error::Invalid(format!("a {} needs a name", new.kind)));
    }
    let mut edit = Edit::begin(tree, call.request, &[parent]).await;
    let directory = edit.load_directory(parent).await?;
    access::require(directory, &call.caller, Access::WRITE.and(Access::SEARCH))?;
    let (gid, mode) = access::inherited(directory, &call.caller, new.kind, new.mode);
    let ino = tree.numbers.next(&*tree.volume).await?;
    let mut inode = fresh(ino, &new, (call.caller.uid, gid, mode), tree.now());
    inode.links = 0;
    let pin = Pins::pin(&tree.pins, ino);
    tree.pins.set_linkable(ino);
    edit.batch.put(keys::orphan::key(ino), keys::orphan::encode(new.kind));
    edit.add(inode.clone());
    let position = edit.commit().await?;
    Ok((inode, pin, position))
}

pub async fn create_directories(tree: &Arc<Inner>, call: &Call, path: &TreePath) -> Result<(Inode, Position)> {
    let mut at = Inode::clone(&*tree.directory(Ino::ROOT).await?);
    let mut position = tree.volume.position();
    for name in path.names() {
        (at, position) = match tree.lookup(call, at.ino, name).await {
            Ok(found) => (Inode::clone(&*found), position),
            Err(Error::NotFound(_)) => create_directory(tree, call, at.ino, name).await?,
            Err(error) => return Err(error),
        };
        if at.kind != Kind::Directory {
            return Err(Error::NotADirectory(name.to_string()));
        }
    }
    Ok((at, position))
}

/// Makes a directory, or finds the one that somebody else made meanwhile.
async fn create_directory(tree: &Arc<Inner>, call: &Call, parent: Ino, name: &Name) -> Result<(Inode, Position)> {
    let new = NewInode { kind: Kind::Directory, mode: 0o755, rdev: 0, descriptor: Bytes::new() };
    match create(tree, call, parent, name, new, &|_, _| {}).await {
        Err(Error::AlreadyExists(_)) => {
            let found = tree.lookup(call, parent, name).await?;
            Ok((Inode::clone(&*found), tree.volume.position()))
        }
        made => made,
    }
}
