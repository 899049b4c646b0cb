//! The key space: who owns which keys.
//!
//! A key starts with one byte, its [`Space`], so that every engine's rows lie together and a scan of one
//! space touches nothing else. What follows is the owner's business; nearly always the inode's number, big
//! endian, so that all rows of an inode in a space are one range.

use bytes::{BufMut, Bytes, BytesMut};

/// The first byte of a key. Persisted: never change or reuse a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Space {
    /// The volume itself: format, counters, named snapshots. Owned by `store`.
    System = 0x01,
    /// `snapshot, place, offset` → where payload went that a named snapshot still needs. Owned by `store`.
    Rescued = 0x02,
    /// `ino` → inode. Owned by `tree`, as are the next ones.
    Inode = 0x10,
    /// `parent ino, name` → directory entry.
    Entry = 0x11,
    /// `ino, name` → value of an extended attribute.
    Attribute = 0x12,
    /// `ino` → an inode without a name, whose content is still to be removed.
    Orphan = 0x13,
    /// `name` → counters of the tree.
    TreeCounter = 0x14,
    /// `ino, parent ino, name` → one of the names of an inode that has several.
    Link = 0x15,
    /// `ino, block` → the pieces of a block of a file. Owned by `files`.
    Block = 0x20,
    /// `ino, partition, last offset` → where record batches lie. Owned by `streams`, as are the next ones.
    StreamIndex = 0x30,
    /// `ino, partition` → the partition's state.
    StreamPartition = 0x31,
    /// `group` → a consumer group.
    StreamGroup = 0x32,
    /// `group, ino, partition` → a committed offset.
    StreamOffset = 0x33,
    /// `ino, partition, producer id` → the state of an idempotent producer.
    StreamProducer = 0x34,
    /// `kafka name` → the stream's inode, where the name is not the path.
    StreamName = 0x35,
    /// Counters of the streams engine.
    StreamCounter = 0x36,
    /// `ino` → nothing: all streams of the volume.
    StreamList = 0x37,
    /// `ino` → a table's schema versions. Owned by `tables`, as are the next ones.
    TableSchema = 0x40,
    /// `ino, primary key` → a row.
    TableRow = 0x41,
    /// `ino, last primary key` → a settled chunk of rows.
    TableChunk = 0x42,
    /// `ino, index, column values, primary key` → nothing: an entry of a secondary index.
    TableIndex = 0x43,
}

impl Space {
    /// The spaces whose rows may point at payload. Collecting scans these and no others, so a pointer in a row
    /// of another space is refused.
    pub const WITH_PAYLOAD: [Self; 4] = [Self::Rescued, Self::Block, Self::StreamIndex, Self::TableChunk];

    /// The space that a key lies in, if it may hold payload.
    pub fn with_payload_of(key: &[u8]) -> Option<Self> {
        Self::WITH_PAYLOAD.into_iter().find(|space| key.first() == Some(&(*space as u8)))
    }

    /// A key of this space: the tag and then the parts, one behind the other.
    pub fn key(self, parts: &[&[u8]]) -> Bytes {
        let mut key = BytesMut::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
        key.put_u8(self as u8);
        parts.iter().for_each(|part| key.put_slice(part));
        key.freeze()
    }

    /// All keys of this space that start with these parts.
    pub fn range(self, parts: &[&[u8]]) -> KeyRange {
        KeyRange::prefix(self.key(parts))
    }
}

/// Keys from `start` up to, not including, `end`; without an end, to the last key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    pub start: Bytes,
    pub end: Option<Bytes>,
}

impl KeyRange {
    pub fn new(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: Some(end.into()) }
    }

    /// Every key that starts with `prefix`.
    pub fn prefix(prefix: Bytes) -> Self {
        let end = after_prefix(&prefix);
        Self { start: prefix, end }
    }

    /// The same end, but starting right behind `key`: where a paged scan goes on.
    pub fn after(&self, key: &[u8]) -> Self {
        let mut start = BytesMut::with_capacity(key.len() + 1);
        start.put_slice(key);
        start.put_u8(0);
        Self { start: start.freeze(), end: self.end.clone() }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_ref() && self.end.as_ref().is_none_or(|end| key < end.as_ref())
    }
}

/// The first key behind all keys with this prefix; `None` if there is no such key.
fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(Bytes::from(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_holds_the_prefixed_keys_and_no_others() {
        let range = KeyRange::prefix(Bytes::from_static(b"a\xff"));
        assert!(range.contains(b"a\xff") && range.contains(b"a\xff\xff\xff"));
        assert!(!range.contains(b"b") && !range.contains(b"a\xfe\xff"));
        assert_eq!(KeyRange::prefix(Bytes::from_static(b"\xff\xff")).end, None);
    }

    #[test]
    fn a_range_after_a_key_starts_behind_it() {
        let range = KeyRange::prefix(Bytes::from_static(b"a"));
        assert!(!range.after(b"ab").contains(b"ab") && range.after(b"ab").contains(b"ab\0"));
    }
}
