//! One change of the tree: locks, then reads and checks, then one commit.
//!
//! An [`Edit`] holds the locks of every inode it reads or writes from its beginning to the end of its commit.
//! Operations change inodes in its working set and entries through it; the rows follow by themselves.
//! Once the commit is on its way it is carried to its end even if the caller goes away, because a commit whose
//! outcome nobody learned would leave the caches wrong.

use crate::cache::Outcome;
use crate::change::What;
use crate::locks::Guards;
use crate::tree::{Inner, not_a_directory};
use crate::{Entry, Error, Inode, Result, keys, limits};
use ballast_store::{Batch, Position};
use ballast_types::{Ino, Kind, Name, RequestId};
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
    outcome: Outcome,
    /// Inodes that lose their last name and stay until they are reaped.
    orphans: SmallVec<[Ino; 1]>,
    news: SmallVec<[What; 2]>,
    request: RequestId,
    /// The parent of some inode changes.
    renames: bool,
}

struct Working {
    inode: Inode,
    changed: bool,
}

impl Edit {
    /// Waits for the locks of these inodes.
    pub async fn begin(tree: &Arc<Inner>, request: RequestId, inos: &[Ino]) -> Self {
        let guards = tree.locks.write(inos).await;
        Self {
            tree: Arc::clone(tree),
            guards,
            moving: None,
            batch: Batch::new(),
            working: SmallVec::new(),
            outcome: Outcome::default(),
            orphans: SmallVec::new(),
            news: SmallVec::new(),
            request,
            renames: false,
        }
    }

    /// Locks directories and the inodes behind names in them, and returns the entries as they are under the
    /// locks. Needs to know the inodes before it can lock them, so it looks first and checks afterwards.
    pub async fn begin_names<const N: usize>(
        tree: &Arc<Inner>,
        request: RequestId,
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
            let edit = Self::begin(tree, request, &inos).await;
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
        self.tree.ready().await?;
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
        if inode.kind == Kind::Directory {
            self.outcome.made.push(inode.ino);
        }
        self.working.push(Working { inode, changed: true });
    }

    pub fn put_entry(&mut self, parent: Ino, entry: Entry) {
        self.batch.put(keys::entry::key(parent, &entry.name), keys::entry::encode(&entry));
        self.outcome.entries.push((parent, entry.name.clone(), Some(entry)));
    }

    pub fn delete_entry(&mut self, parent: Ino, name: &Name) {
        self.batch.delete(keys::entry::key(parent, name));
        self.outcome.entries.push((parent, name.clone(), None));
    }

    /// Tells subscribers, once it is committed.
    pub fn tell(&mut self, what: What) {
        self.renames |= matches!(what, What::Renamed { .. });
        self.news.push(what);
    }

    /// Lets an inode of the working set go that has lost its last name: at once if nothing of it has to be
    /// removed later and nobody uses it, else as an orphan.
    pub async fn drop_inode(&mut self, ino: Ino) -> Result<()> {
        let inode = self.change(ino);
        inode.links = 0;
        inode.parent = None;
        let (kind, attributes) = (inode.kind, inode.attributes);
        let has_content = matches!(kind, Kind::File | Kind::Stream | Kind::Table);
        if has_content || self.tree.pins.is_pinned(ino) {
            self.batch.put(keys::orphan::key(ino), keys::orphan::encode(kind));
            self.orphans.push(ino);
        } else {
            crate::ops::reap::delete_rows(self.tree.reader(), ino, attributes, &mut self.batch).await?;
            self.forget(ino);
        }
        Ok(())
    }

    /// The inode is gone with this change; its rows are in the batch.
    pub fn forget(&mut self, ino: Ino) {
        self.working.retain(|working| working.inode.ino != ino);
        self.outcome.gone.push(ino);
    }

    fn is_changed(&self) -> bool {
        !self.batch.is_empty() || self.working.iter().any(|working| working.changed)
    }

    /// Writes everything in one batch. When it returns, every reader sees all of it. An edit without changes
    /// commits nothing.
    pub async fn commit(mut self) -> Result<Position> {
        if !self.is_changed() {
            return Ok(self.tree.volume.position());
        }
        for Working { inode, .. } in self.working.iter().filter(|working| working.changed) {
            let row = keys::inode::encode(inode);
            self.batch.put(keys::inode::key(inode.ino), row.clone());
            // From the row, because what came with the call may be a piece of a large buffer.
            self.outcome.inodes.push(Arc::new(keys::inode::decode_for(inode.ino, row)?));
        }
        Carried::new(self.finish()).await
    }

    async fn finish(self) -> Result<Position> {
        let tree = self.tree;
        let position = tree.volume.commit(self.batch).await?;
        let written = self.outcome.inodes.iter().map(|inode| inode.ino);
        written.chain(self.outcome.gone.iter().copied()).for_each(|ino| tree.touched.settle(ino));
        if self.renames {
            tree.renames.during(|| tree.cache.publish(self.outcome));
        } else {
            tree.cache.publish(self.outcome);
        }
        let unseen = tree.changes.tell(self.news, self.request, position);
        drop(self.guards);
        for ino in self.orphans {
            tree.pins.orphaned(ino);
        }
        drop(self.moving);
        // Without a lock: what a follower does to deal with it may need one.
        if let Some(unseen) = unseen {
            unseen.seen().await;
        }
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
