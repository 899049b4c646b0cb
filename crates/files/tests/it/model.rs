//! Random operations on several files, compared with plain byte vectors, over crashes.
//!
//! After a crash all files together are as one commit left them: the one before the last sync, or a later one. The
//! model keeps the states of all commits since.

use crate::{World, both, name_of, root};
use ballast_files::space::{Allocate, Seek};
use ballast_store::Volume;
use ballast_types::Ino;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A little over three blocks: all the edges, none of the length.
const SPACE: u64 = 420_000;

#[derive(Clone, Debug)]
enum Step {
    Write { file: usize, at: u64, length: u64, fill: u8 },
    Truncate { file: usize, size: u64 },
    Punch { file: usize, at: u64, length: u64 },
    Zero { file: usize, at: u64, length: u64 },
    Extend { file: usize, at: u64, length: u64 },
    Copy { from: usize, to: usize, at: u64, to_at: u64, length: u64 },
    Read { file: usize, at: u64, length: u64 },
    Flush { file: usize },
    Sync { file: usize },
    Remove { file: usize },
    Tick,
    Shift,
    Crash,
}

/// Offsets near the edges of blocks and of small files, and anywhere.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..SPACE,
        (0u64..4, 0u64..9).prop_map(|(block, off)| (block * 131_072 + off).saturating_sub(4)),
        0u64..3000,
    ]
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![1u64..50, 1u64..5000, 100_000u64..300_000]
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0..3usize;
    prop_oneof![
        6 => (file.clone(), offset(), length(), 1u8..).prop_map(|(file, at, length, fill)| Step::Write { file, at, length, fill }),
        2 => (file.clone(), offset()).prop_map(|(file, size)| Step::Truncate { file, size }),
        2 => (file.clone(), offset(), length()).prop_map(|(file, at, length)| Step::Punch { file, at, length }),
        1 => (file.clone(), offset(), length()).prop_map(|(file, at, length)| Step::Zero { file, at, length }),
        1 => (file.clone(), offset(), length()).prop_map(|(file, at, length)| Step::Extend { file, at, length }),
        1 => (file.clone(), file.clone(), offset(), offset(), length())
            .prop_map(|(from, to, at, to_at, length)| Step::Copy { from, to, at, to_at, length }),
        4 => (file.clone(), offset(), length()).prop_map(|(file, at, length)| Step::Read { file, at, length }),
        2 => file.clone().prop_map(|file| Step::Flush { file }),
        2 => file.clone().prop_map(|file| Step::Sync { file }),
        1 => file.prop_map(|file| Step::Remove { file }),
        1 => Just(Step::Tick),
        2 => Just(Step::Shift),
        1 => Just(Step::Crash),
    ]
}

type Contents = BTreeMap<usize, Vec<u8>>;

#[derive(Clone, Debug)]
struct Model {
    now: Contents,
    /// The states after the last sync and after each commit since.
    committed: Vec<Contents>,
}

impl Default for Model {
    fn default() -> Self {
        Self { now: Contents::new(), committed: vec![Contents::new()] }
    }
}

impl Model {
    fn write(&mut self, file: usize, at: u64, bytes: &[u8]) {
        let content = self.now.entry(file).or_default();
        let (at, end) = (at as usize, at as usize + bytes.len());
        if content.len() < end {
            content.resize(end, 0);
        }
        content[at..end].copy_from_slice(bytes);
    }

    fn clear(&mut self, file: usize, at: u64, length: u64) {
        let content = self.now.entry(file).or_default();
        let (from, to) = ((at as usize).min(content.len()), ((at + length) as usize).min(content.len()));
        content[from..to].fill(0);
    }

    fn grow(&mut self, file: usize, size: u64) {
        let content = self.now.entry(file).or_default();
        content.resize(content.len().max(size as usize), 0);
    }

    fn last(&self) -> &Contents {
        self.committed.last().expect("there is always one state")
    }

    fn commit(&mut self, file: usize) {
        let mut next = self.last().clone();
        next.insert(file, self.now[&file].clone());
        self.committed.push(next);
    }

    fn sync(&mut self) {
        self.committed = vec![self.last().clone()];
    }

    /// Takes the state that a crash left: the latest that the files are in.
    async fn crashed(&mut self, world: &World) {
        let mut found = Contents::new();
        for file in 0..3 {
            if let Some(inode) = world.find(&format!("file-{file}")).await {
                found.insert(file, world.read(inode.ino, 0, 2 * SPACE).await);
            }
        }
        assert!(self.committed.contains(&found), "the files are in no state that was committed since the last sync");
        self.now.clone_from(&found);
        self.committed = vec![found];
    }
}

/// The inode of a file, made if it is not there. Making it commits an empty file.
async fn open(world: &World, model: &mut Model, file: usize) -> Ino {
    let name = format!("file-{file}");
    match world.find(&name).await {
        Some(inode) => inode.ino,
        None => {
            model.now.insert(file, Vec::new());
            model.commit(file);
            world.create(&name).await
        }
    }
}

async fn run(steps: Vec<Step>) {
    let mut world = World::new().await;
    let mut model = Model::default();
    for step in steps {
        match step.clone() {
            Step::Write { file, at, length, fill } => {
                let ino = open(&world, &mut model, file).await;
                let bytes: Vec<u8> = (0..length).map(|index| fill.wrapping_add(index as u8) | 1).collect();
                model.write(file, at, &bytes);
                world.write(ino, at, Bytes::from(bytes)).await;
            }
            Step::Truncate { file, size } => {
                let ino = open(&world, &mut model, file).await;
                world.files.truncate(&root(), ino, size).await.expect("it may be cut");
                model.now.entry(file).or_default().resize(size as usize, 0);
            }
            Step::Punch { file, at, length } => {
                let ino = open(&world, &mut model, file).await;
                world.files.fallocate(&root(), ino, at, length, Allocate::PunchHole).await.expect("it is supported");
                model.clear(file, at, length);
            }
            Step::Zero { file, at, length } => {
                let ino = open(&world, &mut model, file).await;
                world.files.fallocate(&root(), ino, at, length, Allocate::Zero).await.expect("it is supported");
                model.clear(file, at, length);
                model.grow(file, at + length);
            }
            Step::Extend { file, at, length } => {
                let ino = open(&world, &mut model, file).await;
                world.files.fallocate(&root(), ino, at, length, Allocate::Extend).await.expect("it is supported");
                model.grow(file, at + length);
            }
            Step::Copy { from, to, at, to_at, length } => {
                if from == to {
                    continue;
                }
                let (source, target) = (open(&world, &mut model, from).await, open(&world, &mut model, to).await);
                let copied = world.files.copy_range(&root(), (source, at), (target, to_at), length).await;
                let content = &model.now[&from];
                let range = (at as usize).min(content.len())..((at + length) as usize).min(content.len());
                let bytes = content[range].to_vec();
                assert_eq!(copied.expect("both are files"), bytes.len() as u64);
                if !bytes.is_empty() {
                    model.write(to, to_at, &bytes);
                }
            }
            Step::Read { file, at, length } => {
                let ino = open(&world, &mut model, file).await;
                let content = &model.now[&file];
                let range = (at as usize).min(content.len())..((at + length) as usize).min(content.len());
                assert!(world.read(ino, at, length).await == content[range], "{step:?}");
                assert_eq!(world.size(ino).await, content.len() as u64);
            }
            Step::Flush { file } => {
                let ino = open(&world, &mut model, file).await;
                world.files.flush(ino).await.expect("the volume works");
                model.commit(file);
            }
            Step::Sync { file } => {
                let ino = open(&world, &mut model, file).await;
                world.sync(ino).await;
                model.commit(file);
                model.sync();
            }
            Step::Remove { file } => {
                let name = name_of(&format!("file-{file}"));
                if world.tree.unlink(&root(), Ino::ROOT, &name).await.is_ok() {
                    model.now.remove(&file);
                    let mut next = model.last().clone();
                    next.remove(&file);
                    model.committed.push(next);
                }
            }
            Step::Tick => {
                // Nothing is open, so everything is flushed; and what has no name is removed.
                world.files.tick().await;
                world.tree.reap().await.expect("the volume works");
                // In an order that the test does not know: from here on a crash must not be between them.
                world.volume.durable(world.volume.position()).await.expect("the volume works");
                model.committed = vec![model.now.clone()];
            }
            Step::Shift => world.volume.shift().await,
            Step::Crash => {
                world = world.crash().await;
                model.crashed(&world).await;
            }
        }
    }
    check(&world, &model).await;
    world.files.flush_all().await.expect("the volume works");
    assert_eq!(world.files.dirty_bytes(), 0, "the budget counts what is there");
    let world = world.crash().await;
    check(&world, &model).await;
}

async fn check(world: &World, model: &Model) {
    for (file, content) in &model.now {
        let inode = world.find(&format!("file-{file}")).await.expect("the model has it");
        let ino = inode.ino;
        let handle = world.files.open(&root(), ino, both()).await.expect("it can be opened");
        let read = world.files.read_at(&handle, 0, 2 * SPACE).await.expect("it can be read").concat();
        assert!(read == *content, "file {file}: {} bytes read, {} in the model", read.len(), content.len());
        // Whatever is found to be a hole is zeros.
        let mut at = 0;
        while let Ok(hole) = world.files.seek(ino, at, Seek::Hole).await {
            let end = world.files.seek(ino, hole, Seek::Data).await.unwrap_or(content.len() as u64);
            assert!(content[hole as usize..end as usize].iter().all(|byte| *byte == 0), "{hole} to {end} is no hole");
            at = end;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn files_behave_like_byte_vectors(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        runtime.block_on(run(steps));
    }
}
