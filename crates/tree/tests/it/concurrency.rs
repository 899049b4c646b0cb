//! Many tasks at once; afterwards every row fits together and the caches show what is stored.

use crate::promises::promise;
use crate::shaken::Shaken;
use crate::support::{Purged, bump, name, new, path, root};
use ballast_runtime::{ManualClock, Random};
use ballast_store::MemoryVolume;
use ballast_tree::{Config, Error, Rename, Tree, check};
use ballast_types::{Ino, Kind, Name};
use std::collections::BTreeMap;
use std::sync::Arc;

/// On a volume where everybody gets a turn between any two steps.
async fn open(volume: &MemoryVolume, cache_bytes: usize) -> Tree {
    let clock = Arc::new(ManualClock::at(1));
    let volume = Shaken::new(volume, cache_bytes as u64);
    let tree = Tree::open_with(volume, clock, (0, 0), Config { cache_bytes }).await.unwrap();
    tree.register(Arc::new(Purged::default()));
    tree
}

async fn is_sound(volume: &MemoryVolume) {
    let report = check(volume, &mut || {}).await.unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
}

/// Everything by path, to compare a warm tree with a cold one.
async fn listing(tree: &Tree) -> BTreeMap<String, ballast_tree::Inode> {
    let mut all = BTreeMap::new();
    let mut left = vec![(String::new(), Ino::ROOT)];
    while let Some((path, ino)) = left.pop() {
        let inode = tree.inode(ino).await.unwrap();
        if inode.kind == Kind::Directory {
            for entry in tree.list(&root(), ino).await.unwrap().iter() {
                left.push((format!("{path}/{}", entry.name), entry.ino));
            }
        }
        all.insert(path, inode);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_creates_in_one_directory_all_succeed() {
    let volume = MemoryVolume::new();
    let tree = open(&volume, 1 << 20).await;
    let tasks: Vec<_> = (0..1000)
        .map(|number| {
            let tree = tree.clone();
            tokio::spawn(async move {
                let name = name(&format!("f{number}"));
                tree.create(&root(), Ino::ROOT, &name, new(Kind::File, 0o644), &|_, _| {}).await.unwrap().0.ino
            })
        })
        .collect();
    let mut inos = Vec::new();
    for task in tasks {
        inos.push(task.await.unwrap());
    }
    inos.sort_unstable();
    inos.dedup();
    assert_eq!(inos.len(), 1000, "no number was given out twice");
    assert_eq!(tree.inode(Ino::ROOT).await.unwrap().size, 1000);
    assert_eq!(tree.list(&root(), Ino::ROOT).await.unwrap().len(), 1000);
    is_sound(&volume).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_make_the_same_name_one_wins() {
    promise("Of many who make the same name at once, one wins and the others learn that it exists.");
    let volume = MemoryVolume::new();
    let tree = open(&volume, 1 << 20).await;
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let tree = tree.clone();
            tokio::spawn(async move {
                tree.create(&root(), Ino::ROOT, &name("one"), new(Kind::File, 0o644), &|_, _| {}).await
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, Error::AlreadyExists(_)), "{error}"),
        }
    }
    assert_eq!(won, 1);
    is_sound(&volume).await;
}

/// One random operation on a small set of directories and names; errors are as good as successes.
async fn one(tree: &Tree, random: &Random, directories: &[Ino]) {
    let directory = || directories[random.below(directories.len() as u64) as usize];
    let any_name = || -> Name { name(["a", "b", "c", "d", "e"][random.below(5) as usize]) };
    let (from, to) = ((directory(), any_name()), (directory(), any_name()));
    let kind = [Kind::File, Kind::Directory, Kind::Stream, Kind::Symlink][random.below(4) as usize];
    let call = root();
    let done = match random.below(10) {
        0 | 1 => tree.create(&call, from.0, &from.1, new(kind, 0o755), &|_, _| {}).await.map(drop),
        2 => tree.unlink(&call, from.0, &from.1).await.map(drop),
        3 => tree.remove_directory(&call, from.0, &from.1).await.map(drop),
        4 => match tree.lookup(&call, from.0, &from.1).await {
            Ok(inode) => tree.link(&call, inode.ino, to.0, &to.1).await.map(drop),
            Err(error) => Err(error),
        },
        5 => tree.list(&call, from.0).await.map(drop),
        6 => match tree.lookup(&call, from.0, &from.1).await {
            Ok(inode) => {
                let pin = tree.pin(inode.ino);
                let path = tree.path_of(inode.ino).await.map(drop);
                drop(pin);
                path
            }
            Err(error) => Err(error),
        },
        7 => tree.reap().await.map(drop),
        other => {
            let how = if other == 8 { Rename::Exchange } else { Rename::Replace };
            tree.rename(&call, (from.0, &from.1), (to.0, &to.1), how).await.map(drop)
        }
    };
    if let Err(Error::Store(error)) = done {
        panic!("the volume failed: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_operations_of_many_tasks_leave_a_sound_tree() {
    promise("Directories never come to lie in themselves, however many are moved at the same time.");
    for (seed, cache_bytes) in [(1, 8 << 20), (2, 16 << 10), (3, 0), (4, 8 << 20)] {
        let volume = MemoryVolume::new();
        let tree = open(&volume, cache_bytes).await;
        let mut directories = vec![Ino::ROOT];
        for number in 0..6 {
            let above = directories[number / 2];
            // Names that the operations use: these directories are moved, too.
            let name = name(["a", "b"][number % 2]);
            let made = tree.create(&root(), above, &name, new(Kind::Directory, 0o755), &|_, _| {}).await.unwrap();
            directories.push(made.0.ino);
        }
        let tasks: Vec<_> = (0..16)
            .map(|task| {
                let (tree, directories) = (tree.clone(), directories.clone());
                tokio::spawn(async move {
                    let random = Random::from_seed(seed * 1000 + task);
                    for _ in 0..300 {
                        one(&tree, &random, &directories).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        tree.reap().await.unwrap();
        is_sound(&volume).await;
        let cold = open(&volume, 8 << 20).await;
        assert_eq!(listing(&tree).await, listing(&cold).await, "seed {seed}: the cache shows something else");
        let stats = tree.cache_stats();
        assert!(stats.bytes <= stats.budget_bytes, "seed {seed}: {stats:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_that_is_replaced_is_never_missing() {
    promise("A name that is replaced by a rename is never missing.");
    let volume = MemoryVolume::new();
    let tree = open(&volume, 1 << 20).await;
    tree.create(&root(), Ino::ROOT, &name("target"), new(Kind::File, 0o644), &|_, _| {}).await.unwrap();
    let writer = tokio::spawn({
        let tree = tree.clone();
        async move {
            for _ in 0..1000 {
                let (source, target) = (name("source"), name("target"));
                tree.create(&root(), Ino::ROOT, &source, new(Kind::File, 0o644), &|_, _| {}).await.unwrap();
                let from = (Ino::ROOT, &source);
                tree.rename(&root(), from, (Ino::ROOT, &target), Rename::Replace).await.unwrap();
            }
        }
    });
    while !writer.is_finished() {
        let found = tree.lookup(&root(), Ino::ROOT, &name("target")).await.expect("it is always there");
        assert_eq!(found.links, 1);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_in_the_middle_leaves_caches_that_are_right() {
    promise(
        "A change happens whole or not at all, also when the server is killed in the middle or its caller goes away.",
    );
    let volume = MemoryVolume::new();
    let tree = open(&volume, 1 << 20).await;
    let random = Random::from_seed(5);
    for number in 0..500 {
        let task = tokio::spawn({
            let tree = tree.clone();
            async move {
                let name = name(&format!("f{number}"));
                let _ = tree.create(&root(), Ino::ROOT, &name, new(Kind::File, 0o644), &|_, _| {}).await;
                let _ = tree.unlink(&root(), Ino::ROOT, &name).await;
            }
        });
        // On this one thread each of these lets the task go one step further.
        for _ in 0..random.below(20) {
            tokio::task::yield_now().await;
        }
        task.abort();
        let _ = task.await;
    }
    // Whatever was carried on holds the lock of the root until it is done.
    tree.update(Ino::ROOT, &mut bump).await.unwrap();
    is_sound(&volume).await;
    tree.reap().await.unwrap();
    assert_eq!(listing(&tree).await, listing(&open(&volume, 1 << 20).await).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_that_fill_the_cache_do_not_bring_back_what_was_changed_meanwhile() {
    let volume = MemoryVolume::new();
    let (directory, inos) = {
        let tree = open(&volume, 1 << 20).await;
        let directory = tree.create_directories(&root(), &path("/d")).await.unwrap().0.ino;
        let mut inos = Vec::new();
        // More than are read at once for a single name.
        for number in 0..100 {
            let name = name(&format!("f{number}"));
            let made = tree.create(&root(), directory, &name, new(Kind::File, 0o644), &|_, _| {}).await.unwrap();
            inos.push(made.0.ino);
        }
        (directory, inos)
    };
    for round in 0..100 {
        // Cold each time: everything is filled in while it changes.
        let tree = open(&volume, (1 << 20) + round).await;
        let mut tasks = Vec::new();
        for (number, ino) in inos.iter().copied().take(20).enumerate() {
            let tree = tree.clone();
            tasks.push(tokio::spawn(async move {
                let name = name(&format!("round{round}-{number}"));
                match number % 5 {
                    0 => drop(tree.list(&root(), directory).await.unwrap()),
                    1 => drop(tree.list_inodes(&root(), directory, None, usize::MAX).await.unwrap()),
                    2 => drop(tree.lookup(&root(), directory, &name).await),
                    3 => drop(tree.update(ino, &mut bump).await.unwrap()),
                    _ => {
                        drop(tree.create(&root(), directory, &name, new(Kind::File, 0o644), &|_, _| {}).await.unwrap())
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(listing(&tree).await, listing(&open(&volume, 1 << 20).await).await, "round {round}");
    }
}
