//! What is hot costs no reads, what is large is not kept, and a failed commit leaves nothing behind.

use crate::promises::promise;
use crate::shaken::Shaken;
use crate::support::{Purged, bump, name, new, path, root};
use ballast_runtime::ManualClock;
use ballast_store::{MemoryVolume, Volume};
use ballast_tree::{Config, Error, Rename, Tree, check};
use ballast_types::{Ino, Kind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

async fn open(volume: &Arc<Shaken>, cache_bytes: usize) -> Tree {
    let clock = Arc::new(ManualClock::at(1));
    Tree::open_with(volume.clone(), clock, (0, 0), Config { cache_bytes }).await.unwrap()
}

/// A directory `/d` with so many files.
async fn filled(tree: &Tree, files: usize) -> Ino {
    let directory = tree.create_directories(&root(), &path("/d")).await.unwrap().0.ino;
    for number in 0..files {
        let name = name(&format!("file-{number:05}"));
        tree.create(&root(), directory, &name, new(Kind::File, 0o644), &|_, _| {}).await.unwrap();
    }
    directory
}

#[tokio::test]
async fn what_was_just_made_is_hot() {
    let volume = Shaken::steady(&MemoryVolume::new());
    let tree = open(&volume, 1 << 20).await;
    tree.inode(Ino::ROOT).await.unwrap();
    tree.lookup(&root(), Ino::ROOT, &name("nothing")).await.unwrap_err();
    let before = volume.reads();
    let directory = filled(&tree, 100).await;
    assert_eq!(tree.list(&root(), directory).await.unwrap().len(), 100);
    for number in 0..100 {
        tree.lookup(&root(), directory, &name(&format!("file-{number:05}"))).await.unwrap();
    }
    tree.lookup(&root(), directory, &name("missing")).await.unwrap_err();
    let (from, to) = (name("file-00001"), name("other"));
    tree.rename(&root(), (directory, &from), (directory, &to), Rename::Replace).await.unwrap();
    tree.unlink(&root(), directory, &to).await.unwrap();
    assert_eq!(volume.reads(), before, "nothing of this reads the volume");
}

#[tokio::test]
async fn a_cold_directory_is_read_by_one_scan_and_its_inodes_by_another() {
    let memory = MemoryVolume::new();
    let directory = filled(&open(&Shaken::steady(&memory), 1 << 20).await, 1000).await;
    let volume = Shaken::steady(&memory);
    let tree = open(&volume, 1 << 20).await;
    tree.inode(directory).await.unwrap();
    let before = volume.reads();
    let found = tree.list_inodes(&root(), directory, None, usize::MAX).await.unwrap();
    assert_eq!((found.len(), volume.reads() - before), (1000, 2));
    assert!(
        found.iter().all(|(entry, inode)| entry.ino == inode.ino && inode.parent.as_ref().unwrap().1 == entry.name)
    );
    let before = volume.reads();
    tree.list_inodes(&root(), directory, None, usize::MAX).await.unwrap();
    tree.lookup(&root(), directory, &name("missing")).await.unwrap_err();
    assert_eq!(volume.reads(), before);
}

#[tokio::test]
async fn a_large_directory_is_read_whole_only_when_single_reads_have_cost_as_much() {
    let memory = MemoryVolume::new();
    let directory = filled(&open(&Shaken::steady(&memory), 1 << 20).await, 400).await;
    let volume = Shaken::steady(&memory);
    let tree = open(&volume, 1 << 20).await;
    tree.inode(directory).await.unwrap();
    for look in 0..300u64 {
        let before = volume.reads();
        tree.lookup(&root(), directory, &name("missing")).await.unwrap_err();
        let filled_at = 400 / ballast_tree::limits::FILL_ENTRIES_PER_GET;
        assert_eq!(volume.reads() - before, u64::from(look <= filled_at), "look {look}");
    }
}

#[tokio::test]
async fn a_directory_over_its_share_is_read_by_names_and_pages() {
    let volume = Shaken::steady(&MemoryVolume::new());
    let tree = open(&volume, 256 << 10).await;
    let directory = filled(&tree, 1000).await;
    let stats = tree.cache_stats();
    assert!(stats.bytes <= stats.budget_bytes, "{stats:?}");
    let before = volume.reads();
    for look in 1..=50 {
        tree.lookup(&root(), directory, &name("missing")).await.unwrap_err();
        assert_eq!(volume.reads() - before, look);
    }
    assert_eq!(tree.list(&root(), directory).await.unwrap().len(), 1000);
    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let page = tree.list_page(&root(), directory, after.as_ref(), 64).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        seen.extend(page);
    }
    assert_eq!(seen, *tree.list(&root(), directory).await.unwrap());
    // It comes into the cache when it has become small.
    for number in 0..900 {
        tree.unlink(&root(), directory, &name(&format!("file-{number:05}"))).await.unwrap();
    }
    tree.list(&root(), directory).await.unwrap();
    let before = volume.reads();
    assert_eq!(tree.list(&root(), directory).await.unwrap().len(), 100);
    assert_eq!(volume.reads(), before);
}

#[tokio::test]
async fn the_cache_keeps_its_budget_whatever_comes() {
    let volume = Shaken::steady(&MemoryVolume::new());
    let tree = open(&volume, 64 << 10).await;
    for number in 0..300 {
        let (made, _) =
            tree.create_directories(&root(), &path(&format!("/d{}/e{number}/f", number % 7))).await.unwrap();
        let large = ballast_tree::NewInode { descriptor: vec![1; 3000].into(), ..new(Kind::File, 0o644) };
        tree.create(&root(), made.ino, &name("file"), large, &|_, _| {}).await.unwrap();
        let stats = tree.cache_stats();
        assert!(stats.bytes <= stats.budget_bytes, "{stats:?}");
    }
    assert!(tree.cache_stats().inodes > 0 && tree.cache_stats().directories > 0);
    tree.register(Arc::new(Purged::default()));
    assert_eq!(check(&volume.inner, &mut || {}).await.unwrap().findings, Vec::<String>::new());
}

#[tokio::test]
async fn a_failed_commit_changes_nothing_that_anybody_sees() {
    let volume = Shaken::steady(&MemoryVolume::new());
    let tree = open(&volume, 1 << 20).await;
    let directory = filled(&tree, 3).await;
    let before = (tree.inode(directory).await.unwrap(), tree.list(&root(), directory).await.unwrap());
    let file = before.1[0].clone();
    volume.fails.store(true, Ordering::SeqCst);
    let (new_name, call) = (name("new"), root());
    for done in [
        tree.create(&call, directory, &new_name, new(Kind::File, 0o644), &|_, _| {}).await.map(drop),
        tree.unlink(&call, directory, &file.name).await.map(drop),
        tree.rename(&call, (directory, &file.name), (directory, &new_name), Rename::Replace).await.map(drop),
        tree.link(&call, file.ino, directory, &new_name).await.map(drop),
        tree.update(file.ino, &mut bump).await.map(drop),
    ] {
        assert!(matches!(done, Err(Error::Store(ballast_store::Error::Exhausted(_)))));
    }
    let after = (tree.inode(directory).await.unwrap(), tree.list(&root(), directory).await.unwrap());
    assert_eq!(after, before);
    assert_eq!(tree.inode(file.ino).await.unwrap().links, 1);
    volume.fails.store(false, Ordering::SeqCst);
    tree.create(&root(), directory, &new_name, new(Kind::File, 0o644), &|_, _| {}).await.unwrap();
    assert_eq!(check(&volume.inner, &mut || {}).await.unwrap().findings, Vec::<String>::new());
}

#[tokio::test]
async fn nothing_new_is_made_on_a_disk_that_is_nearly_full() {
    promise("On a disk that is nearly full nothing new is made, and what there is can be read, changed and removed.");
    let volume = Shaken::steady(&MemoryVolume::new());
    let tree = open(&volume, 1 << 20).await;
    let directory = filled(&tree, 3).await;
    let (first, renamed, call) = (name("file-00000"), name("renamed"), root());
    volume.inner.set_nearly_full(true);
    let made = tree.create(&call, directory, &name("new"), new(Kind::File, 0o644), &|_, _| {}).await;
    assert!(matches!(made, Err(Error::Store(ballast_store::Error::Exhausted(_)))));
    tree.rename(&call, (directory, &first), (directory, &renamed), Rename::Replace).await.unwrap();
    tree.unlink(&call, directory, &renamed).await.unwrap();
    assert_eq!(tree.list(&call, directory).await.unwrap().len(), 2);
    volume.inner.set_nearly_full(false);
    tree.create(&call, directory, &name("new"), new(Kind::File, 0o644), &|_, _| {}).await.unwrap();
}

#[tokio::test]
async fn a_volume_that_is_lost_answers_nothing_from_the_caches() {
    promise("A server that lost its volume answers nothing from its caches.");
    let memory = MemoryVolume::new();
    let tree = open(&Shaken::steady(&memory), 1 << 20).await;
    let directory = filled(&tree, 3).await;
    let (hot, missing) = (name("file-00001"), name("missing"));
    let file = tree.lookup(&root(), directory, &hot).await.unwrap().ino;
    tree.list(&root(), directory).await.unwrap();
    memory.close().await.unwrap();
    let lost = |what: &str, result: Result<(), Error>| {
        assert!(matches!(result, Err(Error::Store(_))), "{what} was answered: {result:?}");
    };
    lost("inode", tree.inode(file).await.map(drop));
    lost("lookup", tree.lookup(&root(), directory, &hot).await.map(drop));
    lost("a lookup in vain", tree.lookup(&root(), directory, &missing).await.map(drop));
    lost("resolve", tree.resolve(&root(), &path("/")).await.map(drop));
    lost("path_of", tree.path_of(file).await.map(drop));
    lost("list", tree.list(&root(), directory).await.map(drop));
    lost("list_inodes", tree.list_inodes(&root(), directory, None, 9).await.map(drop));
    lost("pin_live", tree.pin_live(file).await.map(drop));
    lost("attributes", tree.attributes(&root(), file).await.map(drop));
    lost("create", tree.create(&root(), directory, &hot, new(Kind::File, 0), &|_, _| {}).await.map(drop));
    lost("unlink", tree.unlink(&root(), directory, &missing).await.map(drop));
}
