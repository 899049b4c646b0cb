//! What changes through other protocols shows in the mount at once.

use crate::{World, on_mount};
use ballast_tree::{NewInode, Rename, SetAttributes};
use ballast_types::{Call, Ino, Kind, Name};
use bytes::Bytes;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

fn name(text: &str) -> Name {
    text.parse().expect("it is a name")
}

fn make(world: &World, text: &str) -> Ino {
    make_in(world, Ino::ROOT, text)
}

/// Makes a directory past the mount.
pub fn make_in(world: &World, parent: Ino, text: &str) -> Ino {
    let new = NewInode { kind: Kind::Directory, mode: 0o755, rdev: 0, descriptor: Bytes::new() };
    let (tree, name) = (world.tree.clone(), name(text));
    let made = async move { tree.create(&Call::internal(), parent, &name, new, &|_, _| {}).await };
    world.runtime.block_on(made).expect("the name is free").0.ino
}

fn remove(world: &World, text: &str) {
    let (tree, name) = (world.tree.clone(), name(text));
    let removed = async move { tree.remove_directory(&Call::internal(), Ino::ROOT, &name).await };
    world.runtime.block_on(removed).expect("it is there");
}

fn is_there(world: &World, text: &str) -> bool {
    match fs::symlink_metadata(world.at(text)) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => panic!("{text}: {error}"),
    }
}

#[test]
fn a_name_that_was_looked_for_in_vain_shows_as_soon_as_another_protocol_made_it() {
    on_mount(|world| {
        for round in 0..50 {
            let text = format!("d{round}");
            assert!(!is_there(world, &text));
            make(world, &text);
            assert!(is_there(world, &text), "round {round}");
            remove(world, &text);
            assert!(!is_there(world, &text), "round {round}");
        }
    });
}

#[test]
fn a_rename_a_mode_and_a_directorys_size_show_as_soon_as_another_protocol_changed_them() {
    on_mount(|world| {
        let ino = make(world, "old");
        fs::write(world.at("old/file"), "x").expect("it can be written");
        assert!(is_there(world, "old/file") && !is_there(world, "new"));
        let links = fs::metadata(&world.path).expect("it is there").nlink();
        let tree = world.tree.clone();
        let change = async move {
            let (from, to) = (name("old"), name("new"));
            tree.rename(&Call::internal(), (Ino::ROOT, &from), (Ino::ROOT, &to), Rename::Replace).await?;
            tree.set_attributes(&Call::internal(), ino, SetAttributes { mode: Some(0o700), ..Default::default() }).await
        };
        world.runtime.block_on(change).expect("the name is free");
        assert!(!is_there(world, "old") && !is_there(world, "old/file") && is_there(world, "new/file"));
        assert_eq!(fs::metadata(world.at("new")).expect("it is there").mode() & 0o777, 0o700);
        make(world, "other");
        assert_eq!(fs::metadata(&world.path).expect("it is there").nlink(), links + 1);
    });
}

#[test]
fn changes_through_the_mount_and_past_it_do_not_wait_for_each_other_in_a_circle() {
    on_mount(|world| {
        std::thread::scope(|scope| {
            for thread in 0..3 {
                scope.spawn(move || {
                    for round in 0..300 {
                        let path = world.at(&format!("mount-{thread}"));
                        fs::create_dir(&path).unwrap_or_else(|error| panic!("round {round}: {error}"));
                        fs::remove_dir(&path).unwrap_or_else(|error| panic!("round {round}: {error}"));
                    }
                });
                scope.spawn(move || {
                    for _ in 0..300 {
                        let text = format!("past-{thread}");
                        make(world, &text);
                        assert!(is_there(world, &text));
                        remove(world, &text);
                        assert!(!is_there(world, &text));
                    }
                });
            }
        });
    });
}
