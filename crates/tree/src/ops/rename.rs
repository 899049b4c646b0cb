//! Renaming, as renameat2(2) has it.

use super::create::{add_name, fresh};
use super::link::{move_name, take_name};
use super::remove::{remove_name, removed};
use crate::access::{self, Access};
use crate::change::What;
use crate::edit::Edit;
use crate::tree::Inner;
use crate::{Entry, Error, NewInode, Rename, Result, limits};
use ballast_store::Position;
use ballast_types::{Call, Ino, Kind, Name};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

type Place<'a> = (Ino, &'a Name);

pub async fn rename(tree: &Arc<Inner>, call: &Call, from: Place<'_>, to: Place<'_>, how: Rename) -> Result<Position> {
    for _ in 0..limits::ATTEMPTS_MAX {
        let moving = begin_moving(tree, from, to, how).await?;
        let (mut edit, [source, target]) = Edit::begin_names(tree, call.request, [from, to]).await?;
        let moved = [source.as_ref(), target.as_ref().filter(|_| how == Rename::Exchange)];
        if from.0 != to.0 && !Moving::covers(&moving, &moved) {
            // Another inode got the name since the check for circles.
            continue;
        }
        edit.hold_moving(moving.map(|moving| moving._guard));
        return locked(edit, call, from, to, (source, target), how).await;
    }
    Err(Error::Store(ballast_store::Error::Conflict))
}

/// The right to move directories from one directory to another: one at a time, and checked for circles.
struct Moving {
    _guard: OwnedMutexGuard<()>,
    /// What was checked.
    directories: Vec<Ino>,
}

impl Moving {
    fn covers(this: &Option<Self>, entries: &[Option<&Entry>]) -> bool {
        let mut directories = entries.iter().flatten().filter(|entry| entry.kind == Kind::Directory);
        directories.all(|entry| this.as_ref().is_some_and(|moving| moving.directories.contains(&entry.ino)))
    }
}

/// Takes the lock for moving directories if one is moved to another directory, and refuses circles. No inode is
/// locked yet: nobody else changes who is above whom while this lock is held.
async fn begin_moving(tree: &Arc<Inner>, from: Place<'_>, to: Place<'_>, how: Rename) -> Result<Option<Moving>> {
    if from.0 == to.0 {
        return Ok(None);
    }
    tree.directory(from.0).await?;
    tree.directory(to.0).await?;
    let exchange = how == Rename::Exchange;
    let is_directory = |entry: &Entry| entry.kind == Kind::Directory;
    let source = tree.entry(from.0, from.1).await?.filter(is_directory);
    let target = tree.entry(to.0, to.1).await?.filter(|entry| exchange && is_directory(entry));
    if source.is_none() && target.is_none() {
        return Ok(None);
    }
    let guard = Arc::clone(&tree.moving).lock_owned().await;
    let source = tree.entry(from.0, from.1).await?.filter(is_directory);
    let target = tree.entry(to.0, to.1).await?.filter(|entry| exchange && is_directory(entry));
    let mut directories = Vec::new();
    for (moved, below) in [(source, to.0), (target, from.0)] {
        if let Some(moved) = moved {
            if is_below(tree, below, moved.ino).await? {
                return Err(Error::Invalid(format!("{} cannot be moved into itself", moved.name)));
            }
            directories.push(moved.ino);
        }
    }
    Ok(Some(Moving { _guard: guard, directories }))
}

/// True if `directory` is `above` or lies somewhere in it.
async fn is_below(tree: &Inner, directory: Ino, above: Ino) -> Result<bool> {
    let mut at = directory;
    for _ in 0..limits::DEPTH_MAX {
        if at == above {
            return Ok(true);
        }
        match &tree.inode(at).await?.parent {
            Some((parent, _)) => at = *parent,
            None => return Ok(false),
        }
    }
    Err(Error::corrupt(format!("directory {directory} has no way to the root")))
}

async fn locked(
    mut edit: Edit,
    call: &Call,
    from: Place<'_>,
    to: Place<'_>,
    (source, target): (Option<Entry>, Option<Entry>),
    how: Rename,
) -> Result<Position> {
    for parent in [from.0, to.0] {
        let directory = edit.load_directory(parent).await?;
        access::require(directory, &call.caller, Access::SEARCH)?;
    }
    let source = source.ok_or_else(|| Error::NotFound(from.1.to_string()))?;
    edit.load(source.ino).await?;
    if let Some(target) = &target {
        edit.load(target.ino).await?;
    }
    match (how, &target) {
        (how, Some(_)) if how.refuses_to_replace() => return Err(Error::AlreadyExists(to.1.to_string())),
        (Rename::Exchange, None) => return Err(Error::NotFound(to.1.to_string())),
        // Two names of one inode, or twice the same name: POSIX wants that nothing happens.
        (_, Some(target)) if target.ino == source.ino => return Ok(edit.tree.volume.position()),
        _ => {}
    }
    check(&edit, call, from.0, to.0, &source, target.as_ref(), how)?;
    match (how, target) {
        (Rename::Exchange, Some(target)) => exchange(&mut edit, from, to, &source, &target),
        (_, target) => replace(&mut edit, from, to, &source, target.as_ref()).await?,
    }
    if how.leaves_whiteout() {
        leave_whiteout(&mut edit, call, from).await?;
    }
    edit.commit().await
}

/// Rights, and which kinds may take whose place.
fn check(
    edit: &Edit,
    call: &Call,
    from: Ino,
    to: Ino,
    source: &Entry,
    target: Option<&Entry>,
    how: Rename,
) -> Result<()> {
    access::require_removal(edit.of(from), edit.of(source.ino), &call.caller)?;
    match target {
        Some(target) => access::require_removal(edit.of(to), edit.of(target.ino), &call.caller)?,
        None => access::require(edit.of(to), &call.caller, Access::WRITE)?,
    }
    // The entry `..` of a directory that is moved changes.
    let moved = [Some(source), target.filter(|_| how == Rename::Exchange)];
    for moved in moved.into_iter().flatten() {
        if moved.kind == Kind::Directory && from != to {
            access::require(edit.of(moved.ino), &call.caller, Access::WRITE)?;
        }
    }
    let Some(target) = target.filter(|_| how != Rename::Exchange) else { return Ok(()) };
    match (source.kind.looks_like_directory(), target.kind.looks_like_directory()) {
        (true, false) => Err(Error::NotADirectory(target.name.to_string())),
        (false, true) => Err(Error::IsADirectory(target.name.to_string())),
        // A stream or a table is dropped by its own operation only.
        (true, true) if target.kind != Kind::Directory || edit.of(target.ino).size > 0 => {
            Err(Error::NotEmpty(target.name.to_string()))
        }
        _ => Ok(()),
    }
}

async fn replace(
    edit: &mut Edit,
    from: Place<'_>,
    to: Place<'_>,
    source: &Entry,
    target: Option<&Entry>,
) -> Result<()> {
    let now = edit.tree.now();
    if let Some(target) = target {
        remove_name(edit, to.0, target, now);
        edit.tell(removed(to.0, target));
        edit.change(target.ino).ctime = now;
        take_name(edit, target.ino, to.0, to.1).await?;
    }
    remove_name(edit, from.0, source, now);
    add_name(edit, to.0, Entry { name: to.1.clone(), ..source.clone() }, now);
    move_name(edit, source.ino, from, to);
    edit.tell(renamed(from, to, source));
    edit.change(source.ino).ctime = now;
    Ok(())
}

fn renamed(from: Place<'_>, to: Place<'_>, entry: &Entry) -> What {
    let place = |(parent, name): Place<'_>| (parent, name.clone());
    What::Renamed { from: place(from), to: place(to), ino: entry.ino, kind: entry.kind }
}

fn exchange(edit: &mut Edit, from: Place<'_>, to: Place<'_>, source: &Entry, target: &Entry) {
    let now = edit.tree.now();
    remove_name(edit, from.0, source, now);
    remove_name(edit, to.0, target, now);
    add_name(edit, to.0, Entry { name: to.1.clone(), ..source.clone() }, now);
    add_name(edit, from.0, Entry { name: from.1.clone(), ..target.clone() }, now);
    move_name(edit, source.ino, from, to);
    move_name(edit, target.ino, to, from);
    edit.tell(renamed(from, to, source));
    edit.tell(renamed(to, from, target));
    edit.change(source.ino).ctime = now;
    edit.change(target.ino).ctime = now;
}

/// What overlay file systems take for "removed here".
async fn leave_whiteout(edit: &mut Edit, call: &Call, (parent, name): Place<'_>) -> Result<()> {
    let new = NewInode { kind: Kind::CharDevice, mode: 0, rdev: 0, descriptor: Bytes::new() };
    let tree = Arc::clone(&edit.tree);
    let ino = tree.numbers.next(&*tree.volume).await?;
    let now = tree.now();
    let (gid, mode) = access::inherited(edit.of(parent), &call.caller, new.kind, new.mode);
    let mut inode = fresh(ino, &new, (call.caller.uid, gid, mode), now);
    inode.parent = Some((parent, name.clone()));
    add_name(edit, parent, Entry { name: name.clone(), ino, kind: new.kind }, now);
    edit.tell(What::Created { parent, name: name.clone(), ino, kind: new.kind });
    edit.add(inode);
    Ok(())
}
