//! How a mount begins and ends.

use crate::{World, can_mount, errno};
use ballast_fuse::{Error, NoVirtuals};
use ballast_store::MemoryVolume;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmount_leaves_everything_on_stable_storage() {
    if !can_mount() {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let world = World::open(MemoryVolume::new(), directory.path().join("mount")).await;
    let mount = world.mount(Arc::new(NoVirtuals)).await.expect("it can be mounted");
    let path = world.at("file");
    let written = tokio::task::spawn_blocking(move || fs::write(path, "not synced")).await;
    written.expect("it does not panic").expect("it can be written");
    mount.unmount().await.expect("it can be unmounted");
    assert!(!world.at("file").exists(), "the mount is gone");
    let world = World::open(world.volume.crash(), world.path).await;
    let mount = world.mount(Arc::new(NoVirtuals)).await.expect("it can be mounted again");
    let path = world.at("file");
    let read = tokio::task::spawn_blocking(move || fs::read_to_string(path)).await;
    assert_eq!(read.expect("it does not panic").expect("it is there"), "not synced");
    mount.unmount().await.expect("it can be unmounted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_mount_is_taken_over_and_a_live_one_is_not() {
    if !can_mount() {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let world = World::open(MemoryVolume::new(), directory.path().join("mount")).await;
    let first = world.mount(Arc::new(NoVirtuals)).await.expect("it can be mounted");
    let refused = world.mount(Arc::new(NoVirtuals)).await;
    assert!(matches!(refused, Err(Error::Busy(_))), "a live mount is not taken over");
    // Cuts the connection, as the death of its server does.
    let path = world.path.clone();
    let device = tokio::task::spawn_blocking(move || fs::metadata(path)).await.expect("it does not panic");
    let connection = libc::minor(device.expect("it is there").dev());
    if fs::write(format!("/sys/fs/fuse/connections/{connection}/abort"), "1").is_err() {
        eprintln!("skipped: /sys/fs/fuse/connections is not mounted");
        return first.unmount().await.expect("it can be unmounted");
    }
    assert_eq!(errno(fs::metadata(&world.path)), libc::ENOTCONN);
    let second = world.mount(Arc::new(NoVirtuals)).await.expect("the dead mount is taken over");
    let path = world.at("file");
    let written = tokio::task::spawn_blocking(move || fs::write(path, "x")).await;
    written.expect("it does not panic").expect("the new one works");
    second.unmount().await.expect("it can be unmounted");
    drop(first);
}

#[tokio::test]
async fn what_is_no_directory_cannot_be_mounted_on() {
    if !can_mount() {
        return;
    }
    let file = tempfile::NamedTempFile::new().expect("there is room for a file");
    let world = World::open(MemoryVolume::new(), file.path().to_owned()).await;
    assert!(matches!(world.mount(Arc::new(NoVirtuals)).await, Err(Error::NotADirectory(_))));
}
