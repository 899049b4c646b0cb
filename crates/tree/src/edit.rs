//! One change of the tree: locks, then reads and checks, then one commit.
//!
//! An [`Edit`] holds the locks of every inode it reads or writes from its beginning to the end of its commit.
//! Operations change inodes in its working set and entries through it; the rows follow by themselves.
//! Once the commit is on its way it is carried to its end even if the caller goes away, because a commit whose
//! outcome nobody learned would leave the caches wrong.

use crate::locks::Guards;
use crate::tree::{Inner, not_a_directory};
use crate::{Entry, Error, Inode, Result, keys, limits};
use ballast_store::{Batch, Position};
use ballast_types::{Ino, Kind, Name};
use smallvec::SmallVec;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pub(crate) struct Edit {
    pub tree: Arc<Inner>,
    guards: Guards,
    /// Held besides by whoever moves a directory.
    moving: Option<tokio::sync::OwnedMutexGuard<()>>,
    pub batch: Batch,
    working: SmallVec<[Working; 4]>,
    gone: SmallVec<[Gone; 1]>,
}

struct Working {
    inode: Inode,
    changed: bool,
}

/// An inode that loses its last name by this change.
struct Gone {
    ino: Ino,
    /// Its row stays until it is reaped.
    orphan: bool,
}

impl Edit {
    /// Waits for the locks of these inodes.
    pub async fn begin(tree: &Arc<Inner>, inos: &[Ino]) -> Self {
        let guards = tree.locks.write(inos).await;
        Self {
            tree: Arc::clone(tree),
            guards,
            moving: None,
            batch: Batch::new(),
            working: SmallVec::new(),
            gone: SmallVec::new(),
        }
    }

    /// Locks directories and the inodes behind names in them, and returns the entries as they are under the
    /// locks. Needs to know the inodes before it can lock them, so it looks first and checks afterwards.
    pub async fn begin_names<const N: usize>(
        tree: &Arc<Inner>,
        names: [(Ino, &Name); N],
    ) -> Result<(Self, [Option<Entry>; N])> {
        for _ in 0..limits::ATTEMPTS_MAX {
            let mut inos: SmallVec<[Ino; 4]> = SmallVec::new();
            let mut seen = [const { None }; N];
            for (slot, (parent, name)) in seen.iter_mut().zip(names) {
                tree.directory(parent).await?;
                *slot = tree.entry(parent, name).await?;
                inos.push(parent);
                inos.extend(slot.iter().map(|entry: &Entry| entry.ino));
            }
            let edit = Self::begin(tree, &inos).await;
            let mut same = true;
            for (slot, (parent, name)) in seen.iter().zip(names) {
                same &= *slot == tree.entry_under_lock(parent, name).await?;
            }
            if same {
                return Ok((edit, seen));
            }
        }
        Err(Error::Store(ballast_store::Error::Conflict))
    }

    pub fn hold_moving(&mut self, guard: Option<tokio::sync::OwnedMutexGuard<()>>) {
        self.moving = guard;
    }

    /// Brings a locked inode into the working set.
    pub async fn load(&mut self, ino: Ino) -> Result<&Inode> {
        let at = match self.working.iter().position(|working| working.inode.ino == ino) {
            Some(at) => at,
            None => {
                let inode = Inode::clone(&*self.tree.inode_under_lock(ino).await?);
                self.working.push(Working { inode, changed: false });
                self.working.len() - 1
            }
        };
        Ok(&self.working[at].inode)
    }

    /// As [`Edit::load`]; an error unless it is a directory that is still in the tree.
    pub async fn load_directory(&mut self, ino: Ino) -> Result<&Inode> {
        let inode = self.load(ino).await?;
        match (inode.kind, inode.links) {
            (Kind::Directory, 0) => Err(Error::NotFound(format!("directory {ino}"))),
            (Kind::Directory, _) => Ok(inode),
            _ => Err(not_a_directory(inode)),
        }
    }

    pub async fn entry(&self, parent: Ino, name: &Name) -> Result<Option<Entry>> {
        self.tree.entry_under_lock(parent, name).await
    }

    /// An inode of the working set.
    pub fn of(&self, ino: Ino) -> &Inode {
        let found = self.working.iter().find(|working| working.inode.ino == ino);
        &found.expect("operations load an inode before they look at it").inode
    }

    /// An inode of the working set, to be changed.
    pub fn change(&mut self, ino: Ino) -> &mut Inode {
        let found = self.working.iter_mut().find(|working| working.inode.ino == ino);
        let working = found.expect("operations load an inode before they change it");
        working.changed = true;
        &mut working.inode
    }

    /// Adds a new inode.
    pub fn add(&mut self, inode: Inode) {
        self.working.push(Working { inode, changed: true });
    }

    pub fn put_entry(&mut self, parent: Ino, entry: Entry) {
        self.batch.put(keys::entry::key(parent, &entry.name), keys::entry::encode(&entry));
    }

    pub fn delete_entry(&mut self, parent: Ino, name: &Name) {
        self.batch.delete(keys::entry::key(parent, name));
    }

    /// Lets an inode of the working set go that has lost its last name: at once if nothing of it has to be
    /// removed later and nobody uses it, else as an orphan.
    pub async fn drop_inode(&mut self, ino: Ino) -> Result<()> {
        let inode = self.change(ino);
        inode.links = 0;
        inode.parent = None;
        let (kind, attributes) = (inode.kind, inode.attributes);
        let has_content = matches!(kind, Kind::File | Kind::Stream | Kind::Table);
        let orphan = has_content || self.tree.pins.is_pinned(ino);
        if orphan {
            self.batch.put(keys::orphan::key(ino), keys::orphan::encode(kind));
        } else {
            crate::ops::reap::delete_rows(self.tree.reader(), ino, attributes, &mut self.batch).await?;
            self.working.retain(|working| working.inode.ino != ino);
        }
        self.gone.push(Gone { ino, orphan });
        Ok(())
    }

    /// The inode with this number is gone: nothing is left to be done for it later.
    pub fn forget(&mut self, ino: Ino) {
        self.working.retain(|working| working.inode.ino != ino);
        self.gone.push(Gone { ino, orphan: false });
    }

    /// True if there is something to commit.
    pub fn is_changed(&self) -> bool {
        !self.batch.is_empty() || self.working.iter().any(|working| working.changed)
    }

    /// Writes everything in one batch. When it returns, every reader sees all of it. An edit without changes
    /// commits nothing.
    pub async fn commit(mut self) -> Result<Position> {
        if !self.is_changed() {
            return Ok(self.tree.volume.position());
        }
        let mut batch = std::mem::take(&mut self.batch);
        for Working { inode, .. } in self.working.iter().filter(|working| working.changed) {
            batch.put(keys::inode::key(inode.ino), keys::inode::encode(inode));
        }
        Carried::new(self.finish(batch)).await
    }

    async fn finish(self, batch: Batch) -> Result<Position> {
        let position = self.tree.volume.commit(batch).await?;
        drop(self.guards);
        for gone in self.gone.iter().filter(|gone| gone.orphan) {
            self.tree.pins.orphaned(gone.ino);
        }
        drop(self.moving);
        Ok(position)
    }
}

/// A future that runs to its end, in a task of its own if the one that waits for it is dropped.
struct Carried<T: Send + 'static> {
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
}

impl<T: Send + 'static> Carried<T> {
    fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self { future: Some(Box::pin(future)) }
    }
}

impl<T: Send + 'static> Future for Carried<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let future = self.future.as_mut().expect("a future is not polled after its end");
        let polled = future.as_mut().poll(context);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Carried<T> {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and with it the caches.
        if let Some(future) = self.future.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(future);
        }
    }
}
