//! Record batches: Kafka's format 2, of which only the header of 61 bytes is ever looked at.
//!
//! | bytes | field | | bytes | field |
//! |---|---|---|---|---|
//! | 0–7 | base offset | | 27–34 | base timestamp |
//! | 8–11 | length of what follows | | 35–42 | largest timestamp |
//! | 12–15 | leader epoch | | 43–50 | producer id |
//! | 16 | magic: 2 | | 51–52 | producer epoch |
//! | 17–20 | CRC32C of all from 21 on | | 53–56 | base sequence number |
//! | 21–22 | attributes | | 57–60 | number of records |
//! | 23–26 | last offset minus base | | 61– | records, perhaps compressed |
//!
//! Base offset and leader epoch are ours to set and lie outside the CRC; the records go through untouched.
//! Source: the record batch section of the Kafka protocol's documentation.

use crate::{Error, Result, limits, records};
use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

pub const HEADER_LEN: usize = 61;
/// Bytes before the part that the length field counts.
const PREFIX_LEN: usize = 12;
const CRC_START: usize = 21;
/// Bytes of a record without key, value and headers: its length, attributes, two deltas, two lengths and a count.
const RECORD_LEN_MIN: usize = 7;

const ATTRIBUTE_COMPRESSION: i16 = 0x07;
const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0x08;
const ATTRIBUTE_TRANSACTIONAL: i16 = 0x10;
const ATTRIBUTE_CONTROL: i16 = 0x20;

/// Partitions have had one leader for ever: nothing that a reader has seen is ever taken back.
pub const LEADER_EPOCH: i32 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes of the whole batch, this header included.
    pub length: usize,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub records: i32,
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the caller checked the length of the header")
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`. Checks that the batch is whole, not its CRC.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() < HEADER_LEN {
            return Err(Error::DamagedBatch("it is shorter than its header"));
        }
        if bytes[16] != 2 {
            return Err(Error::InvalidBatch("only record batches of format 2 are taken"));
        }
        let length = i32::from_be_bytes(field(bytes, 8));
        let length = usize::try_from(length).map_err(|_| Error::DamagedBatch("its length is negative"))? + PREFIX_LEN;
        if length < HEADER_LEN || length > bytes.len() {
            return Err(Error::DamagedBatch("its length is not that of its bytes"));
        }
        Ok(Self {
            base_offset: i64::from_be_bytes(field(bytes, 0)),
            length,
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: i16::from_be_bytes(field(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            records: i32::from_be_bytes(field(bytes, 57)),
        })
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    pub fn is_idempotent(&self) -> bool {
        self.producer_id >= 0
    }

    pub fn is_log_append_time(&self) -> bool {
        self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0
    }

    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub fn compression(&self) -> i16 {
        self.attributes & ATTRIBUTE_COMPRESSION
    }

    /// The sequence number of the last record; they go round at 2^31.
    pub fn last_sequence(&self) -> i32 {
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// What a producer may not send.
    fn check(&self) -> Result<()> {
        let refuse = |text| Err(Error::InvalidBatch(text));
        if self.records <= 0 || self.last_offset_delta != self.records - 1 {
            return refuse("the number of records does not fit the offsets");
        }
        let (bytes, records) = (self.length - HEADER_LEN, usize::try_from(self.records).unwrap_or(usize::MAX));
        if bytes < if self.compression() == 0 { records.saturating_mul(RECORD_LEN_MIN) } else { 1 } {
            return refuse("it has too few bytes for its records");
        }
        if self.attributes & ATTRIBUTE_CONTROL != 0 {
            return refuse("producers cannot write control records");
        }
        if self.attributes & ATTRIBUTE_TRANSACTIONAL != 0 {
            return Err(Error::Transactional);
        }
        if self.compression() > 4 {
            return refuse("the compression is unknown");
        }
        if self.is_idempotent() && (self.producer_epoch < 0 || self.base_sequence < 0) {
            return refuse("an idempotent producer needs an epoch and a sequence number");
        }
        if self.max_timestamp < -1 {
            return refuse("the timestamp is negative");
        }
        Ok(())
    }
}

/// A record batch of a producer: whole, of the right format, with the right CRC.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    pub header: BatchHeader,
    bytes: Bytes,
}

/// The batches in what a producer sent to one partition.
pub fn split_produced(mut records: Bytes) -> Result<SmallVec<[RecordBatch; 1]>> {
    let mut batches = SmallVec::new();
    while !records.is_empty() {
        let header = BatchHeader::parse(&records)?;
        let bytes = records.split_to(header.length);
        if crc32c::crc32c(&bytes[CRC_START..]) != header.crc {
            return Err(Error::DamagedBatch("its CRC is wrong"));
        }
        header.check()?;
        batches.push(RecordBatch { header, bytes });
        if batches.len() > limits::BATCHES_MAX {
            return Err(Error::InvalidBatch("there are too many batches in one request"));
        }
    }
    if batches.is_empty() { Err(Error::InvalidBatch("there is no record batch")) } else { Ok(batches) }
}

impl RecordBatch {
    /// The largest timestamp of its records, whether the producer says it or not.
    pub(crate) fn max_timestamp(&self) -> i64 {
        records::max_timestamp(&self.header, &self.bytes)
    }

    /// The batch at its place in a partition. `append_ms` replaces the timestamps of the records.
    pub(crate) fn place(self, base_offset: i64, append_ms: Option<i64>) -> StoredBatch {
        let Self { mut header, bytes } = self;
        header.base_offset = base_offset;
        let small = bytes.len() < limits::SMALL_BATCH_BYTES;
        let mut head = BytesMut::with_capacity(if small { bytes.len() } else { HEADER_LEN });
        head.put_i64(base_offset);
        head.put_slice(&bytes[8..12]);
        head.put_i32(LEADER_EPOCH);
        head.put_slice(&bytes[16..HEADER_LEN]);
        if let Some(now) = append_ms {
            header.attributes |= ATTRIBUTE_LOG_APPEND_TIME;
            header.max_timestamp = now;
            head[21..23].copy_from_slice(&header.attributes.to_be_bytes());
            head[35..43].copy_from_slice(&now.to_be_bytes());
            let crc = crc32c::crc32c(&head[CRC_START..]);
            header.crc = crc32c::crc32c_append(crc, &bytes[HEADER_LEN..]);
            head[17..21].copy_from_slice(&header.crc.to_be_bytes());
        } else if header.is_log_append_time() {
            // The producer's word counts for nothing here: the stream says whose clock it is.
            header.attributes &= !ATTRIBUTE_LOG_APPEND_TIME;
            head[21..23].copy_from_slice(&header.attributes.to_be_bytes());
            let crc = crc32c::crc32c(&head[CRC_START..]);
            header.crc = crc32c::crc32c_append(crc, &bytes[HEADER_LEN..]);
            head[17..21].copy_from_slice(&header.crc.to_be_bytes());
        }
        let body = if small {
            head.put_slice(&bytes[HEADER_LEN..]);
            Bytes::new()
        } else {
            bytes.slice(HEADER_LEN..)
        };
        StoredBatch { base_offset, last_offset: header.last_offset(), head: head.freeze(), body }
    }
}

/// A record batch as it lies in the log: its bytes in one or two pieces.
#[derive(Clone, Debug)]
pub(crate) struct StoredBatch {
    pub base_offset: i64,
    pub last_offset: i64,
    pub head: Bytes,
    /// Empty when all of it is in `head`.
    pub body: Bytes,
}

impl StoredBatch {
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Lets go of the request that brought it.
    pub fn copy_out(&mut self) {
        self.body = Bytes::copy_from_slice(&self.body);
    }

    pub fn push_to(&self, parts: &mut Vec<Bytes>) {
        parts.push(self.head.clone());
        if !self.body.is_empty() {
            parts.push(self.body.clone());
        }
    }
}

/// The batches of a payload that was read back. Its CRC has been checked by the store.
pub(crate) fn split_stored(mut payload: Bytes) -> Result<SmallVec<[StoredBatch; 1]>> {
    let mut batches = SmallVec::new();
    while !payload.is_empty() {
        let header = BatchHeader::parse(&payload).map_err(|error| Error::Corrupt(error.to_string()))?;
        let head = payload.split_to(header.length);
        let (base_offset, last_offset) = (header.base_offset, header.last_offset());
        batches.push(StoredBatch { base_offset, last_offset, head, body: Bytes::new() });
    }
    Ok(batches)
}
