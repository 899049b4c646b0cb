//! The pages of an index object: how its bytes lie in the bucket.
//!
//! The magic `BLSTIDX1` and the content, one behind the other, are cut into pieces of 4,092 bytes; the last one may be
//! shorter, and is never empty. Each piece is followed by its checksum, so that page `n` stands at byte 4096 `n`:
//!
//! | bytes | what |
//! |---|---|
//! | 1 to 4092 | a piece |
//! | 4 | CRC32C, little endian, of: the object's name in the bucket; the page's number, 8 bytes little endian; 1 if it is the last page, else 0; the piece |
//!
//! So a page that is damaged, that belongs elsewhere, or behind which something is missing or stands, is named. The
//! size of an object tells that of its content.

use bytes::Bytes;
use object_store::path::Path;
use std::ops::Range;

pub const PAGE_BYTES: u64 = 4096;

/// The last digit is the version of the format.
const MAGIC: &[u8; 8] = b"BLSTIDX1";
const MAGIC_BYTES: u64 = MAGIC.len() as u64;
const CHECKSUM_BYTES: u64 = 4;
const PIECE_BYTES: u64 = PAGE_BYTES - CHECKSUM_BYTES;

/// Stored bytes that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}, the page at byte {offset}: {what}")]
pub struct Damage {
    pub object: Path,
    pub offset: u64,
    pub what: &'static str,
}

/// Bytes of content in an object of this size; `None` if no object has it.
pub fn content_bytes(stored: u64) -> Option<u64> {
    let pages = stored.div_ceil(PAGE_BYTES);
    let before_last = pages.checked_sub(1)? * PAGE_BYTES;
    if stored - before_last <= CHECKSUM_BYTES {
        return None;
    }
    (stored - pages * CHECKSUM_BYTES).checked_sub(MAGIC_BYTES)
}

/// Where the pages lie that hold this content.
pub fn stored_range(content: Range<u64>) -> Range<u64> {
    let start = content.start.saturating_add(MAGIC_BYTES) / PIECE_BYTES;
    let end = content.end.saturating_add(MAGIC_BYTES).div_ceil(PIECE_BYTES);
    start.saturating_mul(PAGE_BYTES)..end.saturating_mul(PAGE_BYTES)
}

/// At least so many stored bytes at the end of an object hold so many bytes of content at its end.
pub fn stored_suffix(content: u64) -> u64 {
    content.div_ceil(PIECE_BYTES).saturating_add(2).saturating_mul(PAGE_BYTES)
}

fn checksum(object: u32, number: u64, is_last: bool, piece: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c_append(object, &number.to_le_bytes()), &[u8::from(is_last)]);
    crc32c::crc32c_append(place, piece)
}

/// Cuts content into pages.
#[derive(Debug)]
pub struct Writer {
    object: u32,
    number: u64,
    /// The piece that is not full yet, or behind which nothing has come yet.
    piece: Vec<u8>,
}

impl Writer {
    pub fn new(object: &Path) -> Self {
        Self { object: crc32c::crc32c(object.as_ref().as_bytes()), number: 0, piece: MAGIC.to_vec() }
    }

    /// Appends the pages that are complete now.
    pub fn push(&mut self, mut content: &[u8], pages: &mut Vec<u8>) {
        while !content.is_empty() {
            if self.piece.len() as u64 == PIECE_BYTES {
                self.seal(false, pages);
            }
            let room = PIECE_BYTES as usize - self.piece.len();
            let (now, later) = content.split_at(content.len().min(room));
            self.piece.extend_from_slice(now);
            content = later;
        }
    }

    /// Appends the last page.
    pub fn finish(mut self, pages: &mut Vec<u8>) {
        self.seal(true, pages);
    }

    fn seal(&mut self, is_last: bool, pages: &mut Vec<u8>) {
        let checksum = checksum(self.object, self.number, is_last, &self.piece);
        pages.append(&mut self.piece);
        pages.extend_from_slice(&checksum.to_le_bytes());
        self.number += 1;
    }
}

/// Some whole pages of an object, as they were read.
pub struct Pages<'a> {
    pub object: &'a Path,
    /// Bytes of the whole object.
    pub stored: u64,
    /// Where in it the first of these pages begins.
    pub at: u64,
    pub bytes: Bytes,
}

impl Pages<'_> {
    /// Every page that is not what was written.
    pub fn damages(&self) -> impl Iterator<Item = Damage> {
        let object = crc32c::crc32c(self.object.as_ref().as_bytes());
        self.bytes.chunks(PAGE_BYTES as usize).zip(self.at / PAGE_BYTES..).filter_map(move |(page, number)| {
            let offset = number * PAGE_BYTES;
            let is_last = offset + PAGE_BYTES >= self.stored;
            let sound = page.split_last_chunk().is_some_and(|(piece, stored)| {
                !piece.is_empty() && checksum(object, number, is_last, piece) == u32::from_le_bytes(*stored)
            });
            let what = match sound {
                false => "its checksum is wrong",
                true if number == 0 && !page.starts_with(MAGIC) => "its format is unknown",
                true => return None,
            };
            Some(Damage { object: self.object.clone(), offset, what })
        })
    }

    /// The part of the content in this range, without a copy.
    pub fn content(&self, range: Range<u64>) -> Vec<Bytes> {
        let (start, end) = (range.start + MAGIC_BYTES, range.end + MAGIC_BYTES);
        let first = self.at / PAGE_BYTES;
        let pages = self.bytes.chunks(PAGE_BYTES as usize).zip(first..);
        let within = pages.map(|(page, number)| {
            let piece = number * PIECE_BYTES..number * PIECE_BYTES + (page.len() as u64).saturating_sub(CHECKSUM_BYTES);
            let (from, to) = (start.max(piece.start), end.min(piece.end));
            let at = (number - first) * PAGE_BYTES;
            let slice = |from: u64, to: u64| self.bytes.slice((at + from) as usize..(at + to) as usize);
            if from < to { slice(from - piece.start, to - piece.start) } else { Bytes::new() }
        });
        within.filter(|slice| !slice.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(object: &Path, content: &[u8]) -> Bytes {
        let (mut writer, mut pages) = (Writer::new(object), Vec::new());
        writer.push(content, &mut pages);
        writer.finish(&mut pages);
        pages.into()
    }

    fn damages(object: &Path, bytes: &[u8]) -> Vec<Damage> {
        let bytes = Bytes::copy_from_slice(bytes);
        Pages { object, stored: bytes.len() as u64, at: 0, bytes }.damages().collect()
    }

    #[test]
    fn the_format_does_not_change() {
        let object = Path::from("volumes/0/index/manifest/1.manifest");
        let golden = b"BLSTIDX1content\x8b\x9a\x65\x20";
        assert_eq!(write(&object, b"content"), golden.as_slice());
        let two = write(&object, &[7; 4085]);
        assert_eq!(two.len(), 4096 + 5);
        assert_eq!(two[4092..], *b"\xac\x8d\x8c\x23\x07\x2c\x2f\x2e\x5c");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let object = Path::from("a");
        for bytes in [0, 1, 4083, 4084, 4085, 9000] {
            let good = write(&object, &vec![0x5a; bytes]);
            assert_eq!(damages(&object, &good), []);
            for at in 0..good.len() {
                let mut bad = good.to_vec();
                bad[at] ^= 1 << (at % 8);
                let found = damages(&object, &bad);
                let offset = at as u64 / PAGE_BYTES * PAGE_BYTES;
                assert_eq!(found.iter().map(|damage| damage.offset).collect::<Vec<_>>(), [offset], "byte {at}");
                let cut = &good[..at];
                let is_found = content_bytes(at as u64).is_none() || !damages(&object, cut).is_empty();
                assert!(is_found, "{bytes} bytes cut at {at}");
            }
        }
    }

    #[test]
    fn a_page_of_another_object_or_place_and_what_is_no_object_at_all_are_found() {
        let (one, other) = (Path::from("a"), Path::from("b"));
        let good = write(&one, &[1; 9000]);
        assert_eq!(damages(&other, &good).len(), 3);
        let swapped = [&good[..4096], &good[8192..], &good[4096..8192]].concat();
        assert_eq!(damages(&one, &swapped).len(), 2);
        let longer = [&good[..], b"more"].concat();
        assert_eq!(damages(&one, &longer).len(), 1);
        assert_eq!(damages(&one, b"a raw manifest").len(), 1);
    }

    proptest! {
        #[test]
        fn any_range_comes_back(length in 0_u64..13_000, start in 0_u64..13_000, bytes in 0_u64..13_000, cut in 1_usize..9000) {
            let object = Path::from("a");
            let content: Vec<u8> = (0..length).map(|at| (at * 7 / 3) as u8).collect();
            let (mut writer, mut stored) = (Writer::new(&object), Vec::new());
            content.chunks(cut).for_each(|chunk| writer.push(chunk, &mut stored));
            writer.finish(&mut stored);
            let size = stored.len() as u64;
            prop_assert_eq!(content_bytes(size), Some(length));
            let start = start.min(length);
            let range = start..(start + bytes).min(length);
            let read = stored_range(range.clone());
            let read = read.start.min(size)..read.end.min(size);
            let bytes = Bytes::copy_from_slice(&stored[read.start as usize..read.end as usize]);
            let pages = Pages { object: &object, stored: size, at: read.start, bytes };
            prop_assert_eq!(pages.damages().next(), None);
            prop_assert_eq!(pages.content(range.clone()).concat(), &content[range.start as usize..range.end as usize]);
        }

        #[test]
        fn any_size_has_one_content_or_none(stored in 0_u64..1 << 40) {
            if let Some(content) = content_bytes(stored) {
                let range = stored_range(0..content);
                prop_assert!(range.start == 0 && range.end >= stored && range.end - stored < PAGE_BYTES);
                prop_assert!(content_bytes(stored - 1).is_none_or(|less| less + 1 == content));
            }
        }
    }
}
