//! Deleting by hand, by age and by size.

use crate::groups::join;
use crate::world::{World, batches, id};
use ballast_store::{Batch, Space, Volume};
use ballast_streams::testing::BatchBuilder;
use ballast_streams::{Cleanup, CommittedOffset, Error, Membership, OffsetAt, PartitionId, Settings, SyncRequest};
use std::time::Duration;

async fn filled(settings: Settings) -> (World, PartitionId) {
    let world = World::new().await;
    let stream = world.streams.create(&world.call, "s", 1, settings).await.unwrap();
    for _ in 0..10 {
        let now = world.streams.now_ms();
        world.append(id(&stream, 0), &BatchBuilder::new().timestamps(&[now, now])).await.unwrap();
        world.clock.advance(Duration::from_secs(1));
    }
    (world, id(&stream, 0))
}

async fn bounds(world: &World, id: PartitionId) -> (i64, i64) {
    let fetched = world
        .fetch(id, world.streams.find_offset(id, OffsetAt::Earliest).await.unwrap().unwrap().offset, 1)
        .await
        .unwrap();
    (fetched.log_start, fetched.high_watermark)
}

#[tokio::test]
async fn deleted_records_are_gone_also_after_a_crash_and_offsets_go_on() {
    let (world, id) = filled(Settings::default()).await;
    assert_eq!(world.streams.delete_records(id, Some(7)).await.unwrap(), 7);
    assert_eq!(world.streams.delete_records(id, Some(3)).await.unwrap(), 7, "nothing comes back");
    assert!(matches!(world.streams.delete_records(id, Some(21)).await, Err(Error::OffsetOutOfRange { .. })));
    assert!(matches!(world.fetch(id, 6, 1).await, Err(Error::OffsetOutOfRange { start: 7, .. })));
    assert_eq!(batches(&world.fetch(id, 7, 1).await.unwrap()), [(6, 2)], "the batch that holds it is whole");
    let world = world.crash().await;
    assert_eq!(bounds(&world, id).await, (7, 20));
    assert_eq!(world.streams.delete_records(id, None).await.unwrap(), 20);
    let world = world.crash().await;
    assert_eq!(bounds(&world, id).await, (20, 20));
    assert_eq!(world.append(id, &BatchBuilder::new()).await.unwrap().base_offset, 20);
}

#[tokio::test]
async fn records_that_are_too_old_go() {
    let (world, id) = filled(Settings { retention_ms: Some(5_000), ..Settings::default() }).await;
    assert!(world.streams.retain().await.unwrap().complete);
    assert_eq!(bounds(&world, id).await, (10, 20));
    world.clock.advance(Duration::from_secs(60));
    world.streams.retain().await.unwrap();
    assert_eq!(bounds(&world, id).await, (20, 20));
    assert_eq!(world.append(id, &BatchBuilder::new()).await.unwrap().base_offset, 20);
}

#[tokio::test]
async fn a_record_from_the_future_does_not_keep_those_behind_it() {
    let world = World::new().await;
    let notes = [("message.timestamp.after.max.ms".to_owned(), i64::MAX.to_string())].into_iter().collect();
    let settings = Settings { retention_ms: Some(5_000), notes, ..Settings::default() };
    let id = id(&world.streams.create(&world.call, "s", 1, settings).await.unwrap(), 0);
    let now = world.streams.now_ms();
    for time in [now * 1_000, i64::MAX, now, now + 4_000] {
        world.append(id, &BatchBuilder::new().timestamps(&[time])).await.unwrap();
    }
    world.clock.advance(Duration::from_secs(3));
    world.streams.retain().await.unwrap();
    assert_eq!(bounds(&world, id).await, (0, 4), "none of them is older than its append");
    world.clock.advance(Duration::from_secs(5));
    world.streams.retain().await.unwrap();
    assert_eq!(bounds(&world, id).await, (3, 4), "a time that has come counts");
}

#[tokio::test]
async fn records_that_are_too_many_go_in_whole_rows() {
    let row = BatchBuilder::new().timestamps(&[0, 0]).build().len() as i64;
    let (world, id) = filled(Settings { retention_bytes: Some(3 * row + 1), ..Settings::default() }).await;
    world.streams.retain().await.unwrap();
    let (start, end) = bounds(&world, id).await;
    assert_eq!((start, end), (12, 20), "four rows stay: three would be less than what may stay");
    assert_eq!(world.streams.partition_bytes(id).await.unwrap(), 4 * row as u64);
}

#[tokio::test]
async fn compacted_and_endless_streams_keep_everything() {
    for settings in [
        Settings { retention_ms: Some(-1), ..Settings::default() },
        Settings { retention_ms: Some(1), cleanup: Some(Cleanup::Compact), ..Settings::default() },
    ] {
        let (world, id) = filled(settings).await;
        world.clock.advance(Duration::from_secs(3600 * 24 * 365));
        world.streams.retain().await.unwrap();
        assert_eq!(bounds(&world, id).await, (0, 20));
    }
}

#[tokio::test]
async fn silent_producers_are_forgotten_and_active_ones_are_not() {
    let world = World::new().await;
    let id = id(&world.stream("s", 1).await, 0);
    let batch = |producer, sequence| BatchBuilder::new().producer(producer, 0, sequence);
    world.append(id, &batch(1, 0)).await.unwrap();
    world.clock.advance(Duration::from_secs(24 * 3600));
    world.append(id, &batch(2, 0)).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    world.streams.retain().await.unwrap();
    // Who is known may leave no gap.
    assert!(matches!(world.append(id, &batch(2, 5)).await, Err(Error::OutOfOrderSequence { got: 5, last: 0 })));
    assert_eq!(world.append(id, &batch(1, 5)).await.unwrap().base_offset, 2);
    assert_eq!(world.append(id, &batch(2, 1)).await.unwrap().base_offset, 3);
}

#[tokio::test]
async fn offsets_of_dead_groups_and_dropped_streams_go() {
    let world = World::new().await;
    let (kept, dropped) = (world.stream("kept", 1).await, world.stream("dropped", 1).await);
    let nobody = Membership { generation: -1, ..Membership::default() };
    let offset = |stream| vec![(id(stream, 0), CommittedOffset { offset: 5, ..CommittedOffset::default() })];
    world.append(id(&kept, 0), &BatchBuilder::new()).await.unwrap();
    world.streams.commit_offsets("old", &nobody, offset(&kept)).await.unwrap();
    world.clock.advance(Duration::from_secs(7 * 24 * 3600 + 1));
    world.streams.commit_offsets("new", &nobody, offset(&kept)).await.unwrap();
    world.streams.commit_offsets("gone", &nobody, offset(&dropped)).await.unwrap();
    world.streams.remove(&world.call, &dropped).await.unwrap();
    while world.tree.reap().await.unwrap() > 0 {}
    assert!(world.streams.retain().await.unwrap().complete);
    let groups: Vec<String> = world.streams.list_groups().await.unwrap().into_iter().map(|group| group.name).collect();
    assert_eq!(groups, ["new"]);
}

/// Its partition has no records, so its members have nothing to commit.
#[tokio::test(start_paused = true)]
async fn offsets_of_a_quiet_group_outlive_a_moment_without_members() {
    let world = World::new().await;
    let stream = world.stream("s", 1).await;
    let joined = join(&world, "").await;
    let membership = Membership { member: joined.member.clone(), instance: None, generation: joined.generation };
    let sync = SyncRequest { membership: membership.clone(), ..SyncRequest::default() };
    world.streams.sync("g", sync).unwrap().await.unwrap().unwrap();
    let offset = CommittedOffset { offset: 5, ..CommittedOffset::default() };
    world.streams.commit_offsets("g", &membership, vec![(id(&stream, 0), offset)]).await.unwrap();
    let committed = async || world.streams.committed_offset("g", id(&stream, 0)).await.unwrap().map(|it| it.offset);
    world.clock.advance(Duration::from_secs(8 * 24 * 3600));
    world.streams.retain().await.unwrap();
    // The session ends, for want of heartbeats.
    tokio::time::sleep(Duration::from_secs(20)).await;
    world.streams.retain().await.unwrap();
    assert_eq!(committed().await, Some(5));
    world.clock.advance(Duration::from_secs(7 * 24 * 3600 + 1));
    world.streams.retain().await.unwrap();
    assert_eq!(committed().await, None);
}

/// Spoils the first row of a space that holds these bytes.
async fn spoil(world: &World, space: Space, holds: &[u8]) {
    let range = space.range(&[]);
    let rows = world.volume.rows();
    let mut keys = rows.into_keys().filter(|key| range.contains(key));
    let key = keys.find(|key| key.windows(holds.len()).any(|part| part == holds)).unwrap();
    let mut batch = Batch::new();
    batch.put(key, &b"\xff"[..]);
    world.volume.commit(batch).await.unwrap();
}

#[tokio::test]
async fn a_damaged_partition_does_not_keep_the_others_from_being_shortened() {
    let world = World::new().await;
    let settings = Settings { retention_ms: Some(5_000), ..Settings::default() };
    let first = world.streams.create(&world.call, "first", 1, settings.clone()).await.unwrap();
    let second = world.streams.create(&world.call, "second", 1, settings).await.unwrap();
    for stream in [&first, &second] {
        world.append(id(stream, 0), &BatchBuilder::new()).await.unwrap();
    }
    spoil(&world, Space::StreamIndex, &first.ino.to_key()).await;
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.streams.retain().await.unwrap_err().kind(), ballast_types::ErrorKind::Corrupt);
    assert_eq!(bounds(&world, id(&second, 0)).await, (1, 1));
}

#[tokio::test]
async fn a_damaged_offset_does_not_keep_those_of_other_groups() {
    let world = World::new().await;
    let stream = world.stream("s", 1).await;
    let nobody = Membership { generation: -1, ..Membership::default() };
    for group in ["bad", "old"] {
        let offset = vec![(id(&stream, 0), CommittedOffset::default())];
        world.streams.commit_offsets(group, &nobody, offset).await.unwrap();
    }
    spoil(&world, Space::StreamOffset, b"bad").await;
    world.clock.advance(Duration::from_secs(7 * 24 * 3600 + 1));
    assert_eq!(world.streams.retain().await.unwrap_err().kind(), ballast_types::ErrorKind::Corrupt);
    let groups: Vec<String> = world.streams.list_groups().await.unwrap().into_iter().map(|group| group.name).collect();
    assert_eq!(groups, ["bad"]);
}

#[tokio::test]
async fn a_group_whose_last_offset_was_deleted_goes() {
    let world = World::new().await;
    let stream = world.stream("s", 1).await;
    let nobody = Membership { generation: -1, ..Membership::default() };
    let offset = vec![(id(&stream, 0), CommittedOffset::default())];
    world.streams.commit_offsets("g", &nobody, offset).await.unwrap();
    world.streams.delete_offsets("g", &[id(&stream, 0)]).await.unwrap();
    world.streams.retain().await.unwrap();
    assert_eq!(world.streams.list_groups().await.unwrap(), []);
}
