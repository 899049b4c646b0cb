//! Produce: appends record batches. Whatever `acks` says, an answer means durable; with 0 there is no answer.

use super::{Client, partition_of};
use crate::codes::{code, number};
use crate::reply::{Hangup, Pending, To};
use ballast_streams::batch::BatchHeader;
use ballast_streams::{AppendPart, Appended, Error, PartitionId, Result, Right, Stream, limits};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

/// From this version on clients know zstd.
const ZSTD_SINCE: i16 = 7;
const ZSTD: i16 = 4;

/// A topic of the answer: for each partition which part of the append it is, or why there is none.
type Planned = (TopicName, Vec<(i32, Result<usize, i16>)>);

struct Plan {
    topics: Vec<Planned>,
    parts: Vec<AppendPart>,
}

impl Client {
    pub(super) async fn produce(
        &self,
        to: To,
        request: ProduceRequest,
        frame_bytes: usize,
    ) -> Result<Option<Pending>, Hangup> {
        let acks = request.acks;
        let refused = match acks {
            -1..=1 if request.transactional_id.is_none() => None,
            -1..=1 => Some(ResponseError::TransactionalIdAuthorizationFailed),
            _ => Some(ResponseError::InvalidRequiredAcks),
        };
        let mut plan = self.plan(to, request, refused.map(|code| code.code())).await;
        release(&mut plan.parts, frame_bytes);
        let append = self.broker.streams.append(plan.parts).await;
        if acks == 0 {
            return Ok(None);
        }
        Ok(Some(Box::pin(async move {
            let results = append.durable().await;
            to.encode(&response(to, plan.topics, &results)).map(Some)
        })))
    }

    async fn plan(&self, to: To, request: ProduceRequest, refused: Option<i16>) -> Plan {
        let mut plan = Plan { topics: Vec::with_capacity(request.topic_data.len()), parts: Vec::new() };
        for topic in request.topic_data {
            let stream = self.stream(&topic.name, Right::Append).await;
            let mut partitions = Vec::with_capacity(topic.partition_data.len());
            for partition in topic.partition_data {
                let part = match refused {
                    Some(code) => Err(code),
                    None => part(to, &stream, partition.index, partition.records),
                };
                let part = part.map(|(id, records)| {
                    plan.parts.push(AppendPart { id, records });
                    plan.parts.len() - 1
                });
                partitions.push((partition.index, part));
            }
            plan.topics.push((topic.name, partitions));
        }
        plan
    }
}

/// Copies the records out of their frame where they are little of it.
fn release(parts: &mut [AppendPart], frame_bytes: usize) {
    let records: usize = parts.iter().map(|part| part.records.len()).sum();
    if frame_bytes > limits::REQUEST_KEPT_TIMES * records {
        parts.iter_mut().for_each(|part| part.records = Bytes::copy_from_slice(&part.records));
    }
}

/// What one partition of a request appends.
fn part(to: To, stream: &Result<Stream>, index: i32, records: Option<Bytes>) -> Result<(PartitionId, Bytes), i16> {
    let stream = stream.as_ref().map_err(number)?;
    let id = partition_of(stream, index).map_err(|error| number(&error))?;
    let records = records.ok_or(ResponseError::InvalidRecord.code())?;
    // What cannot be read is told when it is appended.
    if let Ok(header) = BatchHeader::parse(&records) {
        if header.compression() == ZSTD && to.version < ZSTD_SINCE {
            return Err(ResponseError::UnsupportedCompressionType.code());
        }
        // All versions that are served bring one batch for a partition.
        if header.length != records.len() {
            return Err(ResponseError::InvalidRecord.code());
        }
    }
    Ok((id, records))
}

fn response(to: To, topics: Vec<Planned>, results: &[Result<Appended>]) -> ProduceResponse {
    let partition = |(index, part): (i32, Result<usize, i16>)| {
        let response = PartitionProduceResponse::default().with_index(index).with_base_offset(-1);
        let result = match part {
            Err(code) => return response.with_error_code(code),
            Ok(part) => results.get(part).unwrap_or(&Err(Error::Stopping)),
        };
        match result {
            Ok(appended) => {
                let response = response
                    .with_base_offset(appended.base_offset)
                    .with_log_append_time_ms(appended.append_ms.unwrap_or(-1));
                if to.version >= 5 { response.with_log_start_offset(appended.log_start) } else { response }
            }
            Err(error) => {
                let response = response.with_error_code(code(error).code());
                // Clients show it to people.
                let text = (to.version >= 8).then(|| StrBytes::from_string(error.to_string()));
                response.with_error_message(text)
            }
        }
    };
    let topic = |(name, partitions): Planned| {
        let partitions = partitions.into_iter().map(partition).collect();
        TopicProduceResponse::default().with_name(name).with_partition_responses(partitions)
    };
    ProduceResponse::default().with_responses(topics.into_iter().map(topic).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ballast_types::Ino;

    #[test]
    fn a_few_records_let_go_of_the_frame_that_brought_them() {
        let frame = Bytes::from(vec![7; 1_000]);
        let id = PartitionId { ino: Ino(5), partition: 0 };
        for (bytes, is_kept) in [(100, false), (499, false), (500, true), (900, true)] {
            let mut parts = [AppendPart { id, records: frame.slice(..bytes) }];
            release(&mut parts, frame.len());
            assert_eq!(frame.as_ptr_range().contains(&parts[0].records.as_ptr()), is_kept, "{bytes} bytes");
            assert_eq!(parts[0].records, frame.slice(..bytes));
        }
    }
}
