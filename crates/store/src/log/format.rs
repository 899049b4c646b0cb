//! The bytes of the log. All numbers are little endian; CRCs are CRC32C.
//!
//! A **file** of the `disk` log starts with a header of one block (512 bytes), written and synced before any
//! group. An **object** of the `object` log is one group, without that header.
//!
//! | offset | bytes | file header |
//! |---|---|---|
//! | 0 | 8 | magic `BALLASTL` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | bytes of a block, 512 |
//! | 16 | 8 | epoch of the writer |
//! | 24 | 8 | number of the file within the epoch, from 1 |
//! | 32 | 8 | position where the epoch starts: the log before it was cut there |
//! | 40 | 8 | epoch of the last file before this epoch, or 0 |
//! | 48 | 8 | number of that file, or 0 |
//! | 56 | 8 | where the last rows before this epoch end |
//! | 64 | 8 | their sequence number |
//! | 72 | 8 | 1 if the file was another one before: where this one ends, older groups follow; else 0 |
//! | 80 | 428 | zero |
//! | 508 | 4 | CRC of bytes 0 to 508 |
//!
//! A **group** is what one write makes durable: a header, then payload, then records. Payload stands at the
//! place that its pointer names; the records are last, so that replay reads header and records and skips the
//! payload. On disk a group starts and ends at a block, so that no sector with acknowledged bytes is written
//! again; a large one ends at a page (4096 bytes) of the file, so that no page is read to be written.
//!
//! | offset | bytes | group header |
//! |---|---|---|
//! | 0 | 4 | magic `BGRP` |
//! | 4 | 2 | version, 1 |
//! | 6 | 2 | kind: 1 data, 2 fence (object log: an epoch begins), 3 close (the writer ended in order) |
//! | 8 | 8 | epoch |
//! | 16 | 8 | number of the file or object |
//! | 24 | 8 | start: the position of this header's first byte |
//! | 32 | 8 | acknowledged: everything before this position was durable when the group was written |
//! | 40 | 8 | sequence number of the last rows in or before this group |
//! | 48 | 8 | end of the last group with rows: this one, or one before |
//! | 56 | 8 | object log: number of the object before this one, or 0 |
//! | 64 | 8 | object log: number of the object after this one |
//! | 72 | 16 | nonce of the writer |
//! | 88 | 4 | bytes of payload |
//! | 92 | 4 | bytes of records, with the zeros that fill the last block |
//! | 96 | 4 | CRC of the records |
//! | 100 | 4 | CRC of bytes 0 to 100 |
//!
//! A **record** starts with its tag. Tag 0 ends the records: only zeros follow.
//!
//! | tag | then |
//! |---|---|
//! | 1, payload | length (4), CRC of the payload (4); payloads stand in the order of their records |
//! | 2, rows | sequence number (8), length (4), the rows |

use crate::Position;
use bytes::{Buf, BufMut, Bytes};
use std::ops::Range;

pub const BLOCK_BYTES: u64 = 512;
pub const FILE_HEADER_BYTES: u64 = BLOCK_BYTES;
pub const GROUP_HEADER_BYTES: u64 = 104;
pub const VERSION: u32 = 1;

/// Bytes that a record adds to its payload or rows.
pub const PAYLOAD_RECORD_BYTES: u64 = 9;
pub const ROWS_RECORD_BYTES: u64 = 13;

const FILE_MAGIC: &[u8; 8] = b"BALLASTL";
const GROUP_MAGIC: &[u8; 4] = b"BGRP";
const TAG_END: u8 = 0;
const TAG_PAYLOAD: u8 = 1;
const TAG_ROWS: u8 = 2;

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the bytes end too early")]
    Short,
    #[error("there is no header")]
    Magic,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("its format version is {0}, and this program reads version {VERSION}")]
    Version(u32),
    #[error("{0}")]
    Field(&'static str),
}

/// The file or object that holds a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    pub epoch: u64,
    pub number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    pub id: FileId,
    pub epoch_start: Position,
    pub previous: Option<FileId>,
    pub rows_end: Position,
    pub rows_seq: u64,
    /// Behind its own groups stand those of a file that it was before.
    pub reused: bool,
}

impl FileHeader {
    pub fn encode(&self) -> [u8; FILE_HEADER_BYTES as usize] {
        let mut block = [0; FILE_HEADER_BYTES as usize];
        let mut out = &mut block[..];
        let previous = self.previous.unwrap_or_default();
        out.put_slice(FILE_MAGIC);
        out.put_u32_le(VERSION);
        out.put_u32_le(BLOCK_BYTES as u32);
        let origin = [self.id.epoch, self.id.number, self.epoch_start.0, previous.epoch, previous.number];
        for number in origin.into_iter().chain([self.rows_end.0, self.rows_seq, u64::from(self.reused)]) {
            out.put_u64_le(number);
        }
        let crc = crc32c::crc32c(&block[..508]);
        block[508..].copy_from_slice(&crc.to_le_bytes());
        block
    }

    pub fn decode(block: &[u8]) -> Result<Self, Fault> {
        let block = block.get(..FILE_HEADER_BYTES as usize).ok_or(Fault::Short)?;
        let (mut body, mut tail) = block.split_at(508);
        if !body.starts_with(FILE_MAGIC) {
            return Err(Fault::Magic);
        }
        if crc32c::crc32c(body) != tail.get_u32_le() {
            return Err(Fault::Checksum);
        }
        body.advance(8);
        let version = body.get_u32_le();
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        if u64::from(body.get_u32_le()) != BLOCK_BYTES {
            return Err(Fault::Field("its blocks have another size"));
        }
        let id = FileId { epoch: body.get_u64_le(), number: body.get_u64_le() };
        let epoch_start = Position(body.get_u64_le());
        let previous = FileId { epoch: body.get_u64_le(), number: body.get_u64_le() };
        let (rows_end, rows_seq) = (Position(body.get_u64_le()), body.get_u64_le());
        let previous = (previous != FileId::default()).then_some(previous);
        let reused = match body.get_u64_le() {
            0 => false,
            1 => true,
            _ => return Err(Fault::Field("its header contradicts itself")),
        };
        Ok(Self { id, epoch_start, previous, rows_end, rows_seq, reused })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    Data,
    Fence,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHeader {
    pub kind: GroupKind,
    pub id: FileId,
    pub start: Position,
    pub acknowledged: Position,
    pub last_seq: u64,
    pub rows_end: Position,
    pub previous: u64,
    pub next: u64,
    pub nonce: [u8; 16],
    pub payload_bytes: u32,
    pub record_bytes: u32,
    pub records_crc: u32,
}

impl GroupHeader {
    pub fn encode(&self) -> [u8; GROUP_HEADER_BYTES as usize] {
        let mut bytes = [0; GROUP_HEADER_BYTES as usize];
        let mut out = &mut bytes[..];
        out.put_slice(GROUP_MAGIC);
        out.put_u16_le(VERSION as u16);
        out.put_u16_le(match self.kind {
            GroupKind::Data => 1,
            GroupKind::Fence => 2,
            GroupKind::Close => 3,
        });
        let numbers = [self.start.0, self.acknowledged.0, self.last_seq, self.rows_end.0, self.previous, self.next];
        for number in [self.id.epoch, self.id.number].into_iter().chain(numbers) {
            out.put_u64_le(number);
        }
        out.put_slice(&self.nonce);
        for number in [self.payload_bytes, self.record_bytes, self.records_crc] {
            out.put_u32_le(number);
        }
        let crc = crc32c::crc32c(&bytes[..100]);
        bytes[100..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let bytes = bytes.get(..GROUP_HEADER_BYTES as usize).ok_or(Fault::Short)?;
        let (mut body, mut tail) = bytes.split_at(100);
        if !body.starts_with(GROUP_MAGIC) {
            return Err(Fault::Magic);
        }
        if crc32c::crc32c(body) != tail.get_u32_le() {
            return Err(Fault::Checksum);
        }
        body.advance(4);
        let version = u32::from(body.get_u16_le());
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        let kind = match body.get_u16_le() {
            1 => GroupKind::Data,
            2 => GroupKind::Fence,
            3 => GroupKind::Close,
            _ => return Err(Fault::Field("its kind is unknown")),
        };
        let id = FileId { epoch: body.get_u64_le(), number: body.get_u64_le() };
        let (start, acknowledged) = (Position(body.get_u64_le()), Position(body.get_u64_le()));
        let (last_seq, rows_end) = (body.get_u64_le(), Position(body.get_u64_le()));
        let (previous, next) = (body.get_u64_le(), body.get_u64_le());
        let mut nonce = [0; 16];
        body.copy_to_slice(&mut nonce);
        let (payload_bytes, record_bytes, records_crc) = (body.get_u32_le(), body.get_u32_le(), body.get_u32_le());
        Ok(Self {
            kind,
            id,
            start,
            acknowledged,
            last_seq,
            rows_end,
            previous,
            next,
            nonce,
            payload_bytes,
            record_bytes,
            records_crc,
        })
    }

    /// Bytes of the whole group.
    pub fn byte_len(&self) -> u64 {
        GROUP_HEADER_BYTES + u64::from(self.payload_bytes) + u64::from(self.record_bytes)
    }

    pub fn end(&self) -> Position {
        Position(self.start.0.saturating_add(self.byte_len()))
    }

    /// Bytes from the start of the group to its records.
    pub fn records_at(&self) -> u64 {
        GROUP_HEADER_BYTES + u64::from(self.payload_bytes)
    }
}

/// One entry of a group's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Bytes from the start of the group's payload to this one, its length and its CRC.
    Payload { at: u64, length: u32, crc: u32 },
    /// Where the rows stand in the records.
    Rows { seq: u64, rows: Range<usize> },
}

pub fn put_payload_record(records: &mut Vec<u8>, length: u32, crc: u32) {
    records.put_u8(TAG_PAYLOAD);
    records.put_u32_le(length);
    records.put_u32_le(crc);
}

pub fn put_rows_record(records: &mut Vec<u8>, seq: u64, rows: &[u8]) {
    records.reserve(ROWS_RECORD_BYTES as usize + rows.len());
    records.put_u8(TAG_ROWS);
    records.put_u64_le(seq);
    records.put_u32_le(rows.len() as u32);
    records.put_slice(rows);
}

/// Reads the records of a group, which must fit its header.
pub fn parse_records(header: &GroupHeader, records: &Bytes) -> Result<Vec<Entry>, Fault> {
    if records.len() != header.record_bytes as usize {
        return Err(Fault::Short);
    }
    if crc32c::crc32c(records) != header.records_crc {
        return Err(Fault::Checksum);
    }
    let mut entries = Vec::new();
    let (mut left, mut payload_at) = (&records[..], 0);
    while left.has_remaining() {
        match left.get_u8() {
            TAG_END if left.iter().all(|byte| *byte == 0) => break,
            TAG_END => return Err(Fault::Field("something stands behind its last record")),
            TAG_PAYLOAD => {
                let length = left.try_get_u32_le().map_err(|_| Fault::Short)?;
                let crc = left.try_get_u32_le().map_err(|_| Fault::Short)?;
                entries.push(Entry::Payload { at: payload_at, length, crc });
                payload_at += u64::from(length);
            }
            TAG_ROWS => {
                let seq = left.try_get_u64_le().map_err(|_| Fault::Short)?;
                let length = left.try_get_u32_le().map_err(|_| Fault::Short)? as usize;
                if length > left.remaining() {
                    return Err(Fault::Short);
                }
                let at = records.len() - left.remaining();
                entries.push(Entry::Rows { seq, rows: at..at + length });
                left.advance(length);
            }
            _ => return Err(Fault::Field("a record has an unknown tag")),
        }
    }
    if payload_at != u64::from(header.payload_bytes) {
        return Err(Fault::Field("its records do not account for its payload"));
    }
    Ok(entries)
}

/// `bytes` rounded up to whole blocks.
pub fn round_up(bytes: u64, block: u64) -> u64 {
    bytes.div_ceil(block) * block
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> GroupHeader {
        GroupHeader {
            kind: GroupKind::Data,
            id: FileId { epoch: 7, number: 3 },
            start: Position(0x1122_3344),
            acknowledged: Position(0x1122_3000),
            last_seq: 99,
            rows_end: Position(0x1122_3400),
            previous: 2,
            next: 4,
            nonce: *b"0123456789abcdef",
            payload_bytes: 11,
            record_bytes: 40,
            records_crc: 0,
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.chunks(32).map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n").collect()
    }

    /// The files in `golden/` are what released programs have written: change the version, not them.
    fn assert_golden(name: &str, text: &str) {
        let path = std::path::Path::new("src/log/golden").join(name);
        if std::env::var_os("BALLAST_GOLDEN_WRITE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{}", path.display());
    }

    fn records() -> Vec<u8> {
        let mut records = Vec::new();
        put_payload_record(&mut records, 11, crc32c::crc32c(b"hello world"));
        put_rows_record(&mut records, 99, b"rows");
        records.resize(40, 0);
        records
    }

    #[test]
    fn the_bytes_of_version_1_do_not_change() {
        let id = FileId { epoch: 7, number: 3 };
        let previous = Some(FileId { epoch: 5, number: 12 });
        let file = FileHeader {
            id,
            epoch_start: Position(4096),
            previous,
            rows_end: Position(3072),
            rows_seq: 98,
            reused: false,
        }
        .encode();
        let records = records();
        let group = GroupHeader { records_crc: crc32c::crc32c(&records), ..header() }.encode();
        assert_golden("v1.hex", &format!("{}\n{}\n{}", hex(&file), hex(&group), hex(&records)));
    }

    #[test]
    fn a_flipped_bit_never_passes() {
        let id = FileId { epoch: 1, number: 2 };
        let (epoch_start, rows_end) = (Position(3), Position(2));
        let file = FileHeader { id, epoch_start, previous: None, rows_end, rows_seq: 9, reused: false }.encode();
        let records = records();
        let right = GroupHeader { records_crc: crc32c::crc32c(&records), ..header() };
        let group = right.encode();
        let flips = |bytes: &[u8], check: &dyn Fn(Vec<u8>) -> bool| {
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(check(flipped), "bit {bit}");
            }
        };
        flips(&file, &|bytes| FileHeader::decode(&bytes).is_err());
        flips(&group, &|bytes| GroupHeader::decode(&bytes).is_err());
        flips(&records, &|bytes| parse_records(&right, &Bytes::from(bytes)).is_err());
    }

    #[test]
    fn another_version_is_refused_by_its_number() {
        let mut bytes = header().encode();
        bytes[4] = 9;
        let crc = crc32c::crc32c(&bytes[..100]);
        bytes[100..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(GroupHeader::decode(&bytes), Err(Fault::Version(9)));
    }

    #[derive(Clone, Debug)]
    enum Item {
        Payload(u32, u32),
        Rows(u64, Vec<u8>),
    }

    fn item() -> impl Strategy<Value = Item> {
        prop_oneof![
            (0..10_000u32, any::<u32>()).prop_map(|(length, crc)| Item::Payload(length, crc)),
            (any::<u64>(), proptest::collection::vec(any::<u8>(), 0..50)).prop_map(|(seq, rows)| Item::Rows(seq, rows)),
        ]
    }

    proptest! {
        #[test]
        fn file_headers_come_back(epoch in 1u64.., number in 1u64.., start: u64, previous: Option<(u64, u64)>, reused: bool) {
            let previous = previous.map(|(epoch, number)| FileId { epoch: epoch | 1, number });
            let (id, rows_end) = (FileId { epoch, number }, Position(start / 2));
            let header = FileHeader { id, epoch_start: Position(start), previous, rows_end, rows_seq: epoch, reused };
            prop_assert_eq!(FileHeader::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn groups_come_back(items in proptest::collection::vec(item(), 0..20), seq: u64, padding in 0usize..600) {
            let (mut records, mut payload_bytes) = (Vec::new(), 0);
            for item in &items {
                match item {
                    Item::Payload(length, crc) => {
                        put_payload_record(&mut records, *length, *crc);
                        payload_bytes += length;
                    }
                    Item::Rows(seq, rows) => put_rows_record(&mut records, *seq, rows),
                }
            }
            records.resize(records.len() + padding, 0);
            let records = Bytes::from(records);
            let header = GroupHeader {
                last_seq: seq,
                payload_bytes,
                record_bytes: records.len() as u32,
                records_crc: crc32c::crc32c(&records),
                ..header()
            };
            let header = GroupHeader::decode(&header.encode()).unwrap();
            let back: Vec<Item> = parse_records(&header, &records).unwrap().into_iter().map(|entry| match entry {
                Entry::Payload { length, crc, .. } => Item::Payload(length, crc),
                Entry::Rows { seq, rows } => Item::Rows(seq, records[rows].to_vec()),
            }).collect();
            prop_assert_eq!(format!("{back:?}"), format!("{items:?}"));
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let records = Bytes::from(bytes);
            let header = GroupHeader { record_bytes: records.len() as u32, records_crc: crc32c::crc32c(&records), ..header() };
            let _ = parse_records(&header, &records);
            let _ = GroupHeader::decode(&records);
            let _ = FileHeader::decode(&records);
        }
    }
}
