//! Names: directories, links, renames, special files.

use crate::news::make_in;
use crate::{c_path, checked, errno, on_mount};
use ballast_types::Ino;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

#[test]
fn files_and_directories_are_made_listed_and_removed() {
    on_mount(|world| {
        fs::create_dir_all(world.at("a/b/c")).expect("directories can be made");
        fs::write(world.at("a/b/file"), "hello").expect("files can be written");
        assert_eq!(fs::read_to_string(world.at("a/b/file")).expect("files can be read"), "hello");
        assert_eq!(fs::metadata(world.at("a")).expect("it is there").nlink(), 3);
        assert_eq!(errno(fs::create_dir(world.at("a"))), libc::EEXIST);
        assert_eq!(errno(fs::remove_dir(world.at("a"))), libc::ENOTEMPTY);
        assert_eq!(errno(fs::remove_file(world.at("a"))), libc::EISDIR);
        assert_eq!(errno(fs::read(world.at("no"))), libc::ENOENT);
        assert_eq!(errno(fs::read(world.at("a/b/file/x"))), libc::ENOTDIR);
        assert_eq!(errno(fs::create_dir(world.at(&"x".repeat(256)))), libc::ENAMETOOLONG);
        fs::remove_dir_all(world.at("a")).expect("they can be removed");
        assert_eq!(fs::read_dir(&world.path).expect("the root is there").count(), 0);
    });
}

#[test]
fn a_removed_directory_is_empty_and_without_links_for_who_works_in_it() {
    on_mount(|world| {
        // A shell's working directory keeps a directory without opening it; so does a descriptor of its place alone.
        let keep = |name: &str| {
            fs::create_dir(world.at(name)).expect("directories can be made");
            let place = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(world.at(name));
            place.expect("it can be kept")
        };
        let (removed, replaced) = (keep("removed"), keep("replaced"));
        fs::create_dir(world.at("other")).expect("directories can be made");
        fs::remove_dir(world.at("removed")).expect("it can be removed");
        fs::rename(world.at("other"), world.at("replaced")).expect("it can be replaced");
        for kept in [removed, replaced] {
            let inode = Ino(kept.metadata().expect("it is still there").ino());
            // As the kernel does by itself when it does not trust what it knows any more.
            let reaped = world.runtime.block_on(world.tree.reap());
            assert_eq!(reaped.expect("the volume works"), 0, "it is still used");
            let here = Path::new("/proc/self/fd").join(kept.as_raw_fd().to_string());
            let at = |name: &str| here.join(name);
            assert_eq!(kept.metadata().expect("it is still there").nlink(), 0);
            assert_eq!(fs::read_dir(at(".")).expect("it can be listed").count(), 0);
            fs::set_permissions(at("."), Permissions::from_mode(0o700)).expect("its mode can be set");
            assert_eq!(errno(fs::metadata(at("name"))), libc::ENOENT);
            assert_eq!(errno(fs::write(at("name"), "text")), libc::ENOENT);
            assert_eq!(errno(fs::create_dir(at("name"))), libc::ENOENT);
            assert_eq!(errno(symlink("target", at("name"))), libc::ENOENT);
            assert_eq!(errno(fs::rename(world.at("replaced"), at("name"))), libc::ENOENT);
            drop(kept);
            // The kernel forgets it a moment after its last user did.
            let gone = world.runtime.block_on(async {
                let reaped = async {
                    while world.tree.reap().await.expect("the volume works") == 0 {
                        world.tree.reapable().await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(20), reaped).await
            });
            gone.expect("it goes with its last user");
            assert!(world.runtime.block_on(world.tree.inode(inode)).is_err());
        }
    });
}

#[test]
fn a_large_directory_is_listed_whole_while_it_is_emptied() {
    on_mount(|world| {
        let expected: BTreeSet<String> = (0..3000).map(|number| format!("file-{number:04}")).collect();
        for name in &expected {
            fs::File::create(world.at(name)).expect("files can be made");
        }
        let mut seen = BTreeSet::new();
        for entry in fs::read_dir(&world.path).expect("the root is there") {
            let entry = entry.expect("it can be listed");
            assert!(entry.metadata().expect("it is there").is_file());
            assert!(seen.insert(entry.file_name().into_string().expect("the test's names are text")));
            fs::remove_file(entry.path()).expect("it can be removed");
        }
        assert_eq!(seen, expected);
        assert_eq!(fs::read_dir(&world.path).expect("the root is there").count(), 0);
    });
}

#[test]
fn a_listing_brings_no_name_back_that_was_renamed_or_replaced_since() {
    on_mount(|world| {
        fs::create_dir(world.at("d")).expect("directories can be made");
        fs::create_dir(world.at("away")).expect("directories can be made");
        fs::create_dir(world.at("d/zz")).expect("directories can be made");
        for directory in ["d", "away"] {
            fs::write(world.at(directory).join("mark"), directory).expect("files can be written");
        }
        let names: Vec<String> = (0..3000).map(|number| format!("f{number:04}")).collect();
        let at = |name: &str| world.at("d").join(name);
        names.iter().for_each(|name| fs::write(at(name), "old").expect("files can be written"));
        let mut entries = fs::read_dir(world.at("d")).expect("it is there");
        entries.next().expect("the listing is taken now").expect("it can be listed");
        let inside = fs::File::open(at("zz")).expect("directories can be opened");
        fs::rename(at("zz"), world.at("away/zz")).expect("it can be moved");
        let (mut moved, mut replaced) = (BTreeSet::new(), BTreeMap::new());
        for pair in names[2000..].chunks(4) {
            let [moves, stays, ..] = pair else { continue };
            fs::rename(at(moves), world.at("away").join(moves)).expect("it can be moved");
            moved.insert(moves.clone());
            // The old file lives on while somebody has it open.
            replaced.insert(stays.clone(), fs::File::open(at(stays)).expect("it can be opened"));
            fs::write(at("new"), "new").expect("files can be written");
            fs::rename(at("new"), at(stays)).expect("it can be replaced");
        }
        let directory = Ino(fs::metadata(world.at("d")).expect("it is there").ino());
        let mut seen = 0;
        for entry in entries {
            let name = entry.expect("it can be listed").file_name().into_string().expect("the test's names are text");
            // After a lookup that finds a name which it does not know yet, the kernel asks for lines with attributes.
            let unknown = format!("beside {name}");
            make_in(world, directory, &unknown);
            assert!(at(&unknown).exists());
            assert!(!(moved.contains(&name) && at(&name).exists()), "{name} was moved away");
            if replaced.contains_key(&name) {
                seen += 1;
                assert_eq!(fs::read_to_string(at(&name)).expect("it is there"), "new", "{name} was replaced");
            }
        }
        assert_eq!(seen, replaced.len());
        let above = format!("/proc/self/fd/{}/../mark", inside.as_raw_fd());
        assert_eq!(fs::read_to_string(above).expect("it is there"), "away", "where the directory was moved to");
    });
}

#[test]
fn a_rename_replaces_and_the_old_file_stays_open() {
    on_mount(|world| {
        fs::write(world.at("old"), "old").expect("files can be written");
        fs::write(world.at("new"), "new").expect("files can be written");
        let mut open = fs::File::open(world.at("old")).expect("it can be opened");
        fs::rename(world.at("new"), world.at("old")).expect("it can be renamed");
        let mut text = String::new();
        open.read_to_string(&mut text).expect("it is still there");
        assert_eq!((text.as_str(), open.metadata().expect("it is still there").nlink()), ("old", 0));
        assert_eq!(fs::read_to_string(world.at("old")).expect("it is there"), "new");
        assert!(!world.at("new").exists());
    });
}

#[test]
fn the_flags_of_renameat2_mean_what_they_say() {
    on_mount(|world| {
        fs::write(world.at("a"), "a").expect("files can be written");
        fs::create_dir(world.at("d")).expect("directories can be made");
        let rename = |from: &str, to: &str, flags: u32| {
            let (from, to) = (c_path(&world.at(from)), c_path(&world.at(to)));
            // SAFETY: both strings are NUL-terminated and outlive the call.
            let result = unsafe { libc::renameat2(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags) };
            checked(result)
        };
        assert_eq!(rename("a", "d", libc::RENAME_NOREPLACE), Err(libc::EEXIST));
        assert_eq!(rename("a", "d", libc::RENAME_EXCHANGE), Ok(0));
        assert!(world.at("a").is_dir() && world.at("d").is_file());
        assert_eq!(rename("d", "e", libc::RENAME_WHITEOUT), Ok(0));
        let left = fs::metadata(world.at("d")).expect("a whiteout is left");
        assert!(left.file_type().is_char_device() && left.rdev() == 0);
        let both = libc::RENAME_NOREPLACE | libc::RENAME_WHITEOUT;
        assert_eq!(rename("e", "a", both), Err(libc::EEXIST));
        assert_eq!(rename("e", "f", both), Ok(0));
        let left = fs::metadata(world.at("e")).expect("a whiteout is left");
        assert!(left.file_type().is_char_device() && world.at("f").is_file());
        assert_eq!(rename("f", "e", libc::RENAME_EXCHANGE | libc::RENAME_WHITEOUT), Err(libc::EINVAL));
    });
}

#[test]
fn a_file_without_a_name_is_refused_as_programs_expect_it() {
    on_mount(|world| {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_TMPFILE);
        assert_eq!(errno(options.open(&world.path)), libc::EOPNOTSUPP);
        assert_eq!(errno(options.open(&world.path)), libc::EOPNOTSUPP, "the kernel remembers it");
    });
}

#[test]
fn links_share_an_inode_and_symlinks_lead_to_one() {
    on_mount(|world| {
        fs::write(world.at("a"), "text").expect("files can be written");
        fs::hard_link(world.at("a"), world.at("b")).expect("links can be made");
        symlink("a", world.at("s")).expect("symlinks can be made");
        let (a, b) = (fs::metadata(world.at("a")), fs::metadata(world.at("b")));
        let (a, b) = (a.expect("it is there"), b.expect("it is there"));
        assert_eq!((a.ino(), a.nlink()), (b.ino(), 2));
        assert_eq!(fs::read_to_string(world.at("s")).expect("it leads somewhere"), "text");
        assert_eq!(fs::read_link(world.at("s")).expect("it is a symlink").as_os_str(), "a");
        assert_eq!(fs::symlink_metadata(world.at("s")).expect("it is there").len(), 1);
        fs::remove_file(world.at("a")).expect("it can be removed");
        assert_eq!(fs::metadata(world.at("b")).expect("it is there").nlink(), 1);
        assert_eq!(errno(fs::read(world.at("s"))), libc::ENOENT);
    });
}

#[test]
fn sockets_pipes_and_devices_can_be_made() {
    on_mount(|world| {
        let make = |name: &str, mode, device| {
            let path = c_path(&world.at(name));
            // SAFETY: the string is NUL-terminated and outlives the call.
            checked(unsafe { libc::mknod(path.as_ptr(), mode, device) }).expect("root may make it");
            fs::symlink_metadata(world.at(name)).expect("it was made")
        };
        assert!(make("pipe", libc::S_IFIFO | 0o600, 0).file_type().is_fifo());
        let device = make("null", libc::S_IFCHR | 0o600, libc::makedev(1, 3));
        assert!(device.file_type().is_char_device());
        assert_eq!(device.rdev(), libc::makedev(1, 3));
        let _listener = std::os::unix::net::UnixListener::bind(world.at("socket")).expect("it can be bound");
        assert!(std::os::unix::net::UnixStream::connect(world.at("socket")).is_ok());
    });
}
