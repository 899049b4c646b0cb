//! `ino, partition, producer id` → the last batches of an idempotent producer in a partition: format 1, epoch (2),
//! time of the last append in ms (8), number of batches (1), then each: first sequence number (4), last (4),
//! first offset (8), append time to report (8).

use super::Reader;
use crate::partition::PartitionId;
use crate::partition::producers::{ProducerBatch, ProducerState};
use crate::{Result, limits};
use ballast_store::{KeyRange, Space};
use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

const FORMAT: u8 = 1;

pub(crate) fn encode(state: &ProducerState) -> Bytes {
    let mut out = BytesMut::with_capacity(12 + 24 * state.batches.len());
    out.put_u8(FORMAT);
    out.put_i16(state.epoch);
    out.put_i64(state.appended_ms);
    out.put_u8(u8::try_from(state.batches.len()).expect("a handful are kept"));
    for batch in &state.batches {
        out.put_i32(batch.first_sequence);
        out.put_i32(batch.last_sequence);
        out.put_i64(batch.base_offset);
        out.put_i64(batch.timestamp);
    }
    out.freeze()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<ProducerState> {
    let mut reader = Reader::open(bytes, "producer row", FORMAT)?;
    let (epoch, appended_ms) = (reader.i16()?, reader.i64()?);
    let count = usize::from(reader.u8()?);
    let mut batches = SmallVec::new();
    for _ in 0..count.min(limits::PRODUCER_BATCHES) {
        batches.push(ProducerBatch {
            first_sequence: reader.i32()?,
            last_sequence: reader.i32()?,
            base_offset: reader.i64()?,
            timestamp: reader.i64()?,
        });
    }
    reader.end()?;
    Ok(ProducerState { epoch, appended_ms, batches })
}

pub(crate) fn key(id: PartitionId, producer: i64) -> Bytes {
    Space::StreamProducer.key(&[&id.ino.to_key(), &id.partition.to_be_bytes(), &producer.to_be_bytes()])
}

/// The producers of a partition.
pub(crate) fn range(id: PartitionId) -> KeyRange {
    Space::StreamProducer.range(&[&id.ino.to_key(), &id.partition.to_be_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_state_reads_as_it_was_written(epoch in any::<i16>(), appended_ms in any::<i64>(), batches in proptest::collection::vec(any::<(i32, i32, i64, i64)>(), 0..=5)) {
            let batch = |(first_sequence, last_sequence, base_offset, timestamp)| ProducerBatch { first_sequence, last_sequence, base_offset, timestamp };
            let state = ProducerState { epoch, appended_ms, batches: batches.into_iter().map(batch).collect() };
            prop_assert_eq!(decode(&encode(&state)).expect("it was just encoded"), state);
        }
    }

    #[test]
    fn the_bytes_are_those_of_format_1() {
        let batch = ProducerBatch { first_sequence: 1, last_sequence: 2, base_offset: 3, timestamp: -1 };
        let state = ProducerState { epoch: 4, appended_ms: 5, batches: [batch].into_iter().collect() };
        let golden =
            b"\x01\0\x04\0\0\0\0\0\0\0\x05\x01\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x03\xff\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(encode(&state).as_ref(), golden);
    }
}
