//! Other users, and extended attributes.

use crate::{World, c_path, checked, errno, on_mount};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

/// Runs a shell command as an ordinary user; true if it succeeds.
pub fn as_user(world: &World, groups: &str, script: &str) -> bool {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=61000", "--regid=61000"]);
    match groups {
        "" => command.arg("--clear-groups"),
        groups => command.arg(format!("--groups={groups}")),
    };
    let status =
        command.args(["sh", "-c", script]).current_dir(&world.path).stderr(std::process::Stdio::null()).status();
    status.expect("setpriv is part of every Linux").success()
}

/// Copies a program by a process of its own, and tells its size: a descriptor of this one is inherited for a moment by
/// every process that another test starts, and what somebody may write to cannot be executed.
fn copy_program(from: &str, to: &Path) -> u64 {
    let copied = Command::new("cp").arg(from).arg(to).status().expect("cp is part of every Linux");
    assert!(copied.success());
    fs::metadata(to).expect("it is there").len()
}

fn mode(world: &World, name: &str, mode: u32) {
    fs::set_permissions(world.at(name), Permissions::from_mode(mode)).expect("root may");
}

#[test]
fn mode_bits_and_groups_bind_other_users() {
    on_mount(|world| {
        fs::write(world.at("file"), "text").expect("it can be written");
        mode(world, "file", 0o640);
        assert!(!as_user(world, "", "cat file"));
        chown(world.at("file"), None, Some(61_001)).expect("root may");
        assert!(as_user(world, "61001", "cat file"), "a supplementary group counts");
        assert!(!as_user(world, "61001", "echo x >> file"));
        mode(world, "file", 0o660);
        assert!(as_user(world, "61001", "echo x >> file"));
        assert!(as_user(world, "61001", "touch file"), "also for the times of what it may write");
        assert!(!as_user(world, "", "touch file"));
        assert!(!as_user(world, "61001", "chmod 777 file"));
        assert!(!as_user(world, "", "touch new"));
        mode(world, "", 0o1777);
        assert!(as_user(world, "", "touch new && mkdir dir && mv new dir/ && ln -s dir link"));
        let made = fs::metadata(world.at("dir/new")).expect("it was made");
        assert_eq!((made.uid(), made.gid()), (61_000, 61_000));
        assert!(!as_user(world, "", "rm -f file"), "the root is sticky");
    });
}

#[test]
fn a_program_that_is_written_to_loses_its_rights() {
    on_mount(|world| {
        mode(world, "", 0o777);
        fs::write(world.at("program"), "#!/bin/sh\n").expect("it can be written");
        mode(world, "program", 0o6777);
        assert!(as_user(world, "", "echo true >> program"));
        assert_eq!(fs::metadata(world.at("program")).expect("it is there").mode() & 0o7777, 0o777);
        mode(world, "program", 0o4777);
        assert!(as_user(world, "", "truncate -s 10 program"));
        assert_eq!(fs::metadata(world.at("program")).expect("it is there").mode() & 0o7777, 0o777);
    });
}

#[test]
fn a_set_group_id_bit_without_execution_stays_for_members_of_the_group_alone() {
    on_mount(|world| {
        mode(world, "", 0o777);
        fs::write(world.at("source"), "text").expect("it can be written");
        let (outsider, member) = (("", 0o767), ("61001", 0o2767));
        let changes = [
            "echo x >> file",
            ": > file",
            "truncate -s 3 file",
            "fallocate -l 9000 file",
            "cp source file",
            "chown 61000 file",
            "chown 61000:61000 file",
        ];
        for change in changes {
            for (groups, left) in [outsider, member] {
                fs::write(world.at("file"), "a file").expect("it can be written");
                chown(world.at("file"), Some(61_000), Some(61_001)).expect("root may");
                mode(world, "file", 0o6767);
                assert!(as_user(world, groups, change), "{change}");
                let found = fs::metadata(world.at("file")).expect("it is there").mode() & 0o7777;
                assert_eq!(found, left, "{change} by a member of {groups:?}: {found:o}");
                fs::remove_file(world.at("file")).expect("it can be removed");
            }
        }
    });
}

#[test]
fn a_file_that_anybody_changes_loses_its_capabilities() {
    on_mount(|world| {
        mode(world, "", 0o777);
        let path = c_path(&world.at("program"));
        let name = c"security.capability";
        // Version 2, with CAP_SETUID.
        let value: Vec<u8> = [0x0200_0000u32, 1 << 7, 0, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect();
        let changes = ["echo true >> program", ": > program", "truncate -s 3 program", "chgrp 61001 program"];
        for change in changes {
            fs::write(world.at("program"), "#!/bin/sh\n").expect("it can be written");
            mode(world, "program", 0o777);
            chown(world.at("program"), Some(61_000), Some(61_000)).expect("root may");
            // SAFETY: all pointers are valid for the call, and the length is that of the value.
            let set = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
            checked(set).expect("root may");
            assert!(as_user(world, "61001", change), "{change}");
            // SAFETY: both strings are NUL-terminated, and nothing is written to a buffer of no bytes.
            let left = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) };
            assert_eq!(checked(left as i64), Err(libc::ENODATA), "{change}");
        }
    });
}

#[test]
fn who_may_execute_need_not_be_allowed_to_read() {
    on_mount(|world| {
        copy_program("/bin/true", &world.at("program"));
        mode(world, "program", 0o111);
        assert!(as_user(world, "", "./program"));
        assert!(!as_user(world, "", "cat program"));
    });
}

#[test]
fn a_program_that_runs_is_neither_written_nor_truncated() {
    on_mount(|world| {
        let path = world.at("program");
        let bytes = copy_program("/bin/sleep", &path);
        let mut running = Command::new(&path).arg("60").spawn().expect("it can be executed");
        let truncate = |options: &mut fs::OpenOptions| options.custom_flags(libc::O_TRUNC).open(&path).map(drop);
        for _ in 0..20 {
            assert_eq!(errno(truncate(fs::OpenOptions::new().read(true))), libc::ETXTBSY);
            assert_eq!(errno(truncate(fs::OpenOptions::new().write(true))), libc::ETXTBSY);
            assert_eq!(fs::metadata(&path).expect("it is there").len(), bytes);
        }
        running.kill().expect("it runs");
        running.wait().expect("it is a child");
        truncate(fs::OpenOptions::new().read(true)).expect("it has ended");
        assert_eq!(fs::metadata(&path).expect("it is there").len(), 0);
    });
}

#[test]
fn extended_attributes_are_kept_and_the_kind_is_told() {
    on_mount(|world| {
        fs::write(world.at("file"), "x").expect("it can be written");
        let path = c_path(&world.at("file"));
        let get = |name: &std::ffi::CStr| {
            let mut value = [0u8; 100];
            // SAFETY: all pointers are valid for the call, and the length is that of the buffer.
            let got = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
            checked(got as i64).map(|length| String::from_utf8_lossy(&value[..length as usize]).into_owned())
        };
        let set = |name: &std::ffi::CStr, value: &str, flags| {
            // SAFETY: all pointers are valid for the call, and the length is that of the value.
            checked(unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), flags) })
        };
        assert_eq!(get(c"user.colour"), Err(libc::ENODATA));
        assert_eq!(set(c"user.colour", "blue", libc::XATTR_REPLACE), Err(libc::ENODATA));
        assert_eq!(set(c"user.colour", "blue", 0), Ok(0));
        assert_eq!(set(c"user.colour", "red", libc::XATTR_CREATE), Err(libc::EEXIST));
        assert_eq!(get(c"user.colour").as_deref(), Ok("blue"));
        assert_eq!(get(c"user.ballast.kind").as_deref(), Ok("file"));
        let mut list = [0u8; 100];
        // SAFETY: both pointers are valid for the call, and the length is that of the buffer.
        let length = unsafe { libc::listxattr(path.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
        assert_eq!(&list[..length as usize], b"user.colour\0");
        // SAFETY: both strings are NUL-terminated.
        assert_eq!(checked(unsafe { libc::removexattr(path.as_ptr(), c"user.colour".as_ptr()) }), Ok(0));
        assert_eq!(get(c"user.colour"), Err(libc::ENODATA));
    });
}
