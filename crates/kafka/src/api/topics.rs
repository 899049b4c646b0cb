//! CreateTopics, DeleteTopics, CreatePartitions and InitProducerId.

use super::{Client, configs, text};
use crate::codes::{loading_number, number};
use crate::reply::{Hangup, Room, To};
use ballast_streams::{Result, Settings, Stream};
use ballast_types::ErrorKind;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::HashSet;
use uuid::Uuid;

/// A code and what a person should read.
type Refusal = (i16, Option<StrBytes>);

fn refusal(error: &ballast_streams::Error) -> Refusal {
    (number(error), Some(text(error.to_string())))
}

fn refused(code: ResponseError, why: &'static str) -> Refusal {
    (code.code(), Some(StrBytes::from_static_str(why)))
}

impl Client {
    pub(super) async fn create_topics(
        &self,
        to: To,
        request: CreateTopicsRequest,
    ) -> Result<CreateTopicsResponse, Hangup> {
        // Before anything is made: each is answered with all its configs.
        Room::new(to).take(request.topics.len() * (1 + configs::COUNT), 0)?;
        let mut response = CreateTopicsResponse::default();
        let mut seen = HashSet::new();
        let twice: HashSet<StrBytes> = request
            .topics
            .iter()
            .filter(|topic| !seen.insert(topic.name.0.clone()))
            .map(|topic| topic.name.0.clone())
            .collect();
        for topic in request.topics {
            let made = if twice.contains(&topic.name.0) {
                Err(refused(ResponseError::InvalidRequest, "the request names the topic twice"))
            } else {
                self.create_topic(&topic, request.validate_only).await
            };
            response.topics.push(created(to, topic.name, made));
        }
        Ok(response)
    }

    /// The stream, or what it would be if it was not only checked.
    async fn create_topic(
        &self,
        topic: &CreatableTopic,
        check_only: bool,
    ) -> Result<(Option<Stream>, u32, Settings), Refusal> {
        let partitions = self.partitions_of(topic)?;
        let mut settings = Settings::default();
        for config in &topic.configs {
            let Some(value) = &config.value else {
                return Err(refused(ResponseError::InvalidConfig, "a topic's config has no value"));
            };
            configs::set(&mut settings, &config.name, Some(value)).map_err(|error| refusal(&error))?;
        }
        let streams = &self.broker.streams;
        let done = if check_only {
            streams.check_create(&self.call, &topic.name, partitions, &settings).await.map(|_| None)
        } else {
            streams.create(&self.call, &topic.name, partitions, settings.clone()).await.map(Some)
        };
        done.map(|stream| (stream, partitions, settings)).map_err(|error| refusal(&error))
    }

    fn partitions_of(&self, topic: &CreatableTopic) -> Result<u32, Refusal> {
        if topic.assignments.is_empty() {
            if topic.replication_factor < -1 || topic.replication_factor == 0 {
                return Err(refused(ResponseError::InvalidReplicationFactor, "there must be a replica"));
            }
            // The bucket keeps as many copies as it does, so that any number is as good.
            return match topic.num_partitions {
                -1 => Ok(self.broker.settings.default_partitions),
                number => u32::try_from(number).map_err(|_| {
                    refused(ResponseError::InvalidPartitions, "the number of partitions must be positive")
                }),
            };
        }
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            return Err(refused(ResponseError::InvalidRequest, "an assignment leaves no choice of numbers"));
        }
        let mut numbers: Vec<i32> = topic.assignments.iter().map(|partition| partition.partition_index).collect();
        numbers.sort_unstable();
        let complete = numbers.iter().copied().eq(0..i32::try_from(numbers.len()).unwrap_or(i32::MAX));
        let ours = |partition: &kafka_protocol::messages::create_topics_request::CreatableReplicaAssignment| {
            partition.broker_ids.iter().map(|broker| broker.0).eq([self.broker.settings.node])
        };
        if complete && topic.assignments.iter().all(ours) {
            return Ok(u32::try_from(numbers.len()).unwrap_or(u32::MAX));
        }
        Err(refused(ResponseError::InvalidReplicaAssignment, "partitions must count from 0 and lie on this broker"))
    }

    pub(super) async fn delete_topics(&self, to: To, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
        let mut response = DeleteTopicsResponse::default();
        let by_name = request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil()));
        let by_state = request.topics.into_iter().map(|topic| (topic.name, topic.topic_id));
        for (name, id) in by_name.chain(by_state) {
            let done = self.delete_topic(name.as_ref(), id).await;
            let result = DeletableTopicResult::default().with_name(name);
            let result = if to.version >= 6 { result.with_topic_id(id) } else { result };
            response.responses.push(match done {
                Ok(stream) if to.version >= 6 => result.with_topic_id(Uuid::from_bytes(stream.topic_id())),
                Ok(_) => result,
                Err((code, message)) if to.version >= 5 => result.with_error_code(code).with_error_message(message),
                Err((code, _)) => result.with_error_code(code),
            });
        }
        response
    }

    async fn delete_topic(&self, name: Option<&TopicName>, id: Uuid) -> Result<Stream, Refusal> {
        let streams = &self.broker.streams;
        let stream = match name {
            Some(name) => streams.find(&self.call, name).await.map_err(|error| refusal(&error))?,
            None => streams.find_by_id(id.into_bytes()).await.map_err(|error| match error.kind() {
                ErrorKind::NotFound => (ResponseError::UnknownTopicId.code(), None),
                _ => refusal(&error),
            })?,
        };
        streams.remove(&self.call, &stream).await.map_err(|error| refusal(&error))?;
        Ok(stream)
    }

    pub(super) async fn create_partitions(&self, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
        let mut response = CreatePartitionsResponse::default();
        for topic in request.topics {
            let done = self.grow(&topic, request.validate_only).await;
            let result = CreatePartitionsTopicResult::default().with_name(topic.name);
            response.results.push(match done {
                Ok(()) => result,
                Err((code, message)) => result.with_error_code(code).with_error_message(message),
            });
        }
        response
    }

    async fn grow(&self, topic: &CreatePartitionsTopic, check_only: bool) -> Result<(), Refusal> {
        let streams = &self.broker.streams;
        let stream = streams.find(&self.call, &topic.name).await.map_err(|error| refusal(&error))?;
        let no_increase = || refused(ResponseError::InvalidPartitions, "partitions can only become more");
        let total = u32::try_from(topic.count).map_err(|_| no_increase())?;
        if total <= stream.partitions() {
            return Err(no_increase());
        }
        let added = usize::try_from(total - stream.partitions()).unwrap_or(usize::MAX);
        if topic.assignments.as_ref().is_some_and(|assignments| assignments.len() != added) {
            return Err(refused(ResponseError::InvalidReplicaAssignment, "each new partition needs its brokers"));
        }
        if check_only {
            return Ok(());
        }
        streams.add_partitions(&self.call, &stream, total).await.map_err(|error| refusal(&error))
    }

    pub(super) async fn init_producer_id(&self, request: &InitProducerIdRequest) -> InitProducerIdResponse {
        let refuse = |code: i16| {
            InitProducerIdResponse::default()
                .with_error_code(code)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1)
        };
        if request.transactional_id.is_some() {
            return refuse(ResponseError::TransactionalIdAuthorizationFailed.code());
        }
        match self.broker.streams.new_producer_id().await {
            Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0),
            Err(error) => refuse(loading_number(&error)),
        }
    }
}

fn created(to: To, name: TopicName, made: Result<(Option<Stream>, u32, Settings), Refusal>) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(name);
    let (stream, partitions, settings) = match made {
        Ok(made) => made,
        Err((code, message)) => {
            let result = result.with_error_code(code).with_error_message(message);
            return if to.version >= 5 { result.with_num_partitions(-1).with_replication_factor(-1) } else { result };
        }
    };
    if to.version < 5 {
        return result;
    }
    let config = |entry: configs::Entry| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(entry.name))
            .with_config_source(entry.source())
            .with_value(Some(text(entry.value)))
    };
    let result = result
        .with_num_partitions(i32::try_from(partitions).unwrap_or(i32::MAX))
        .with_replication_factor(1)
        .with_configs(Some(configs::topic(&settings).into_iter().map(config).collect()));
    match stream {
        Some(stream) if to.version >= 7 => result.with_topic_id(Uuid::from_bytes(stream.topic_id())),
        _ => result,
    }
}
