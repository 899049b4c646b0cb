//! What the tests share.

use ballast_runtime::ManualClock;
use ballast_store::{Batch, MemoryVolume, Position};
use ballast_tree::{Content, Error, Inode, NewInode, Result, Tree};
use ballast_types::{Call, Caller, Ino, Kind, Name, TreePath};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

pub fn name(text: &str) -> Name {
    text.parse().expect("tests use legal names")
}

pub fn path(text: &str) -> TreePath {
    TreePath::parse(text).expect("tests use legal paths")
}

pub fn user(uid: u32) -> Call {
    Call::new(Caller::new(uid, uid))
}

pub fn member(uid: u32, gid: u32, groups: &[u32]) -> Call {
    let mut caller = Caller::new(uid, gid);
    caller.groups.extend_from_slice(groups);
    Call::new(caller)
}

pub fn root() -> Call {
    Call::internal()
}

pub fn new(kind: Kind, mode: u32) -> NewInode {
    NewInode { kind, mode, rdev: 0, descriptor: Bytes::new() }
}

/// A tree in memory whose clock moves with [`Fixture::tick`].
pub struct Fixture {
    pub volume: MemoryVolume,
    pub clock: ManualClock,
    pub tree: Tree,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::on(MemoryVolume::new()).await
    }

    pub async fn on(volume: MemoryVolume) -> Self {
        let clock = ManualClock::at(1_000_000_000);
        let tree = Tree::open(Arc::new(volume.clone()), Arc::new(clock.clone()), (0, 0)).await.expect("it opens");
        Self { volume, clock, tree }
    }

    pub fn tick(&self) {
        self.clock.advance(Duration::from_secs(1));
    }

    pub async fn make(&self, call: &Call, at: &str, kind: Kind, mode: u32) -> Result<Inode> {
        let (above, last) = path(at).split_last().map(|(above, last)| (above, last.clone())).expect("not the root");
        let parent = self.tree.resolve(&root(), &above).await?.ino;
        Ok(self.tree.create(call, parent, &last, new(kind, mode), &|_, _| {}).await?.0)
    }

    pub async fn at(&self, at: &str) -> Result<Inode> {
        self.tree.resolve(&root(), &path(at)).await
    }

    pub async fn ino(&self, at: &str) -> Ino {
        self.at(at).await.unwrap_or_else(|error| panic!("{at}: {error}")).ino
    }

    pub async fn unlink(&self, call: &Call, at: &str) -> Result<Position> {
        let (above, last) = path(at).split_last().map(|(above, last)| (above, last.clone())).expect("not the root");
        let parent = self.tree.resolve(&root(), &above).await?.ino;
        self.tree.unlink(call, parent, &last).await
    }

    pub async fn remove_directory(&self, call: &Call, at: &str) -> Result<Position> {
        let (above, last) = path(at).split_last().map(|(above, last)| (above, last.clone())).expect("not the root");
        let parent = self.tree.resolve(&root(), &above).await?.ino;
        self.tree.remove_directory(call, parent, &last).await
    }

    pub async fn rename(&self, call: &Call, from: &str, to: &str, how: ballast_tree::Rename) -> Result<Position> {
        let split = |at: &str| path(at).split_last().map(|(above, last)| (above, last.clone())).expect("not the root");
        let ((from, from_name), (to, to_name)) = (split(from), split(to));
        let from = self.tree.resolve(&root(), &from).await?.ino;
        let to = self.tree.resolve(&root(), &to).await?.ino;
        self.tree.rename(call, (from, &from_name), (to, &to_name), how).await
    }

    pub async fn link(&self, call: &Call, of: &str, at: &str) -> Result<Inode> {
        let (above, last) = path(at).split_last().map(|(above, last)| (above, last.clone())).expect("not the root");
        let parent = self.tree.resolve(&root(), &above).await?.ino;
        let ino = self.ino(of).await;
        Ok(self.tree.link(call, ino, parent, &last).await?.0)
    }

    pub async fn names(&self, at: &str) -> Vec<String> {
        let entries = self.tree.list(&root(), self.ino(at).await).await.expect("it lists");
        entries.iter().map(|entry| entry.name.to_string()).collect()
    }
}

/// A change of next to nothing, for [`Tree::update`].
pub fn bump(inode: &mut Inode, _: &mut Batch) -> Result<()> {
    inode.atime.0 += 1;
    Ok(())
}

/// An engine that remembers what it was told to empty.
#[derive(Default)]
pub struct Purged(pub Mutex<Vec<Ino>>);

#[async_trait::async_trait]
impl Content for Purged {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::File, Kind::Stream, Kind::Table]
    }

    async fn purge(&self, ino: Ino) -> Result<()> {
        self.0.lock().push(ino);
        Ok(())
    }
}

/// The errno that a mount answers.
pub fn errno(error: &Error) -> &'static str {
    match error {
        Error::NotFound(_) => "ENOENT",
        Error::Stale(_) => "ESTALE",
        Error::AlreadyExists(_) => "EEXIST",
        Error::NotADirectory(_) => "ENOTDIR",
        Error::IsADirectory(_) => "EISDIR",
        Error::NotEmpty(_) => "ENOTEMPTY",
        Error::Denied(_) => "EACCES",
        Error::NotOwner(_) | Error::NotPermitted(_) => "EPERM",
        Error::Invalid(_) => "EINVAL",
        Error::TooManyLinks => "EMLINK",
        Error::NoAttribute(_) => "ENODATA",
        Error::AttributeName => "ERANGE",
        Error::AttributeTooLarge(_) => "E2BIG",
        Error::NoSpace(_) => "ENOSPC",
        Error::Unsupported(_) => "EOPNOTSUPP",
        Error::NameTooLong => "ENAMETOOLONG",
        Error::Loop => "ELOOP",
        Error::Store(error) => panic!("the volume failed: {error}"),
    }
}
