//! Looks into the records of one batch: only to answer which record is the first of a given time.

use crate::batch::{BatchHeader, HEADER_LEN};

/// The largest timestamp of a batch as it came from its producer. Some leave the field unset: then it is that of the
/// records, and of a compressed batch that of the first.
pub(crate) fn max_timestamp(header: &BatchHeader, batch: &[u8]) -> i64 {
    if header.max_timestamp >= header.base_timestamp {
        return header.max_timestamp;
    }
    match header.compression() {
        0 => Records::of(header, batch).map(|record| record.time).max().unwrap_or(header.base_timestamp),
        _ => header.base_timestamp,
    }
}

/// The first record of the batch at `from` or behind that is as young as `timestamp`: offset and timestamp.
/// Of a compressed batch it is told from the header alone: its first record, which is never too late.
pub(crate) fn first_since(batch: &[u8], timestamp: i64, from: i64) -> Option<(i64, i64)> {
    let header = BatchHeader::parse(batch).ok()?;
    if header.is_log_append_time() {
        let found = (header.base_offset.max(from), header.max_timestamp);
        return (header.max_timestamp >= timestamp).then_some(found);
    }
    if header.compression() != 0 {
        let found = (header.base_offset.max(from), header.base_timestamp.max(timestamp));
        return (max_timestamp(&header, batch) >= timestamp).then_some(found);
    }
    let mut records = Records::of(&header, batch);
    let found = records.find(|record| record.time >= timestamp && record.offset >= from)?;
    Some((found.offset, found.time))
}

/// The largest timestamp of the records at `from` or behind; of a compressed batch, that of all of it.
pub(crate) fn newest_from(batch: &[u8], from: i64) -> Option<i64> {
    let header = BatchHeader::parse(batch).ok()?;
    if header.is_log_append_time() {
        return Some(header.max_timestamp);
    }
    if header.compression() != 0 {
        return Some(max_timestamp(&header, batch));
    }
    Records::of(&header, batch).filter(|record| record.offset >= from).map(|record| record.time).max()
}

struct Record {
    offset: i64,
    time: i64,
}

/// Walks uncompressed records, as far as they can be read: length, attributes, timestamp delta, offset delta, then what
/// is none of our business. Numbers are zigzag varints.
struct Records<'a> {
    header: &'a BatchHeader,
    left: i32,
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    fn of(header: &'a BatchHeader, batch: &'a [u8]) -> Self {
        Self { header, left: header.records, rest: batch.get(HEADER_LEN..header.length).unwrap_or_default() }
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.left = self.left.checked_sub(1).filter(|left| *left >= 0)?;
        let length = usize::try_from(varint(&mut self.rest)?).ok()?;
        let (mut record, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        record = record.get(1..)?;
        let (timestamp_delta, offset_delta) = (varint(&mut record)?, varint(&mut record)?);
        let time = self.header.base_timestamp.checked_add(timestamp_delta)?;
        Some(Record { offset: self.header.base_offset.checked_add(offset_delta)?, time })
    }
}

fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::BatchBuilder;

    #[test]
    fn the_first_record_of_a_time_is_found_inside_a_batch() {
        let batch = BatchBuilder::new().timestamps(&[10, 30, 20, 40]).build();
        assert_eq!(first_since(&batch, 5, 0), Some((0, 10)));
        assert_eq!(first_since(&batch, 15, 0), Some((1, 30)));
        assert_eq!(first_since(&batch, 15, 2), Some((2, 20)));
        assert_eq!(first_since(&batch, 31, 0), Some((3, 40)));
        assert_eq!(first_since(&batch, 41, 0), None);
    }

    #[test]
    fn the_newest_record_of_the_rest_of_a_batch_is_found() {
        let batch = BatchBuilder::new().timestamps(&[10, 30, 20, 25]).build();
        assert_eq!(
            (newest_from(&batch, 0), newest_from(&batch, 2), newest_from(&batch, 4)),
            (Some(30), Some(25), None)
        );
    }

    #[test]
    fn varints_are_zigzag() {
        for (bytes, number) in [(&b"\x00"[..], 0), (b"\x01", -1), (b"\x02", 1), (b"\xac\x02", 150)] {
            assert_eq!(varint(&mut &bytes[..]), Some(number));
        }
        assert_eq!(varint(&mut &b"\x80"[..]), None);
    }
}
