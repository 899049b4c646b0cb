//! How a mount begins and ends.

use crate::{World, c_path, can_mount, checked, errno};
use ballast_files::read::join;
use ballast_fuse::{Error, Mount, NoVirtuals, Settings};
use ballast_store::{MemoryVolume, Volume};
use ballast_types::{Call, Ino};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A new tree, mounted, in a directory that goes with the test; `None` where nothing can be mounted.
async fn mounted() -> Option<(tempfile::TempDir, World, Mount)> {
    if !can_mount() {
        return None;
    }
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let world = World::open(MemoryVolume::new(), directory.path().join("mount")).await;
    let mount = world.mount(Arc::new(NoVirtuals)).await.expect("it can be mounted");
    Some((directory, world, mount))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmount_leaves_everything_on_stable_storage() {
    let Some((_directory, world, mount)) = mounted().await else { return };
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
async fn a_closed_file_survives_without_an_fsync() {
    let Some((_directory, world, mount)) = mounted().await else { return };
    let contents = [("small", vec![1; 10]), ("blocks", vec![2; 300_000])];
    for (name, content) in contents.clone() {
        let path = world.at(name);
        let written = tokio::task::spawn_blocking(move || fs::write(path, content)).await;
        written.expect("it does not panic").expect("it can be written");
    }
    let mut waited = 0;
    loop {
        // The log does this by itself.
        world.volume.durable(world.volume.position()).await.expect("the volume is fine");
        let crashed = World::open(world.volume.crash(), world.path.clone()).await;
        let mut survived = 0;
        for (name, content) in &contents {
            let name = name.parse().expect("it is a name");
            let inode = crashed.tree.lookup(&Call::internal(), Ino::ROOT, &name).await.expect("it is there");
            let read = crashed.files.read(inode.ino, 0, 1 << 20).await.expect("it can be read");
            survived += usize::from(join(read) == content);
        }
        if survived == contents.len() {
            break;
        }
        // A close hands over what another flush of the file does not hold up, and the rest a moment later.
        waited += 1;
        assert!(waited < 100, "{survived} files survived");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    mount.unmount().await.expect("it can be unmounted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_mount_is_taken_over_and_a_live_one_is_not() {
    let Some((_directory, world, first)) = mounted().await else { return };
    let refused = world.mount(Arc::new(NoVirtuals)).await;
    assert!(matches!(refused, Err(Error::Busy(_))), "a live mount is not taken over");
    cut(&world).await;
    let second = world.mount(Arc::new(NoVirtuals)).await.expect("the dead mount is taken over");
    let path = world.at("file");
    let written = tokio::task::spawn_blocking(move || fs::write(path, "x")).await;
    written.expect("it does not panic").expect("the new one works");
    second.unmount().await.expect("it can be unmounted");
    drop(first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_while_a_dead_mount_is_replaced_never_lands_below_it() {
    let Some((_directory, world, mut mount)) = mounted().await else { return };
    // A killed server unmounts nothing, so these are dropped at the end alone.
    let mut killed = Vec::new();
    let (stop, path) = (Arc::new(AtomicBool::new(false)), world.path.clone());
    let stopped = Arc::clone(&stop);
    let writer = std::thread::spawn(move || {
        for number in 0.. {
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            // Fails while the mount is dead.
            let _ = File::create(path.join(format!("file-{number}"))).and_then(|file| file.sync_all());
        }
    });
    for _ in 0..50 {
        cut(&world).await;
        let next = world.mount(Arc::new(NoVirtuals)).await.expect("the dead mount is taken over");
        killed.push(std::mem::replace(&mut mount, next));
    }
    stop.store(true, Ordering::Relaxed);
    tokio::task::spawn_blocking(|| writer.join()).await.expect("it can be joined").expect("it does not panic");
    mount.unmount().await.expect("it can be unmounted");
    let below: Vec<_> = fs::read_dir(&world.path).expect("nothing is mounted").flatten().collect();
    assert!(below.is_empty(), "files below the mount: {below:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmount_takes_dead_mounts_below_along() {
    if !can_mount() {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let path = directory.path().join("mount");
    fs::create_dir(&path).expect("there is room for a directory");
    leave_dead_mount(&path);
    leave_dead_mount(&path);
    assert_eq!(errno(fs::metadata(&path)), libc::ENOTCONN);
    let world = World::open(MemoryVolume::new(), path).await;
    let mount = world.mount(Arc::new(NoVirtuals)).await.expect("dead mounts are taken over");
    let file = world.at("file");
    let written = tokio::task::spawn_blocking(move || fs::write(file, "x")).await;
    written.expect("it does not panic").expect("the new one works");
    mount.unmount().await.expect("it can be unmounted");
    assert_eq!(fs::read_dir(&world.path).expect("nothing is mounted, not even a dead mount").count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mount_hides_is_named() {
    if !can_mount() {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room for a directory");
    fs::write(directory.path().join("written before"), "x").expect("there is room for a file");
    let world = World::open(MemoryVolume::new(), directory.path().to_owned()).await;
    let mount = world.mount(Arc::new(NoVirtuals)).await.expect("it can be mounted");
    assert_eq!(mount.hidden(), ["written before"]);
    mount.unmount().await.expect("it can be unmounted");
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

/// Cuts the connection of the mount, as the death of its server does.
async fn cut(world: &World) {
    let path = world.path.clone();
    let cut = move || {
        // Somebody uses it, so that it is cut by the force but not unmounted.
        let _user = File::options().read(true).custom_flags(libc::O_PATH).open(&path).expect("it is there");
        // SAFETY: the path is NUL-terminated and outlives the call.
        let unmounted = unsafe { libc::umount2(c_path(&path).as_ptr(), libc::MNT_FORCE) };
        assert_eq!(checked(unmounted), Err(libc::EBUSY));
        // Attributes would still be answered from the kernel's cache.
        assert_eq!(errno(fs::read_dir(&path)), libc::ENOTCONN);
    };
    tokio::task::spawn_blocking(cut).await.expect("it can be cut");
}

/// What a killed server leaves: a mount whose device nobody holds open.
fn leave_dead_mount(path: &Path) {
    let device = File::options().read(true).write(true).open("/dev/fuse").expect("can_mount has seen it");
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    let (options, path) = (std::ffi::CString::new(options).expect("it holds no NUL"), c_path(path));
    let name = c"fuse".as_ptr();
    // SAFETY: all pointers are to NUL-terminated strings that outlive the call.
    let mounted = unsafe { libc::mount(name, path.as_ptr(), name, 0, options.as_ptr().cast()) };
    checked(mounted).expect("root may mount");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_that_is_read_only_refuses_every_change_at_once() {
    let Some((_directory, world, mount)) = mounted().await else { return };
    let path = world.at("file");
    let written = tokio::task::spawn_blocking(move || fs::write(path, "as it was")).await;
    written.expect("it does not panic").expect("it can be written");
    mount.unmount().await.expect("it can be unmounted");
    let settings = Settings { read_only: true, ..Settings::new(&world.path) };
    let mount = ballast_fuse::mount(settings, world.tree.clone(), world.files.clone(), Arc::new(NoVirtuals)).await;
    let mount = mount.expect("it can be mounted");
    let path = world.at("file");
    let tried = tokio::task::spawn_blocking(move || {
        assert_eq!(errno(File::options().append(true).open(&path)), libc::EROFS);
        assert_eq!(errno(fs::remove_file(&path)), libc::EROFS);
        fs::read_to_string(path).expect("it can be read")
    });
    assert_eq!(tried.await.expect("it does not panic"), "as it was");
    mount.unmount().await.expect("it can be unmounted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmount_after_somebody_else_unmounted_leaves_what_is_there_now() {
    let Some((_directory, world, mount)) = mounted().await else { return };
    let target = c_path(&world.path);
    // SAFETY: the path is NUL-terminated and outlives the call.
    checked(unsafe { libc::umount2(target.as_ptr(), 0) }).expect("root may");
    // The session hears of it in a moment.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let source = c"none".as_ptr();
    // SAFETY: all strings are NUL-terminated.
    let mounted = unsafe { libc::mount(source, target.as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null()) };
    checked(mounted).expect("root may");
    fs::write(world.at("other"), "of somebody else").expect("it can be written");
    let unmounted = mount.unmount().await;
    let left = fs::read_to_string(world.at("other"));
    // SAFETY: as above.
    checked(unsafe { libc::umount2(target.as_ptr(), 0) }).expect("root may");
    unmounted.expect("there was nothing to do");
    assert_eq!(left.expect("it is still there"), "of somebody else");
}
