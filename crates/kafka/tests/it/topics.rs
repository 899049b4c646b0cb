//! What is refused, and what is made by itself.

use crate::client::{Client, Server, text, topic};
use crate::versions::produce;
use ballast_store::Volume;
use ballast_streams::testing::BatchBuilder;
use kafka_protocol::messages::*;

#[tokio::test]
async fn a_stream_that_is_asked_for_is_made_if_the_client_wants_it() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let asked = metadata_request::MetadataRequestTopic::default().with_name(Some(topic("new")));
    let request = |create| {
        MetadataRequest::default().with_topics(Some(vec![asked.clone()])).with_allow_auto_topic_creation(create)
    };
    assert_eq!(client.call(9, &request(false)).await.topics[0].error_code, 3);
    let made = client.call(9, &request(true)).await;
    assert_eq!((made.topics[0].error_code, made.topics[0].partitions.len()), (0, 1));
    let bad = metadata_request::MetadataRequestTopic::default().with_name(Some(topic("a b")));
    let request = MetadataRequest::default().with_topics(Some(vec![bad])).with_allow_auto_topic_creation(true);
    assert_eq!(client.call(9, &request).await.topics[0].error_code, 17);
}

#[tokio::test]
async fn topics_that_cannot_be_are_refused_one_by_one() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let new = |name: &str, partitions| {
        create_topics_request::CreatableTopic::default()
            .with_name(topic(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
    };
    let config =
        create_topics_request::CreatableTopicConfig::default().with_name(text("no.such")).with_value(Some(text("1")));
    let topics = vec![
        new("good", 1),
        new("twice", 1),
        new("twice", 1),
        new("none", 0),
        new("a/b", 1),
        new("config", 1).with_configs(vec![config]),
    ];
    let response =
        client.call(7, &CreateTopicsRequest::default().with_topics(topics.clone()).with_validate_only(true)).await;
    let codes: Vec<i16> = response.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [0, 42, 42, 37, 17, 40]);
    assert_eq!(
        client.call(0, &MetadataRequest::default().with_topics(Some(vec![]))).await.topics.len(),
        0,
        "nothing was made"
    );
}

#[tokio::test]
async fn a_partition_that_fails_does_not_take_the_others_with_it() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    server.topic("orders", 2).await;
    let good = BatchBuilder::new().build();
    let mut bad = good.to_vec();
    bad[65] ^= 1;
    let partition = |index, records: Vec<u8>| {
        produce_request::PartitionProduceData::default().with_index(index).with_records(Some(records.into()))
    };
    let data = |name: &str, partitions| {
        produce_request::TopicProduceData::default().with_name(topic(name)).with_partition_data(partitions)
    };
    let topics = vec![
        data("orders", vec![partition(0, bad), partition(1, good.to_vec()), partition(2, good.to_vec())]),
        data("nowhere", vec![partition(0, good.to_vec())]),
    ];
    let response = client.call(9, &ProduceRequest::default().with_acks(-1).with_topic_data(topics)).await;
    let codes: Vec<i16> = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .map(|partition| partition.error_code)
        .collect();
    assert_eq!(codes, [2, 0, 3, 3]);
}

/// What one partition answers.
async fn produced(client: &mut Client, name: &str, records: Vec<u8>) -> i16 {
    let response = client.call(9, &produce(name, -1, records.into())).await;
    response.responses[0].partition_responses[0].error_code
}

#[tokio::test]
async fn what_kafka_refuses_of_a_producer_is_refused_with_its_code() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    server.topic("orders", 1).await;
    let good = BatchBuilder::new().build().to_vec();
    let ahead = |ms| {
        let now = server.streams.now_ms();
        BatchBuilder::new().timestamps(&[now + ms]).build().to_vec()
    };
    for (code, why, records) in [
        (53, "a transaction that nobody has begun", BatchBuilder::new().attributes(0x10).build().to_vec()),
        (87, "two batches", [&good[..], &good].concat()),
        (87, "something behind the batch", [&good[..], b"junk"].concat()),
        (32, "a time to come", ahead(3_700_000)),
        (0, "the time of a clock that is fast", ahead(3_500_000)),
        (0, "a producer of whom nothing is known", BatchBuilder::new().producer(9_999, 1, 5).build().to_vec()),
        (45, "a gap", BatchBuilder::new().producer(9_999, 1, 7).build().to_vec()),
        (47, "an older epoch", BatchBuilder::new().producer(9_999, 0, 6).build().to_vec()),
    ] {
        assert_eq!(produced(&mut client, "orders", records).await, code, "{why}");
    }
}

#[tokio::test]
async fn a_directory_that_is_missing_is_named_and_asked_for_once() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let new = create_topics_request::CreatableTopic::default()
        .with_name(topic("/no/such/q"))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let made = client.call(7, &CreateTopicsRequest::default().with_topics(vec![new])).await;
    let message = made.topics[0].error_message.as_ref().unwrap();
    assert_eq!(
        (made.topics[0].error_code, message.as_str()),
        (17, "the directory /no/such is not there: make it first")
    );
    let asked = metadata_request::MetadataRequestTopic::default().with_name(Some(topic("/no/such/q")));
    for (create, code) in [(true, 17), (false, 3)] {
        let request = MetadataRequest::default().with_topics(Some(vec![asked.clone()]));
        let answer = client.call(9, &request.with_allow_auto_topic_creation(create)).await;
        assert_eq!(answer.topics[0].error_code, code, "create: {create}");
    }
}

#[tokio::test]
async fn transactions_are_refused_by_name() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let find = FindCoordinatorRequest::default().with_key_type(1).with_coordinator_keys(vec![text("tx")]);
    let response = client.call(4, &find).await;
    assert_eq!(response.coordinators[0].error_code, 53, "librdkafka asks again at codes that it does not know");
    assert!(response.coordinators[0].error_message.as_ref().unwrap().contains("not supported yet"));
    let init = InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("tx"))));
    assert_ne!(client.call(4, &init).await.error_code, 0);
}

#[tokio::test]
async fn what_partitions_take_is_told_or_why_it_cannot_be() {
    let server = Server::start().await;
    server.topic("t", 2).await;
    let mut client = server.connect().await;
    let asked = |name| {
        let topic = describe_log_dirs_request::DescribableLogDirTopic::default();
        let topic = topic.with_topic(crate::client::topic(name)).with_partitions(vec![1, 9]);
        DescribeLogDirsRequest::default().with_topics(Some(vec![topic]))
    };
    let all = DescribeLogDirsRequest::default().with_topics(None);
    for (request, topics, partitions) in [(&all, 1, 2), (&asked("t"), 1, 1), (&asked("no"), 0, 0)] {
        let told = client.call(1, request).await.results.remove(0);
        let found = told.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>();
        assert_eq!((told.error_code, told.topics.len(), found), (0, topics, partitions));
    }
    server.volume.close().await.unwrap();
    for request in [&all, &asked("t")] {
        let told = client.call(1, request).await.results.remove(0);
        assert_eq!((told.error_code, told.topics.len()), (6, 0), "it is not said that there is none");
    }
}
