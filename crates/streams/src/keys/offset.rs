//! `group, ino, partition` → an offset that a group committed. The group's name stands behind its length, so
//! that no name is a prefix of another.

use super::Reader;
use crate::Result;
use crate::groups::CommittedOffset;
use crate::partition::PartitionId;
use ballast_store::{KeyRange, Space};
use ballast_types::Ino;
use bytes::{BufMut, Bytes, BytesMut};

const FORMAT: u8 = 1;

impl CommittedOffset {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(23 + self.metadata.len());
        out.put_u8(FORMAT);
        out.put_i64(self.offset);
        out.put_i32(self.leader_epoch);
        out.put_i64(self.committed_ms);
        out.put_u16(u16::try_from(self.metadata.len()).expect("its length is checked before"));
        out.put_slice(self.metadata.as_bytes());
        out.freeze()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::open(bytes, "committed offset", FORMAT)?;
        let (offset, leader_epoch, committed_ms) = (reader.i64()?, reader.i32()?, reader.i64()?);
        let metadata = reader.text()?;
        reader.end()?;
        Ok(Self { offset, leader_epoch, committed_ms, metadata })
    }
}

fn name_length(group: &str) -> [u8; 2] {
    u16::try_from(group.len()).expect("a group's name is checked before").to_be_bytes()
}

pub(crate) fn key(group: &str, id: PartitionId) -> Bytes {
    let (ino, partition) = (id.ino.to_key(), id.partition.to_be_bytes());
    Space::StreamOffset.key(&[&name_length(group), group.as_bytes(), &ino, &partition])
}

/// All offsets of a group.
pub(crate) fn range(group: &str) -> KeyRange {
    Space::StreamOffset.range(&[&name_length(group), group.as_bytes()])
}

/// The partition of a key.
pub(crate) fn parse(key: &[u8]) -> Option<PartitionId> {
    let (_, tail) = key.split_at_checked(key.len().checked_sub(12)?)?;
    let partition = u32::from_be_bytes(tail.get(8..)?.try_into().ok()?);
    Some(PartitionId { ino: Ino::from_key(tail)?, partition })
}

/// The group of a key.
pub(crate) fn parse_group(key: &[u8]) -> Option<&str> {
    let length = u16::from_be_bytes(key.get(1..3)?.try_into().ok()?);
    std::str::from_utf8(key.get(3..3 + usize::from(length))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_offset_reads_as_it_was_written(offset in any::<i64>(), leader_epoch in any::<i32>(), committed_ms in any::<i64>(), metadata in "\\PC{0,30}") {
            let row = CommittedOffset { offset, leader_epoch, committed_ms, metadata };
            prop_assert_eq!(CommittedOffset::decode(&row.encode()).expect("it was just encoded"), row);
        }
    }

    #[test]
    fn the_bytes_are_those_of_format_1() {
        let row = CommittedOffset { offset: 1, leader_epoch: -1, committed_ms: 2, metadata: "m".into() };
        assert_eq!(row.encode().as_ref(), b"\x01\0\0\0\0\0\0\0\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\x02\0\x01m");
        let id = PartitionId { ino: Ino(2), partition: 3 };
        assert_eq!(key("g", id).as_ref(), b"\x33\0\x01g\0\0\0\0\0\0\0\x02\0\0\0\x03");
        assert_eq!(parse(&key("g", id)), Some(id));
        assert_eq!(parse_group(&key("g", id)), Some("g"));
        assert!(range("g").contains(&key("g", id)) && !range("g").contains(&key("gg", id)));
    }
}
