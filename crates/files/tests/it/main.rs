//! Files on a volume in memory: semantics, a model, crashes and concurrency.

mod concurrent;
mod dropped;
mod model;
mod semantics;
mod shifting;

use ballast_files::{Files, Open, Settings};
use ballast_runtime::{Clock, ManualClock};
use ballast_store::Volume;
use ballast_tree::{Inode, NewInode, Tree};
use ballast_types::{Call, Ino, Kind, Name};
use bytes::Bytes;
use shifting::ShiftingVolume;
use std::sync::Arc;

/// A volume with its tree and its files.
pub struct World {
    pub volume: ShiftingVolume,
    pub tree: Tree,
    pub files: Files,
    pub clock: ManualClock,
}

impl World {
    pub async fn open(volume: ShiftingVolume, settings: &Settings) -> Self {
        let clock = ManualClock::at(1_000_000_000);
        let (shared, ticking): (Arc<dyn Volume>, Arc<dyn Clock>) = (Arc::new(volume.clone()), Arc::new(clock.clone()));
        let tree = Tree::open(Arc::clone(&shared), Arc::clone(&ticking), (0, 0)).await.expect("the volume is fine");
        let files = Files::new(shared, tree.clone(), ticking, settings);
        Self { volume, tree, files, clock }
    }

    pub async fn new() -> Self {
        Self::open(ShiftingVolume::default(), &Settings::default()).await
    }

    /// What is left after a crash and a restart.
    pub async fn crash(self) -> Self {
        Self::open(self.volume.crash(), &Settings::default()).await
    }

    pub async fn create(&self, name: &str) -> Ino {
        let new = NewInode { kind: Kind::File, mode: 0o644, rdev: 0, descriptor: Bytes::new() };
        let made = self.tree.create(&root(), Ino::ROOT, &name_of(name), new, &|_, _| {}).await;
        made.expect("the name is free").0.ino
    }

    pub async fn find(&self, name: &str) -> Option<Inode> {
        self.tree.lookup(&root(), Ino::ROOT, &name_of(name)).await.ok()
    }

    pub async fn read(&self, ino: Ino, offset: u64, length: u64) -> Vec<u8> {
        let parts = self.files.read(ino, offset, length).await.expect("the file can be read");
        parts.concat()
    }

    pub async fn write(&self, ino: Ino, offset: u64, bytes: impl Into<Bytes>) {
        self.files.write(&root(), ino, offset, bytes.into()).await.expect("the file can be written");
    }

    pub async fn sync(&self, ino: Ino) {
        let handle = self.files.open(&root(), ino, both()).await.expect("the file can be opened");
        self.files.fsync(&handle).await.expect("the volume works");
    }

    pub async fn size(&self, ino: Ino) -> u64 {
        self.files.attributes(ino).await.expect("the file is there").size
    }
}

pub fn root() -> Call {
    Call::internal()
}

pub fn both() -> Open {
    Open { read: true, write: true, ..Open::default() }
}

pub fn name_of(name: &str) -> Name {
    name.parse().expect("the test's names are names")
}
