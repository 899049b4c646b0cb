//! Rates of the tree on a volume in memory: what its own code costs, without storage.
//!
//! `cargo bench -p ballast-tree`. Prints nanoseconds per operation, one line each, and how well the cache
//! estimates the memory it takes.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use ballast_runtime::SystemClock;
use ballast_store::MemoryVolume;
use ballast_tree::{Config, NewInode, Rename, Tree};
use ballast_types::{Call, Ino, Kind, Name, TreePath};
use bytes::Bytes;
use std::alloc::{GlobalAlloc, Layout, System};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

/// Counts what is allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn file() -> NewInode {
    NewInode { kind: Kind::File, mode: 0o644, rdev: 0, descriptor: Bytes::new() }
}

async fn open(volume: &MemoryVolume) -> Tree {
    let config = Config { cache_bytes: 1 << 30 };
    Tree::open_with(Arc::new(volume.clone()), Arc::new(SystemClock), (0, 0), config).await.unwrap()
}

/// Runs `one` with the numbers below `times`, one after the other.
async fn measure<F: Future>(what: &str, times: usize, mut one: impl FnMut(usize) -> F) {
    let began = Instant::now();
    for number in 0..times {
        std::hint::black_box(one(number).await);
    }
    report(what, times, began);
}

fn report(what: &str, times: usize, began: Instant) {
    let nanos = began.elapsed().as_nanos() / times as u128;
    println!("{what:<58} {nanos:>9} ns");
}

const DIRECTORIES: usize = 100;
const FILES: usize = 1000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let volume = MemoryVolume::new();
    let tree = open(&volume).await;
    let call = Call::internal();
    let names: Vec<Name> = (0..FILES).map(|number| name(&format!("file-{number:06}"))).collect();
    let mut directories = Vec::new();
    for number in 0..DIRECTORIES {
        let path = TreePath::parse(&format!("/one/two/dir-{number}")).unwrap();
        directories.push(tree.create_directories(&call, &path).await.unwrap().0.ino);
    }
    // Neither neighbours nor always the same: as far apart as a walk over a tree would be.
    let at = |number: usize| (directories[number % DIRECTORIES], &names[number * 7 / DIRECTORIES % FILES]);
    let rows: &(dyn Fn(&ballast_tree::Inode, &mut ballast_store::Batch) + Send + Sync) = &|_, _| {};

    let total = DIRECTORIES * FILES;
    measure("create, 1,000 files in each of 100 directories", total, |number| {
        let (parent, name) = (directories[number % DIRECTORIES], &names[number / DIRECTORIES]);
        tree.create(&call, parent, name, file(), rows)
    })
    .await;
    let inode_of = |number: usize| Ino(first_file(&directories) + number as u64 % 90_000);
    measure("inode, hot", 1_000_000, |number| tree.inode(inode_of(number * 7919))).await;
    measure("lookup, hot", 1_000_000, |number| {
        let (parent, name) = at(number);
        tree.lookup(&call, parent, name)
    })
    .await;
    let missing = name("missing");
    measure("lookup of a missing name, hot", 1_000_000, |number| tree.lookup(&call, at(number).0, &missing)).await;
    let deep = TreePath::parse("/one/two/dir-7/file-000500").unwrap();
    measure("resolve of a path with 4 names, hot", 1_000_000, |_| tree.resolve(&call, &deep)).await;
    let ino = tree.resolve(&call, &deep).await.unwrap().ino;
    measure("path of an inode with 4 names, hot", 1_000_000, |_| tree.path_of(ino)).await;
    measure("list of 1,000 entries, hot", 100_000, |number| tree.list(&call, directories[number % 100])).await;
    measure("list of 1,000 entries, after a change", 1_000, |number| {
        let (tree, call, parent) = (&tree, &call, directories[number % 100]);
        async move {
            let name = name("passing");
            tree.create(call, parent, &name, file(), rows).await.unwrap();
            tree.list(call, parent).await.unwrap();
            tree.unlink(call, parent, &name).await.unwrap();
        }
    })
    .await;
    measure("update (as a write of an engine)", 100_000, |number| {
        let tree = &tree;
        async move {
            let mut change = |inode: &mut ballast_tree::Inode, _: &mut ballast_store::Batch| {
                inode.size += 1;
                Ok(())
            };
            tree.update(inode_of(number * 7919), &mut change).await.unwrap();
        }
    })
    .await;
    let other = name("moved");
    measure("rename within a directory, there and back", 20_000, |number| {
        let (tree, call, (parent, name), other) = (&tree, &call, at(number), &other);
        async move {
            tree.rename(call, (parent, name), (parent, other), Rename::Replace).await.unwrap();
            tree.rename(call, (parent, other), (parent, name), Rename::Replace).await.unwrap();
        }
    })
    .await;
    concurrent(&tree, "create, 64 tasks in one directory", &directories[..1]).await;
    concurrent(&tree, "create, 64 tasks in 100 directories", &directories).await;
    drop(tree);
    cold(&volume, &call, &directories).await;
}

/// The first number after the directories.
fn first_file(directories: &[Ino]) -> u64 {
    directories.last().unwrap().0 + 1
}

async fn concurrent(tree: &Tree, what: &str, directories: &[Ino]) {
    let began = Instant::now();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let (tree, directories) = (tree.clone(), directories.to_vec());
            tokio::spawn(async move {
                for number in 0..500 {
                    let parent = directories[(task + number) % directories.len()];
                    let name = name(&format!("task-{task}-{number}-of-{}", directories.len()));
                    tree.create(&Call::internal(), parent, &name, file(), &|_, _| {}).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    report(what, 64 * 500, began);
}

async fn cold(volume: &MemoryVolume, call: &Call, directories: &[Ino]) {
    let tree = open(volume).await;
    let before = ALLOCATED.load(Ordering::Relaxed);
    measure("list of about 1,500 entries, cold", directories.len(), |number| tree.list(call, directories[number]))
        .await;
    memory("entries", before, &tree, 0);
    let (before, counted) = (ALLOCATED.load(Ordering::Relaxed), tree.cache_stats().bytes);
    measure("about 1,500 inodes of a directory, cold", directories.len(), |number| {
        tree.list_inodes(call, directories[number], None, usize::MAX)
    })
    .await;
    memory("inodes", before, &tree, counted);
}

fn memory(what: &str, before: usize, tree: &Tree, counted: usize) {
    let allocated = ALLOCATED.load(Ordering::Relaxed) - before;
    let stats = tree.cache_stats();
    println!("{what}: {allocated} bytes allocated, {} counted; {stats:?}", stats.bytes - counted);
}
