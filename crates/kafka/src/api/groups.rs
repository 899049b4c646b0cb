//! Groups: coordinator, membership, committed offsets.

use super::{Client, partition_of, text};
use crate::codes::{group_number, loading_number, number, passes};
use crate::reply::{Hangup, Pending, Room, To};
use ballast_streams::{
    CommittedOffset, Error, GroupView, JoinRequest, Joined, Membership, PartitionId, Result, Right, SyncRequest,
    Synced, limits,
};
use ballast_types::ErrorKind;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    BrokerId, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// From this version on a new member without a name of its own is told its id first.
const ID_FIRST_SINCE: i16 = 4;
const KEY_TYPE_GROUP: i8 = 0;
const KEY_TYPE_TRANSACTION: i8 = 1;

fn optional(instance: Option<&StrBytes>) -> Option<String> {
    instance.map(|instance| instance.to_string())
}

impl Client {
    pub(super) fn find_coordinator(&self, to: To, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
        let settings = &self.broker.settings;
        let (code, message) = match request.key_type {
            KEY_TYPE_GROUP => (0, None),
            // At most other codes librdkafka asks again until its time is up.
            KEY_TYPE_TRANSACTION => {
                (ResponseError::TransactionalIdAuthorizationFailed.code(), Some("transactions are not supported yet"))
            }
            _ => (ResponseError::InvalidRequest.code(), Some("only groups have a coordinator here")),
        };
        let message = message.map(StrBytes::from_static_str);
        let (node, host, port) = match code {
            0 => (BrokerId(settings.node), text(&settings.advertised_host), i32::from(settings.advertised_port)),
            _ => (BrokerId(-1), StrBytes::default(), -1),
        };
        if to.version >= 4 {
            let coordinator = |key: StrBytes| {
                Coordinator::default()
                    .with_key(key)
                    .with_node_id(node)
                    .with_host(host.clone())
                    .with_port(port)
                    .with_error_code(code)
                    .with_error_message(message.clone())
            };
            let coordinators = request.coordinator_keys.into_iter().map(coordinator).collect();
            return FindCoordinatorResponse::default().with_coordinators(coordinators);
        }
        let message = if to.version >= 1 { message } else { None };
        let response = FindCoordinatorResponse::default().with_error_code(code).with_error_message(message);
        response.with_node_id(node).with_host(host).with_port(port)
    }

    pub(super) fn join_group(&self, to: To, request: JoinGroupRequest) -> Pending {
        let member = request.member_id.clone();
        // It lives as long as the member, the frame must not.
        let copied = |metadata: Bytes| Bytes::copy_from_slice(&metadata);
        let protocols = request.protocols.into_iter().map(|known| (known.name.to_string(), copied(known.metadata)));
        let join = JoinRequest {
            member: request.member_id.to_string(),
            instance: optional(request.group_instance_id.as_ref()),
            client: self.id.to_string(),
            host: format!("/{}", self.peer.ip()),
            session_ms: request.session_timeout_ms.into(),
            rebalance_ms: if to.version >= 1 { request.rebalance_timeout_ms } else { request.session_timeout_ms }
                .into(),
            protocol_type: request.protocol_type.to_string(),
            protocols: protocols.collect(),
            id_first: to.version >= ID_FIRST_SINCE,
        };
        match self.broker.streams.join(&request.group_id, join) {
            Err(error) => to.ready(&joined(to, member, Err(error))),
            Ok(answer) => Box::pin(async move {
                let result = answer.await.unwrap_or(Err(Error::UnknownMember));
                to.encode(&joined(to, member, result)).map(Some)
            }),
        }
    }

    pub(super) fn sync_group(&self, to: To, request: SyncGroupRequest) -> Pending {
        let sync = SyncRequest {
            membership: Membership {
                member: request.member_id.to_string(),
                instance: optional(request.group_instance_id.as_ref()),
                generation: request.generation_id,
            },
            protocol_type: optional(request.protocol_type.as_ref()),
            protocol: optional(request.protocol_name.as_ref()),
            assignments: request
                .assignments
                .into_iter()
                .map(|share| (share.member_id.to_string(), Bytes::copy_from_slice(&share.assignment)))
                .collect(),
        };
        match self.broker.streams.sync(&request.group_id, sync) {
            Err(error) => to.ready(&synced(to, Err(error))),
            Ok(answer) => Box::pin(async move {
                let result = answer.await.unwrap_or(Err(Error::RebalanceInProgress));
                to.encode(&synced(to, result)).map(Some)
            }),
        }
    }

    pub(super) fn heartbeat(&self, request: &HeartbeatRequest) -> HeartbeatResponse {
        let membership = Membership {
            member: request.member_id.to_string(),
            instance: optional(request.group_instance_id.as_ref()),
            generation: request.generation_id,
        };
        let result = self.broker.streams.heartbeat(&request.group_id, &membership);
        HeartbeatResponse::default().with_error_code(outcome(&result))
    }

    pub(super) fn leave_group(&self, to: To, request: LeaveGroupRequest) -> LeaveGroupResponse {
        let streams = &self.broker.streams;
        if to.version < 3 {
            let result = streams.leave(&request.group_id, &request.member_id, None);
            return LeaveGroupResponse::default().with_error_code(outcome(&result));
        }
        let leave = |member: kafka_protocol::messages::leave_group_request::MemberIdentity| {
            let instance = member.group_instance_id.clone();
            let result = streams.leave(&request.group_id, &member.member_id, instance.as_deref());
            MemberResponse::default()
                .with_member_id(member.member_id)
                .with_group_instance_id(instance)
                .with_error_code(outcome(&result))
        };
        LeaveGroupResponse::default().with_members(request.members.into_iter().map(leave).collect())
    }

    pub(super) async fn offset_commit(&self, request: OffsetCommitRequest) -> OffsetCommitResponse {
        let membership = Membership {
            member: request.member_id.to_string(),
            instance: optional(request.group_instance_id.as_ref()),
            generation: request.generation_id_or_member_epoch,
        };
        let mut offsets = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let stream = self.stream(&topic.name, Right::Read).await;
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let metadata = optional(partition.committed_metadata.as_ref()).unwrap_or_default();
                let id = match &stream {
                    Ok(_) if metadata.len() > limits::OFFSET_METADATA_BYTES_MAX => Err(Error::OffsetMetadataTooLong),
                    Ok(stream) => partition_of(stream, partition.partition_index),
                    Err(error) => Err(error.clone()),
                };
                partitions.push((partition.partition_index, id.as_ref().err().map_or(0, group_number)));
                if let Ok(id) = id {
                    let (offset, leader_epoch) = (partition.committed_offset, partition.committed_leader_epoch);
                    offsets.push((id, CommittedOffset { offset, leader_epoch, committed_ms: 0, metadata }));
                }
            }
            topics.push((topic.name, partitions));
        }
        let done = self.broker.streams.commit_offsets(&request.group_id, &membership, offsets).await;
        let all = outcome(&done);
        let partition = |(index, own): (i32, i16)| {
            let code = if own == 0 { all } else { own };
            OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code)
        };
        let topic = |(name, partitions): (TopicName, Vec<_>)| {
            let partitions = partitions.into_iter().map(partition).collect();
            OffsetCommitResponseTopic::default().with_name(name).with_partitions(partitions)
        };
        OffsetCommitResponse::default().with_topics(topics.into_iter().map(topic).collect())
    }

    pub(super) async fn offset_fetch(
        &self,
        to: To,
        request: OffsetFetchRequest,
    ) -> Result<OffsetFetchResponse, Hangup> {
        let mut response = OffsetFetchResponse::default();
        let mut room = Room::new(to);
        if to.version >= 8 {
            let mut seen = HashSet::new();
            for group in request.groups {
                // Each once, however often it is asked for.
                if !seen.insert(group.group_id.clone()) {
                    continue;
                }
                let topics = group
                    .topics
                    .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
                let answer = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
                response.groups.push(match self.committed(&mut room, &group.group_id, &topics).await? {
                    Ok(topics) => answer.with_topics(topics),
                    Err(error) => answer.with_error_code(group_number(&error)),
                });
            }
            return Ok(response);
        }
        let topics = request
            .topics
            .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
        match self.committed(&mut room, &request.group_id, &topics).await? {
            Ok(topics) => response.topics = topics.into_iter().map(|topic| older(to, topic)).collect(),
            Err(error) if to.version >= 2 => response.error_code = group_number(&error),
            Err(error) => {
                // The error has its place beside each partition. Without it, they would count as never committed.
                let code = group_number(&error);
                let failed = |(name, indexes): (TopicName, Vec<i32>)| {
                    let partition = |index| committed_partition(index, None).with_error_code(code);
                    let partitions = indexes.into_iter().map(partition).collect();
                    older(to, OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions))
                };
                response.topics = topics.unwrap_or_default().into_iter().map(failed).collect();
            }
        }
        Ok(response)
    }

    /// The committed offsets of these partitions, or of all; or why the group has none to tell.
    async fn committed(
        &self,
        room: &mut Room,
        group: &GroupId,
        topics: &Option<Vec<(TopicName, Vec<i32>)>>,
    ) -> Result<Result<Vec<OffsetFetchResponseTopics>>, Hangup> {
        let Some(topics) = topics else { return self.all_committed(room, group).await };
        let mut found = Vec::with_capacity(topics.len());
        for (name, indexes) in topics {
            let stream = self.stream(name, Right::Read).await;
            let mut partitions = Vec::with_capacity(indexes.len());
            for index in indexes.iter().copied() {
                let id = stream.as_ref().map_err(Error::clone).and_then(|stream| partition_of(stream, index));
                let committed = match id {
                    Ok(id) => match self.broker.streams.committed_offset(group, id).await {
                        Ok(committed) => committed,
                        Err(error) => return Ok(Err(error)),
                    },
                    // A partition that is not there has no offset: that is no error.
                    Err(error) if error.kind() == ErrorKind::NotFound => None,
                    // Beside a partition, no code makes a client ask again.
                    Err(error) if passes(&error) => return Ok(Err(error)),
                    Err(error) => {
                        partitions.push(committed_partition(index, None).with_error_code(number(&error)));
                        continue;
                    }
                };
                room.take(1, committed.as_ref().map_or(0, |committed| committed.metadata.len()))?;
                partitions.push(committed_partition(index, committed));
            }
            found.push(OffsetFetchResponseTopics::default().with_name(name.clone()).with_partitions(partitions));
        }
        Ok(Ok(found))
    }

    async fn all_committed(
        &self,
        room: &mut Room,
        group: &GroupId,
    ) -> Result<Result<Vec<OffsetFetchResponseTopics>>, Hangup> {
        let streams = &self.broker.streams;
        let all = match streams.committed_offsets(group).await {
            Ok(all) => all,
            Err(error) => return Ok(Err(error)),
        };
        let mut found: Vec<OffsetFetchResponseTopics> = Vec::new();
        let mut names: HashMap<ballast_types::Ino, usize> = HashMap::new();
        for (id, committed) in all {
            room.take(1, committed.metadata.len())?;
            let at = match names.get(&id.ino) {
                Some(at) => *at,
                None => {
                    let Ok(name) = streams.name_of(id.ino).await else { continue };
                    if self.stream(&name, Right::Read).await.is_err() {
                        continue;
                    }
                    found.push(OffsetFetchResponseTopics::default().with_name(TopicName(text(name))));
                    names.insert(id.ino, found.len() - 1);
                    found.len() - 1
                }
            };
            let index = i32::try_from(id.partition).unwrap_or(i32::MAX);
            found[at].partitions.push(committed_partition(index, Some(committed)));
        }
        Ok(Ok(found))
    }

    pub(super) async fn describe_groups(
        &self,
        to: To,
        request: DescribeGroupsRequest,
    ) -> Result<DescribeGroupsResponse, Hangup> {
        let mut response = DescribeGroupsResponse::default();
        let mut room = Room::new(to);
        let mut seen = HashSet::new();
        for group in request.groups {
            // Each once, however often it is asked for.
            if !seen.insert(group.clone()) {
                continue;
            }
            let view = self.broker.streams.describe_group(&group).await;
            response.groups.push(match view {
                Ok(view) => {
                    let texts = view.members.iter().map(|it| it.id.len() + it.client.len() + it.host.len());
                    room.take(1 + view.members.len(), texts.sum())?;
                    described(to, group, view)
                }
                Err(error) => {
                    let gone = matches!(error, Error::GroupNotFound(_));
                    // Before version 6 a group that is not there is a dead one, which is no error.
                    let code = if gone && to.version < 6 { 0 } else { group_number(&error) };
                    let message = (to.version >= 6).then(|| text(error.to_string()));
                    let state = if gone { "Dead" } else { "" };
                    DescribedGroup::default()
                        .with_group_id(group)
                        .with_group_state(StrBytes::from_static_str(state))
                        .with_error_code(code)
                        .with_error_message(message)
                }
            });
        }
        Ok(response)
    }

    pub(super) async fn list_groups(&self, to: To, request: ListGroupsRequest) -> ListGroupsResponse {
        let views = match self.broker.streams.list_groups().await {
            Ok(views) => views,
            Err(error) => return ListGroupsResponse::default().with_error_code(loading_number(&error)),
        };
        let wanted = |filter: &[StrBytes], value: &str| {
            filter.is_empty() || filter.iter().any(|name| name.eq_ignore_ascii_case(value))
        };
        let listed = views
            .into_iter()
            .filter(|view| wanted(&request.states_filter, view.state) && wanted(&request.types_filter, "classic"))
            .map(|view| {
                let group = ListedGroup::default()
                    .with_group_id(GroupId(text(view.name)))
                    .with_protocol_type(text(view.protocol_type));
                let state = if to.version >= 4 { view.state } else { "" };
                let kind = if to.version >= 5 { "classic" } else { "" };
                group
                    .with_group_state(StrBytes::from_static_str(state))
                    .with_group_type(StrBytes::from_static_str(kind))
            });
        ListGroupsResponse::default().with_groups(listed.collect())
    }

    pub(super) async fn delete_groups(&self, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
        let mut response = DeleteGroupsResponse::default();
        for group in request.groups_names {
            let result = self.broker.streams.delete_group(&group).await;
            response
                .results
                .push(DeletableGroupResult::default().with_group_id(group).with_error_code(outcome(&result)));
        }
        response
    }

    pub(super) async fn offset_delete(&self, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
        let mut ids: Vec<PartitionId> = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let stream = self.stream(&topic.name, Right::Read).await;
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let index = partition.partition_index;
                let id = stream.as_ref().map_err(Error::clone).and_then(|stream| partition_of(stream, index));
                partitions.push((index, id.as_ref().err().map_or(0, number)));
                ids.extend(id);
            }
            topics.push((topic.name, partitions));
        }
        let done = self.broker.streams.delete_offsets(&request.group_id, &ids).await;
        let all = done.as_ref().err().map_or(0, group_number);
        let mut outcomes = done.iter().flatten();
        let mut partition = |(index, own): (i32, i16)| {
            let code = if own == 0 { outcomes.next().map_or(0, outcome) } else { own };
            OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(code)
        };
        let topic = |(name, partitions): (TopicName, Vec<_>)| {
            let partitions = partitions.into_iter().map(&mut partition).collect();
            OffsetDeleteResponseTopic::default().with_name(name).with_partitions(partitions)
        };
        OffsetDeleteResponse::default().with_error_code(all).with_topics(topics.into_iter().map(topic).collect())
    }
}

fn outcome(result: &Result<()>) -> i16 {
    result.as_ref().err().map_or(0, group_number)
}

fn joined(to: To, member: StrBytes, result: Result<Joined>) -> JoinGroupResponse {
    let response = JoinGroupResponse::default();
    let joined = match result {
        Ok(joined) => joined,
        Err(error) => {
            let member = match &error {
                Error::MemberIdRequired(id) => text(id),
                _ => member,
            };
            // From version 7 on no protocol is null and not empty.
            let protocol = if to.version >= 7 { None } else { Some(StrBytes::default()) };
            let response = response.with_member_id(member).with_protocol_name(protocol).with_generation_id(-1);
            return response.with_error_code(group_number(&error));
        }
    };
    let members = joined.members.into_iter().map(|member| {
        let instance = if to.version >= 5 { member.instance.map(text) } else { None };
        JoinGroupResponseMember::default()
            .with_member_id(text(member.member))
            .with_group_instance_id(instance)
            .with_metadata(member.metadata)
    });
    let response = response
        .with_generation_id(joined.generation)
        .with_protocol_type(if to.version >= 7 { Some(text(joined.protocol_type)) } else { None })
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader.clone()))
        .with_member_id(text(joined.member.clone()))
        .with_members(members.collect());
    // A static leader that came back: older clients must see another leader, so that they make no shares.
    match joined.skip_assignment {
        true if to.version >= 9 => response.with_skip_assignment(true),
        true => response.with_leader(StrBytes::default()).with_members(Vec::new()),
        false => response,
    }
}

fn synced(to: To, result: Result<Synced>) -> SyncGroupResponse {
    let response = SyncGroupResponse::default();
    let synced = match result {
        Ok(synced) => synced,
        Err(error) => return response.with_error_code(group_number(&error)).with_assignment(Bytes::new()),
    };
    let response = response.with_assignment(synced.assignment);
    if to.version < 5 {
        return response;
    }
    response.with_protocol_type(Some(text(synced.protocol_type))).with_protocol_name(Some(text(synced.protocol)))
}

fn committed_partition(index: i32, committed: Option<CommittedOffset>) -> OffsetFetchResponsePartitions {
    let partition = OffsetFetchResponsePartitions::default().with_partition_index(index);
    match committed {
        Some(committed) => partition
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(text(committed.metadata))),
        None => {
            partition.with_committed_offset(-1).with_committed_leader_epoch(-1).with_metadata(Some(StrBytes::default()))
        }
    }
}

/// The same topic as versions before 8 have it.
fn older(to: To, topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partition = |partition: OffsetFetchResponsePartitions| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(if to.version >= 5 { partition.committed_leader_epoch } else { -1 })
            .with_metadata(partition.metadata)
            .with_error_code(partition.error_code)
    };
    let partitions = topic.partitions.into_iter().map(partition).collect();
    debug_assert!(topic.topic_id == Uuid::nil(), "topic ids came later");
    OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
}

fn described(to: To, group: GroupId, view: GroupView) -> DescribedGroup {
    let members = view.members.into_iter().map(|member| {
        let instance = if to.version >= 4 { member.instance.map(text) } else { None };
        DescribedGroupMember::default()
            .with_member_id(text(member.id))
            .with_group_instance_id(instance)
            .with_client_id(text(member.client))
            .with_client_host(text(member.host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    });
    DescribedGroup::default()
        .with_group_id(group)
        .with_group_state(StrBytes::from_static_str(view.state))
        .with_protocol_type(text(view.protocol_type))
        .with_protocol_data(text(view.protocol))
        .with_members(members.collect())
}
