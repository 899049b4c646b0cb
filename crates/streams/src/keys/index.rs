//! `ino, partition, last offset` → one append to a partition; the row's pointer is its record batches.
//!
//! Keyed by the last offset, so that a scan from any offset starts at the row that holds it. The sums make every
//! question about a range of a partition a matter of its first and last row: its size, and, by halving, the
//! first row that is as young as a given time.

use super::Reader;
use crate::Result;
use crate::partition::PartitionId;
use ballast_store::{KeyRange, Space};
use ballast_types::Ino;
use bytes::{BufMut, Bytes, BytesMut};

const FORMAT: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexRow {
    pub base_offset: i64,
    /// When it was appended, by the server's clock; milliseconds.
    pub appended_ms: i64,
    /// The largest timestamp in it, milliseconds; -1 without.
    pub max_timestamp: i64,
    /// The largest timestamp in it and all rows before it, and the last offset of the first row that has it.
    pub max_timestamp_so_far: i64,
    pub max_timestamp_at: i64,
    /// Bytes of this row's batches and of all before it.
    pub bytes_so_far: u64,
}

impl IndexRow {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(49);
        out.put_u8(FORMAT);
        out.put_i64(self.base_offset);
        out.put_i64(self.appended_ms);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.max_timestamp_so_far);
        out.put_i64(self.max_timestamp_at);
        out.put_u64(self.bytes_so_far);
        out.freeze()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::open(bytes, "stream index row", FORMAT)?;
        let row = Self {
            base_offset: reader.i64()?,
            appended_ms: reader.i64()?,
            max_timestamp: reader.i64()?,
            max_timestamp_so_far: reader.i64()?,
            max_timestamp_at: reader.i64()?,
            bytes_so_far: reader.u64()?,
        };
        reader.end()?;
        Ok(row)
    }
}

pub(crate) fn key(id: PartitionId, last_offset: i64) -> Bytes {
    Space::StreamIndex.key(&[&id.ino.to_key(), &id.partition.to_be_bytes(), &last_offset.to_be_bytes()])
}

/// The rows of a partition that hold `offset` or later ones.
pub(crate) fn range_from(id: PartitionId, offset: i64) -> KeyRange {
    let all = Space::StreamIndex.range(&[&id.ino.to_key(), &id.partition.to_be_bytes()]);
    KeyRange { start: key(id, offset.max(0)), end: all.end }
}

/// The rows of a partition whose last offset is below `offset`.
pub(crate) fn range_before(id: PartitionId, offset: i64) -> KeyRange {
    KeyRange::new(key(id, 0), key(id, offset.max(0)))
}

/// The partition and last offset of a key.
pub(crate) fn parse(key: &[u8]) -> Option<(PartitionId, i64)> {
    let (ino, rest) = (Ino::from_key(key.get(1..)?)?, key.get(9..)?);
    let (partition, offset) = rest.split_at_checked(4)?;
    let partition = u32::from_be_bytes(partition.try_into().ok()?);
    Some((PartitionId { ino, partition }, i64::from_be_bytes(offset.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_reads_as_it_was_written(base_offset in any::<i64>(), appended_ms in any::<i64>(), max_timestamp in any::<i64>(), bytes_so_far in any::<u64>()) {
            let row = IndexRow { base_offset, appended_ms, max_timestamp, max_timestamp_so_far: max_timestamp ^ 5, max_timestamp_at: base_offset ^ 9, bytes_so_far };
            prop_assert_eq!(IndexRow::decode(&row.encode()).expect("it was just encoded"), row);
        }

        #[test]
        fn keys_sort_by_partition_and_offset(a in (any::<u64>(), any::<u32>(), 0..i64::MAX), b in (any::<u64>(), any::<u32>(), 0..i64::MAX)) {
            let make = |(ino, partition, offset)| key(PartitionId { ino: Ino(ino), partition }, offset);
            prop_assert_eq!(make(a).cmp(&make(b)), a.cmp(&b));
            prop_assert_eq!(parse(&make(a)), Some((PartitionId { ino: Ino(a.0), partition: a.1 }, a.2)));
        }
    }

    #[test]
    fn the_bytes_are_those_of_format_1() {
        let row = IndexRow {
            base_offset: 1,
            appended_ms: 2,
            max_timestamp: 3,
            max_timestamp_so_far: 4,
            max_timestamp_at: 5,
            bytes_so_far: 6,
        };
        let mut golden = vec![1u8];
        (1..=6u64).for_each(|number| golden.extend(number.to_be_bytes()));
        assert_eq!(row.encode().as_ref(), golden);
        let id = PartitionId { ino: Ino(2), partition: 3 };
        assert_eq!(key(id, 4).as_ref(), b"\x30\0\0\0\0\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0\x04");
    }
}
