//! Removing inodes that have neither a name nor a user left.
//!
//! Order, so that a crash at any point loses nothing and leaks nothing: the engine removes the content, then
//! one commit removes inode, attributes and the orphan's row. After a crash the row leads the next reap to
//! do it again.

use crate::edit::Edit;
use crate::tree::Inner;
use crate::{Error, Result, keys, limits, rows};
use ballast_store::{Batch, Read};
use ballast_types::{Ino, Kind, RequestId};
use std::sync::Arc;

pub async fn reap(tree: &Arc<Inner>) -> Result<usize> {
    let mut reaped = 0;
    if tree.pins.take_scan() {
        let scanned = reap_scanned(tree).await;
        if scanned.is_err() {
            tree.pins.request_scan();
        }
        reaped += scanned?;
    }
    // Not longer than the queue is now: what comes meanwhile, or is to be tried again, wakes the next reap.
    let mut failure = Ok(());
    for _ in 0..tree.pins.ready() {
        let Some(ino) = tree.pins.take_ready() else { break };
        match reap_one(tree, ino).await {
            Ok(gone) => reaped += usize::from(gone),
            // One that cannot go does not keep the others.
            Err(error) => failure = failure.and(Err(error)),
        }
    }
    failure.map(|()| reaped)
}

/// Looks for orphans in the volume: those that a crash left, or that the queue had no room for.
async fn reap_scanned(tree: &Arc<Inner>) -> Result<usize> {
    let mut reaped = 0;
    let mut range = keys::orphan::all();
    loop {
        let mut scan = tree.reader().scan(range.clone()).await?;
        let rows = scan.next(limits::SCAN_ROWS).await?;
        drop(scan);
        let Some(last) = rows.last() else { return Ok(reaped) };
        range = range.after(&last.key);
        for row in rows {
            let (ino, _) = keys::orphan::decode(&row.key, &row.value.bytes)?;
            reaped += usize::from(reap_one(tree, ino).await?);
        }
    }
}

/// Removes one orphan; false if it is none, somebody uses it, or its engine is not there yet.
async fn reap_one(tree: &Arc<Inner>, ino: Ino) -> Result<bool> {
    if !tree.pins.begin_dying(ino) {
        return Ok(false);
    }
    let mut dying = Dying { tree: Arc::clone(tree), ino, retry: true };
    // Only now: from here on nobody gives it a name.
    let key = keys::orphan::key(ino);
    let row = tree.reader().get(&key).await?;
    let kind = row.map(|row| keys::orphan::decode(&key, &row.bytes)).transpose()?.map(|(_, kind)| kind);
    let engine = kind.and_then(|kind| tree.engine_of(kind));
    match (kind, &engine) {
        (Some(_), Some(engine)) => engine.purge(ino).await?,
        (None, _) | (Some(Kind::File | Kind::Stream | Kind::Table), None) => {
            // Not an orphan; or its engine asks for another scan when it registers.
            dying.retry = false;
            return Ok(false);
        }
        (Some(_), None) => {}
    }
    let mut edit = Edit::begin(tree, RequestId::default(), &[ino]).await;
    let attributes = match edit.load(ino).await {
        Ok(inode) if inode.links > 0 => return Err(Error::corrupt(format!("the orphan {ino} has a name"))),
        Ok(inode) => inode.attributes,
        Err(Error::Stale(_)) => 0,
        Err(error) => return Err(error),
    };
    delete_rows(tree.reader(), ino, attributes, &mut edit.batch).await?;
    edit.batch.delete(key);
    edit.forget(ino);
    edit.commit().await?;
    dying.retry = false;
    Ok(true)
}

/// Ends the dying of an inode on every way out.
struct Dying {
    tree: Arc<Inner>,
    ino: Ino,
    /// It is still to be removed.
    retry: bool,
}

impl Drop for Dying {
    fn drop(&mut self) {
        self.tree.pins.end_dying(self.ino, self.retry);
    }
}

/// Adds the removal of the inode's row and attributes.
pub async fn delete_rows(reader: &dyn Read, ino: Ino, attributes: u32, batch: &mut Batch) -> Result<()> {
    batch.delete(keys::inode::key(ino));
    if attributes > 0 {
        for name in rows::attribute_names(reader, ino).await? {
            batch.delete(keys::attribute::key(ino, &name));
        }
    }
    Ok(())
}
