//! A small whole volume, with one bit flipped or the end cut off, at every byte of every file: log, segments, the
//! index's files and the superblock. A cut of the log's end leaves a prefix; any other damage is named, or lies where
//! nothing is read any more, and never gives other data than was written.
//!
//! A few hundred places are tried; with `BALLAST_EVERY_BYTE` all of them.

use super::model::{State, content, dump, show};
use super::world::World;
use crate::bucket::Bucket;
use crate::disk::{Disk, SimDisk, read_full_at, write_all_at};
use crate::{Batch, IndexedVolume, Space, Superblock, Volume};
use ballast_runtime::Random;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

/// One file of the volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum File {
    Log(PathBuf),
    Object(Path),
}

impl File {
    /// The part of the volume that it belongs to.
    fn kind(&self) -> &str {
        match self {
            Self::Log(_) => "log",
            Self::Object(path) if path.as_ref() == "superblock" => "superblock",
            Self::Object(path) => path.as_ref().rsplit('/').nth(1).unwrap_or_default(),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Log(path) => path.file_name().and_then(|name| name.to_str()).unwrap_or_default(),
            Self::Object(path) => path.filename().unwrap_or_default(),
        }
    }
}

/// A volume that was left, and what it held: after each commit, and in its snapshot.
struct Small {
    world: World,
    states: Vec<State>,
    snapshot: State,
    /// What was known to be durable.
    durable: usize,
}

/// Some payload in segments, some in the log; some rows in the index's files, some in the log's tail; a snapshot
/// with payload that was saved for it.
async fn small(closed: bool) -> Small {
    let seed = (0..).find(|seed| World::new(*seed, None).disk.is_some()).expect("two in three have one");
    let world = World::new(seed, None);
    let bucket = Bucket::over(Arc::new(world.bucket.clone()), "simulated");
    Superblock::open(&bucket, &world.clock, &Random::from_seed(1)).await.unwrap();
    let volume = world.open().await.unwrap();
    let mut small = Small { world, states: vec![State::new()], snapshot: State::new(), durable: 0 };
    for number in 0..8 {
        small.put(&volume, number, 700).await;
    }
    volume.create_snapshot("kept").await.unwrap();
    small.snapshot = small.states.last().expect("there is one").clone();
    for number in 0..4 {
        small.put(&volume, number, 900).await;
    }
    volume.settle().await.unwrap();
    volume.collect().await.unwrap();
    volume.flush_index().await.unwrap();
    for number in 4..9 {
        small.put(&volume, number, 300).await;
    }
    if closed {
        volume.close().await.unwrap();
    }
    small.durable = small.states.len() - 1;
    small.world.crash();
    small
}

impl Small {
    async fn put(&mut self, volume: &IndexedVolume, number: u8, length: u64) {
        let bytes = content(u64::from(number) + 10 * self.states.len() as u64, length);
        let payload = volume.append_payload(std::slice::from_ref(&bytes)).await.unwrap();
        let (key, text) =
            (Space::Block.key(&[&[number]]), Bytes::from(format!("row {number} of {}", self.states.len())));
        let mut batch = Batch::new();
        batch.hold(&payload);
        batch.put_with_payload(key.clone(), text.clone(), [payload.pointer]);
        let end = volume.commit(batch).await.unwrap();
        volume.durable(end).await.unwrap();
        let mut state = self.states.last().expect("there is one").clone();
        state.insert(key, (text, vec![bytes]));
        self.states.push(state);
    }

    fn disk(&self) -> &SimDisk {
        self.world.disk.as_ref().expect("it was chosen so")
    }

    async fn files(&self) -> BTreeMap<File, Bytes> {
        let mut files = BTreeMap::new();
        let directory = PathBuf::from(format!("/bucket/volumes/{}/log", crate::VolumeId(0)));
        for name in self.disk().list(&directory).unwrap().iter().filter(|name| name.starts_with("log-")) {
            let path = directory.join(name);
            let file = self.disk().open(&path).unwrap();
            let mut bytes = vec![0; file.byte_len().unwrap() as usize];
            read_full_at(&*file, &mut bytes, 0).unwrap();
            files.insert(File::Log(path), bytes.into());
        }
        let listed: Vec<_> = self.world.bucket.list(None).try_collect().await.unwrap();
        for meta in listed {
            let bytes = self.world.bucket.get(&meta.location).await.unwrap().bytes().await.unwrap();
            files.insert(File::Object(meta.location), bytes);
        }
        files
    }

    /// The same volume with other bytes in one file.
    async fn with(&self, file: &File, bytes: Vec<u8>) -> World {
        let mut world = World::new(0, None);
        world.disk = Some(self.disk().copy());
        world.bucket = self.world.bucket.copy();
        match file {
            File::Log(path) => {
                let file = world.disk.as_ref().expect("just put there").open(path).unwrap();
                file.truncate(bytes.len() as u64).unwrap();
                write_all_at(&*file, &mut [IoSlice::new(&bytes)], 0).unwrap();
                file.sync_data().unwrap();
            }
            File::Object(path) => drop(world.bucket.put(path, bytes.into()).await.unwrap()),
        }
        world
    }
}

/// What a look at a damaged volume came to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    /// An error or a problem of the check names the file.
    Named,
    /// Something is said to be wrong, but not which file.
    Nameless(String),
    /// All is there, and nothing is said to be wrong.
    Whole,
    /// A suffix of the commits is missing.
    Prefix(usize),
    /// Other data than was written, and nobody said so.
    Wrong(String),
}

impl Seen {
    fn of(error: &str, file: &File) -> Self {
        if error.contains(file.name()) { Self::Named } else { Self::Nameless(error.to_owned()) }
    }
}

async fn look(small: &Small, world: &World, file: &File) -> Seen {
    let bucket = Bucket::over(Arc::new(world.bucket.clone()), "simulated");
    if let Err(error) = Superblock::read(&bucket).await {
        return Seen::of(&error.to_string(), file);
    }
    let volume = match world.open().await {
        Ok(volume) => volume,
        Err(error) => return Seen::of(&error.to_string(), file),
    };
    let seen = read(small, &volume, file).await;
    volume.close().await.ok();
    seen
}

async fn read(small: &Small, volume: &IndexedVolume, file: &File) -> Seen {
    let mut named = None;
    let mut failed = |error: anyhow::Error| named = Some(Seen::of(&format!("{error:#}"), file));
    let present = dump(volume, false).await.map_err(&mut failed).ok();
    let found = present.as_ref().map(|found| small.states.iter().rposition(|state| state == found));
    if let (Some(None), Some(found)) = (found, &present) {
        return Seen::Wrong(show(found));
    }
    match volume.open_snapshot("kept").await {
        Ok(snapshot) => match dump(&*snapshot, false).await {
            Ok(found) if found == small.snapshot => {}
            Ok(found) => return Seen::Wrong(format!("in the snapshot: {}", show(&found))),
            Err(error) => failed(error),
        },
        Err(error) => failed(error.into()),
    }
    let checked = volume.fsck(&mut |_| {}).await;
    match checked {
        Ok(report) if report.problems.is_empty() => {}
        Ok(report) => {
            let named = report.problems.iter().find(|problem| problem.contains(file.name()));
            return Seen::of(named.unwrap_or(&report.problems[0]), file);
        }
        Err(error) => return Seen::of(&error.to_string(), file),
    }
    match (named, found.flatten()) {
        (Some(named), _) => named,
        (None, Some(at)) if at == small.durable => Seen::Whole,
        (None, Some(at)) => Seen::Prefix(at),
        (None, None) => Seen::Wrong("nothing was read".into()),
    }
}

/// The places of a file to be tried.
fn places(length: usize, random: &Random, few: u64) -> Vec<usize> {
    match std::env::var_os("BALLAST_EVERY_BYTE") {
        Some(_) => (0..length).collect(),
        None if length == 0 => Vec::new(),
        None => (0..few).map(|_| random.below(length as u64) as usize).collect(),
    }
}

type Table = BTreeMap<(String, String), u64>;

async fn damage(closed: bool, cut: bool) -> Table {
    let small = small(closed).await;
    let random = Random::from_seed(7);
    let mut table = Table::new();
    for (file, bytes) in small.files().await {
        for at in places(bytes.len(), &random, 12) {
            let mut damaged = bytes.to_vec();
            if cut {
                damaged.truncate(at);
            } else {
                damaged[at] ^= 1 << (at % 8);
            }
            let world = small.with(&file, damaged).await;
            let seen = look(&small, &world, &file).await;
            let what = format!("{} {at} {}", file.name(), bytes.len());
            println!("{} {what}: {seen:?}", file.kind());
            *table.entry((file.kind().to_owned(), format!("{seen:?}").chars().take(60).collect())).or_default() += 1;
        }
    }
    table
}

#[tokio::test(start_paused = true)]
async fn explore() {
    for closed in [false, true] {
        for cut in [false, true] {
            println!("closed {closed} cut {cut}: {:#?}", damage(closed, cut).await);
        }
    }
}
