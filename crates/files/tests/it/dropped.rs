//! Requests that are dropped, overtaken or kept waiting.

use crate::{World, both, name_of, root};
use ballast_files::limits::EXTENTS_MAX;
use ballast_files::space::Allocate;
use ballast_types::Ino;
use std::sync::Arc;

/// Lets all tasks run until they wait.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn sync(world: &Arc<World>, file: Ino) -> tokio::task::JoinHandle<()> {
    let world = Arc::clone(world);
    tokio::spawn(async move { world.sync(file).await })
}

/// Its commit goes on, and becomes visible in the middle of the next flush.
#[tokio::test]
async fn a_flush_that_was_dropped_does_not_spoil_the_next() {
    let world = Arc::new(World::new().await);
    let file = world.create("f").await;
    world.write(file, 0, vec![1; 4 << 10]).await;
    world.sync(file).await;
    world.write(file, 4 << 10, vec![2; 8 << 10]).await;
    let commits = world.volume.hold_commits().await;
    let dropped = sync(&world, file);
    settle().await;
    dropped.abort();
    let appends = world.volume.hold_appends().await;
    let next = sync(&world, file);
    settle().await;
    drop(commits);
    settle().await;
    drop(appends);
    next.await.unwrap();
    world.files.truncate(&root(), file, 8 << 10).await.unwrap();
    world.sync(file).await;
    let expected = [vec![1; 4 << 10], vec![2; 4 << 10]].concat();
    assert!(world.read(file, 0, 1 << 20).await == expected);
    let world = Arc::try_unwrap(world).ok().expect("all tasks are done").crash().await;
    assert!(world.read(file, 0, 1 << 20).await == expected);
}

/// As a lookup does whose thread rests between the tree's answer and its own.
#[tokio::test]
async fn an_inode_from_before_a_flush_is_shown_as_it_is_now() {
    let world = World::new().await;
    let file = world.create("f").await;
    let handle = world.files.open(&root(), file, both()).await.unwrap();
    world.write(file, 0, vec![1; 100]).await;
    let old = world.find("f").await.unwrap();
    world.files.fsync(&handle).await.unwrap();
    world.files.release(handle).await.unwrap();
    assert_eq!(old.size, 0, "the tree does not know of it yet");
    assert_eq!(world.files.current(old).await.unwrap().size, 100);
    let removed = world.find("f").await.unwrap();
    world.tree.unlink(&root(), Ino::ROOT, &name_of("f")).await.unwrap();
    settle().await;
    assert_eq!(world.files.current(removed).await.unwrap().size, 100);
}

#[tokio::test]
async fn many_holes_are_flushed_like_many_writes() {
    let world = World::new().await;
    let file = world.create("f").await;
    world.write(file, 0, vec![1; 4 << 10]).await;
    world.files.truncate(&root(), file, 1 << 30).await.unwrap();
    world.sync(file).await;
    let stored = world.volume.rows().len();
    for number in 0..=EXTENTS_MAX as u64 {
        world.files.fallocate(&root(), file, number * 8192, 4096, Allocate::PunchHole).await.unwrap();
    }
    assert!(world.volume.rows().len() < stored, "the first hole has taken the only block");
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_everything_gives_up_when_nothing_moves() {
    let world = Arc::new(World::new().await);
    let file = world.create("f").await;
    world.write(file, 0, vec![1; 100]).await;
    let commits = world.volume.hold_commits().await;
    let refused = world.files.flush_all_in_time().await.unwrap_err().to_string();
    assert!(refused.contains("100 bytes"), "{refused}");
    drop(commits);
    world.files.flush_all_in_time().await.unwrap();
    assert_eq!(world.files.dirty_bytes(), 0);
}
