//! Groups through the engine: real timers, durable offsets.

use crate::world::{World, id};
use ballast_streams::{CommittedOffset, Error, JoinRequest, Membership, SyncRequest};
use bytes::Bytes;
use std::time::Duration;

fn request(member: &str) -> JoinRequest {
    JoinRequest {
        member: member.to_owned(),
        client: "test".to_owned(),
        session_ms: 6_000,
        rebalance_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::new())],
        ..JoinRequest::default()
    }
}

pub async fn join(world: &World, member: &str) -> ballast_streams::Joined {
    world.streams.join("g", request(member)).unwrap().await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_is_out_when_its_session_ends_without_anybody_asking() {
    let world = World::new().await;
    let joined = join(&world, "").await;
    let membership = Membership { member: joined.member.clone(), instance: None, generation: joined.generation };
    let sync = SyncRequest {
        membership: membership.clone(),
        assignments: vec![(joined.member, "all".into())],
        ..SyncRequest::default()
    };
    assert_eq!(world.streams.sync("g", sync).unwrap().await.unwrap().unwrap().assignment, "all");
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.streams.heartbeat("g", &membership).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.streams.describe_group("g").await.unwrap().state, "Stable");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(matches!(world.streams.describe_group("g").await, Err(Error::GroupNotFound(_))), "nothing was committed");
    assert!(matches!(world.streams.heartbeat("g", &membership), Err(Error::UnknownMember)));
}

#[tokio::test(start_paused = true)]
async fn committed_offsets_survive_a_crash_and_members_join_again() {
    let world = World::new().await;
    let stream = world.stream("s", 2).await;
    let joined = join(&world, "").await;
    let membership = Membership { member: joined.member.clone(), instance: None, generation: joined.generation };
    let sync = SyncRequest { membership: membership.clone(), ..SyncRequest::default() };
    world.streams.sync("g", sync).unwrap().await.unwrap().unwrap();
    let offset = CommittedOffset { offset: 42, leader_epoch: 0, committed_ms: 0, metadata: "note".into() };
    world.streams.commit_offsets("g", &membership, vec![(id(&stream, 1), offset)]).await.unwrap();
    let world = world.crash().await;
    let found = world.streams.committed_offset("g", id(&stream, 1)).await.unwrap().unwrap();
    assert_eq!((found.offset, found.metadata.as_str()), (42, "note"));
    assert_eq!(world.streams.committed_offset("g", id(&stream, 0)).await.unwrap(), None);
    let view = world.streams.describe_group("g").await.unwrap();
    assert_eq!((view.state, view.protocol_type.as_str()), ("Empty", "consumer"));
    assert!(matches!(world.streams.heartbeat("g", &membership), Err(Error::UnknownMember)));
    let late = world.streams.commit_offsets("g", &membership, vec![]).await;
    assert!(matches!(late, Err(Error::IllegalGeneration)));
    assert_eq!(join(&world, "").await.generation, 1);
    assert!(matches!(world.streams.delete_group("g").await, Err(Error::GroupNotEmpty(_))));
}

#[tokio::test(start_paused = true)]
async fn a_group_without_members_can_be_set_and_deleted() {
    let world = World::new().await;
    let stream = world.stream("s", 2).await;
    let nobody = Membership { generation: -1, ..Membership::default() };
    let offset = |offset| CommittedOffset { offset, ..CommittedOffset::default() };
    let both = vec![(id(&stream, 0), offset(1)), (id(&stream, 1), offset(2))];
    world.streams.commit_offsets("g", &nobody, both).await.unwrap();
    world.streams.delete_offsets("g", &[id(&stream, 0)]).await.unwrap();
    let left = world.streams.committed_offsets("g").await.unwrap();
    assert_eq!(left.iter().map(|(id, offset)| (id.partition, offset.offset)).collect::<Vec<_>>(), [(1, 2)]);
    world.streams.delete_group("g").await.unwrap();
    assert!(matches!(world.streams.delete_group("g").await, Err(Error::GroupNotFound(_))));
    assert_eq!(world.streams.committed_offsets("g").await.unwrap(), []);
    assert!(matches!(world.streams.commit_offsets("", &nobody, vec![]).await, Err(Error::InvalidGroup(_))));
}
