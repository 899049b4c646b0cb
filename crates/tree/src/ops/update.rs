//! Changing an inode in place.

use super::create::check_descriptor;
use crate::access;
use crate::cache::Outcome;
use crate::change::What;
use crate::edit::Edit;
use crate::touched::Times;
use crate::tree::Inner;
use crate::{Error, Inode, Result, SetAttributes, limits};
use ballast_store::{Batch, Position};
use ballast_types::{Call, Ino, RequestId};
use smallvec::smallvec;
use std::sync::Arc;

pub async fn set_attributes(tree: &Arc<Inner>, call: &Call, ino: Ino, set: SetAttributes) -> Result<(Inode, Position)> {
    let mut edit = Edit::begin(tree, call.request, &[ino]).await;
    let mut inode = edit.load(ino).await?.clone();
    if set != SetAttributes::default() {
        access::apply(&mut inode, &call.caller, &set, tree.now())?;
        *edit.change(ino) = inode.clone();
        edit.tell(What::Attributes { ino });
    }
    let position = edit.commit().await?;
    Ok((inode, position))
}

pub async fn update(
    tree: &Arc<Inner>,
    ino: Ino,
    change: &mut (dyn FnMut(&mut Inode, &mut Batch) -> Result<()> + Send),
) -> Result<(Inode, Position)> {
    let mut edit = Edit::begin(tree, RequestId::default(), &[ino]).await;
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
        edit.tell(What::Content { ino });
    }
    let position = edit.commit().await?;
    Ok((inode, position))
}

pub async fn touch(tree: &Arc<Inner>, ino: Ino, times: Times) -> Result<()> {
    let mut edit = Edit::begin(tree, RequestId::default(), &[ino]).await;
    let mut inode = edit.load(ino).await?.clone();
    times.apply(&mut inode);
    if tree.touched.count() >= limits::TOUCHED_MAX {
        *edit.change(ino) = inode;
        return edit.commit().await.map(drop);
    }
    tree.touched.keep(ino, times);
    // As a change, so that a scan under way does not bring the old times back.
    tree.cache.publish(Outcome { inodes: smallvec![Arc::new(inode)], ..Outcome::default() });
    Ok(())
}

pub async fn flush_touched(tree: &Arc<Inner>) -> Result<usize> {
    let mut flushed = 0;
    for ino in tree.touched.inos() {
        let mut edit = Edit::begin(tree, RequestId::default(), &[ino]).await;
        match edit.load(ino).await {
            Ok(_) => {
                edit.change(ino);
                edit.commit().await?;
                flushed += 1;
            }
            Err(Error::Stale(_)) => tree.touched.settle(ino),
            Err(error) => return Err(error),
        }
    }
    Ok(flushed)
}
