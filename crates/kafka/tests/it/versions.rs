//! Every version that is advertised is answered, and says the same.

use crate::client::{Client, Server, text, topic};
use ballast_streams::testing::BatchBuilder;
use bytes::Bytes;
use kafka_protocol::messages::*;
use uuid::Uuid;

/// The versions of a request, as the server tells them.
async fn versions(client: &mut Client, key: ApiKey) -> std::ops::RangeInclusive<i16> {
    let response = client.call(0, &ApiVersionsRequest::default()).await;
    let told = response.api_keys.iter().find(|told| told.api_key == key as i16).expect("it is advertised");
    // Produce 0 to 2 are told and not answered.
    let min = if key == ApiKey::Produce { 3 } else { told.min_version };
    min..=told.max_version
}

pub fn produce(name: &str, acks: i16, records: Bytes) -> ProduceRequest {
    let partition = produce_request::PartitionProduceData::default().with_records(Some(records));
    let data = produce_request::TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(1000).with_topic_data(vec![data])
}

pub fn fetch(version: i16, stream: &ballast_streams::Stream, name: &str, offset: i64) -> FetchRequest {
    let partition =
        fetch_request::FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let data = fetch_request::FetchTopic::default().with_partitions(vec![partition]);
    let data = match version {
        0..13 => data.with_topic(topic(name)),
        _ => data.with_topic_id(Uuid::from_bytes(stream.topic_id())),
    };
    FetchRequest::default().with_max_wait_ms(1000).with_min_bytes(1).with_max_bytes(1 << 20).with_topics(vec![data])
}

#[tokio::test]
async fn records_go_in_and_come_out_in_every_version() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let stream = server.topic("orders", 1).await;
    let batch = BatchBuilder::new().records(2).build();
    let mut offset = 0;
    for version in versions(&mut client, ApiKey::Produce).await {
        let response = client.call(version, &produce("orders", -1, batch.clone())).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, offset), "Produce {version}");
        offset += 2;
    }
    for version in versions(&mut client, ApiKey::Fetch).await {
        let response = client.call(version, &fetch(version, &stream, "orders", offset - 1)).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.high_watermark), (0, offset), "Fetch {version}");
        let records = partition.records.clone().unwrap();
        assert_eq!((records.len(), &records[16..]), (batch.len(), &batch[16..]), "Fetch {version}");
        let beyond = client.call(version, &fetch(version, &stream, "orders", 1_000)).await;
        assert_eq!(beyond.responses[0].partitions[0].error_code, 1);
    }
    for version in versions(&mut client, ApiKey::ListOffsets).await {
        for (time, offset) in [(-2, 0), (-1, offset), (1_000, 0), (1_001, -1)] {
            let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(time);
            let data = list_offsets_request::ListOffsetsTopic::default()
                .with_name(topic("orders"))
                .with_partitions(vec![partition]);
            let response = client.call(version, &ListOffsetsRequest::default().with_topics(vec![data])).await;
            let partition = &response.topics[0].partitions[0];
            assert_eq!((partition.error_code, partition.offset), (0, offset), "ListOffsets {version} of {time}");
        }
    }
    for version in versions(&mut client, ApiKey::OffsetForLeaderEpoch).await {
        let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default().with_leader_epoch(0);
        let data = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
            .with_topic(topic("orders"))
            .with_partitions(vec![partition]);
        let response = client.call(version, &OffsetForLeaderEpochRequest::default().with_topics(vec![data])).await;
        assert_eq!(response.topics[0].partitions[0].end_offset, offset);
    }
    for version in versions(&mut client, ApiKey::DescribeLogDirs).await {
        let response = client.call(version, &DescribeLogDirsRequest::default().with_topics(None)).await;
        assert!(response.results[0].topics[0].partitions[0].partition_size >= batch.len() as i64);
    }
    for version in versions(&mut client, ApiKey::DeleteRecords).await {
        let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(3);
        let data = delete_records_request::DeleteRecordsTopic::default()
            .with_name(topic("orders"))
            .with_partitions(vec![partition]);
        let response = client.call(version, &DeleteRecordsRequest::default().with_topics(vec![data])).await;
        assert_eq!(response.topics[0].partitions[0].low_watermark, 3);
    }
    for version in versions(&mut client, ApiKey::InitProducerId).await {
        let response = client.call(version, &InitProducerIdRequest::default().with_transactional_id(None)).await;
        assert!(response.error_code == 0 && response.producer_id.0 > 0 && response.producer_epoch == 0);
    }
}

#[tokio::test]
async fn metadata_is_told_in_every_version() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let stream = server.topic("orders", 3).await;
    for version in versions(&mut client, ApiKey::Metadata).await {
        let asked = metadata_request::MetadataRequestTopic::default().with_name(Some(topic("/orders")));
        let response = client.call(version, &MetadataRequest::default().with_topics(Some(vec![asked]))).await;
        assert_eq!(response.brokers[0].port, i32::from(server.address.port()));
        let found = &response.topics[0];
        assert_eq!(
            (found.error_code, found.name.as_ref().unwrap().as_str()),
            (0, "/orders"),
            "it is echoed as it was spelled"
        );
        assert_eq!(found.partitions.len(), 3);
        assert!(version < 10 || found.topic_id.into_bytes() == stream.topic_id());
        let all = if version == 0 { Some(vec![]) } else { None };
        let response = client.call(version, &MetadataRequest::default().with_topics(all)).await;
        assert_eq!(response.topics[0].name.as_ref().unwrap().as_str(), "orders");
    }
    let (known, unknown) = (Uuid::from_bytes(stream.topic_id()), Uuid::from_u128(77));
    // Java's admin client sends an empty name with an id.
    for (version, name) in [(12, None), (13, None), (12, Some(topic(""))), (13, Some(topic("")))] {
        let by_id = |id| metadata_request::MetadataRequestTopic::default().with_name(name.clone()).with_topic_id(id);
        let request = MetadataRequest::default().with_topics(Some(vec![by_id(known), by_id(unknown)]));
        let response = client.call(version, &request).await;
        assert_eq!(response.topics[0].name.as_ref().unwrap().as_str(), "orders");
        assert_eq!(response.topics[1].error_code, 100);
    }
    for version in versions(&mut client, ApiKey::DescribeCluster).await {
        let request = DescribeClusterRequest::default();
        let request = if version >= 1 { request.with_endpoint_type(1) } else { request };
        assert_eq!(client.call(version, &request).await.brokers.len(), 1);
    }
}

#[tokio::test]
async fn streams_are_made_changed_and_dropped_in_every_version() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for version in versions(&mut client, ApiKey::CreateTopics).await {
        let config = create_topics_request::CreatableTopicConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("5")));
        let data = create_topics_request::CreatableTopic::default()
            .with_name(topic(&format!("t{version}")))
            .with_num_partitions(2)
            .with_replication_factor(1)
            .with_configs(vec![config]);
        for code in [0, 36] {
            let request = CreateTopicsRequest::default().with_topics(vec![data.clone()]).with_timeout_ms(1000);
            assert_eq!(client.call(version, &request).await.topics[0].error_code, code, "CreateTopics {version}");
        }
    }
    for (count, version) in (3..).zip(versions(&mut client, ApiKey::CreatePartitions).await) {
        let data = create_partitions_request::CreatePartitionsTopic::default()
            .with_name(topic("t2"))
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![data]);
        assert_eq!(client.call(version, &request).await.results[0].error_code, 0);
        assert_eq!(client.call(version, &request).await.results[0].error_code, 37);
    }
    for version in versions(&mut client, ApiKey::DescribeConfigs).await {
        let resource = describe_configs_request::DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t2"))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
        let response = client.call(version, &request).await;
        let config = response.results[0].configs.iter().find(|config| config.name.as_str() == "retention.ms").unwrap();
        assert_eq!((config.value.as_deref(), config.config_source), (Some("5"), 1));
    }
    for version in versions(&mut client, ApiKey::IncrementalAlterConfigs).await {
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("6")));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t2"))
            .with_configs(vec![config]);
        let response =
            client.call(version, &IncrementalAlterConfigsRequest::default().with_resources(vec![resource])).await;
        assert_eq!(response.responses[0].error_code, 0);
    }
    for version in versions(&mut client, ApiKey::AlterConfigs).await {
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("x")));
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t2"))
            .with_configs(vec![config]);
        let response = client.call(version, &AlterConfigsRequest::default().with_resources(vec![resource])).await;
        assert_eq!(response.responses[0].error_code, 40);
    }
    for version in versions(&mut client, ApiKey::DeleteTopics).await {
        let name = topic(&format!("t{}", version + 1));
        let request = match version {
            0..6 => DeleteTopicsRequest::default().with_topic_names(vec![name]),
            _ => {
                let state = delete_topics_request::DeleteTopicState::default().with_name(Some(name));
                DeleteTopicsRequest::default().with_topics(vec![state])
            }
        };
        for code in [0, 3] {
            assert_eq!(client.call(version, &request).await.responses[0].error_code, code, "DeleteTopics {version}");
        }
    }
}

#[tokio::test]
async fn groups_live_and_die_in_every_version() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    server.topic("orders", 1).await;
    for version in versions(&mut client, ApiKey::FindCoordinator).await {
        let request = match version {
            0..4 => FindCoordinatorRequest::default().with_key(text("g")),
            _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]),
        };
        let response = client.call(version, &request).await;
        let port = if version < 4 { response.port } else { response.coordinators[0].port };
        assert_eq!(port, i32::from(server.address.port()));
    }
    let member = crate::groups::join_and_sync_in_every_version(&mut client).await;
    for version in versions(&mut client, ApiKey::Heartbeat).await {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_member_id(member.clone())
            .with_generation_id(1);
        assert_eq!(client.call(version, &request).await.error_code, 0);
    }
    for version in versions(&mut client, ApiKey::OffsetCommit).await {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default()
            .with_committed_offset(version.into())
            .with_committed_metadata(Some(text("note")));
        let data = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(topic("orders"))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_member_id(member.clone())
            .with_generation_id_or_member_epoch(1)
            .with_topics(vec![data]);
        let response = client.call(version, &request).await;
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
    }
    for version in versions(&mut client, ApiKey::OffsetFetch).await {
        let (offset, metadata) = crate::groups::committed(&mut client, version).await;
        assert_eq!((offset, metadata.as_deref()), (9, Some("note")), "OffsetFetch {version}");
    }
    for version in versions(&mut client, ApiKey::DescribeGroups).await {
        let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g")), GroupId(text("none"))]);
        let groups = client.call(version, &request).await.groups;
        assert_eq!((groups[0].group_state.as_str(), groups[0].members.len()), ("Stable", 1));
        assert_eq!((groups[1].group_state.as_str(), groups[1].error_code), ("Dead", if version < 6 { 0 } else { 69 }));
    }
    for version in versions(&mut client, ApiKey::ListGroups).await {
        let groups = client.call(version, &ListGroupsRequest::default()).await.groups;
        assert_eq!((groups[0].group_id.as_str(), groups[0].protocol_type.as_str()), ("g", "consumer"));
    }
    for version in versions(&mut client, ApiKey::DeleteGroups).await {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("g"))]);
        assert_eq!(client.call(version, &request).await.results[0].error_code, 68);
    }
    for version in versions(&mut client, ApiKey::LeaveGroup).await {
        let request = LeaveGroupRequest::default().with_group_id(GroupId(text("g")));
        let one = leave_group_request::MemberIdentity::default().with_member_id(text("nobody"));
        let request = match version {
            0..3 => request.with_member_id(text("nobody")),
            _ => request.with_members(vec![one]),
        };
        let response = client.call(version, &request).await;
        let code = response.members.first().map_or(response.error_code, |member| member.error_code);
        assert_eq!(code, 25);
    }
    let partition = offset_delete_request::OffsetDeleteRequestPartition::default();
    let data = offset_delete_request::OffsetDeleteRequestTopic::default()
        .with_name(topic("orders"))
        .with_partitions(vec![partition]);
    let response =
        client.call(0, &OffsetDeleteRequest::default().with_group_id(GroupId(text("g"))).with_topics(vec![data])).await;
    assert_eq!(response.topics[0].partitions[0].error_code, 86, "a member may read it");
}

#[tokio::test]
async fn a_newer_client_is_told_what_is_spoken_here() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let named =
        ApiVersionsRequest::default().with_client_software_name(text("a")).with_client_software_version(text("1"));
    for version in 0..=4 {
        let request = if version >= 3 { named.clone() } else { ApiVersionsRequest::default() };
        let response = client.call(version, &request).await;
        assert!(response.error_code == 0 && response.api_keys.len() > 20);
        let produce = response.api_keys.iter().find(|told| told.api_key == 0).unwrap();
        assert_eq!(produce.min_version, 0, "or librdkafka stops compressing");
    }
    // As a client of the future: version 99, whatever its body is.
    use tokio::io::AsyncWriteExt;
    client.socket.write_all(b"\0\0\0\x0d\0\x12\0\x63\0\0\0\x07\0\x01a\0\0").await.unwrap();
    let (correlation, response) = client.receive::<ApiVersionsRequest>(0).await;
    assert_eq!((correlation, response.error_code, response.api_keys[0].max_version), (7, 35, 4));
    assert_eq!(client.call(4, &named).await.error_code, 0, "and it may ask again on the same connection");
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let stream = server.topic("orders", 1).await;
    // A long poll, then appends that end it, all sent before anything is read.
    let poll = client.send(12, &fetch(12, &stream, "orders", 0)).await;
    let mut sent = Vec::new();
    for _ in 0..50 {
        sent.push(client.send(9, &produce("orders", -1, BatchBuilder::new().build())).await);
    }
    let (correlation, response) = client.receive::<FetchRequest>(12).await;
    assert_eq!(correlation, poll);
    assert!(response.responses[0].partitions[0].high_watermark >= 1);
    for (offset, sent) in sent.into_iter().enumerate() {
        let (correlation, response) = client.receive::<ProduceRequest>(9).await;
        assert_eq!(correlation, sent);
        assert_eq!(response.responses[0].partition_responses[0].base_offset, offset as i64);
    }
}

#[tokio::test]
async fn a_producer_that_wants_no_answer_gets_none() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    server.topic("orders", 1).await;
    for _ in 0..3 {
        client.send(9, &produce("orders", 0, BatchBuilder::new().build())).await;
    }
    let response = client.call(9, &produce("orders", 1, BatchBuilder::new().build())).await;
    assert_eq!(response.responses[0].partition_responses[0].base_offset, 3, "and keeps its order");
    let response = client.call(9, &produce("orders", 2, BatchBuilder::new().build())).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 21);
}
