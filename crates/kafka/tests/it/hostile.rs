//! Clients that mean harm, or do not know what they do.

use crate::client::{Server, text, topic};
use crate::versions::{fetch, produce};
use ballast_streams::Config;
use ballast_streams::testing::BatchBuilder;
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, DescribeGroupsRequest, GroupId, MetadataRequest, OffsetFetchRequest,
    ProduceRequest, create_topics_request, metadata_request, offset_fetch_request, produce_request,
};
use proptest::prelude::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends bytes and waits for the end of the connection; answers on the way are thrown away.
async fn send_until_closed(server: &Server, bytes: &[u8]) {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the server does not close {:?}", &bytes[..bytes.len().min(40)]);
}

async fn is_well(server: &Server) {
    let mut client = server.connect().await;
    assert_eq!(client.call(0, &ApiVersionsRequest::default()).await.error_code, 0);
}

#[tokio::test]
async fn garbage_ends_the_connection_and_nothing_else() {
    let server = Server::start().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\x08\x7f\xff\0\0\0\0\0\x01",
        // Half a length, half a request.
        b"\0\0",
        b"\0\0\0\x20\0\x03\0\x01",
        // Metadata for two thousand million topics, in twenty bytes.
        b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\x7f\xff\xff\xff",
        b"\0\0\0\x14\0\x03\0\x09\0\0\0\x01\xff\xff\0\xff\xff\xff\xff\x0f\0\0\0\0",
        // Produce in a version that is told and not answered.
        b"\0\0\0\x10\0\0\0\0\0\0\0\x01\xff\xff\0\x01\0\0\0\0",
    ] {
        send_until_closed(&server, bytes).await;
    }
    is_well(&server).await;
}

#[tokio::test]
async fn a_thousand_idle_connections_and_half_requests_disturb_nobody() {
    let server = Server::start().await;
    let mut idle = Vec::new();
    for number in 0..1_000 {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        if number % 2 == 0 {
            // A request of 60 MB that never comes.
            socket.write_all(b"\x03\x93\x87\0\0\0\0\x09").await.unwrap();
        }
        idle.push(socket);
    }
    let mut client = server.connect().await;
    for _ in 0..100 {
        client.call(1, &MetadataRequest::default().with_topics(None)).await;
    }
}

#[tokio::test]
async fn large_requests_that_never_come_keep_no_large_request_out() {
    let server = Server::start().await;
    server.topic("orders", 1).await;
    let mut claims = Vec::new();
    for _ in 0..100 {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(b"\x03\x93\x87\0\0\0\0\x09").await.unwrap();
        claims.push(socket);
    }
    let mut client = server.connect().await;
    // All claims have been read when the connections behind them are served.
    assert_eq!(client.call(0, &ApiVersionsRequest::default()).await.error_code, 0);
    let records = BatchBuilder::new().value(vec![7; 600 << 10]).build();
    let partition = produce_request::PartitionProduceData::default().with_records(Some(records));
    let data =
        produce_request::TopicProduceData::default().with_name(topic("orders")).with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![data]);
    let produced = tokio::time::timeout(Duration::from_secs(20), client.call(9, &request)).await;
    let produced = produced.expect("claims that are silent for 30 s do not hold it up");
    assert_eq!(produced.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test]
async fn an_orderly_shutdown_ends_the_connections() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    assert_eq!(client.call(0, &ApiVersionsRequest::default()).await.error_code, 0);
    server.shutdown.begin();
    assert!(client.receive_frame().await.is_none());
    tokio::time::timeout(Duration::from_secs(10), server.task).await.expect("it ends").unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_of_any_request_make_it_panic(key in 0i16..62, version in 0i16..14, body in proptest::collection::vec(prop_oneof![3 => 0u8..4, 1 => any::<u8>()], 0..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start().await;
            let mut bytes = Vec::new();
            bytes.extend(((body.len() + 11) as i32).to_be_bytes());
            bytes.extend(key.to_be_bytes());
            bytes.extend(version.to_be_bytes());
            bytes.extend([0, 0, 0, 1, 0xff, 0xff, 0]);
            bytes.extend(&body);
            let task = server.task.abort_handle();
            send_until_closed(&server, &bytes).await;
            is_well(&server).await;
            task.abort();
        });
    }
}

#[tokio::test]
async fn consumers_who_take_nothing_do_not_keep_others_from_reading() {
    let server = Server::start_with(Config { fetch_bytes: 4 << 20, ..Config::default() }).await;
    let stream = server.topic("large", 1).await;
    let mut client = server.connect().await;
    let batch = BatchBuilder::new().value(vec![7; 900 << 10]).build();
    let produced = client.call(9, &produce("large", -1, batch)).await;
    assert_eq!(produced.responses[0].partition_responses[0].error_code, 0);
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut client = server.connect().await;
        // More than two sockets hold.
        for _ in 0..30 {
            client.send(12, &fetch(12, &stream, "large", 0)).await;
        }
        idle.push(client);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..2 {
        let answer = client.call(12, &fetch(12, &stream, "large", 0)).await;
        let records = answer.responses[0].partitions[0].records.as_ref();
        assert!(records.is_some_and(|records| records.len() > 900 << 10));
    }
}

#[tokio::test]
async fn a_name_that_is_asked_for_a_thousand_times_is_answered_once() {
    let server = Server::start().await;
    server.topic("orders", 100).await;
    let mut client = server.connect().await;
    let asked = metadata_request::MetadataRequestTopic::default().with_name(Some(topic("orders")));
    let request = MetadataRequest::default().with_topics(Some(vec![asked; 1_000]));
    assert_eq!(client.call(9, &request).await.topics.len(), 1);
    let group = || GroupId(text("g"));
    let request = DescribeGroupsRequest::default().with_groups(vec![group(); 1_000]);
    assert_eq!(client.call(5, &request).await.groups.len(), 1);
    let asked = offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(vec![asked; 1_000]);
    assert_eq!(client.call(8, &request).await.groups.len(), 1);
}

#[tokio::test]
async fn who_asks_for_an_answer_too_large_gets_none() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    // Each is answered with its thirty configs.
    let new = |number: usize| {
        create_topics_request::CreatableTopic::default()
            .with_name(topic(&format!("t{number}")))
            .with_num_partitions(1)
            .with_replication_factor(1)
    };
    let request = CreateTopicsRequest::default().with_topics((0..40_000).map(new).collect()).with_validate_only(true);
    client.send(7, &request).await;
    assert!(client.receive_frame().await.is_none());
    is_well(&server).await;
}

#[tokio::test]
async fn a_header_of_very_many_fields_ends_the_connection() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let mut frame = b"\0\0\0\0\0\x12\0\x03\0\0\0\x01\xff\xff".to_vec();
    let put = |frame: &mut Vec<u8>, number: usize| {
        frame.extend([number as u8 | 0x80, (number >> 7) as u8 | 0x80, (number >> 14) as u8]);
    };
    let fields = 300_000;
    put(&mut frame, fields);
    for tag in 0..fields {
        put(&mut frame, tag);
        frame.push(0);
    }
    // The body: two empty names.
    frame.extend([1, 1, 0]);
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    client.socket.write_all(&frame).await.unwrap();
    assert!(client.receive_frame().await.is_none());
    is_well(&server).await;
}
