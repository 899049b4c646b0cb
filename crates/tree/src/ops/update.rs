//! Changing an inode in place.

use super::create::check_descriptor;
use crate::access;
use crate::edit::Edit;
use crate::tree::Inner;
use crate::{Inode, Result, SetAttributes};
use ballast_store::{Batch, Position};
use ballast_types::{Call, Ino};
use std::sync::Arc;

pub async fn set_attributes(tree: &Arc<Inner>, call: &Call, ino: Ino, set: SetAttributes) -> Result<(Inode, Position)> {
    let mut edit = Edit::begin(tree, &[ino]).await;
    let mut inode = edit.load(ino).await?.clone();
    if set != SetAttributes::default() {
        access::apply(&mut inode, &call.caller, &set, tree.now())?;
        *edit.change(ino) = inode.clone();
    }
    let position = edit.commit().await?;
    Ok((inode, position))
}

pub async fn update(
    tree: &Arc<Inner>,
    ino: Ino,
    change: &mut (dyn FnMut(&mut Inode, &mut Batch) -> Result<()> + Send),
) -> Result<(Inode, Position)> {
    let mut edit = Edit::begin(tree, &[ino]).await;
    let before = edit.load(ino).await?.clone();
    let mut inode = before.clone();
    change(&mut inode, &mut edit.batch)?;
    check_descriptor(&inode.descriptor)?;
    // What the tree keeps the books of is not the engine's to change.
    (inode.ino, inode.kind, inode.links) = (before.ino, before.kind, before.links);
    (inode.attributes, inode.btime) = (before.attributes, before.btime);
    inode.parent.clone_from(&before.parent);
    inode.mode &= access::MODE;
    if inode != before {
        *edit.change(ino) = inode.clone();
    }
    let position = edit.commit().await?;
    Ok((inode, position))
}
