//! Metadata and DescribeCluster: where streams are, which is always here.

use super::{Client, text};
use crate::codes::{code, number};
use crate::reply::{Hangup, Room, To};
use ballast_streams::batch::LEADER_EPOCH;
use ballast_streams::{Settings, Stream};
use ballast_types::ErrorKind;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::HashSet;
use uuid::Uuid;

impl Client {
    pub(super) async fn metadata(&self, to: To, request: MetadataRequest) -> Result<MetadataResponse, Hangup> {
        let settings = &self.broker.settings;
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(settings.node))
            .with_host(text(&settings.advertised_host))
            .with_port(settings.advertised_port.into());
        let mut response = MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(text(&settings.cluster)))
            .with_controller_id(BrokerId(settings.node));
        let create = settings.auto_create && (to.version < 4 || request.allow_auto_topic_creation);
        let mut room = Room::new(to);
        // In version 0 an empty list means all, as null does later.
        match request.topics {
            Some(topics) if to.version > 0 || !topics.is_empty() => {
                // Each once, however often it is asked for.
                let mut seen = HashSet::new();
                for topic in topics {
                    if seen.insert((topic.topic_id, topic.name.clone())) {
                        response.topics.push(self.described(to, &mut room, topic, create).await?);
                    }
                }
            }
            _ => match self.broker.streams.list(&self.call).await {
                Ok(listed) => {
                    let named = listed.into_iter().filter_map(|listed| Some((listed.stream, listed.name?)));
                    for (stream, name) in named {
                        response.topics.push(self.topic(to, &mut room, &stream, text(name))?);
                    }
                }
                Err(error) => return Err(Hangup::Unanswerable { key: to.key, text: error.to_string() }),
            },
        }
        Ok(response)
    }

    /// One topic that was asked for, by name or by id.
    async fn described(
        &self,
        to: To,
        room: &mut Room,
        asked: MetadataRequestTopic,
        create: bool,
    ) -> Result<MetadataResponseTopic, Hangup> {
        let streams = &self.broker.streams;
        // Who names an id means the id: Java's admin client then sends an empty name beside it.
        let named = asked.name.filter(|_| asked.topic_id.is_nil());
        let Some(name) = named else {
            let found = async {
                let stream = streams.find_by_id(asked.topic_id.into_bytes()).await?;
                let name = streams.name_of(stream.ino).await?;
                // The right to know of it is the right to find it.
                streams.find(&self.call, &name).await?;
                Ok((stream, name))
            };
            return match found.await {
                Ok((stream, name)) => self.topic(to, room, &stream, text(name)),
                Err(error) => {
                    let error: ballast_streams::Error = error;
                    let unknown = error.kind() == ErrorKind::NotFound;
                    let code = if unknown { ResponseError::UnknownTopicId } else { code(&error) };
                    Ok(MetadataResponseTopic::default().with_topic_id(asked.topic_id).with_error_code(code.code()))
                }
            };
        };
        let mut found = streams.find(&self.call, &name).await;
        if create && found.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            let partitions = self.broker.settings.default_partitions;
            found = match streams.create(&self.call, &name, partitions, Settings::default()).await {
                // Somebody else was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => streams.find(&self.call, &name).await,
                created => created,
            };
        }
        match found {
            Ok(stream) => self.topic(to, room, &stream, name.0),
            Err(error) => Ok(MetadataResponseTopic::default().with_name(Some(name)).with_error_code(number(&error))),
        }
    }

    fn topic(&self, to: To, room: &mut Room, stream: &Stream, name: StrBytes) -> Result<MetadataResponseTopic, Hangup> {
        room.take(1 + stream.partitions() as usize, name.len())?;
        let node = BrokerId(self.broker.settings.node);
        let partition = |number: u32| {
            let index = i32::try_from(number).unwrap_or(i32::MAX);
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(node)
                .with_leader_epoch(if to.version >= 7 { LEADER_EPOCH } else { -1 })
                .with_replica_nodes(vec![node])
                .with_isr_nodes(vec![node])
        };
        let topic_id = if to.version >= 10 { Uuid::from_bytes(stream.topic_id()) } else { Uuid::nil() };
        Ok(MetadataResponseTopic::default()
            .with_name(Some(TopicName(name)))
            .with_topic_id(topic_id)
            .with_partitions((0..stream.partitions()).map(partition).collect()))
    }

    pub(super) fn describe_cluster(&self, to: To, request: &DescribeClusterRequest) -> DescribeClusterResponse {
        let settings = &self.broker.settings;
        let response = DescribeClusterResponse::default();
        if to.version >= 1 && request.endpoint_type != 1 {
            let text = "only brokers can be described";
            return response
                .with_error_code(ResponseError::UnsupportedEndpointType.code())
                .with_error_message(Some(StrBytes::from_static_str(text)));
        }
        let broker = DescribeClusterBroker::default()
            .with_broker_id(BrokerId(settings.node))
            .with_host(text(&settings.advertised_host))
            .with_port(settings.advertised_port.into());
        response
            .with_cluster_id(text(&settings.cluster))
            .with_controller_id(BrokerId(settings.node))
            .with_brokers(vec![broker])
    }
}
