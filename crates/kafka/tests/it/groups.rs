//! Groups over the wire.

use crate::client::{Client, Server, text, topic};
use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

fn join(version: i16, member: StrBytes) -> JoinGroupRequest {
    let protocol = join_group_request::JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"topics"));
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_session_timeout_ms(10_000)
        .with_member_id(member)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    if version >= 1 { request.with_rebalance_timeout_ms(10_000) } else { request }
}

fn sync(member: StrBytes, generation: i32) -> SyncGroupRequest {
    let share = sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(member.clone())
        .with_assignment(Bytes::from_static(b"all"));
    SyncGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(member)
        .with_generation_id(generation)
        .with_assignments(vec![share])
}

/// A member joins, syncs and leaves in each version of both, and at last stays: its id. The group is in generation 1.
pub async fn join_and_sync_in_every_version(client: &mut Client) -> StrBytes {
    for version in 0..=9 {
        let mut joined = client.call(version, &join(version, StrBytes::default())).await;
        if version >= 4 {
            assert_eq!(joined.error_code, 79, "a new member is told its id first");
            joined = client.call(version, &join(version, joined.member_id)).await;
        }
        assert_eq!((joined.error_code, joined.members.len(), joined.generation_id), (0, 1, 1), "JoinGroup {version}");
        assert_eq!((&joined.leader, joined.protocol_name.as_deref()), (&joined.member_id, Some("range")));
        let sync_version = version.min(5);
        let synced = client.call(sync_version, &sync(joined.member_id.clone(), 1)).await;
        assert_eq!((synced.error_code, synced.assignment.as_ref()), (0, &b"all"[..]), "SyncGroup {sync_version}");
        if version == 9 {
            return joined.member_id;
        }
        let leave = LeaveGroupRequest::default().with_group_id(GroupId(text("g"))).with_member_id(joined.member_id);
        assert_eq!(client.call(2, &leave).await.error_code, 0);
        // The group goes with its last member, in its own time; a new one may meet what is left of it.
        while client.call(0, &DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g"))])).await.groups[0]
            .group_state
            .as_str()
            != "Dead"
        {}
    }
    unreachable!("the last version returns")
}

/// The committed offset of orders, partition 0.
pub async fn committed(client: &mut Client, version: i16) -> (i64, Option<StrBytes>) {
    if version < 8 {
        let data = offset_fetch_request::OffsetFetchRequestTopic::default()
            .with_name(topic("orders"))
            .with_partition_indexes(vec![0, 7]);
        let request = OffsetFetchRequest::default().with_group_id(GroupId(text("g"))).with_topics(Some(vec![data]));
        let response = client.call(version, &request).await;
        let [known, unknown] = &response.topics[0].partitions[..] else { panic!("two were asked for") };
        assert_eq!((unknown.committed_offset, unknown.error_code), (-1, 0));
        return (known.committed_offset, known.metadata.clone());
    }
    let group =
        offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(GroupId(text("g"))).with_topics(None);
    let response = client.call(version, &OffsetFetchRequest::default().with_groups(vec![group])).await;
    let found = &response.groups[0].topics[0];
    assert_eq!(found.name.as_str(), "orders");
    (found.partitions[0].committed_offset, found.partitions[0].metadata.clone())
}

#[tokio::test]
async fn two_members_over_two_connections_share() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    let first = one.call(3, &join(3, StrBytes::default())).await;
    one.call(3, &sync(first.member_id.clone(), 1)).await;
    two.send(3, &join(3, StrBytes::default())).await;
    let beat = HeartbeatRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(first.member_id.clone())
        .with_generation_id(1);
    // The second member's request may still be on its way.
    while one.call(3, &beat).await.error_code != 27 {}
    let again = one.call(3, &join(3, first.member_id.clone())).await;
    let (_, second) = two.receive::<JoinGroupRequest>(3).await;
    assert_eq!((again.generation_id, again.members.len(), second.generation_id, second.members.len()), (2, 2, 2, 0));
    assert_eq!(second.leader, first.member_id);
    two.send(3, &sync(second.member_id.clone(), 2)).await;
    let mut shares = sync(first.member_id.clone(), 2);
    shares.assignments.push(
        sync_group_request::SyncGroupRequestAssignment::default()
            .with_member_id(second.member_id.clone())
            .with_assignment(Bytes::from_static(b"half")),
    );
    assert_eq!(one.call(3, &shares).await.assignment.as_ref(), b"all");
    assert_eq!(two.receive::<SyncGroupRequest>(3).await.1.assignment.as_ref(), b"half");
}

#[tokio::test]
async fn who_asks_for_offsets_in_an_old_version_is_told_the_error_and_not_that_there_are_none() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    server.topic("orders", 1).await;
    let data = offset_fetch_request::OffsetFetchRequestTopic::default()
        .with_name(topic("orders"))
        .with_partition_indexes(vec![0, 1]);
    // No group has an empty name.
    let response = client.call(1, &OffsetFetchRequest::default().with_topics(Some(vec![data]))).await;
    let told: Vec<_> = response.topics[0].partitions.iter().map(|it| (it.committed_offset, it.error_code)).collect();
    assert_eq!(told, [(-1, 24), (-1, 24)]);
}

#[tokio::test]
async fn offsets_are_deleted_of_topics_that_no_member_reads() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let names = ["read", "unread"];
    for name in names {
        server.topic(name, 1).await;
    }
    let mut joining = join(3, StrBytes::default());
    joining.protocols[0].metadata = Bytes::from_static(b"\0\0\0\0\0\x01\0\x04read\xff\xff\xff\xff");
    let joined = client.call(3, &joining).await;
    client.call(3, &sync(joined.member_id.clone(), 1)).await;
    let committed = names.map(|name| {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default().with_committed_offset(5);
        offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(topic(name))
            .with_partitions(vec![partition])
    });
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(joined.member_id)
        .with_generation_id_or_member_epoch(1)
        .with_topics(committed.to_vec());
    client.call(7, &request).await;
    let deleted = names.map(|name| {
        offset_delete_request::OffsetDeleteRequestTopic::default()
            .with_name(topic(name))
            .with_partitions(vec![offset_delete_request::OffsetDeleteRequestPartition::default()])
    });
    let request = OffsetDeleteRequest::default().with_group_id(GroupId(text("g"))).with_topics(deleted.to_vec());
    let response = client.call(0, &request).await;
    let codes: Vec<i16> = response.topics.iter().map(|topic| topic.partitions[0].error_code).collect();
    assert_eq!((response.error_code, &codes[..]), (0, &[86, 0][..]));
    let all = OffsetFetchRequest::default().with_group_id(GroupId(text("g"))).with_topics(None);
    let left = client.call(5, &all).await.topics;
    assert_eq!(left.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["read"]);
}
