//! The tree of one volume.

use crate::access::{self, Access};
use crate::cache::{Cache, CacheStats, Directory};
use crate::change::{Changes, Feed, Wants};
use crate::locks::Locks;
use crate::numbers::Numbers;
use crate::pins::{Pin, Pins};
use crate::renames::Renames;
use crate::touched::{Times, Touched};
use crate::{Entry, Error, Inode, NewInode, Rename, Result, SetAttributes, TreeView, keys, limits, ops, rows};
use async_trait::async_trait;
use ballast_runtime::Clock;
use ballast_store::{Batch, Position, Read, Volume};
use ballast_types::{Call, Ino, Kind, Name, Timestamp, TreePath};
use bytes::Bytes;
use parking_lot::RwLock;
use std::sync::Arc;

/// An engine, as far as the tree knows it: it empties inodes that have lost their last name and last user.
#[async_trait]
pub trait Content: Send + Sync {
    /// The kinds whose content this engine keeps.
    fn kinds(&self) -> &'static [Kind];
    /// Removes all rows of the inode's content, in batches of bounded size. Called again after a crash.
    async fn purge(&self, ino: Ino) -> Result<()>;
}

/// What two users may want different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Budget of the caches.
    pub cache_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { cache_bytes: limits::CACHE_BYTES }
    }
}

/// Clones share one tree. All changes to a volume's names go through it, so that its caches are the truth.
#[derive(Clone)]
pub struct Tree {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub volume: Arc<dyn Volume>,
    pub clock: Arc<dyn Clock>,
    pub locks: Locks,
    pub numbers: Numbers,
    pub pins: Arc<Pins>,
    pub engines: RwLock<Vec<Arc<dyn Content>>>,
    /// Held by whoever moves a directory to another one, so that no two of them make a circle together.
    pub moving: Arc<tokio::sync::Mutex<()>>,
    pub renames: Renames,
    pub cache: Cache,
    /// Held while a directory is read whole, so that it is done once.
    pub filling: Locks,
    pub touched: Touched,
    pub changes: Feed,
}

impl Tree {
    /// Opens the tree of a volume; a new volume gets its root directory (owner as given, mode 0755).
    pub async fn open(volume: Arc<dyn Volume>, clock: Arc<dyn Clock>, owner: (u32, u32)) -> Result<Self> {
        Self::open_with(volume, clock, owner, Config::default()).await
    }

    pub async fn open_with(
        volume: Arc<dyn Volume>,
        clock: Arc<dyn Clock>,
        owner: (u32, u32),
        config: Config,
    ) -> Result<Self> {
        if volume.get(&keys::inode::key(Ino::ROOT)).await?.is_none() {
            make_root(&*volume, Timestamp(clock.now_nanos()), owner).await?;
        }
        let numbers = Numbers::open(&*volume).await?;
        let inner = Inner {
            volume,
            clock,
            locks: Locks::new(limits::LOCKS),
            numbers,
            pins: Arc::default(),
            engines: RwLock::default(),
            moving: Arc::default(),
            renames: Renames::default(),
            cache: Cache::new(config.cache_bytes),
            filling: Locks::new(limits::FILLING_LOCKS),
            touched: Touched::default(),
            changes: Feed::default(),
        };
        // A crash may have left orphans.
        inner.pins.request_scan();
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The tree of a snapshot, or of any other cut.
    pub fn open_snapshot(reader: Arc<dyn Read>) -> TreeView {
        TreeView::new(reader)
    }

    pub fn volume(&self) -> &Arc<dyn Volume> {
        &self.inner.volume
    }

    /// The time as the tree sees it, for engines that set times in [`Tree::update`].
    pub fn now(&self) -> Timestamp {
        self.inner.now()
    }

    /// The inode, whoever asks. From the cache if it is hot: no I/O.
    pub async fn inode(&self, ino: Ino) -> Result<Inode> {
        Ok(Inode::clone(&*self.inner.inode(ino).await?))
    }

    /// The inode of a name; needs the right to search `parent`.
    pub async fn lookup(&self, call: &Call, parent: Ino, name: &Name) -> Result<Inode> {
        Ok(Inode::clone(&*self.inner.lookup(call, parent, name).await?))
    }

    /// The inode at the end of a path; follows no symlinks.
    pub async fn resolve(&self, call: &Call, path: &TreePath) -> Result<Inode> {
        let mut inode = self.inner.inode(Ino::ROOT).await?;
        for name in path.names() {
            inode = self.inner.lookup(call, inode.ino, name).await?;
        }
        Ok(Inode::clone(&*inode))
    }

    /// The path of an inode that has one.
    pub async fn path_of(&self, ino: Ino) -> Result<TreePath> {
        self.inner.path_of(ino).await
    }

    /// Denied unless the caller may have `wanted` of the inode: access(2), and what an engine asks before it
    /// reads or writes content.
    pub async fn access(&self, call: &Call, ino: Ino, wanted: Access) -> Result<Inode> {
        let inode = self.inode(ino).await?;
        access::require(&inode, &call.caller, wanted)?;
        Ok(inode)
    }

    /// Makes an inode and its name in one commit; `rows` adds the engine's own rows to it. Visible on return,
    /// durable when the position is.
    pub async fn create(
        &self,
        call: &Call,
        parent: Ino,
        name: &Name,
        new: NewInode,
        rows: &(dyn Fn(&Inode, &mut Batch) + Send + Sync),
    ) -> Result<(Inode, Position)> {
        ops::create::create(&self.inner, call, parent, name, new, rows).await
    }

    /// Makes an inode without a name, as open(2) with `O_TMPFILE` does: it goes with the pin, unless
    /// [`Tree::link`] gives it a name before.
    pub async fn create_unnamed(&self, call: &Call, parent: Ino, new: NewInode) -> Result<(Inode, Pin, Position)> {
        ops::create::create_unnamed(&self.inner, call, parent, new).await
    }

    /// Makes every missing directory of the path (mode 0755); the last one's inode.
    pub async fn create_directories(&self, call: &Call, path: &TreePath) -> Result<(Inode, Position)> {
        ops::create::create_directories(&self.inner, call, path).await
    }

    pub async fn link(&self, call: &Call, ino: Ino, parent: Ino, name: &Name) -> Result<(Inode, Position)> {
        ops::link::link(&self.inner, call, ino, parent, name).await
    }

    /// Removes the name of anything but a directory, a stream or a table (those: [`Tree::remove_directory`]).
    pub async fn unlink(&self, call: &Call, parent: Ino, name: &Name) -> Result<Position> {
        ops::remove::unlink(&self.inner, call, parent, name).await
    }

    /// rmdir: removes an empty directory, or drops a stream or a table with all it holds.
    pub async fn remove_directory(&self, call: &Call, parent: Ino, name: &Name) -> Result<Position> {
        ops::remove::remove_directory(&self.inner, call, parent, name).await
    }

    pub async fn rename(&self, call: &Call, from: (Ino, &Name), to: (Ino, &Name), how: Rename) -> Result<Position> {
        ops::rename::rename(&self.inner, call, from, to, how).await
    }

    /// chmod, chown, utimens under POSIX's rules.
    pub async fn set_attributes(&self, call: &Call, ino: Ino, set: SetAttributes) -> Result<(Inode, Position)> {
        ops::update::set_attributes(&self.inner, call, ino, set).await
    }

    /// Changes an inode in the same commit as rows of its content: how an engine sets size, times and descriptor.
    /// `change` runs under the inode's lock and may add rows; it checks no rights. An error from it stops the commit.
    ///
    /// It may set everything but number, kind, links, parent and the count of attributes. A change of nothing
    /// commits nothing.
    pub async fn update(
        &self,
        ino: Ino,
        change: &mut (dyn FnMut(&mut Inode, &mut Batch) -> Result<()> + Send),
    ) -> Result<(Inode, Position)> {
        ops::update::update(&self.inner, ino, change).await
    }

    /// Changes access and modification time in memory: visible at once, written with the next change of the
    /// inode or by [`Tree::flush_touched`], lost by a crash. For times that no contract wants durable, as those
    /// that a read leaves.
    pub async fn touch(&self, ino: Ino, atime: Option<Timestamp>, mtime: Option<Timestamp>) -> Result<()> {
        ops::update::touch(&self.inner, ino, Times { atime, mtime }).await
    }

    /// Writes the times that [`Tree::touch`] left in memory; how many. Run in the background and before a close.
    pub async fn flush_touched(&self) -> Result<usize> {
        ops::update::flush_touched(&self.inner).await
    }

    /// News of all changes from now on. Bounded: who reads too slowly is told how many it missed.
    pub fn subscribe(&self) -> Changes {
        self.inner.changes.subscribe(|_, _| true, false)
    }

    /// As [`Tree::subscribe`], of the changes that `wants` says. Such a change returns to its caller only when the
    /// follower has dealt with it, or after [`limits::FOLLOW_WAIT`]. The follower may not want changes that it makes
    /// or waits for itself.
    pub fn follow(&self, wants: Wants) -> Changes {
        self.inner.changes.subscribe(wants, true)
    }

    pub fn cache_stats(&self) -> CacheStats {
        self.inner.cache.stats()
    }

    /// The entries of a directory, without `.` and `..`, in the order of their names.
    pub async fn list(&self, call: &Call, ino: Ino) -> Result<Arc<Vec<Entry>>> {
        self.inner.list(call, ino).await
    }

    /// Up to `entries_max` entries behind the name `after`, each with its inode: what readdirplus and `ls -l`
    /// need. Inodes that are not in the cache and were made one after the other are read by one scan.
    pub async fn list_inodes(
        &self,
        call: &Call,
        ino: Ino,
        after: Option<&Name>,
        entries_max: usize,
    ) -> Result<Vec<(Entry, Arc<Inode>)>> {
        ops::list::list_inodes(&self.inner, call, ino, after, entries_max).await
    }

    /// Up to `entries_max` entries behind the name `after`: for directories of any size.
    pub async fn list_page(
        &self,
        call: &Call,
        ino: Ino,
        after: Option<&Name>,
        entries_max: usize,
    ) -> Result<Vec<Entry>> {
        self.inner.list_page(call, ino, after, entries_max).await
    }

    pub async fn attribute(&self, call: &Call, ino: Ino, name: &[u8]) -> Result<Bytes> {
        ops::attribute::get(&self.inner, call, ino, name).await
    }

    pub async fn attributes(&self, call: &Call, ino: Ino) -> Result<Vec<Bytes>> {
        ops::attribute::list(&self.inner, call, ino).await
    }

    /// `create`: Some(true) must not exist yet, Some(false) must exist, None either.
    pub async fn set_attribute(
        &self,
        call: &Call,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        create: Option<bool>,
    ) -> Result<Position> {
        ops::attribute::set(&self.inner, call, ino, name, value, create).await
    }

    pub async fn remove_attribute(&self, call: &Call, ino: Ino, name: &[u8]) -> Result<Position> {
        ops::attribute::remove(&self.inner, call, ino, name).await
    }

    /// Keeps the inode's content while the pin lives, also when its last name goes.
    pub fn pin(&self, ino: Ino) -> Pin {
        Pins::pin(&self.inner.pins, ino)
    }

    /// As [`Tree::pin`] and [`Tree::inode`], but `Stale` if the inode is gone or on its way out, so that an open
    /// never gets an inode that is being emptied.
    pub async fn pin_live(&self, ino: Ino) -> Result<(Inode, Pin)> {
        let pin = self.pin(ino);
        if self.inner.pins.is_dying(ino) {
            return Err(Error::Stale(ino));
        }
        Ok((self.inode(ino).await?, pin))
    }

    /// Registers the engine that empties inodes of its kinds.
    pub fn register(&self, content: Arc<dyn Content>) {
        self.inner.engines.write().push(content);
        self.inner.pins.request_scan();
    }

    /// Removes inodes that have neither name nor pin, with their content; how many. Run in the background, and
    /// woken by [`Tree::reapable`], also after an error: what failed is still to be removed. The caller waits a while
    /// then, so that a removal that keeps failing costs little.
    pub async fn reap(&self) -> Result<usize> {
        ops::reap::reap(&self.inner).await
    }

    /// Returns when there may be something to reap.
    pub async fn reapable(&self) {
        self.inner.pins.reapable().await;
    }
}

/// The root is its own parent in a mount; here it has none.
async fn make_root(volume: &dyn Volume, now: Timestamp, (uid, gid): (u32, u32)) -> Result<()> {
    let new = NewInode { kind: Kind::Directory, mode: 0o755, rdev: 0, descriptor: Bytes::new() };
    let root = ops::create::fresh(Ino::ROOT, &new, (uid, gid, 0o755), now);
    let mut batch = Batch::new();
    batch.put(keys::inode::key(Ino::ROOT), keys::inode::encode(&root));
    let position = volume.commit(batch).await?;
    Ok(volume.durable(position).await?)
}

/// What reads need.
impl Inner {
    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock.now_nanos())
    }

    pub fn reader(&self) -> &dyn Read {
        &*self.volume
    }

    /// Refuses unless the volume may still be served. Asked once by every operation, before it looks at the caches:
    /// they are the truth only as long as nobody else writes.
    pub async fn ready(&self) -> Result<()> {
        Ok(ballast_store::ready(&*self.volume).await?)
    }

    pub async fn inode(&self, ino: Ino) -> Result<Arc<Inode>> {
        self.ready().await?;
        self.inode_unchecked(ino).await
    }

    async fn inode_unchecked(&self, ino: Ino) -> Result<Arc<Inode>> {
        if let Some(hot) = self.cache.inode(ino) {
            return Ok(hot);
        }
        let _unchanged = self.locks.read(ino).await;
        self.inode_under_lock(ino).await
    }

    /// The caller holds the inode's lock.
    pub async fn inode_under_lock(&self, ino: Ino) -> Result<Arc<Inode>> {
        if let Some(hot) = self.cache.inode(ino) {
            return Ok(hot);
        }
        let mut inode = rows::inode(self.reader(), ino).await?;
        self.touched.lay_over(&mut inode);
        let inode = Arc::new(inode);
        self.cache.put_inode(Arc::clone(&inode));
        Ok(inode)
    }

    pub async fn entry(&self, parent: Ino, name: &Name) -> Result<Option<Entry>> {
        if let Some(directory) = self.cache.directory(parent) {
            return Ok(directory.get(name));
        }
        let _unchanged = self.locks.read(parent).await;
        self.entry_under_lock(parent, name).await
    }

    /// The caller holds the directory's lock.
    pub async fn entry_under_lock(&self, parent: Ino, name: &Name) -> Result<Option<Entry>> {
        if let Some(directory) = self.cache.directory(parent) {
            return Ok(directory.get(name));
        }
        if self.cache.wants(&*self.inode_under_lock(parent).await?) {
            return Ok(self.fill_under_lock(parent).await?.get(name));
        }
        rows::entry(self.reader(), parent, name).await
    }

    /// Reads a directory whole. The caller holds its lock.
    async fn fill_under_lock(&self, ino: Ino) -> Result<Arc<Directory>> {
        let _once = self.filling.write(&[ino]).await;
        if let Some(directory) = self.cache.directory(ino) {
            return Ok(directory);
        }
        let entries = rows::entries(self.reader(), ino, None, usize::MAX).await?;
        let directory = Arc::new(Directory::filled(entries));
        self.cache.put_directory(ino, Arc::clone(&directory));
        Ok(directory)
    }

    pub async fn directory(&self, ino: Ino) -> Result<Arc<Inode>> {
        let inode = self.inode(ino).await?;
        if inode.kind == Kind::Directory { Ok(inode) } else { Err(not_a_directory(&inode)) }
    }

    pub async fn lookup(&self, call: &Call, parent: Ino, name: &Name) -> Result<Arc<Inode>> {
        for _ in 0..limits::ATTEMPTS_MAX {
            let directory = self.directory(parent).await?;
            access::require(&directory, &call.caller, Access::SEARCH)?;
            let entry = self.entry(parent, name).await?.ok_or_else(|| Error::NotFound(name.to_string()))?;
            match self.inode_unchecked(entry.ino).await {
                Ok(inode) if inode.links > 0 => return Ok(inode),
                // It was removed between the two reads.
                Ok(_) | Err(Error::Stale(_)) => tokio::task::yield_now().await,
                Err(error) => return Err(error),
            }
        }
        Err(Error::corrupt(format!("the entry {name} of directory {parent} leads to no inode")))
    }

    pub async fn list(&self, call: &Call, ino: Ino) -> Result<Arc<Vec<Entry>>> {
        match self.hot_directory(call, ino).await? {
            Some(directory) => Ok(directory.list()),
            None => Ok(Arc::new(rows::entries(self.reader(), ino, None, usize::MAX).await?)),
        }
    }

    pub async fn list_page(
        &self,
        call: &Call,
        ino: Ino,
        after: Option<&Name>,
        entries_max: usize,
    ) -> Result<Vec<Entry>> {
        let hot = match entries_max {
            usize::MAX => self.hot_directory(call, ino).await?,
            // A directory is not filled for one page of it.
            _ => {
                access::require(&*self.directory(ino).await?, &call.caller, Access::READ)?;
                self.cache.directory(ino)
            }
        };
        match hot {
            Some(directory) => Ok(directory.page(after, entries_max)),
            None => rows::entries(self.reader(), ino, after, entries_max).await,
        }
    }

    /// The directory from the cache, filled if need be; `None` if it is too large for that. Needs the right to
    /// read it.
    async fn hot_directory(&self, call: &Call, ino: Ino) -> Result<Option<Arc<Directory>>> {
        let inode = self.directory(ino).await?;
        access::require(&inode, &call.caller, Access::READ)?;
        if let Some(directory) = self.cache.directory(ino) {
            return Ok(Some(directory));
        }
        if !self.cache.takes(&inode) {
            return Ok(None);
        }
        let _unchanged = self.locks.read(ino).await;
        Ok(Some(self.fill_under_lock(ino).await?))
    }

    /// Walks from the inode to the root: in memory if everything on the way is hot, with renames held off. Else
    /// it reads, and starts again if a name changed meanwhile; what it read is hot then.
    pub async fn path_of(&self, ino: Ino) -> Result<TreePath> {
        self.ready().await?;
        for _ in 0..limits::ATTEMPTS_MAX {
            if let Some(path) = self.hot_path_of(ino)? {
                return Ok(path);
            }
            let before = self.renames.count();
            let path = self.cold_path_of(ino).await;
            let passing = matches!(&path, Err(Error::Stale(gone)) if *gone != ino);
            if !passing && self.renames.count() == before {
                return path;
            }
        }
        Err(Error::Store(ballast_store::Error::Conflict))
    }

    fn hot_path_of(&self, ino: Ino) -> Result<Option<TreePath>> {
        let _still = self.renames.hold_off();
        let mut way = Way::new(ino);
        while let Some(at) = way.next() {
            match self.cache.inode(at) {
                Some(inode) => way.step(&inode)?,
                None => return Ok(None),
            }
        }
        Ok(Some(way.path()))
    }

    async fn cold_path_of(&self, ino: Ino) -> Result<TreePath> {
        let mut way = Way::new(ino);
        while let Some(at) = way.next() {
            way.step(&*self.inode(at).await?)?;
        }
        Ok(way.path())
    }

    pub fn engine_of(&self, kind: Kind) -> Option<Arc<dyn Content>> {
        self.engines.read().iter().find(|engine| engine.kinds().contains(&kind)).cloned()
    }
}

/// The way from an inode up to the root.
pub(crate) struct Way {
    from: Ino,
    at: Ino,
    names: Vec<Name>,
}

impl Way {
    pub fn new(from: Ino) -> Self {
        Self { from, at: from, names: Vec::new() }
    }

    /// The inode to look at next; `None` at the root.
    pub fn next(&self) -> Option<Ino> {
        (self.at != Ino::ROOT).then_some(self.at)
    }

    pub fn step(&mut self, inode: &Inode) -> Result<()> {
        let missing = || Error::NotFound(format!("a path of inode {}", self.from));
        let (parent, name) = inode.parent.clone().ok_or_else(missing)?;
        if self.names.len() >= limits::DEPTH_MAX {
            return Err(Error::corrupt(format!("inode {} has no way to the root", self.from)));
        }
        self.names.push(name);
        self.at = parent;
        Ok(())
    }

    pub fn path(self) -> TreePath {
        self.names.into_iter().rev().collect()
    }
}

pub(crate) fn not_a_directory(inode: &Inode) -> Error {
    let name = inode.parent.as_ref().map_or_else(|| format!("inode {}", inode.ino), |(_, name)| name.to_string());
    Error::NotADirectory(name)
}
