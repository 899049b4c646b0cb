//! ListOffsets, OffsetForLeaderEpoch, DeleteRecords and DescribeLogDirs: what a partition holds.

use super::{Client, partition_of, text};
use crate::codes::number;
use crate::reply::To;
use ballast_streams::batch::LEADER_EPOCH;
use ballast_streams::{FoundOffset, OffsetAt, PartitionId, Result, Right, Stream};
use ballast_types::ErrorKind;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse, ListOffsetsRequest,
    ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, TopicName,
};

/// Kafka's numbers for offsets by meaning.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
/// The first offset on this machine; everything is.
const EARLIEST_LOCAL: i64 = -4;
/// The last offset that is in remote storage alone: there is none.
const LATEST_TIERED: i64 = -5;

impl Client {
    pub(super) async fn list_offsets(&self, to: To, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let mut response = ListOffsetsResponse::default();
        for topic in request.topics {
            let stream = self.stream(&topic.name, Right::Read).await;
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let found = self.offset_at(&stream, partition.partition_index, partition.timestamp).await;
                let answer = ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(found.as_ref().err().copied().unwrap_or(0));
                let found = found.ok().flatten();
                let epoch = if to.version >= 4 && found.is_some() { LEADER_EPOCH } else { -1 };
                let timestamp = found.and_then(|found| found.timestamp).unwrap_or(-1);
                let offset = found.map_or(-1, |found| found.offset);
                partitions.push(answer.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(epoch));
            }
            let topic = ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions);
            response.topics.push(topic);
        }
        response
    }

    async fn offset_at(&self, stream: &Result<Stream>, index: i32, at: i64) -> Result<Option<FoundOffset>, i16> {
        let stream = stream.as_ref().map_err(number)?;
        let id = partition_of(stream, index).map_err(|error| number(&error))?;
        let at = match at {
            LATEST => OffsetAt::Latest,
            EARLIEST | EARLIEST_LOCAL => OffsetAt::Earliest,
            MAX_TIMESTAMP => OffsetAt::MaxTimestamp,
            LATEST_TIERED => return Ok(None),
            time if time >= 0 => OffsetAt::Time(time),
            _ => return Err(ResponseError::InvalidRequest.code()),
        };
        self.broker.streams.find_offset(id, at).await.map_err(|error| number(&error))
    }

    /// There is one epoch; it ends where the partition does now.
    pub(super) async fn offset_for_leader_epoch(
        &self,
        request: OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let mut response = OffsetForLeaderEpochResponse::default();
        for topic in request.topics {
            let stream = self.stream(&topic.topic, Right::Read).await;
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let found = self.offset_at(&stream, partition.partition, LATEST).await;
                let known = partition.leader_epoch == LEADER_EPOCH;
                let end = found.as_ref().ok().copied().flatten().filter(|_| known).map_or(-1, |found| found.offset);
                partitions.push(
                    EpochEndOffset::default()
                        .with_partition(partition.partition)
                        .with_error_code(found.err().unwrap_or(0))
                        .with_leader_epoch(if end >= 0 { LEADER_EPOCH } else { -1 })
                        .with_end_offset(end),
                );
            }
            let topic = OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions);
            response.topics.push(topic);
        }
        response
    }

    pub(super) async fn delete_records(&self, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
        let mut response = DeleteRecordsResponse::default();
        for topic in request.topics {
            let stream = self.stream(&topic.name, Right::Modify).await;
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let done = self.delete_before(&stream, partition.partition_index, partition.offset).await;
                partitions.push(
                    DeleteRecordsPartitionResult::default()
                        .with_partition_index(partition.partition_index)
                        .with_low_watermark(done.unwrap_or(-1))
                        .with_error_code(done.err().unwrap_or(0)),
                );
            }
            let topic = DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions);
            response.topics.push(topic);
        }
        response
    }

    async fn delete_before(&self, stream: &Result<Stream>, index: i32, offset: i64) -> Result<i64, i16> {
        let stream = stream.as_ref().map_err(number)?;
        let id = partition_of(stream, index).map_err(|error| number(&error))?;
        // -1 means all.
        let offset = (offset != -1).then_some(offset);
        self.broker.streams.delete_records(id, offset).await.map_err(|error| number(&error))
    }

    /// One directory, the volume.
    pub(super) async fn describe_log_dirs(&self, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
        let result = DescribeLogDirsResult::default().with_log_dir(text("/"));
        let result = match self.topics_with_bytes(request.topics).await {
            Ok(topics) => result.with_topics(topics),
            Err(error) => result.with_error_code(number(&error)),
        };
        DescribeLogDirsResponse::default().with_results(vec![result])
    }

    /// All topics if none is asked for; of those that are, the ones that are there.
    async fn topics_with_bytes(&self, asked: Option<Vec<DescribableLogDirTopic>>) -> Result<Vec<DescribeLogDirsTopic>> {
        let mut found = Vec::new();
        match asked {
            Some(asked) => {
                for topic in asked {
                    let stream = match self.stream(&topic.topic, Right::Read).await {
                        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Denied) => continue,
                        stream => stream?,
                    };
                    let ids = topic.partitions.iter().filter_map(|index| partition_of(&stream, *index).ok());
                    found.push((topic.topic, ids.collect::<Vec<_>>()));
                }
            }
            None => {
                for listed in self.broker.streams.list(&self.call).await? {
                    let Some(name) = listed.name else { continue };
                    let ino = listed.stream.ino;
                    let ids = (0..listed.stream.partitions()).map(|partition| PartitionId { ino, partition });
                    found.push((TopicName(text(name)), ids.collect()));
                }
            }
        }
        let mut topics = Vec::with_capacity(found.len());
        for (name, ids) in found {
            let mut partitions = Vec::with_capacity(ids.len());
            for id in ids {
                let bytes = match self.broker.streams.partition_bytes(id).await {
                    // It was removed meanwhile.
                    Err(error) if error.kind() == ErrorKind::NotFound => 0,
                    bytes => i64::try_from(bytes?).unwrap_or(i64::MAX),
                };
                let index = i32::try_from(id.partition).unwrap_or(i32::MAX);
                partitions
                    .push(DescribeLogDirsPartition::default().with_partition_index(index).with_partition_size(bytes));
            }
            topics.push(DescribeLogDirsTopic::default().with_name(name).with_partitions(partitions));
        }
        Ok(topics)
    }
}
