//! Which batches an idempotent producer has written to a partition.
//!
//! The last five of each producer are remembered, in memory and in a row that is written with the append itself,
//! so that a batch sent twice is written once, across any crash. A repeated batch answers its first offset; one
//! that leaves a gap is refused, so that the producer sends what is missing first.
//!
//! A producer of whom nothing is known goes on wherever it is, as in Kafka: it was silent for too long, or the stream
//! was made again. Some clients would never begin anew.

use crate::batch::BatchHeader;
use crate::{Error, Result, limits};
use smallvec::SmallVec;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerState {
    pub epoch: i16,
    /// When it appended last, by the server's clock; milliseconds.
    pub appended_ms: i64,
    /// Oldest first; of the current epoch.
    pub batches: SmallVec<[ProducerBatch; limits::PRODUCER_BATCHES]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerBatch {
    pub first_sequence: i32,
    pub last_sequence: i32,
    pub base_offset: i64,
    /// The append time that was answered; -1 when records carry the producer's.
    pub timestamp: i64,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    /// It is there already.
    Repeated(ProducerBatch),
}

/// Judges a batch by what is known of its producer.
pub(crate) fn judge(known: Option<&ProducerState>, header: &BatchHeader) -> Result<Verdict> {
    let first = header.base_sequence;
    let Some(state) = known else { return Ok(Verdict::Append) };
    if header.producer_epoch < state.epoch {
        return Err(Error::FencedProducer { got: header.producer_epoch, current: state.epoch });
    }
    let last = state.batches.last().map_or(-1, |batch| batch.last_sequence);
    if header.producer_epoch > state.epoch {
        return if first == 0 { Ok(Verdict::Append) } else { Err(Error::OutOfOrderSequence { got: first, last: -1 }) };
    }
    let same = |batch: &&ProducerBatch| (batch.first_sequence, batch.last_sequence) == (first, header.last_sequence());
    if let Some(batch) = state.batches.iter().find(same) {
        return Ok(Verdict::Repeated(*batch));
    }
    // Sequence numbers go round: 0 follows the largest.
    let next = last.wrapping_add(1) & i32::MAX;
    if first == next { Ok(Verdict::Append) } else { Err(Error::OutOfOrderSequence { got: first, last }) }
}

impl ProducerState {
    /// Remembers a batch that is being appended.
    pub fn remember(&mut self, header: &BatchHeader, base_offset: i64, now_ms: i64, timestamp: i64) {
        if header.producer_epoch != self.epoch {
            self.epoch = header.producer_epoch;
            self.batches.clear();
        }
        if self.batches.len() == limits::PRODUCER_BATCHES {
            self.batches.remove(0);
        }
        let (first_sequence, last_sequence) = (header.base_sequence, header.last_sequence());
        self.batches.push(ProducerBatch { first_sequence, last_sequence, base_offset, timestamp });
        self.appended_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::BatchBuilder;

    fn header(epoch: i16, sequence: i32, records: usize) -> BatchHeader {
        BatchHeader::parse(&BatchBuilder::new().records(records).producer(7, epoch, sequence).build()).unwrap()
    }

    fn after(batches: &[(i16, i32, usize)]) -> ProducerState {
        let mut state = ProducerState::default();
        for (offset, (epoch, sequence, records)) in batches.iter().enumerate() {
            state.remember(&header(*epoch, *sequence, *records), offset as i64, 0, -1);
        }
        state
    }

    #[test]
    fn a_producer_of_whom_nothing_is_known_may_go_on_anywhere() {
        for (epoch, sequence) in [(0, 0), (0, 3), (4, i32::MAX)] {
            assert_eq!(judge(None, &header(epoch, sequence, 1)).unwrap(), Verdict::Append);
        }
    }

    #[test]
    fn the_last_five_batches_are_recognised_and_older_ones_refused() {
        let state = after(&[(0, 0, 2), (0, 2, 2), (0, 4, 2), (0, 6, 2), (0, 8, 2), (0, 10, 2)]);
        for (offset, sequence) in [(1, 2), (3, 6), (5, 10)] {
            let Verdict::Repeated(batch) = judge(Some(&state), &header(0, sequence, 2)).unwrap() else { panic!() };
            assert_eq!(batch.base_offset, offset);
        }
        assert!(matches!(judge(Some(&state), &header(0, 0, 2)), Err(Error::OutOfOrderSequence { .. })));
        assert!(matches!(judge(Some(&state), &header(0, 2, 1)), Err(Error::OutOfOrderSequence { .. })));
    }

    #[test]
    fn a_gap_is_refused_and_the_next_number_is_taken() {
        let state = after(&[(0, 0, 3)]);
        assert_eq!(judge(Some(&state), &header(0, 3, 1)).unwrap(), Verdict::Append);
        assert!(matches!(judge(Some(&state), &header(0, 4, 1)), Err(Error::OutOfOrderSequence { got: 4, last: 2 })));
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
        let state = after(&[(1, 0, 3)]);
        assert_eq!(judge(Some(&state), &header(2, 0, 1)).unwrap(), Verdict::Append);
        assert!(matches!(judge(Some(&state), &header(2, 3, 1)), Err(Error::OutOfOrderSequence { .. })));
        assert!(matches!(judge(Some(&state), &header(0, 3, 1)), Err(Error::FencedProducer { got: 0, current: 1 })));
    }

    #[test]
    fn sequence_numbers_go_round() {
        let state = after(&[(0, i32::MAX - 1, 2)]);
        assert_eq!(judge(Some(&state), &header(0, 0, 1)).unwrap(), Verdict::Append);
        let around = after(&[(0, i32::MAX, 3)]);
        assert_eq!(around.batches[0].last_sequence, 1);
        assert_eq!(judge(Some(&around), &header(0, 2, 1)).unwrap(), Verdict::Append);
    }
}
