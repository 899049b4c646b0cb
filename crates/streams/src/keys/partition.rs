//! `ino, partition` → what a partition is beyond its index rows. Absent until its start has moved.

use super::Reader;
use crate::Result;
use crate::partition::PartitionId;
use ballast_store::Space;
use bytes::{BufMut, Bytes, BytesMut};

const FORMAT: u8 = 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartitionRow {
    /// The first offset that may be read. Without index rows also the next one to be written.
    pub log_start: i64,
}

impl PartitionRow {
    pub fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(9);
        out.put_u8(FORMAT);
        out.put_i64(self.log_start);
        out.freeze()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::open(bytes, "stream partition row", FORMAT)?;
        let row = Self { log_start: reader.i64()? };
        reader.end()?;
        Ok(row)
    }
}

pub(crate) fn key(id: PartitionId) -> Bytes {
    Space::StreamPartition.key(&[&id.ino.to_key(), &id.partition.to_be_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_format_1() {
        let row = PartitionRow { log_start: 258 };
        assert_eq!(row.encode().as_ref(), b"\x01\0\0\0\0\0\0\x01\x02");
        assert_eq!(PartitionRow::decode(&row.encode()).expect("it was just encoded"), row);
        assert!(PartitionRow::decode(b"\x02\0\0\0\0\0\0\x01\x02").is_err());
    }
}
