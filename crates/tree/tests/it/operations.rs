//! What each operation does, and which error it answers.

use crate::promises::promise;
use crate::support::{Fixture, Purged, bump, name, new, path, root, user};
use ballast_store::Volume;
use ballast_tree::{Content, Error, News, Rename, SetAttributes, What};
use ballast_types::{Ino, Kind, RequestId, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[tokio::test]
async fn a_new_volume_has_a_root_and_a_reopened_one_the_same() {
    let fixture = Fixture::new().await;
    let before = fixture.at("/").await.unwrap();
    assert_eq!((before.ino, before.kind, before.mode, before.links), (Ino::ROOT, Kind::Directory, 0o755, 2));
    let again = Fixture::on(fixture.volume.crash()).await;
    assert_eq!(again.at("/").await.unwrap(), before);
}

#[tokio::test]
async fn every_kind_is_made_listed_renamed_and_found_by_the_same_code() {
    promise("A change is visible to everybody, through every protocol, when the call that made it returns.");
    promise("The path of a directory, a stream, a table or a file with one name is known from its inode.");
    promise(
        "A directory counts two links and one for each directory, stream and table in it; its size is its entries.",
    );
    let fixture = Fixture::new().await;
    fixture.make(&root(), "/d", Kind::Directory, 0o755).await.unwrap();
    for (kind, at) in [(Kind::File, "/d/f"), (Kind::Stream, "/d/s"), (Kind::Table, "/d/t"), (Kind::Fifo, "/d/p")] {
        let made = fixture.make(&root(), at, kind, 0o644).await.unwrap();
        assert_eq!(fixture.at(at).await.unwrap(), made);
        assert_eq!(fixture.tree.path_of(made.ino).await.unwrap(), path(at));
        let moved = format!("{at}2");
        fixture.rename(&root(), at, &moved, Rename::Replace).await.unwrap();
        assert_eq!(fixture.tree.path_of(made.ino).await.unwrap(), path(&moved));
        assert!(matches!(fixture.at(at).await, Err(Error::NotFound(_))));
    }
    assert_eq!(fixture.names("/d").await, ["f2", "p2", "s2", "t2"]);
    let directory = fixture.at("/d").await.unwrap();
    assert_eq!((directory.size, directory.links), (4, 4), "a stream and a table look like directories");
}

#[tokio::test]
async fn the_engines_rows_are_in_the_commit_that_makes_the_inode() {
    let fixture = Fixture::new().await;
    let rows = |inode: &ballast_tree::Inode, batch: &mut ballast_store::Batch| {
        batch.put(ballast_store::Space::Block.key(&[&inode.ino.to_key()]), bytes::Bytes::from_static(b"content"));
    };
    let before = fixture.volume.position();
    let made = fixture.tree.create(&root(), Ino::ROOT, &name("f"), new(Kind::File, 0o644), &rows).await.unwrap();
    assert!(made.1 > before);
    assert!(fixture.volume.rows().values().any(|value| value.bytes == b"content"[..]));
}

#[tokio::test]
async fn an_unlinked_file_stays_while_it_is_pinned_and_is_reaped_after() {
    promise("A file without a name stays whole while somebody has it open, and is removed when the last one lets go.");
    let fixture = Fixture::new().await;
    let engine = Arc::new(Purged::default());
    fixture.tree.register(engine.clone());
    assert_eq!(fixture.tree.reap().await.unwrap(), 0);
    let file = fixture.make(&root(), "/f", Kind::File, 0o644).await.unwrap();
    let pin = fixture.tree.pin(file.ino);
    fixture.unlink(&root(), "/f").await.unwrap();
    assert_eq!(fixture.tree.inode(file.ino).await.unwrap().links, 0);
    assert_eq!(fixture.tree.reap().await.unwrap(), 0);
    drop(pin);
    fixture.tree.reapable().await;
    assert_eq!(fixture.tree.reap().await.unwrap(), 1);
    assert_eq!(*engine.0.lock(), [file.ino]);
    assert!(matches!(fixture.tree.inode(file.ino).await, Err(Error::Stale(_))));
    assert!(matches!(fixture.tree.pin_live(file.ino).await, Err(Error::Stale(_))));
    assert_eq!(fixture.volume.rows().len(), 2, "the root and the counter of numbers");
}

#[tokio::test]
async fn a_file_that_was_unlinked_and_open_at_a_crash_is_reaped_after_it() {
    promise("A file that was unlinked but open when the server was killed is removed after the next start.");
    let fixture = Fixture::new().await;
    let file = fixture.make(&root(), "/f", Kind::File, 0o644).await.unwrap();
    let _pin = fixture.tree.pin(file.ino);
    let position = fixture.unlink(&root(), "/f").await.unwrap();
    fixture.volume.durable(position).await.unwrap();

    let again = Fixture::on(fixture.volume.crash()).await;
    assert_eq!(again.tree.reap().await.unwrap(), 0, "its engine is not there yet");
    let engine = Arc::new(Purged::default());
    again.tree.register(engine.clone());
    again.tree.reapable().await;
    assert_eq!(again.tree.reap().await.unwrap(), 1);
    assert_eq!(*engine.0.lock(), [file.ino]);
}

#[tokio::test]
async fn hard_links_share_an_inode_and_the_last_one_left_tells_its_path() {
    let fixture = Fixture::new().await;
    fixture.make(&root(), "/d", Kind::Directory, 0o755).await.unwrap();
    let file = fixture.make(&root(), "/a", Kind::File, 0o644).await.unwrap();
    assert_eq!(fixture.link(&root(), "/a", "/d/b").await.unwrap().links, 2);
    assert_eq!(fixture.link(&root(), "/a", "/c").await.unwrap().links, 3);
    assert_eq!(fixture.at("/d/b").await.unwrap().ino, file.ino);
    assert!(matches!(fixture.tree.path_of(file.ino).await, Err(Error::NotFound(_))));
    fixture.unlink(&root(), "/a").await.unwrap();
    fixture.rename(&root(), "/d/b", "/d/e", Rename::Replace).await.unwrap();
    fixture.unlink(&root(), "/c").await.unwrap();
    assert_eq!(fixture.tree.path_of(file.ino).await.unwrap(), path("/d/e"));
    assert_eq!(fixture.tree.inode(file.ino).await.unwrap().links, 1);
    assert!(matches!(fixture.link(&root(), "/d", "/x").await, Err(Error::NotPermitted(_))));
}

#[tokio::test]
async fn rename_answers_every_misuse_as_posix_says() {
    let fixture = Fixture::new().await;
    for (at, kind) in [
        ("/d", Kind::Directory),
        ("/d/e", Kind::Directory),
        ("/empty", Kind::Directory),
        ("/f", Kind::File),
        ("/g", Kind::File),
        ("/s", Kind::Stream),
    ] {
        fixture.make(&root(), at, kind, 0o755).await.unwrap();
    }
    let rename = |from, to, how| fixture.rename(&*Box::leak(Box::new(root())), from, to, how);
    assert!(matches!(rename("/nothing", "/x", Rename::Replace).await, Err(Error::NotFound(_))));
    assert!(matches!(rename("/f", "/g", Rename::NoReplace).await, Err(Error::AlreadyExists(_))));
    assert!(matches!(rename("/f", "/x", Rename::Exchange).await, Err(Error::NotFound(_))));
    assert!(matches!(rename("/f", "/d", Rename::Replace).await, Err(Error::IsADirectory(_))));
    assert!(matches!(rename("/d", "/f", Rename::Replace).await, Err(Error::NotADirectory(_))));
    assert!(matches!(rename("/empty", "/d", Rename::Replace).await, Err(Error::NotEmpty(_))));
    assert!(matches!(rename("/empty", "/s", Rename::Replace).await, Err(Error::NotEmpty(_))));
    assert!(matches!(rename("/d", "/d/e/x", Rename::Replace).await, Err(Error::Invalid(_))));
    assert!(matches!(rename("/d", "/d/e", Rename::Exchange).await, Err(Error::Invalid(_))));
    assert!(matches!(rename("/d/e", "/d", Rename::Exchange).await, Err(Error::Invalid(_))));
    assert!(matches!(rename("/d/e", "/d", Rename::Replace).await, Err(Error::NotEmpty(_))));
    rename("/f", "/f", Rename::Replace).await.unwrap();
    rename("/f", "/d/e", Rename::Exchange).await.unwrap();
    assert_eq!(fixture.at("/f").await.unwrap().kind, Kind::Directory);
    assert_eq!(fixture.at("/d").await.unwrap().links, 2);
    rename("/g", "/h", Rename::Whiteout).await.unwrap();
    let whiteout = fixture.at("/g").await.unwrap();
    assert_eq!((whiteout.kind, whiteout.rdev), (Kind::CharDevice, 0));
    rename("/f", "/empty", Rename::Replace).await.unwrap();
    rename("/h", "/d/e", Rename::Replace).await.unwrap();
    assert!(matches!(rename("/g", "/d", Rename::WhiteoutNoReplace).await, Err(Error::AlreadyExists(_))));
    rename("/d/e", "/d/i", Rename::WhiteoutNoReplace).await.unwrap();
    assert_eq!(fixture.at("/d/e").await.unwrap().kind, Kind::CharDevice);
    assert_eq!(fixture.names("/").await, ["d", "empty", "g", "s"]);
}

#[tokio::test]
async fn a_stream_or_table_is_dropped_by_rmdir_of_its_owner_and_by_nothing_else() {
    promise(
        "A stream or a table is dropped by rmdir of its owner and by nothing else: not by unlink, and not by a rename over it.",
    );
    let fixture = Fixture::new().await;
    let open = fixture.make(&root(), "/open", Kind::Directory, 0o777).await.unwrap();
    fixture.make(&user(5), "/open/t", Kind::Table, 0o777).await.unwrap();
    assert!(matches!(fixture.unlink(&user(5), "/open/t").await, Err(Error::IsADirectory(_))));
    assert!(matches!(fixture.remove_directory(&user(6), "/open/t").await, Err(Error::NotOwner(_))));
    assert!(matches!(fixture.remove_directory(&root(), "/open").await, Err(Error::NotEmpty(_))));
    fixture.remove_directory(&user(5), "/open/t").await.unwrap();
    assert_eq!(fixture.tree.inode(open.ino).await.unwrap().links, 2);
    fixture.remove_directory(&root(), "/open").await.unwrap();
    let into = fixture.tree.create(&root(), open.ino, &name("x"), new(Kind::File, 0o644), &|_, _| {}).await;
    assert!(matches!(into, Err(Error::Stale(_))));
}

#[tokio::test]
async fn a_file_made_without_a_name_gets_one_or_goes() {
    let fixture = Fixture::new().await;
    fixture.tree.register(Arc::new(Purged::default()));
    let (kept, pin, _) = fixture.tree.create_unnamed(&root(), Ino::ROOT, new(Kind::File, 0o600)).await.unwrap();
    fixture.tree.link(&root(), kept.ino, Ino::ROOT, &name("kept")).await.unwrap();
    drop(pin);
    let (lost, pin, _) = fixture.tree.create_unnamed(&root(), Ino::ROOT, new(Kind::File, 0o600)).await.unwrap();
    drop(pin);
    assert_eq!(fixture.tree.reap().await.unwrap(), 1);
    assert_eq!(fixture.at("/kept").await.unwrap().ino, kept.ino);
    assert!(fixture.tree.inode(lost.ino).await.is_err());
}

#[tokio::test]
async fn numbers_are_not_given_out_twice_by_a_crash() {
    promise("The number of an inode is never used again, also not after a crash.");
    let fixture = Fixture::new().await;
    let before = fixture.make(&root(), "/a", Kind::File, 0o644).await.unwrap();
    let again = Fixture::on(fixture.volume.crash()).await;
    assert!(again.at("/a").await.is_err(), "nobody waited for it");
    let after = again.make(&root(), "/a", Kind::File, 0o644).await.unwrap();
    assert!(after.ino > before.ino, "{} after {}", after.ino, before.ino);
}

#[tokio::test]
async fn attributes_follow_the_rules_of_their_namespaces() {
    promise("`user.ballast.kind` tells the kind of every inode to everybody, and cannot be set.");
    promise("Access control lists are refused, not stored without effect.");
    let fixture = Fixture::new().await;
    let file = fixture.make(&user(5), "/f", Kind::File, 0o644).await;
    assert!(matches!(file, Err(Error::Denied(_))), "the root belongs to the superuser");
    let file = fixture.make(&root(), "/f", Kind::File, 0o644).await.unwrap().ino;
    let tree = &fixture.tree;
    tree.set_attribute(&root(), file, b"user.a", b"1", Some(true)).await.unwrap();
    tree.set_attribute(&root(), file, b"trusted.b", b"2", None).await.unwrap();
    assert!(matches!(tree.set_attribute(&user(5), file, b"user.a", b"1", None).await, Err(Error::Denied(_))));
    assert!(matches!(
        tree.set_attribute(&root(), file, b"user.a", b"", Some(true)).await,
        Err(Error::AlreadyExists(_))
    ));
    assert!(matches!(tree.set_attribute(&root(), file, b"user.z", b"", Some(false)).await, Err(Error::NoAttribute(_))));
    assert!(matches!(
        tree.set_attribute(&root(), file, b"system.posix_acl_access", b"", None).await,
        Err(Error::Unsupported(_))
    ));
    assert!(matches!(
        tree.set_attribute(&root(), file, b"user.ballast.kind", b"x", None).await,
        Err(Error::NotPermitted(_))
    ));
    assert!(matches!(tree.set_attribute(&root(), file, &[b'u'; 256], b"", None).await, Err(Error::AttributeName)));
    assert!(matches!(
        tree.set_attribute(&root(), file, b"user.b", &[0; 65537], None).await,
        Err(Error::AttributeTooLarge(_))
    ));
    tree.set_attribute(&root(), file, b"user.b", &[0; 65536], None).await.unwrap();
    assert_eq!(tree.attribute(&user(5), file, b"user.a").await.unwrap(), b"1"[..]);
    assert_eq!(tree.attribute(&user(5), file, b"user.ballast.kind").await.unwrap(), b"file"[..]);
    assert!(matches!(tree.attribute(&user(5), file, b"trusted.b").await, Err(Error::NoAttribute(_))));
    assert_eq!(tree.attributes(&user(5), file).await.unwrap(), [&b"user.a"[..], b"user.b"]);
    assert_eq!(tree.attributes(&root(), file).await.unwrap().len(), 3);
    tree.remove_attribute(&root(), file, b"user.b").await.unwrap();
    assert!(matches!(tree.remove_attribute(&root(), file, b"user.b").await, Err(Error::NoAttribute(_))));
    assert_eq!(tree.inode(file).await.unwrap().attributes, 2);
    fixture.unlink(&root(), "/f").await.unwrap();
    tree.register(Arc::new(Purged::default()));
    assert_eq!(tree.reap().await.unwrap(), 1);
    assert_eq!(fixture.volume.rows().len(), 2, "the root and the counter of numbers");
}

#[tokio::test]
async fn a_view_of_a_snapshot_shows_the_tree_as_it_was() {
    promise("A view of a snapshot shows names, attributes and rights as they were.");
    let fixture = Fixture::new().await;
    fixture.make(&root(), "/d", Kind::Directory, 0o755).await.unwrap();
    let file = fixture.make(&root(), "/d/f", Kind::File, 0o644).await.unwrap();
    fixture.tree.set_attribute(&root(), file.ino, b"user.a", b"1", None).await.unwrap();
    fixture.volume.create_snapshot("then").await.unwrap();
    fixture.unlink(&root(), "/d/f").await.unwrap();
    let view = ballast_tree::Tree::open_snapshot(fixture.volume.open_snapshot("then").await.unwrap());
    let found = view.resolve(&user(5), &path("/d/f")).await.unwrap();
    assert_eq!(found.ino, file.ino);
    assert_eq!(view.path_of(found.ino).await.unwrap(), path("/d/f"));
    assert_eq!(view.attribute(&user(5), found.ino, b"user.a").await.unwrap(), b"1"[..]);
    assert_eq!(view.attributes(&user(5), found.ino).await.unwrap(), [&b"user.a"[..]]);
    assert_eq!(view.list(&user(5), found.parent.unwrap().0).await.unwrap().len(), 1);
    assert!(matches!(view.lookup(&user(5), Ino::ROOT, &name("x")).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_touch_shows_at_once_and_is_written_by_the_next_change_or_by_a_flush() {
    promise("Times that a read leaves behind may be lost by a crash.");
    let fixture = Fixture::new().await;
    let [one, two] = [
        fixture.make(&root(), "/1", Kind::File, 0o644).await.unwrap().ino,
        fixture.make(&root(), "/2", Kind::File, 0o644).await.unwrap().ino,
    ];
    let (committed, time) = (fixture.volume.position(), Timestamp(77));
    fixture.tree.touch(one, Some(time), None).await.unwrap();
    fixture.tree.touch(two, Some(time), None).await.unwrap();
    assert_eq!(fixture.volume.position(), committed, "nothing was written");
    assert_eq!(fixture.tree.inode(one).await.unwrap().atime, time);
    fixture.tree.set_attribute(&root(), one, b"user.a", b"", None).await.unwrap();
    assert_eq!(fixture.tree.flush_touched().await.unwrap(), 1, "the other one was written along");
    fixture.volume.durable(fixture.volume.position()).await.unwrap();
    let again = Fixture::on(fixture.volume.crash()).await;
    assert_eq!(again.at("/1").await.unwrap().atime, time);
    assert_eq!(again.at("/2").await.unwrap().atime, time);
}

#[tokio::test]
async fn subscribers_learn_of_every_change_and_of_what_they_missed() {
    promise("A subscriber learns of every change, or that it missed some.");
    let fixture = Fixture::new().await;
    let mut changes = fixture.tree.subscribe();
    let mut call = root();
    call.request = RequestId(9);
    let made = fixture.make(&call, "/a", Kind::File, 0o644).await.unwrap();
    fixture.rename(&call, "/a", "/b", Rename::Replace).await.unwrap();
    fixture.tree.set_attributes(&call, made.ino, SetAttributes { mode: Some(0), ..Default::default() }).await.unwrap();
    fixture.unlink(&call, "/b").await.unwrap();
    let (ino, kind, parent) = (made.ino, Kind::File, Ino::ROOT);
    for expected in [
        What::Created { parent, name: name("a"), ino, kind },
        What::Renamed { from: (parent, name("a")), to: (parent, name("b")), ino, kind },
        What::Attributes { ino },
        What::Removed { parent, name: name("b"), ino, kind },
    ] {
        let Some(News::Change(change)) = changes.next().await else { panic!("a change was missed") };
        assert_eq!((change.what, change.request), (expected, RequestId(9)));
    }
    for _ in 0..ballast_tree::limits::CHANGES_MAX + 5 {
        fixture.tree.update(Ino::ROOT, &mut bump).await.unwrap();
    }
    assert_eq!(changes.next().await, Some(News::Missed(5)));
}

#[tokio::test]
async fn a_change_returns_when_its_followers_have_dealt_with_it() {
    promise("A change returns to its caller when the mount's kernel was told of it, within a limit.");
    let fixture = Fixture::new().await;
    let mut changes = fixture.tree.follow(|_, request| !request.is_of_mount());
    let mut own = root();
    own.request = RequestId::of_mount(4);
    fixture.make(&own, "/own", Kind::File, 0o644).await.unwrap();
    let tree = fixture.tree.clone();
    let making =
        tokio::spawn(
            async move { tree.create(&root(), Ino::ROOT, &name("a"), new(Kind::File, 0o644), &|_, _| {}).await },
        );
    let Some(News::Change(change)) = changes.next().await else { panic!("a change was missed") };
    assert!(matches!(change.what, What::Created { name: made, .. } if made == name("a")), "not the one of the mount");
    assert!(!making.is_finished(), "the follower may still be at it");
    tokio::select! {
        biased;
        news = changes.next() => panic!("{news:?} was not made"),
        made = making => drop(made.unwrap().unwrap()),
    }
    drop(changes);
    fixture.make(&root(), "/b", Kind::File, 0o644).await.unwrap();
}

#[tokio::test]
async fn an_update_commits_the_engines_rows_and_its_error_stops_everything() {
    let fixture = Fixture::new().await;
    let made = fixture.make(&root(), "/a", Kind::File, 0o644).await.unwrap();
    let key = ballast_store::Space::Block.key(&[&made.ino.to_key()]);
    let mut change = |inode: &mut ballast_tree::Inode, batch: &mut ballast_store::Batch| {
        (inode.size, inode.links, inode.parent) = (10, 9, None);
        batch.put(key.clone(), bytes::Bytes::from_static(b"ten bytes!"));
        Ok(())
    };
    let (updated, _) = fixture.tree.update(made.ino, &mut change).await.unwrap();
    assert_eq!((updated.size, updated.links, &updated.parent), (10, 1, &made.parent), "links are not the engine's");
    assert_eq!(fixture.tree.inode(made.ino).await.unwrap(), updated);
    assert!(fixture.volume.rows().contains_key(&key));
    let before = fixture.volume.position();
    let mut fail = |inode: &mut ballast_tree::Inode, batch: &mut ballast_store::Batch| {
        inode.size = 11;
        batch.delete(key.clone());
        Err(Error::Invalid("no".into()))
    };
    assert!(matches!(fixture.tree.update(made.ino, &mut fail).await, Err(Error::Invalid(_))));
    fixture.tree.update(made.ino, &mut |_, _| Ok(())).await.unwrap();
    assert_eq!(fixture.volume.position(), before, "neither an error nor a change of nothing commits");
    assert_eq!(fixture.tree.inode(made.ino).await.unwrap().size, 10);
}

/// An engine that cannot empty one inode, for a while.
struct Stubborn {
    ino: Ino,
    failures: AtomicU32,
}

#[async_trait::async_trait]
impl Content for Stubborn {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::File]
    }

    async fn purge(&self, ino: Ino) -> ballast_tree::Result<()> {
        let fails = ino == self.ino && self.failures.load(Ordering::SeqCst) > 0;
        self.failures.fetch_sub(u32::from(fails), Ordering::SeqCst);
        if fails { Err(Error::Store(ballast_store::Error::Exhausted("full".into()))) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_removal_that_fails_wakes_the_reaper_again_and_does_not_stop_the_others() {
    let fixture = Fixture::new().await;
    let first = fixture.make(&root(), "/1", Kind::File, 0o644).await.unwrap().ino;
    let second = fixture.make(&root(), "/2", Kind::File, 0o644).await.unwrap().ino;
    fixture.tree.register(Arc::new(Stubborn { ino: first, failures: AtomicU32::new(2) }));
    fixture.tree.reap().await.unwrap();
    fixture.tree.reapable().await;
    fixture.unlink(&root(), "/1").await.unwrap();
    fixture.unlink(&root(), "/2").await.unwrap();
    for _ in 0..2 {
        tokio::select! {
            biased;
            () = fixture.tree.reapable() => {}
            () = std::future::ready(()) => panic!("nothing wakes the reaper"),
        }
        assert!(matches!(fixture.tree.reap().await, Err(Error::Store(_))));
        assert!(matches!(fixture.tree.inode(second).await, Err(Error::Stale(_))), "the other one is gone");
    }
    fixture.tree.reapable().await;
    assert_eq!(fixture.tree.reap().await.unwrap(), 1);
    assert!(matches!(fixture.tree.inode(first).await, Err(Error::Stale(_))));
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_no_names_and_attributes_and_lets_them_be_removed() {
    let fixture = Fixture::new().await;
    let ino = fixture.make(&root(), "/f", Kind::File, 0o644).await.unwrap().ino;
    fixture.tree.set_attribute(&root(), ino, b"user.a", b"1", None).await.unwrap();
    fixture.volume.set_nearly_full(true);
    let is_full = |error| matches!(error, Error::Store(ballast_store::Error::Exhausted(_)));
    assert!(is_full(fixture.make(&root(), "/g", Kind::File, 0o644).await.unwrap_err()));
    let there = fixture.make(&root(), "/f", Kind::File, 0o644).await;
    assert!(matches!(there, Err(Error::AlreadyExists(_))), "whoever makes what is there asks for no space");
    assert!(is_full(fixture.tree.link(&root(), ino, Ino::ROOT, &name("g")).await.unwrap_err()));
    assert!(is_full(fixture.tree.set_attribute(&root(), ino, b"user.a", b"2", None).await.unwrap_err()));
    fixture.tree.remove_attribute(&root(), ino, b"user.a").await.unwrap();
    fixture.rename(&root(), "/f", "/g", Rename::Replace).await.unwrap();
    fixture.tree.unlink(&root(), Ino::ROOT, &name("g")).await.unwrap();
}
