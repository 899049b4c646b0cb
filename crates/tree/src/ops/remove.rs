//! Taking names away: unlink and rmdir.

use super::link::take_name;
use crate::access::{self, Access};
use crate::change::What;
use crate::edit::Edit;
use crate::tree::Inner;
use crate::{Entry, Error, Result};
use ballast_store::Position;
use ballast_types::{Call, Ino, Kind, Name, Timestamp};
use std::sync::Arc;

pub async fn unlink(tree: &Arc<Inner>, call: &Call, parent: Ino, name: &Name) -> Result<Position> {
    let (edit, entry) = begin(tree, call, parent, name).await?;
    access::require_removal(edit.of(parent), edit.of(entry.ino), &call.caller)?;
    if entry.kind.looks_like_directory() {
        return Err(Error::IsADirectory(name.to_string()));
    }
    remove(edit, parent, &entry).await
}

pub async fn remove_directory(tree: &Arc<Inner>, call: &Call, parent: Ino, name: &Name) -> Result<Position> {
    let (edit, entry) = begin(tree, call, parent, name).await?;
    let child = edit.of(entry.ino);
    access::require_removal(edit.of(parent), child, &call.caller)?;
    match entry.kind {
        Kind::Directory if child.size > 0 => return Err(Error::NotEmpty(name.to_string())),
        Kind::Directory => {}
        Kind::Stream | Kind::Table => access::require_drop(child, &call.caller)?,
        _ => return Err(Error::NotADirectory(name.to_string())),
    }
    remove(edit, parent, &entry).await
}

/// Locks directory and inode, and finds the entry.
async fn begin(tree: &Arc<Inner>, call: &Call, parent: Ino, name: &Name) -> Result<(Edit, Entry)> {
    let (mut edit, [entry]) = Edit::begin_names(tree, call.request, [(parent, name)]).await?;
    let directory = edit.load_directory(parent).await?;
    access::require(directory, &call.caller, Access::SEARCH)?;
    let entry = entry.ok_or_else(|| Error::NotFound(name.to_string()))?;
    edit.load(entry.ino).await?;
    Ok((edit, entry))
}

async fn remove(mut edit: Edit, parent: Ino, entry: &Entry) -> Result<Position> {
    let now = edit.tree.now();
    remove_name(&mut edit, parent, entry, now);
    edit.tell(removed(parent, entry));
    edit.change(entry.ino).ctime = now;
    take_name(&mut edit, entry.ino, parent, &entry.name).await?;
    edit.commit().await
}

/// Takes an entry out of a directory of the working set and counts it.
pub fn remove_name(edit: &mut Edit, parent: Ino, entry: &Entry, now: Timestamp) {
    let directory = edit.change(parent);
    directory.size = directory.size.saturating_sub(1);
    directory.links = directory.links.saturating_sub(u32::from(entry.kind.looks_like_directory()));
    (directory.mtime, directory.ctime) = (now, now);
    edit.delete_entry(parent, &entry.name);
}

pub fn removed(parent: Ino, entry: &Entry) -> What {
    What::Removed { parent, name: entry.name.clone(), ino: entry.ino, kind: entry.kind }
}
