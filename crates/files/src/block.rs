//! The record of a block: which payload holds which of its bytes.
//!
//! A file is cut into blocks of [`BLOCK_BYTES`]. The row of a block lists its pieces, in order and without
//! overlap; what no piece covers is zero. Several pieces may lie in one payload.
//!
//! Persisted as: version (1 byte, 1), number of pieces (1 byte), then per piece start in the block (u32), length
//! (u32), offset in the payload (u32) and index of its pointer in the row's value (u8), little endian.

use crate::limits::{BLOCK_BYTES, PIECES_MAX};
use crate::{Error, Result};
use ballast_store::{Pointer, Space, Value};
use ballast_types::Ino;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use smallvec::SmallVec;
use std::ops::Range;

const VERSION: u8 = 1;
const PIECE_LEN: usize = 13;

/// Some consecutive bytes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub start: u32,
    pub length: u32,
    pub pointer: Pointer,
    /// Bytes of the payload before the first one of the piece.
    pub offset: u32,
}

impl Piece {
    pub fn end(&self) -> u32 {
        self.start + self.length
    }

    /// The part of the piece that lies in `range`, which must touch it.
    pub fn slice(&self, range: &Range<u32>) -> Self {
        let start = self.start.max(range.start);
        let end = self.end().min(range.end);
        Self { start, length: end - start, offset: self.offset + (start - self.start), ..*self }
    }
}

/// The pieces of one block, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pieces: Vec<Piece>,
}

impl Block {
    pub fn key(ino: Ino, number: u64) -> Bytes {
        Space::Block.key(&[&ino.to_key(), &number.to_be_bytes()])
    }

    /// The number of the block in a key of [`Block::key`].
    pub fn number_of(key: &[u8]) -> Result<u64> {
        let tail = key.get(1 + Ino::KEY_LEN..).and_then(|tail| tail.try_into().ok());
        tail.map(u64::from_be_bytes).ok_or_else(|| Error::Corrupt(format!("a block's key has {} bytes", key.len())))
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes of the block that are stored.
    pub fn allocated(&self) -> u64 {
        self.pieces.iter().map(|piece| u64::from(piece.length)).sum()
    }

    /// Removes the bytes in `range`.
    pub fn clear(&mut self, range: Range<u32>) {
        if range.is_empty() || !self.pieces.iter().any(|piece| piece.start < range.end && piece.end() > range.start) {
            return;
        }
        let mut kept = Vec::with_capacity(self.pieces.len() + 1);
        for piece in &self.pieces {
            if piece.start < range.start {
                kept.push(piece.slice(&(0..range.start)));
            }
            if piece.end() > range.end {
                kept.push(piece.slice(&(range.end..u32::MAX)));
            }
        }
        // A piece that ends before the range, or starts behind it, was pushed once and whole.
        self.pieces = kept;
    }

    /// Puts a piece in place of whatever was there.
    pub fn put(&mut self, piece: Piece) {
        self.clear(piece.start..piece.end());
        let at = self.pieces.partition_point(|other| other.start < piece.start);
        self.pieces.insert(at, piece);
    }

    /// The row's value. `fresh` is the payload appended for this row, if any: its pointer goes first.
    pub fn encode(&self, fresh: Option<&Pointer>) -> (Bytes, SmallVec<[Pointer; 1]>) {
        assert!(self.pieces.len() <= PIECES_MAX, "callers rewrite a block before it has too many pieces");
        let mut pointers: SmallVec<[Pointer; 1]> = SmallVec::new();
        pointers.extend(fresh.filter(|fresh| self.pieces.iter().any(|piece| piece.pointer == **fresh)).copied());
        let mut bytes = BytesMut::with_capacity(2 + self.pieces.len() * PIECE_LEN);
        bytes.put_u8(VERSION);
        bytes.put_u8(u8::try_from(self.pieces.len()).expect("there are at most 32 pieces"));
        for piece in &self.pieces {
            let known = pointers.iter().position(|pointer| *pointer == piece.pointer);
            let index = known.unwrap_or_else(|| {
                pointers.push(piece.pointer);
                pointers.len() - 1
            });
            bytes.put_u32_le(piece.start);
            bytes.put_u32_le(piece.length);
            bytes.put_u32_le(piece.offset);
            bytes.put_u8(u8::try_from(index).expect("there are at most as many pointers as pieces"));
        }
        (bytes.freeze(), pointers)
    }

    pub fn decode(value: &Value) -> Result<Self> {
        let corrupt = |what: &str| Error::Corrupt(format!("the row of a block: {what}"));
        let mut bytes = value.bytes.as_ref();
        if bytes.len() < 2 {
            return Err(corrupt("too short"));
        }
        let version = bytes.get_u8();
        if version != VERSION {
            return Err(corrupt(&format!("version {version} is unknown")));
        }
        let count = usize::from(bytes.get_u8());
        if count > PIECES_MAX || bytes.len() != count * PIECE_LEN {
            return Err(corrupt(&format!("{} bytes for {count} pieces", bytes.len())));
        }
        let mut pieces: Vec<Piece> = Vec::with_capacity(count);
        for _ in 0..count {
            let (start, length, offset) = (bytes.get_u32_le(), bytes.get_u32_le(), bytes.get_u32_le());
            let pointer = value.pointers.get(usize::from(bytes.get_u8())).ok_or_else(|| corrupt("no such pointer"))?;
            let end = u64::from(start) + u64::from(length);
            let before = pieces.last().map_or(0, Piece::end);
            let payload_end = u64::from(offset) + u64::from(length);
            if length == 0 || end > BLOCK_BYTES || start < before || payload_end > u64::from(pointer.length) {
                return Err(corrupt("a piece lies where none can be"));
            }
            pieces.push(Piece { start, length, pointer: *pointer, offset });
        }
        Ok(Self { pieces })
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
