//! Streams and tables in the mount.

use crate::rights::as_user;
use crate::{Notebook, World, errno, on_mount_with};
use ballast_tree::NewInode;
use ballast_types::{Call, Ino, Kind};
use bytes::Bytes;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::Arc;

fn make_stream(world: &World, name: &str) {
    let new = NewInode { kind: Kind::Stream, mode: 0o644, rdev: 0, descriptor: Bytes::new() };
    let (tree, name) = (world.tree.clone(), name.parse().expect("it is a name"));
    let made = async move { tree.create(&Call::internal(), Ino::ROOT, &name, new, &|_, _| {}).await };
    world.runtime.block_on(made).expect("the name is free");
}

#[test]
fn a_stream_shows_as_a_directory_with_a_few_children() {
    let notebook = Arc::new(Notebook::default());
    on_mount_with(Arc::clone(&notebook) as _, move |world| {
        make_stream(world, "s");
        let names = fs::read_dir(world.at("s")).expect("it shows as a directory");
        let names: Vec<_> = names.map(|entry| entry.expect("it can be listed").file_name()).collect();
        assert_eq!(names, ["append", "tail.ndjson"]);
        let mut append = fs::OpenOptions::new().append(true).open(world.at("s/append")).expect("it can be opened");
        std::io::Write::write_all(&mut append, b"one\n").expect("it takes bytes");
        fs::write(world.at("s/append"), "two\n").expect("a shell opens it like this");
        assert_eq!(notebook.text.lock().as_slice(), b"one\ntwo\n");
        assert_eq!(fs::read_to_string(world.at("s/tail.ndjson")).expect("it can be read"), "one\ntwo\n");
        notebook.text.lock().extend_from_slice(b"three\n");
        let text = fs::read_to_string(world.at("s/tail.ndjson")).expect("it can be read");
        assert_eq!(text, "one\ntwo\nthree\n", "nothing of it is cached");
        assert_eq!(errno(fs::metadata(world.at("s/other"))), libc::ENOENT);
    });
}

#[test]
fn a_stream_is_dropped_by_rmdir_and_by_nothing_else() {
    on_mount_with(Arc::new(Notebook::default()), |world| {
        make_stream(world, "s");
        fs::write(world.at("f"), "x").expect("it can be written");
        assert_eq!(errno(fs::remove_file(world.at("s/append"))), libc::EPERM);
        assert_eq!(errno(fs::write(world.at("s/new"), "x")), libc::EPERM);
        assert_eq!(errno(fs::create_dir(world.at("s/new"))), libc::EPERM);
        assert_eq!(errno(fs::rename(world.at("f"), world.at("s/f"))), libc::EPERM);
        assert_eq!(errno(fs::rename(world.at("s/append"), world.at("append"))), libc::EPERM);
        assert!(fs::remove_dir_all(world.at("s")).is_err(), "rm -rf fails safe");
        assert!(world.at("s/append").exists());
        fs::rename(world.at("s"), world.at("t")).expect("a stream can be renamed");
        fs::remove_dir(world.at("t")).expect("rmdir drops it");
        assert!(!world.at("t").exists());
    });
}

#[test]
fn who_cannot_list_a_stream_does_not_drop_it_by_a_recursive_removal() {
    on_mount_with(Arc::new(Notebook::default()), |world| {
        fs::create_dir(world.at("logs")).expect("the name is free");
        make_stream(world, "web");
        fs::rename(world.at("web"), world.at("logs/web")).expect("a stream can be renamed");
        chown(world.at("logs"), Some(61_000), None).expect("root may");
        chown(world.at("logs/web"), Some(61_000), None).expect("root may");
        fs::set_permissions(world.at("logs/web"), Permissions::from_mode(0o000)).expect("root may");
        assert!(!as_user(world, "", "rm -rf logs"));
        assert!(world.at("logs/web").exists());
        fs::set_permissions(world.at("logs/web"), Permissions::from_mode(0o700)).expect("root may");
        assert!(as_user(world, "", "rmdir logs/web"));
    });
}
