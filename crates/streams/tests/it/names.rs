//! Names of streams, and their life in the tree.

use crate::world::{World, id};
use ballast_store::Space;
use ballast_streams::testing::BatchBuilder;
use ballast_streams::{Error, Right, Settings};
use ballast_types::{Call, Caller, ErrorKind, Name, TreePath};

#[tokio::test]
async fn a_stream_is_found_by_its_name_with_dots_and_by_its_path() {
    let world = World::new().await;
    let (streams, call) = (&world.streams, &world.call);
    world.tree.create_directories(call, &TreePath::parse("/a/b").unwrap()).await.unwrap();
    let stream = world.stream("/a/b/c", 2).await;
    for name in ["a.b.c", "/a/b/c", "/a//b/c/"] {
        assert_eq!(streams.find(call, name).await.unwrap().ino, stream.ino, "{name}");
    }
    assert_eq!(streams.find_by_id(stream.topic_id()).await.unwrap().ino, stream.ino);
    for name in ["a.b", "a", "a.b.c.d", "b.c", "/a/b", "/x", "a..c", "/"] {
        assert_eq!(streams.find(call, name).await.unwrap_err().kind(), ErrorKind::NotFound, "{name}");
    }
    for name in ["", ".", "a/b", "ä", "a b"] {
        assert!(matches!(streams.find(call, name).await, Err(Error::InvalidName(_))), "{name}");
    }
    assert_eq!(streams.name_of(stream.ino).await.unwrap(), "a.b.c");
}

#[tokio::test]
async fn a_plain_name_is_made_in_the_root_and_an_exact_name_wins() {
    let world = World::new().await;
    let (streams, call) = (&world.streams, &world.call);
    world.tree.create_directories(call, &TreePath::parse("/a").unwrap()).await.unwrap();
    let below = world.stream("/a/b", 1).await;
    let twice = streams.create(call, "a.b", 1, Settings::default()).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::AlreadyExists, "the name leads to /a/b already");
    let exact = world.stream("/a.b", 1).await;
    assert_eq!(streams.find(call, "a.b").await.unwrap().ino, exact.ino);
    assert_eq!(streams.find(call, "/a/b").await.unwrap().ino, below.ino);
    let listed: Vec<_> =
        streams.list(call).await.unwrap().into_iter().map(|listed| (listed.path.to_string(), listed.name)).collect();
    assert_eq!(listed, [("/a/b".to_owned(), None), ("/a.b".to_owned(), Some("a.b".to_owned()))]);
    let plain = world.stream("x.y.z", 1).await;
    assert_eq!(world.tree.path_of(plain.ino).await.unwrap().to_string(), "/x.y.z");
}

#[tokio::test]
async fn a_renamed_stream_keeps_its_records_and_its_identity() {
    let world = World::new().await;
    let stream = world.stream("old", 1).await;
    world.append(id(&stream, 0), &BatchBuilder::new().records(3)).await.unwrap();
    let root = ballast_types::Ino::ROOT;
    let (old, new): (Name, Name) = ("old".parse().unwrap(), "new".parse().unwrap());
    world.tree.rename(&world.call, (root, &old), (root, &new), Default::default()).await.unwrap();
    let found = world.streams.find(&world.call, "new").await.unwrap();
    assert_eq!(found.topic_id(), stream.topic_id());
    assert_eq!(world.fetch(id(&found, 0), 0, 1).await.unwrap().high_watermark, 3);
    assert!(world.streams.find(&world.call, "old").await.is_err());
}

#[tokio::test]
async fn a_dropped_stream_leaves_nothing_and_its_name_is_free_at_once() {
    let world = World::new().await;
    let stream = world.stream("s", 3).await;
    for partition in 0..3 {
        let batch = BatchBuilder::new().producer(5, 0, 0);
        world.append(id(&stream, partition), &batch).await.unwrap();
    }
    world.streams.delete_records(id(&stream, 1), None).await.unwrap();
    world.streams.remove(&world.call, &stream).await.unwrap();
    assert!(world.streams.find(&world.call, "s").await.is_err());
    let late = world.append(id(&stream, 0), &BatchBuilder::new()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::NotFound);
    let again = world.stream("s", 1).await;
    assert_ne!(again.topic_id(), stream.topic_id());
    assert_eq!(world.append(id(&again, 0), &BatchBuilder::new()).await.unwrap().base_offset, 0);
    while world.tree.reap().await.unwrap() > 0 {}
    for space in [Space::StreamIndex, Space::StreamPartition, Space::StreamProducer, Space::StreamList] {
        let range = space.range(&[&stream.ino.to_key()]);
        let left = world.volume.rows().into_keys().filter(|key| range.contains(key)).count();
        assert_eq!(left, 0, "{space:?}");
    }
}

#[tokio::test]
async fn partitions_only_become_more_and_settings_stay() {
    let world = World::new().await;
    let (streams, call) = (&world.streams, &world.call);
    let stream = world.stream("s", 2).await;
    assert!(matches!(streams.add_partitions(call, &stream, 2).await, Err(Error::InvalidPartitions(_))));
    streams.add_partitions(call, &stream, 4).await.unwrap();
    let mut change = |settings: &mut Settings| {
        settings.retention_ms = Some(5);
        Ok(())
    };
    streams.change_settings(call, &stream, &mut change).await.unwrap();
    let world = world.crash().await;
    let found = world.streams.find(&world.call, "s").await.unwrap();
    assert_eq!((found.partitions(), found.settings().retention_ms()), (4, 5));
    assert!(matches!(world.streams.create(call, "n", 0, Settings::default()).await, Err(Error::InvalidPartitions(_))));
}

#[tokio::test]
async fn mode_and_owner_of_the_stream_say_who_may_do_what() {
    let world = World::new().await;
    let stream = world.stream("s", 1).await;
    let stranger = Call::new(Caller::new(1000, 1000));
    world.streams.check(&stranger, &stream, Right::Read).unwrap();
    for right in [Right::Append, Right::Modify] {
        assert_eq!(world.streams.check(&stranger, &stream, right).unwrap_err().kind(), ErrorKind::Denied);
        world.streams.check(&world.call, &stream, right).unwrap();
    }
    let denied = world.streams.create(&stranger, "t", 1, Settings::default()).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied, "the root belongs to the superuser");
}
