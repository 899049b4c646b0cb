//! The requests, one module for each family.
//!
//! A handler starts a request and returns its answer's future. What must be ordered with the next requests of the
//! connection happens before it returns.

mod configs;
mod fetch;
mod groups;
mod metadata;
mod offsets;
mod produce;
mod topics;
mod versions;

use crate::apis::Api;
use crate::limits;
use crate::reply::{Hangup, Pending, To};
use crate::server::Broker;
use crate::shape;
use ballast_streams::{Error, Stream};
use ballast_types::Call;
use bytes::{Buf, Bytes};
use futures::FutureExt;
use kafka_protocol::messages::{
    AlterConfigsRequest, ApiKey, ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest,
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest,
    DescribeLogDirsRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest, IncrementalAlterConfigsRequest,
    InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, ListOffsetsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest,
    RequestHeader, SyncGroupRequest,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// One connection, as the handlers see it.
pub(crate) struct Client {
    broker: Arc<Broker>,
    call: Call,
    peer: SocketAddr,
    /// What the client calls itself in the request at hand.
    id: StrBytes,
    /// One turn: who has it may fetch.
    fetching: Arc<Semaphore>,
}

impl Client {
    pub fn new(broker: Arc<Broker>, peer: SocketAddr) -> Self {
        let call = (broker.settings.identify)(peer);
        Self { broker, call, peer, id: StrBytes::default(), fetching: Arc::new(Semaphore::new(1)) }
    }

    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Starts a request; `None` if it wants no answer. What outlives the request is copied out of its frame, unless it is
    /// most of it.
    pub async fn start(&mut self, mut frame: Bytes) -> Result<Option<Pending>, Hangup> {
        let frame_bytes = frame.len();
        let (key, version) = ((&frame[..2]).get_i16(), (&frame[2..4]).get_i16());
        let api = Api::find(key).ok_or(Hangup::UnknownApi(key))?;
        let correlation = (&frame[4..8]).get_i32();
        let to = To { key, version, correlation };
        if !(api.min..=api.max).contains(&version) {
            return versions::unsupported(to).map(Some);
        }
        let unreadable = || Hangup::Unreadable { key, version };
        let plain = api.key != ApiKey::Produce;
        if plain && frame.len() > limits::PLAIN_REQUEST_BYTES_MAX {
            return Err(unreadable());
        }
        let header_version = api.key.request_header_version(version);
        shape::check_header(&frame, header_version).map_err(|_| unreadable())?;
        let header = RequestHeader::decode(&mut frame, header_version).map_err(|_| unreadable())?;
        self.id = text(header.client_id.as_deref().unwrap_or_default());
        api.shape.check(&frame, version).map_err(|_| unreadable())?;
        let (begun, broker) = (Instant::now(), Arc::clone(&self.broker));
        let pending = self.dispatch(api.key, to, frame, frame_bytes).await?;
        let noted = move |_: &_| broker.metrics.note_request(api.key, begun.elapsed());
        Ok(pending.map(|pending| pending.inspect(noted).boxed()))
    }

    async fn dispatch(
        &self,
        key: ApiKey,
        to: To,
        mut body: Bytes,
        frame_bytes: usize,
    ) -> Result<Option<Pending>, Hangup> {
        macro_rules! decode {
            ($request:ty) => {
                <$request>::decode(&mut body, to.version)
                    .map_err(|_| Hangup::Unreadable { key: to.key, version: to.version })?
            };
        }
        let pending = match key {
            ApiKey::Produce => return self.produce(to, decode!(ProduceRequest), frame_bytes).await,
            ApiKey::Fetch => self.fetch(to, decode!(FetchRequest)).await,
            ApiKey::ListOffsets => to.ready(&self.list_offsets(to, decode!(ListOffsetsRequest)).await),
            ApiKey::Metadata => to.ready(&self.metadata(to, decode!(MetadataRequest)).await?),
            ApiKey::OffsetCommit => to.ready(&self.offset_commit(decode!(OffsetCommitRequest)).await),
            ApiKey::OffsetFetch => to.ready(&self.offset_fetch(to, decode!(OffsetFetchRequest)).await?),
            ApiKey::FindCoordinator => to.ready(&self.find_coordinator(to, decode!(FindCoordinatorRequest))),
            ApiKey::JoinGroup => self.join_group(to, decode!(JoinGroupRequest)),
            ApiKey::Heartbeat => to.ready(&self.heartbeat(&decode!(HeartbeatRequest))),
            ApiKey::LeaveGroup => to.ready(&self.leave_group(to, decode!(LeaveGroupRequest))),
            ApiKey::SyncGroup => self.sync_group(to, decode!(SyncGroupRequest)),
            ApiKey::DescribeGroups => to.ready(&self.describe_groups(to, decode!(DescribeGroupsRequest)).await?),
            ApiKey::ListGroups => to.ready(&self.list_groups(to, decode!(ListGroupsRequest)).await),
            ApiKey::ApiVersions => to.ready(&versions::answer(to, &decode!(ApiVersionsRequest))),
            ApiKey::CreateTopics => to.ready(&self.create_topics(to, decode!(CreateTopicsRequest)).await?),
            ApiKey::DeleteTopics => to.ready(&self.delete_topics(to, decode!(DeleteTopicsRequest)).await),
            ApiKey::DeleteRecords => to.ready(&self.delete_records(decode!(DeleteRecordsRequest)).await),
            ApiKey::InitProducerId => to.ready(&self.init_producer_id(&decode!(InitProducerIdRequest)).await),
            ApiKey::OffsetForLeaderEpoch => {
                to.ready(&self.offset_for_leader_epoch(decode!(OffsetForLeaderEpochRequest)).await)
            }
            ApiKey::DescribeConfigs => to.ready(&self.describe_configs(to, decode!(DescribeConfigsRequest)).await?),
            ApiKey::AlterConfigs => to.ready(&self.alter_configs(decode!(AlterConfigsRequest)).await),
            ApiKey::DescribeLogDirs => to.ready(&self.describe_log_dirs(decode!(DescribeLogDirsRequest)).await),
            ApiKey::CreatePartitions => to.ready(&self.create_partitions(decode!(CreatePartitionsRequest)).await),
            ApiKey::DeleteGroups => to.ready(&self.delete_groups(decode!(DeleteGroupsRequest)).await),
            ApiKey::IncrementalAlterConfigs => {
                to.ready(&self.incremental_alter_configs(decode!(IncrementalAlterConfigsRequest)).await)
            }
            ApiKey::OffsetDelete => to.ready(&self.offset_delete(decode!(OffsetDeleteRequest)).await),
            ApiKey::DescribeCluster => to.ready(&self.describe_cluster(to, &decode!(DescribeClusterRequest))),
            _ => return Err(Hangup::UnknownApi(to.key)),
        };
        Ok(Some(pending))
    }

    /// The stream of a name, if the caller may do this with it.
    async fn stream(&self, name: &str, right: ballast_streams::Right) -> ballast_streams::Result<Stream> {
        let stream = self.broker.streams.find(&self.call, name).await?;
        self.broker.streams.check(&self.call, &stream, right)?;
        Ok(stream)
    }
}

/// A partition's number on the wire, if the stream has it.
fn partition_of(stream: &Stream, number: i32) -> ballast_streams::Result<ballast_streams::PartitionId> {
    match u32::try_from(number) {
        Ok(partition) if partition < stream.partitions() => {
            Ok(ballast_streams::PartitionId { ino: stream.ino, partition })
        }
        _ => Err(Error::UnknownPartition(number.into())),
    }
}

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}
