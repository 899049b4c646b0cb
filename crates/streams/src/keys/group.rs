//! `group` → that there is a consumer group with committed offsets, and since when it has had no members.

use super::Reader;
use crate::Result;
use ballast_store::{KeyRange, Space};
use bytes::{BufMut, Bytes, BytesMut};

const FORMAT: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupRow {
    /// What its members speak, `consumer` for consumers; empty for a group that only commits.
    pub protocol_type: String,
}

impl GroupRow {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(3 + self.protocol_type.len());
        out.put_u8(FORMAT);
        out.put_u16(
            u16::try_from(self.protocol_type.len()).expect("the length of a member's names is checked when it joins"),
        );
        out.put_slice(self.protocol_type.as_bytes());
        out.freeze()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::open(bytes, "group row", FORMAT)?;
        let row = Self { protocol_type: reader.text()? };
        reader.end()?;
        Ok(row)
    }
}

pub(crate) fn key(group: &str) -> Bytes {
    Space::StreamGroup.key(&[group.as_bytes()])
}

pub(crate) fn range() -> KeyRange {
    Space::StreamGroup.range(&[])
}

/// The name in a key.
pub(crate) fn parse(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(1..)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_format_1() {
        let row = GroupRow { protocol_type: "consumer".into() };
        assert_eq!(row.encode().as_ref(), b"\x01\0\x08consumer");
        assert_eq!(GroupRow::decode(&row.encode()).expect("it was just encoded"), row);
        assert_eq!(parse(&key("g.1")), Some("g.1"));
    }
}
