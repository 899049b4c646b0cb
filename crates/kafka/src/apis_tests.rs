//! Every advertised request, in every version, as the codec writes it: its shape must accept it whole.

use super::*;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};

fn text() -> StrBytes {
    StrBytes::from_static_str("some-name")
}

/// Encodes the request in every advertised version, and checks that the shape ends exactly where the request does.
fn accepts<R: Request + Encodable + Decodable + PartialEq + std::fmt::Debug>(build: impl Fn(i16) -> R) {
    let api = Api::find(R::KEY).unwrap();
    for version in api.min..=api.max {
        let mut body = BytesMut::new();
        build(version).encode(&mut body, version).unwrap_or_else(|error| panic!("{:?} {version}: {error}", api.key));
        let whole = body.freeze();
        assert_eq!(api.shape.check(&whole, version), Ok(()), "{:?} {version}", api.key);
        for length in 0..whole.len() {
            assert!(api.shape.check(&whole[..length], version).is_err(), "{:?} {version} cut at {length}", api.key);
        }
        assert_eq!(R::decode(&mut whole.clone(), version).unwrap(), build(version));
    }
}

#[test]
fn the_shapes_are_those_of_the_codec() {
    use kafka_protocol::messages::*;
    let topic = || TopicName(text());
    let group = || GroupId(text());
    accepts(|version| {
        let partition = produce_request::PartitionProduceData::default()
            .with_index(1)
            .with_records(Some(Bytes::from_static(b"xyz")));
        let data =
            produce_request::TopicProduceData::default().with_name(topic()).with_partition_data(vec![partition; 2]);
        let _ = version;
        ProduceRequest::default().with_topic_data(vec![data; 2])
    });
    accepts(|version| {
        let partition = fetch_request::FetchPartition::default().with_partition(3);
        let data = fetch_request::FetchTopic::default().with_partitions(vec![partition; 2]);
        let data = if version < 13 { data.with_topic(topic()) } else { data.with_topic_id(uuid::Uuid::from_u128(7)) };
        let request = FetchRequest::default().with_topics(vec![data; 2]);
        let gone = fetch_request::ForgottenTopic::default().with_partitions(vec![1, 2]);
        let gone = if version < 13 { gone.with_topic(topic()) } else { gone.with_topic_id(uuid::Uuid::from_u128(7)) };
        let request = if version >= 7 { request.with_forgotten_topics_data(vec![gone]) } else { request };
        if version >= 11 { request.with_rack_id(text()) } else { request }
    });
    accepts(|_| {
        let partition =
            list_offsets_request::ListOffsetsPartition::default().with_partition_index(3).with_timestamp(-1);
        let data =
            list_offsets_request::ListOffsetsTopic::default().with_name(topic()).with_partitions(vec![partition; 2]);
        ListOffsetsRequest::default().with_topics(vec![data; 2])
    });
    accepts(|_| {
        MetadataRequest::default().with_topics(Some(vec![
            metadata_request::MetadataRequestTopic::default()
                .with_name(Some(topic()));
            2
        ]))
    });
    accepts(|version| MetadataRequest::default().with_topics(if version > 0 { None } else { Some(vec![]) }));
    accepts(|_| {
        let partition =
            offset_commit_request::OffsetCommitRequestPartition::default().with_committed_metadata(Some(text()));
        let data = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(topic())
            .with_partitions(vec![partition; 2]);
        OffsetCommitRequest::default().with_group_id(group()).with_member_id(text()).with_topics(vec![data; 2])
    });
    accepts(|version| {
        if version < 8 {
            let data = offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_name(topic())
                .with_partition_indexes(vec![1, 2]);
            return OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![data; 2]));
        }
        let data = offset_fetch_request::OffsetFetchRequestTopics::default()
            .with_name(topic())
            .with_partition_indexes(vec![1, 2]);
        let one = offset_fetch_request::OffsetFetchRequestGroup::default()
            .with_group_id(group())
            .with_topics(Some(vec![data; 2]));
        OffsetFetchRequest::default().with_groups(vec![one; 2])
    });
    accepts(|version| match version {
        0..4 => FindCoordinatorRequest::default().with_key(text()),
        _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![text(), text()]),
    });
    accepts(|_| {
        let protocol = join_group_request::JoinGroupRequestProtocol::default()
            .with_name(text())
            .with_metadata(Bytes::from_static(b"me"));
        JoinGroupRequest::default().with_group_id(group()).with_protocol_type(text()).with_protocols(vec![protocol; 2])
    });
    accepts(|_| HeartbeatRequest::default().with_group_id(group()).with_member_id(text()));
    accepts(|version| match version {
        0..3 => LeaveGroupRequest::default().with_group_id(group()).with_member_id(text()),
        _ => LeaveGroupRequest::default()
            .with_group_id(group())
            .with_members(vec![leave_group_request::MemberIdentity::default().with_member_id(text()); 2]),
    });
    accepts(|_| {
        let share = sync_group_request::SyncGroupRequestAssignment::default()
            .with_member_id(text())
            .with_assignment(Bytes::from_static(b"as"));
        SyncGroupRequest::default().with_group_id(group()).with_member_id(text()).with_assignments(vec![share; 2])
    });
    accepts(|_| DescribeGroupsRequest::default().with_groups(vec![group(), group()]));
    accepts(|version| {
        if version >= 4 {
            ListGroupsRequest::default().with_states_filter(vec![text()])
        } else {
            ListGroupsRequest::default()
        }
    });
    accepts(|version| {
        if version >= 3 {
            ApiVersionsRequest::default().with_client_software_name(text())
        } else {
            ApiVersionsRequest::default()
        }
    });
}

#[test]
fn the_shapes_of_administration_are_those_of_the_codec() {
    let topic = || TopicName(text());
    accepts(|_| {
        let assignment = create_topics_request::CreatableReplicaAssignment::default()
            .with_broker_ids(vec![BrokerId(1), BrokerId(2)]);
        let config = create_topics_request::CreatableTopicConfig::default().with_name(text()).with_value(Some(text()));
        let data = create_topics_request::CreatableTopic::default()
            .with_name(topic())
            .with_assignments(vec![assignment; 2])
            .with_configs(vec![config; 2]);
        CreateTopicsRequest::default().with_topics(vec![data; 2])
    });
    accepts(|version| match version {
        0..6 => DeleteTopicsRequest::default().with_topic_names(vec![topic(), topic()]),
        _ => DeleteTopicsRequest::default().with_topics(vec![
            delete_topics_request::DeleteTopicState::default()
                .with_name(Some(topic()));
            2
        ]),
    });
    accepts(|_| {
        let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(5);
        let data = delete_records_request::DeleteRecordsTopic::default()
            .with_name(topic())
            .with_partitions(vec![partition; 2]);
        DeleteRecordsRequest::default().with_topics(vec![data; 2])
    });
    accepts(|_| InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text()))));
    accepts(|_| {
        let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default().with_leader_epoch(1);
        let data = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
            .with_topic(topic())
            .with_partitions(vec![partition; 2]);
        OffsetForLeaderEpochRequest::default().with_topics(vec![data; 2])
    });
    accepts(|_| {
        let resource = describe_configs_request::DescribeConfigsResource::default()
            .with_resource_name(text())
            .with_configuration_keys(Some(vec![text(); 2]));
        DescribeConfigsRequest::default().with_resources(vec![resource; 2])
    });
    accepts(|_| {
        let config = alter_configs_request::AlterableConfig::default().with_name(text()).with_value(Some(text()));
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_name(text())
            .with_configs(vec![config; 2]);
        AlterConfigsRequest::default().with_resources(vec![resource; 2])
    });
    accepts(|_| {
        let data = describe_log_dirs_request::DescribableLogDirTopic::default()
            .with_topic(topic())
            .with_partitions(vec![1, 2]);
        DescribeLogDirsRequest::default().with_topics(Some(vec![data; 2]))
    });
    accepts(|_| {
        let assignment =
            create_partitions_request::CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]);
        let data = create_partitions_request::CreatePartitionsTopic::default()
            .with_name(topic())
            .with_assignments(Some(vec![assignment; 2]));
        CreatePartitionsRequest::default().with_topics(vec![data; 2])
    });
    accepts(|_| DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text()); 2]));
    accepts(|_| {
        let config =
            incremental_alter_configs_request::AlterableConfig::default().with_name(text()).with_value(Some(text()));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_name(text())
            .with_configs(vec![config; 2]);
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource; 2])
    });
    accepts(|_| {
        let partition = offset_delete_request::OffsetDeleteRequestPartition::default().with_partition_index(1);
        let data = offset_delete_request::OffsetDeleteRequestTopic::default()
            .with_name(topic())
            .with_partitions(vec![partition; 2]);
        OffsetDeleteRequest::default().with_group_id(GroupId(text())).with_topics(vec![data; 2])
    });
    accepts(|_| DescribeClusterRequest::default().with_include_cluster_authorized_operations(true));
}
