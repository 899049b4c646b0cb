//! Many tasks on few files.

use crate::shifting::ShiftingVolume;
use crate::{World, both, root};
use ballast_files::Settings;
use ballast_tree::{SetAttributes, SetTime};
use ballast_types::Timestamp;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Writers of one file, each with blocks of its own, that sync as they go; readers must never see a block torn or going
/// back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_readers_and_syncs_of_one_file_do_not_disturb_each_other() {
    // A small budget, so that pressure is part of the game.
    let settings = Settings { dirty_bytes_max: 256 << 10, content_cache_bytes: 1 << 20, row_cache_bytes: 64 << 10 };
    let world = Arc::new(World::open(ShiftingVolume::default(), &settings).await);
    let file = world.create("f").await;
    const BLOCK: u64 = 5000;
    const ROUNDS: u32 = 60;
    let mut tasks = Vec::new();
    for writer in 0..8u64 {
        let world = Arc::clone(&world);
        tasks.push(tokio::spawn(async move {
            let handle = world.files.open(&root(), file, both()).await.expect("it can be opened");
            for round in 1..=ROUNDS {
                let bytes = Bytes::from(vec![round as u8; BLOCK as usize]);
                world.files.write(&root(), file, writer * BLOCK, bytes).await.expect("the volume works");
                if round % 4 == 0 {
                    world.files.fsync(&handle).await.expect("the volume works");
                }
                let read = world.read(file, writer * BLOCK, BLOCK).await;
                assert!(read.iter().all(|byte| *byte == round as u8), "writer {writer} reads its own round {round}");
            }
        }));
    }
    for _ in 0..2 {
        let world = Arc::clone(&world);
        tasks.push(tokio::spawn(async move {
            let mut last = [0u8; 8];
            for _ in 0..200 {
                for (writer, last) in last.iter_mut().enumerate() {
                    let read = world.read(file, writer as u64 * BLOCK, 1).await;
                    let round = read.first().copied().unwrap_or(0);
                    assert!(round >= *last, "writer {writer} went from round {last} back to {round}");
                    *last = round;
                }
                tokio::task::yield_now().await;
            }
        }));
    }
    let world_to_settle = Arc::clone(&world);
    tasks.push(tokio::spawn(async move {
        for _ in 0..50 {
            world_to_settle.volume.shift().await;
            tokio::task::yield_now().await;
        }
    }));
    for task in tasks {
        task.await.expect("no task fails");
    }
    let world = Arc::try_unwrap(world).ok().expect("all tasks are done").crash().await;
    let file = world.find("f").await.expect("it was synced").ino;
    let expected = vec![ROUNDS as u8; 8 * BLOCK as usize];
    assert_eq!(world.read(file, 0, 1 << 20).await, expected, "the last round of each was synced");
}

/// Files come and go while others flush: the table of files in use must neither lose one nor keep one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_is_never_two_files() {
    let world = Arc::new(World::new().await);
    let mut files = Vec::new();
    for name in ["a", "b", "c"] {
        files.push(world.create(name).await);
    }
    let mut tasks = Vec::new();
    for task in 0..6usize {
        let (world, file) = (Arc::clone(&world), files[task % 3]);
        tasks.push(tokio::spawn(async move {
            for round in 0..300u64 {
                let at = (task as u64 / 3) * 8192 + round * 8;
                world.write(file, at, Bytes::copy_from_slice(&round.to_be_bytes())).await;
                if round % 7 == 0 {
                    world.files.flush(file).await.expect("the volume works");
                }
                assert_eq!(world.read(file, at, 8).await, round.to_be_bytes());
            }
        }));
    }
    for task in tasks {
        task.await.expect("no task fails");
    }
    world.files.flush_all().await.expect("the volume works");
    assert_eq!(world.files.dirty_bytes(), 0);
    for file in files {
        let read = world.read(file, 0, 1 << 20).await;
        for (writer, start) in [(0, 0usize), (1, 8192)] {
            for round in 0..300u64 {
                let at = start + round as usize * 8;
                assert_eq!(read[at..at + 8], round.to_be_bytes(), "writer {writer}, round {round}");
            }
        }
    }
}

/// A flush moves the time of a write from memory into the inode: whoever looks meanwhile finds it at one of the two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_a_write_is_never_missing_while_it_is_flushed() {
    const OLD: Timestamp = Timestamp(5);
    const ROUNDS: u64 = 20_000;
    let world = Arc::new(World::new().await);
    let file = world.create("f").await;
    // Odd from the return of a write to the next time that is set.
    let (phase, done): (Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
    let lookers: Vec<_> = (0..4)
        .map(|_| {
            let (world, phase, done) = (Arc::clone(&world), Arc::clone(&phase), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut missing = 0u64;
                while !done.load(Ordering::SeqCst) {
                    let before = phase.load(Ordering::SeqCst);
                    let found = futures::executor::block_on(world.files.attributes(file)).expect("the file is there");
                    let written = before % 2 == 1 && phase.load(Ordering::SeqCst) == before;
                    missing += u64::from(written && found.mtime == OLD);
                }
                missing
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        let set = SetAttributes { mtime: Some(SetTime::At(OLD)), ..SetAttributes::default() };
        world.files.set_attributes(&root(), file, set).await.expect("the volume works");
        world.write(file, 0, "written").await;
        phase.fetch_add(1, Ordering::SeqCst);
        world.files.flush(file).await.expect("the volume works");
        phase.fetch_add(1, Ordering::SeqCst);
    }
    done.store(true, Ordering::SeqCst);
    let missing: u64 = lookers.into_iter().map(|looker| looker.join().expect("it does not panic")).sum();
    assert_eq!(missing, 0, "looks after the write that found the time from before it");
}
