//! Further names for an inode.

use super::create::add_name;
use crate::access::{self, Access};
use crate::change::What;
use crate::edit::Edit;
use crate::pins::Pins;
use crate::tree::Inner;
use crate::{Entry, Error, Inode, Result, keys, limits, rows};
use ballast_store::Position;
use ballast_types::{Call, Ino, Name};
use std::sync::Arc;

pub async fn link(tree: &Arc<Inner>, call: &Call, ino: Ino, parent: Ino, name: &Name) -> Result<(Inode, Position)> {
    // So that an inode without a name does not begin to go meanwhile.
    let _pin = Pins::pin(&tree.pins, ino);
    let mut edit = Edit::begin(tree, call.request, &[ino, parent]).await;
    let directory = edit.load_directory(parent).await?;
    access::require(directory, &call.caller, Access::SEARCH)?;
    if edit.entry(parent, name).await?.is_some() {
        return Err(Error::AlreadyExists(name.to_string()));
    }
    tree.volume.check_space()?;
    access::require(edit.of(parent), &call.caller, Access::WRITE)?;
    let inode = edit.load(ino).await?;
    let (kind, links) = (inode.kind, inode.links);
    if kind.looks_like_directory() {
        return Err(Error::NotPermitted(format!("a {kind} has one name only")));
    }
    if links >= limits::LINKS_MAX {
        return Err(Error::TooManyLinks);
    }
    if links == 0 && (!tree.pins.is_linkable(ino) || tree.pins.is_dying(ino)) {
        return Err(Error::NotFound(format!("inode {ino}")));
    }
    let now = tree.now();
    add_name(&mut edit, parent, Entry { name: name.clone(), ino, kind }, now);
    give_name(&mut edit, ino, parent, name);
    edit.change(ino).ctime = now;
    edit.tell(What::Created { parent, name: name.clone(), ino, kind });
    let linked = edit.of(ino).clone();
    let position = edit.commit().await?;
    if links == 0 {
        tree.pins.clear_orphan(ino);
    }
    Ok((linked, position))
}

/// Counts a further name of an inode that may have several, and keeps track of where they are.
fn give_name(edit: &mut Edit, ino: Ino, parent: Ino, name: &Name) {
    let inode = edit.change(ino);
    inode.links += 1;
    match (inode.links, inode.parent.take()) {
        (1, _) => {
            inode.parent = Some((parent, name.clone()));
            edit.batch.delete(keys::orphan::key(ino));
        }
        (_, only) => {
            if let Some((parent, name)) = only {
                edit.batch.put(keys::link::key(ino, parent, &name), keys::link::VALUE);
            }
            edit.batch.put(keys::link::key(ino, parent, name), keys::link::VALUE);
        }
    }
}

/// Counts one name less, and lets the inode go with the last one.
pub async fn take_name(edit: &mut Edit, ino: Ino, parent: Ino, name: &Name) -> Result<()> {
    let inode = edit.change(ino);
    if inode.kind.looks_like_directory() || inode.links <= 1 {
        return edit.drop_inode(ino).await;
    }
    inode.links -= 1;
    let links = inode.links;
    edit.batch.delete(keys::link::key(ino, parent, name));
    if links == 1 {
        let mut names = rows::links(edit.tree.reader(), ino).await?;
        names.retain(|(other, other_name)| (*other, other_name) != (parent, name));
        let (parent, name) = match names.as_slice() {
            [only] => only.clone(),
            _ => return Err(Error::corrupt(format!("inode {ino} has {} names instead of one", names.len()))),
        };
        edit.batch.delete(keys::link::key(ino, parent, &name));
        edit.change(ino).parent = Some((parent, name));
    }
    Ok(())
}

/// One name of an inode of the working set becomes another.
pub fn move_name(edit: &mut Edit, ino: Ino, from: (Ino, &Name), to: (Ino, &Name)) {
    let inode = edit.change(ino);
    if inode.parent.is_some() {
        inode.parent = Some((to.0, to.1.clone()));
        return;
    }
    edit.batch.delete(keys::link::key(ino, from.0, from.1));
    edit.batch.put(keys::link::key(ino, to.0, to.1), keys::link::VALUE);
}
