//! Fetch: reads record batches.
//!
//! The answer is written here and not by the codec, so that record batches go from memory to the socket as they
//! are: pieces of them stand between pieces of the answer. Sessions are declined: session 0 means none.
//!
//! Source: FetchResponse.json of Apache Kafka, versions 4 to 17.

use super::{Client, partition_of};
use crate::codes::{code, number};
use crate::limits;
use crate::reply::{Held, Pending, Reply, To};
use ballast_streams::{FetchPart, FetchRequest, Fetched, Result, Right, Stream};
use ballast_types::ErrorKind;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchTopic;
use kafka_protocol::messages::{FetchRequest as WireRequest, TopicName};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// From this version on the answer is compact.
const FLEXIBLE: i16 = 12;
/// From this version on topics are named by id.
const TOPIC_IDS: i16 = 13;

/// A topic of the answer: for each partition which part of the fetch it is, or why there is none.
struct Topic {
    name: TopicName,
    id: Uuid,
    partitions: Vec<(i32, Result<usize, i16>)>,
}

impl Client {
    /// One fetch of a connection after the other: the next is started when the answer to the last has been written.
    pub(super) async fn fetch(&self, to: To, request: WireRequest) -> Pending {
        // No session was ever given out, so that one that is named cannot be continued.
        if to.version >= 7 && request.session_id != 0 {
            let mut out = Writer::new(to);
            out.head(ResponseError::FetchSessionIdNotFound.code());
            out.length(0);
            out.tagged();
            let reply = out.finish();
            return Box::pin(std::future::ready(Ok(Some(reply))));
        }
        let turn = Arc::clone(&self.fetching).acquire_owned().await.expect("nobody closes it");
        let mut parts = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            topics.push(self.fetch_topic(to, topic, &mut parts).await);
        }
        let failed = topics.iter().flat_map(|topic| &topic.partitions).any(|(_, part)| part.is_err());
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(limits::FETCH_WAIT_MAX);
        let fetch = FetchRequest {
            parts,
            bytes_max: size(request.max_bytes).min(limits::FETCH_BYTES_MAX),
            bytes_min: size(request.min_bytes),
            // A client that asks for something wrong should hear of it now.
            wait: if failed { Duration::ZERO } else { wait },
        };
        let streams = self.broker.streams.clone();
        Box::pin(async move {
            let fetched = streams.fetch(&fetch).await;
            let reply = answer(to, &topics, &fetched.parts);
            Ok(Some(Reply { held: Some(Held { share: fetched.share, _turn: turn }), ..reply }))
        })
    }

    async fn fetch_topic(&self, to: To, topic: FetchTopic, parts: &mut Vec<FetchPart>) -> Topic {
        let stream = self.fetched_stream(to, &topic).await;
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let part = stream.as_ref().map_err(|code| *code).and_then(|stream| {
                let id = partition_of(stream, partition.partition).map_err(|error| number(&error))?;
                parts.push(FetchPart {
                    id,
                    offset: partition.fetch_offset,
                    bytes_max: size(partition.partition_max_bytes),
                });
                Ok(parts.len() - 1)
            });
            partitions.push((partition.partition, part));
        }
        Topic { name: topic.topic, id: topic.topic_id, partitions }
    }

    async fn fetched_stream(&self, to: To, topic: &FetchTopic) -> Result<Stream, i16> {
        if to.version < TOPIC_IDS {
            return self.stream(&topic.topic, Right::Read).await.map_err(|error| number(&error));
        }
        let streams = &self.broker.streams;
        let found = streams.find_by_id(topic.topic_id.into_bytes()).await;
        let found = found.and_then(|stream| streams.check(&self.call, &stream, Right::Read).map(|()| stream));
        found.map_err(|error| match error.kind() {
            ErrorKind::NotFound => ResponseError::UnknownTopicId.code(),
            _ => number(&error),
        })
    }
}

fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

fn answer(to: To, topics: &[Topic], results: &[Result<Fetched>]) -> Reply {
    let mut out = Writer::new(to);
    out.head(0);
    out.length(topics.len());
    for topic in topics {
        if to.version >= TOPIC_IDS {
            out.bytes.put_slice(topic.id.as_bytes());
        } else {
            out.name(&topic.name);
        }
        out.length(topic.partitions.len());
        for (index, part) in &topic.partitions {
            match part.map(|part| results.get(part)) {
                Ok(Some(Ok(fetched))) => out.partition(*index, 0, Some(fetched)),
                Ok(Some(Err(error))) => out.partition(*index, fetch_code(error), None),
                Ok(None) => out.partition(*index, ResponseError::UnknownServerError.code(), None),
                Err(code) => out.partition(*index, code, None),
            }
        }
        out.tagged();
    }
    out.tagged();
    out.finish()
}

fn fetch_code(error: &ballast_streams::Error) -> i16 {
    match code(error) {
        // A fetch knows a damaged log by this name.
        ResponseError::OffsetOutOfRange => ResponseError::OffsetOutOfRange.code(),
        _ => number(error),
    }
}

/// Writes the answer in pieces.
struct Writer {
    to: To,
    compact: bool,
    bytes: BytesMut,
    reply: Reply,
}

impl Writer {
    fn new(to: To) -> Self {
        let compact = to.version >= FLEXIBLE;
        Self { to, compact, bytes: to.header(i16::from(compact), 256), reply: Reply::default() }
    }

    /// Throttle time, error and session.
    fn head(&mut self, error: i16) {
        self.bytes.put_i32(0);
        if self.to.version >= 7 {
            self.bytes.put_i16(error);
            self.bytes.put_i32(0);
        }
    }

    fn varint(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.bytes.put_u8((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.put_u8(number as u8);
    }

    /// The length of a list or of bytes.
    fn length(&mut self, length: usize) {
        if self.compact {
            self.varint(length + 1);
        } else {
            self.bytes.put_i32(i32::try_from(length).expect("answers are bounded far below 2 GiB"));
        }
    }

    fn name(&mut self, name: &TopicName) {
        let text = name.0.as_bytes();
        if self.compact {
            self.varint(text.len() + 1);
        } else {
            self.bytes.put_i16(i16::try_from(text.len()).expect("the name came with such a length"));
        }
        self.bytes.put_slice(text);
    }

    fn tagged(&mut self) {
        if self.compact {
            self.bytes.put_u8(0);
        }
    }

    fn partition(&mut self, index: i32, error: i16, fetched: Option<&Fetched>) {
        let (high_watermark, log_start) = fetched.map_or((-1, -1), |read| (read.high_watermark, read.log_start));
        self.bytes.put_i32(index);
        self.bytes.put_i16(error);
        self.bytes.put_i64(high_watermark);
        // Without transactions everything that can be read is stable.
        self.bytes.put_i64(high_watermark);
        if self.to.version >= 5 {
            self.bytes.put_i64(log_start);
        }
        // No aborted transactions.
        self.length(0);
        if self.to.version >= 11 {
            // No better replica.
            self.bytes.put_i32(-1);
        }
        self.length(fetched.map_or(0, |read| read.bytes));
        if let Some(read) = fetched.filter(|read| read.bytes > 0) {
            self.records(&read.records);
        }
        self.tagged();
    }

    /// Puts record batches between what is written so far and what follows.
    fn records(&mut self, records: &[Bytes]) {
        self.reply.pieces.push(self.bytes.split().freeze());
        self.reply.pieces.extend(records.iter().cloned());
    }

    fn finish(mut self) -> Reply {
        self.reply.pieces.push(self.bytes.freeze());
        self.reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;
    use kafka_protocol::messages::{FetchResponse, ResponseHeader};
    use kafka_protocol::protocol::{Decodable, HeaderVersion, StrBytes};

    #[test]
    fn the_codec_reads_the_answer_in_every_version() {
        let fetched = Fetched {
            high_watermark: 9,
            log_start: 3,
            records: vec![Bytes::from_static(b"he"), Bytes::from_static(b"llo")],
            bytes: 5,
        };
        let error = ballast_streams::Error::OffsetOutOfRange { offset: 1, start: 3, end: 9 };
        for version in 4..=17 {
            let to = To { key: 1, version, correlation: 77 };
            let (name, id) = (TopicName(StrBytes::from_static_str("t")), Uuid::from_u128(5));
            let topics = [Topic { name, id, partitions: vec![(0, Ok(0)), (1, Ok(1)), (2, Err(3))] }];
            let reply = answer(to, &topics, &[Ok(fetched.clone()), Err(error.clone())]);
            let mut bytes = Bytes::from(reply.pieces.concat());
            let header = ResponseHeader::decode(&mut bytes, FetchResponse::header_version(version)).unwrap();
            let response = FetchResponse::decode(&mut bytes, version).unwrap();
            assert_eq!((header.correlation_id, bytes.remaining()), (77, 0), "version {version}");
            let topic = &response.responses[0];
            assert!(if version < 13 { topic.topic.as_str() == "t" } else { topic.topic_id == Uuid::from_u128(5) });
            let [first, second, third] = &topic.partitions[..] else { panic!("there are three") };
            assert_eq!(first.records.as_deref(), Some(&b"hello"[..]));
            assert_eq!((first.high_watermark, first.last_stable_offset, first.error_code), (9, 9, 0));
            assert_eq!((second.error_code, third.error_code, third.partition_index), (1, 3, 2));
        }
    }
}
