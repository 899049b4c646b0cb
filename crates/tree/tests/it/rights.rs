//! Who may do what: every combination of a few callers and modes, and the rules that are easy to get wrong.

use crate::promises::promise;
use crate::support::{Fixture, errno, member, name, new, root, user};
use ballast_tree::{Access, Rename, SetAttributes, SetTime, access};
use ballast_types::{Call, Ino, Kind, Timestamp};

#[tokio::test]
async fn the_class_of_the_caller_decides_and_no_other_class_helps() {
    promise("The first class that fits the caller decides (owner, group, others), and no other class helps.");
    let fixture = Fixture::new().await;
    let file = fixture.make(&root(), "/f", Kind::File, 0o644).await.unwrap();
    let callers: [(Call, Option<u32>); 5] = [
        (user(5), Some(6)),
        (member(6, 7, &[]), Some(3)),
        (member(6, 9, &[8, 7]), Some(3)),
        (user(9), Some(0)),
        (root(), None),
    ];
    for mode in 0..=0o777 {
        let inode = ballast_tree::Inode { mode, uid: 5, gid: 7, ..file.clone() };
        for (call, shift) in &callers {
            for wanted in 0..=7 {
                let expected = match shift {
                    Some(shift) => (mode >> shift) & wanted == wanted,
                    None => wanted & 1 == 0 || mode & 0o111 != 0,
                };
                let access = Access::from_bits(wanted).unwrap();
                assert_eq!(access::allows(&inode, &call.caller, access), expected, "{mode:o} {wanted} {call:?}");
            }
        }
    }
    assert_eq!(Access::from_bits(8), None);
}

/// What each operation answers a stranger, by the mode of the directory that it works in.
#[tokio::test]
async fn a_strangers_operations_need_the_directorys_bits() {
    promise("To make, link, rename or remove a name needs the right to write and to search its directory.");
    for mode in 0..=7u32 {
        let fixture = Fixture::new().await;
        let directory = fixture.make(&root(), "/d", Kind::Directory, mode).await.unwrap().ino;
        for (at, kind) in [("/d/f", Kind::File), ("/d/g", Kind::File), ("/d/e", Kind::Directory)] {
            fixture.make(&root(), at, kind, 0o777).await.unwrap();
        }
        let (tree, call) = (&fixture.tree, user(5));
        let (read, write, search) = (mode & 4 != 0, mode & 2 != 0, mode & 1 != 0);
        let answer = |allowed: bool| if allowed { "ok" } else { "EACCES" };
        let of = |done: Result<(), ballast_tree::Error>| done.map_or_else(|error| errno(&error), |()| "ok");
        let file = fixture.ino("/d/f").await;

        assert_eq!(of(tree.list(&call, directory).await.map(drop)), answer(read), "list {mode}");
        assert_eq!(of(tree.lookup(&call, directory, &name("f")).await.map(drop)), answer(search), "lookup {mode}");
        let both = answer(write && search);
        let made = tree.create(&call, directory, &name("new"), new(Kind::File, 0o644), &|_, _| {}).await;
        assert_eq!(of(made.map(drop)), both, "create {mode}");
        assert_eq!(of(tree.link(&call, file, directory, &name("link")).await.map(drop)), both, "link {mode}");
        let (g, h) = (name("g"), name("h"));
        let renamed = tree.rename(&call, (directory, &g), (directory, &h), Rename::Replace).await;
        assert_eq!(of(renamed.map(drop)), both, "rename {mode}");
        assert_eq!(of(tree.remove_directory(&call, directory, &name("e")).await.map(drop)), both, "rmdir {mode}");
        assert_eq!(of(tree.unlink(&call, directory, &name("f")).await.map(drop)), both, "unlink {mode}");
        let unnamed = tree.create_unnamed(&call, directory, new(Kind::File, 0o644)).await;
        assert_eq!(of(unnamed.map(drop)), both, "unnamed {mode}");
    }
}

#[tokio::test]
async fn in_a_sticky_directory_a_name_is_taken_by_an_owner_only() {
    promise("From a sticky directory a name is taken by its owner, the directory's owner or the superuser only.");
    let fixture = Fixture::new().await;
    fixture.make(&root(), "/tmp", Kind::Directory, 0o1777).await.unwrap();
    fixture.make(&root(), "/other", Kind::Directory, 0o777).await.unwrap();
    fixture.make(&user(5), "/tmp/mine", Kind::File, 0o777).await.unwrap();
    fixture.make(&user(6), "/tmp/yours", Kind::File, 0o777).await.unwrap();
    for done in [
        fixture.unlink(&user(6), "/tmp/mine").await,
        fixture.rename(&user(6), "/tmp/mine", "/other/x", Rename::Replace).await,
        fixture.rename(&user(6), "/tmp/yours", "/tmp/mine", Rename::Replace).await,
        fixture.rename(&user(6), "/tmp/yours", "/tmp/mine", Rename::Exchange).await,
    ] {
        assert_eq!(errno(&done.unwrap_err()), "EPERM");
    }
    fixture.rename(&user(5), "/tmp/mine", "/tmp/own", Rename::Replace).await.unwrap();
    fixture.unlink(&root(), "/tmp/yours").await.unwrap();
}

#[tokio::test]
async fn a_setgid_directory_hands_down_its_group() {
    promise("A setgid directory hands down its group, and the bit itself to its directories.");
    let fixture = Fixture::new().await;
    fixture.make(&root(), "/g", Kind::Directory, 0o777).await.unwrap();
    let set = SetAttributes { gid: Some(50), mode: Some(0o2777), ..SetAttributes::default() };
    fixture.tree.set_attributes(&root(), fixture.ino("/g").await, set).await.unwrap();
    let file = fixture.make(&user(5), "/g/f", Kind::File, 0o644).await.unwrap();
    let directory = fixture.make(&user(5), "/g/d", Kind::Directory, 0o755).await.unwrap();
    let program = fixture.make(&user(5), "/g/p", Kind::File, 0o2755).await.unwrap();
    let members = fixture.make(&member(5, 5, &[50]), "/g/m", Kind::File, 0o2755).await.unwrap();
    assert_eq!((file.gid, file.mode), (50, 0o644));
    assert_eq!((directory.gid, directory.mode), (50, 0o2755));
    assert_eq!((program.gid, program.mode), (50, 0o755), "nobody makes a program for a group that is not theirs");
    assert_eq!((members.gid, members.mode), (50, 0o2755));
}

#[tokio::test]
async fn chown_and_chmod_take_away_what_a_program_ran_with() {
    promise("A change of owner or group takes the set-id bits off a file.");
    let fixture = Fixture::new().await;
    fixture.make(&root(), "/d", Kind::Directory, 0o777).await.unwrap();
    let file = fixture.make(&user(5), "/d/f", Kind::File, 0o6755).await.unwrap().ino;
    let set = |call: Call, set: SetAttributes| {
        let tree = fixture.tree.clone();
        async move { tree.set_attributes(&call, file, set).await.map(|(inode, _)| inode).map_err(|error| errno(&error)) }
    };
    let mode = |mode| SetAttributes { mode: Some(mode), ..SetAttributes::default() };
    let owner = |uid| SetAttributes { uid: Some(uid), ..SetAttributes::default() };
    let group = |gid| SetAttributes { gid: Some(gid), ..SetAttributes::default() };

    assert_eq!(set(user(6), mode(0o777)).await.unwrap_err(), "EPERM");
    assert_eq!(set(user(5), owner(6)).await.unwrap_err(), "EPERM");
    assert_eq!(set(user(5), group(50)).await.unwrap_err(), "EPERM");
    assert_eq!(set(member(5, 5, &[50]), group(50)).await.unwrap().mode, 0o755, "set-id bits go with the group");
    assert_eq!(set(user(5), mode(0o2755)).await.unwrap().mode, 0o755, "5 is not in group 50");
    assert_eq!(set(member(5, 5, &[50]), mode(0o2755)).await.unwrap().mode, 0o2755);
    assert_eq!(set(root(), mode(0o6744)).await.unwrap().mode, 0o6744);
    assert_eq!(
        set(root(), owner(7)).await.unwrap().mode,
        0o2744,
        "without execution for the group it is no set-id bit"
    );
    assert_eq!(set(root(), owner(5)).await.unwrap().mode, 0o2744);
    assert_eq!(set(member(5, 5, &[50]), group(5)).await.unwrap().mode, 0o2744, "who is in its group may leave it so");
    assert_eq!(set(root(), group(50)).await.unwrap().mode, 0o2744);
    assert_eq!(set(user(5), group(5)).await.unwrap().mode, 0o744, "5 is not in group 50");
    let both = SetAttributes { uid: Some(8), mode: Some(0o4755), ..SetAttributes::default() };
    assert_eq!(set(root(), both).await.unwrap().mode, 0o4755, "a mode that is asked for besides holds");
}

#[tokio::test]
async fn now_needs_the_right_to_write_and_another_time_ownership() {
    promise("To set a time to now needs the right to write; to set it to another time needs ownership.");
    let fixture = Fixture::new().await;
    let file = fixture.make(&root(), "/f", Kind::File, 0o646).await.unwrap().ino;
    let set = |time| SetAttributes { atime: Some(time), mtime: Some(time), ..SetAttributes::default() };
    fixture.tick();
    let (touched, _) = fixture.tree.set_attributes(&user(5), file, set(SetTime::Now)).await.unwrap();
    assert_eq!([touched.atime, touched.mtime, touched.ctime], [fixture.tree.now(); 3]);
    let at = SetTime::At(Timestamp(7));
    let refused = fixture.tree.set_attributes(&user(5), file, set(at)).await.unwrap_err();
    assert_eq!(errno(&refused), "EPERM");
    let (set_back, _) = fixture.tree.set_attributes(&root(), file, set(at)).await.unwrap();
    assert_eq!((set_back.mtime, set_back.ctime), (Timestamp(7), fixture.tree.now()));
    fixture
        .tree
        .set_attributes(&root(), file, SetAttributes { mode: Some(0o644), ..Default::default() })
        .await
        .unwrap();
    let refused = fixture.tree.set_attributes(&user(5), file, set(SetTime::Now)).await.unwrap_err();
    assert_eq!(errno(&refused), "EACCES");
}

#[tokio::test]
async fn devices_are_made_by_the_superuser_and_whiteouts_by_anybody() {
    promise("Devices are made by the superuser only.");
    let fixture = Fixture::new().await;
    fixture.make(&root(), "/d", Kind::Directory, 0o777).await.unwrap();
    let parent = fixture.ino("/d").await;
    let make = |call: Call, at: &'static str, kind: Kind, rdev: u32| {
        let tree = fixture.tree.clone();
        let new = ballast_tree::NewInode { rdev, ..new(kind, 0o600) };
        async move { tree.create(&call, parent, &name(at), new, &|_, _| {}).await.map(|(inode, _)| inode.rdev) }
    };
    assert_eq!(errno(&make(user(5), "c", Kind::CharDevice, 259).await.unwrap_err()), "EPERM");
    assert_eq!(errno(&make(user(5), "b", Kind::BlockDevice, 0).await.unwrap_err()), "EPERM");
    assert_eq!(make(root(), "c", Kind::CharDevice, 259).await.unwrap(), 259);
    assert_eq!(make(user(5), "w", Kind::CharDevice, 0).await.unwrap(), 0);
    assert_eq!(make(user(5), "p", Kind::Fifo, 0).await.unwrap(), 0);
}

#[tokio::test]
async fn missing_directories_are_made_with_the_callers_rights_only() {
    let fixture = Fixture::new().await;
    fixture.make(&root(), "/home", Kind::Directory, 0o777).await.unwrap();
    let path = crate::support::path("/home/a/b/c");
    let (made, _) = fixture.tree.create_directories(&user(5), &path).await.unwrap();
    assert_eq!((made.uid, made.mode), (5, 0o755));
    assert_eq!(fixture.tree.create_directories(&user(6), &path).await.unwrap().0.ino, made.ino);
    let refused = fixture.tree.create_directories(&user(6), &crate::support::path("/home/a/x")).await.unwrap_err();
    assert_eq!(errno(&refused), "EACCES");
    fixture.make(&root(), "/home/f", Kind::File, 0o777).await.unwrap();
    let refused = fixture.tree.create_directories(&user(5), &crate::support::path("/home/f/x")).await.unwrap_err();
    assert_eq!(errno(&refused), "ENOTDIR");
    assert_eq!(fixture.at("/").await.unwrap().ino, Ino::ROOT);
}
