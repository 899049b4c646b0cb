//! A group while it gathers, and a group that waits to be written.
//!
//! Large payload is not copied: the group keeps the caller's own buffers and hands them to the vectored write.
//! Small parts are copied together, because a part costs more than its bytes then.

use super::format::{
    self, FileId, GROUP_HEADER_BYTES, GroupHeader, GroupKind, PAYLOAD_RECORD_BYTES, ROWS_RECORD_BYTES, round_up,
};
use crate::{Position, limits};
use bytes::{BufMut, Bytes, BytesMut};
use std::io::IoSlice;

/// The group that records are put into.
#[derive(Debug)]
pub struct OpenGroup {
    pub id: FileId,
    /// The position of its header, and where that lies in the file.
    pub start: Position,
    pub offset: u64,
    payload: Pieces,
    records: Vec<u8>,
    has_rows: bool,
    /// Of the last rows in this group or before it.
    last_seq: u64,
    /// End of the last group before this one that has rows.
    rows_before: Position,
}

impl OpenGroup {
    pub fn new(id: FileId, start: Position, offset: u64, (rows_before, last_seq): (Position, u64)) -> Self {
        let (payload, records) = (Pieces::default(), Vec::new());
        Self { id, start, offset, payload, records, has_rows: false, last_seq, rows_before }
    }

    /// End and sequence number of the last rows before this group: what its successor is made with, too, if it
    /// stays empty.
    pub fn rows_before(&self) -> (Position, u64) {
        (self.rows_before, self.last_seq)
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn has_rows(&self) -> bool {
        self.has_rows
    }

    /// Bytes so far, with the header; 0 while it is empty.
    pub fn byte_len(&self) -> u64 {
        if self.is_empty() { 0 } else { GROUP_HEADER_BYTES + self.payload.bytes + self.records.len() as u64 }
    }

    /// The end of what has been put in so far. It grows with every record, and the group's own end is no less.
    /// The end of an empty group is its start: nobody may wait for a header that is never written.
    pub fn end(&self) -> Position {
        Position(self.start.0 + self.byte_len())
    }

    /// Adds payload; the offset of its first byte in the file.
    pub fn push_payload(&mut self, parts: &[Bytes], length: u32, crc: u32) -> u64 {
        let at = self.payload.bytes;
        parts.iter().for_each(|part| self.payload.push(part));
        format::put_payload_record(&mut self.records, length, crc);
        self.offset + GROUP_HEADER_BYTES + at
    }

    pub fn push_rows(&mut self, seq: u64, rows: &[u8]) {
        format::put_rows_record(&mut self.records, seq, rows);
        self.has_rows = true;
        self.last_seq = self.last_seq.max(seq);
    }

    /// Bytes that one more record would take, at most.
    pub fn more_bytes(&self, payload_bytes: u64, rows_bytes: u64) -> u64 {
        let header = if self.is_empty() { GROUP_HEADER_BYTES } else { 0 };
        header + payload_bytes + rows_bytes + PAYLOAD_RECORD_BYTES.max(ROWS_RECORD_BYTES)
    }

    /// Payload that was put in, by its offset in the file.
    pub fn payload(&mut self, offset: u64, length: u32) -> Option<Bytes> {
        self.payload.close_small();
        payload_of(&self.payload, self.offset, offset, length)
    }

    /// The finished group, whose end lies at a block of its file.
    pub fn seal(mut self, kind: GroupKind, block: u64) -> Group {
        self.payload.close_small();
        let bytes = GROUP_HEADER_BYTES + self.payload.bytes + self.records.len() as u64;
        let padding = round_up(self.offset + bytes, block) - (self.offset + bytes);
        self.records.resize(self.records.len() + padding as usize, 0);
        let end = Position(self.start.0 + bytes + padding);
        Group {
            kind,
            id: self.id,
            start: self.start,
            end,
            offset: self.offset,
            payload: self.payload,
            records: Bytes::from(self.records),
            rows_end: if self.has_rows { end } else { self.rows_before },
            last_seq: self.last_seq,
        }
    }
}

/// A group that takes no more records.
#[derive(Debug)]
pub struct Group {
    pub kind: GroupKind,
    pub id: FileId,
    pub start: Position,
    pub end: Position,
    pub offset: u64,
    payload: Pieces,
    records: Bytes,
    /// End of the last group with rows: this one, or one before.
    pub rows_end: Position,
    pub last_seq: u64,
}

/// What a header needs beyond its group.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    pub acknowledged: Position,
    pub nonce: [u8; 16],
    pub previous: u64,
    pub next: u64,
}

impl Group {
    pub fn byte_len(&self) -> u64 {
        self.end.0 - self.start.0
    }

    pub fn header(&self, writer: Writer) -> GroupHeader {
        GroupHeader {
            kind: self.kind,
            id: self.id,
            start: self.start,
            acknowledged: writer.acknowledged,
            last_seq: self.last_seq,
            rows_end: self.rows_end,
            previous: writer.previous,
            next: writer.next,
            nonce: writer.nonce,
            payload_bytes: self.payload.bytes as u32,
            record_bytes: self.records.len() as u32,
            records_crc: crc32c::crc32c(&self.records),
        }
    }

    /// Everything behind the header, in the order of the file.
    pub fn body(&self) -> impl Iterator<Item = &Bytes> {
        self.payload.pieces.iter().map(|(_, piece)| piece).chain([&self.records])
    }

    /// The whole group as parts of one write.
    pub fn slices<'a>(&'a self, header: &'a [u8]) -> Vec<IoSlice<'a>> {
        let mut slices = Vec::with_capacity(self.payload.pieces.len() + 2);
        slices.push(IoSlice::new(header));
        slices.extend(self.body().map(|piece| IoSlice::new(piece)));
        slices
    }

    pub fn payload(&self, offset: u64, length: u32) -> Option<Bytes> {
        payload_of(&self.payload, self.offset, offset, length)
    }
}

fn payload_of(pieces: &Pieces, group_offset: u64, offset: u64, length: u32) -> Option<Bytes> {
    let at = offset.checked_sub(group_offset + GROUP_HEADER_BYTES)?;
    (at + u64::from(length) <= pieces.bytes).then(|| pieces.read(at, length as usize))
}

/// Payload in the order of the file.
#[derive(Debug, Default)]
struct Pieces {
    /// Where each piece starts in the payload.
    pieces: Vec<(u64, Bytes)>,
    /// Small parts that are still being copied together; they end the payload.
    small: BytesMut,
    bytes: u64,
}

impl Pieces {
    fn push(&mut self, part: &Bytes) {
        if part.is_empty() {
            return;
        }
        if part.len() < limits::LOG_COPY_BYTES_MAX {
            self.small.put_slice(part);
        } else {
            self.close_small();
            self.pieces.push((self.bytes, part.clone()));
        }
        self.bytes += part.len() as u64;
    }

    fn close_small(&mut self) {
        if !self.small.is_empty() {
            let at = self.bytes - self.small.len() as u64;
            self.pieces.push((at, self.small.split().freeze()));
        }
    }

    /// The bytes from `at`, which must be there.
    fn read(&self, at: u64, length: usize) -> Bytes {
        let first = self.pieces.partition_point(|(start, _)| *start <= at).saturating_sub(1);
        let mut from = (at - self.pieces.get(first).map_or(0, |(start, _)| *start)) as usize;
        match self.pieces.get(first) {
            Some((_, piece)) if piece.len() - from >= length => return piece.slice(from..from + length),
            _ => {}
        }
        let mut bytes = BytesMut::with_capacity(length);
        for (_, piece) in &self.pieces[first..] {
            let take = (piece.len() - from).min(length - bytes.len());
            bytes.put_slice(&piece[from..from + take]);
            from = 0;
            if bytes.len() == length {
                break;
            }
        }
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_end_of_an_empty_group_is_its_start() {
        let group = OpenGroup::new(FileId::default(), Position(512), 512, Default::default());
        assert_eq!(group.end(), Position(512));
    }

    proptest! {
        #[test]
        fn payload_is_read_from_memory_as_it_will_stand_in_the_file(
            payloads in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![0usize..20, 4000..5000usize], 0..4), 0..12)
        ) {
            let mut group = OpenGroup::new(FileId::default(), Position(1000), 512, Default::default());
            let mut written = Vec::new();
            for (i, parts) in payloads.iter().enumerate() {
                let parts: Vec<Bytes> = parts.iter().map(|length| Bytes::from(vec![i as u8; *length])).collect();
                let whole = parts.concat();
                let offset = group.push_payload(&parts, whole.len() as u32, crc32c::crc32c(&whole));
                written.push((offset, whole));
                let (offset, whole) = &written[i / 2];
                prop_assert_eq!(group.payload(*offset, whole.len() as u32).unwrap(), whole);
            }
            group.push_rows(5, b"rows");
            let grown = group.byte_len();
            let group = group.seal(GroupKind::Data, 512);
            prop_assert_eq!(group.byte_len() % 512, 0);
            prop_assert!(group.byte_len() >= grown && group.byte_len() < grown + 512);
            let writer = Writer { acknowledged: Position(1000), nonce: [0; 16], previous: 0, next: 0 };
            let header = group.header(writer).encode();
            let file: Vec<u8> = group.slices(&header).iter().flat_map(|slice| slice.to_vec()).collect();
            prop_assert_eq!(file.len() as u64, group.byte_len());
            for (offset, whole) in &written {
                let at = (*offset - 512) as usize;
                prop_assert_eq!(&file[at..at + whole.len()], &whole[..]);
                prop_assert_eq!(group.payload(*offset, whole.len() as u32).unwrap(), whole);
            }
        }
    }
}
