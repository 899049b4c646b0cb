//! Records of a stream as JSON, and lines as a record batch: Kafka's format 2, uncompressed.
//!
//! A batch has a header of 61 bytes (see `ballast_streams::batch`); a record is its length, attributes, and the
//! deltas of time and offset, key, value and headers, all numbers as zigzag varints.

use ballast_api::time;
use ballast_streams::batch::{BatchHeader, HEADER_LEN};
use ballast_types::Timestamp;
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json};

/// Bytes that a record takes beside its value, at most.
pub const RECORD_OVERHEAD: usize = 32;

/// Where the CRC begins to count.
const CRC_START: usize = 21;

/// A record batch with one record for each value.
pub fn batch(values: &[Bytes], now_ms: i64) -> Bytes {
    let count = i32::try_from(values.len()).expect("an append has fewer lines than 2^31");
    let mut out = BytesMut::new();
    // Base offset and length, epoch, format, CRC: the last ones are known at the end.
    out.put_i64(0);
    out.put_i32(0);
    out.put_i32(-1);
    out.put_u8(2);
    out.put_u32(0);
    out.put_i16(0);
    out.put_i32(count - 1);
    out.put_i64(now_ms);
    out.put_i64(now_ms);
    // No producer: neither id, epoch nor sequence.
    out.put_i64(-1);
    out.put_i16(-1);
    out.put_i32(-1);
    out.put_i32(count);
    for (delta, value) in values.iter().enumerate() {
        let mut record = BytesMut::with_capacity(value.len() + RECORD_OVERHEAD);
        record.put_u8(0);
        put_varint(&mut record, 0);
        put_varint(&mut record, i64::try_from(delta).expect("it is below the count"));
        put_varint(&mut record, -1);
        put_varint(&mut record, i64::try_from(value.len()).expect("a value is in memory"));
        record.put_slice(value);
        put_varint(&mut record, 0);
        put_varint(&mut out, i64::try_from(record.len()).expect("a record is in memory"));
        out.put_slice(&record);
    }
    let length = i32::try_from(out.len() - 12).expect("appends are bounded");
    out[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&out[CRC_START..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out.freeze()
}

/// Adds a line of JSON for each record from offset `first` on; the offset behind the last batch.
pub fn describe(mut batches: &[u8], partition: u32, first: i64, text: &mut String) -> i64 {
    let mut next = first;
    while let Ok(header) = BatchHeader::parse(batches) {
        let (batch, rest) = batches.split_at(header.length);
        batches = rest;
        next = header.last_offset() + 1;
        for line in lines(&header, &batch[HEADER_LEN..], partition, first) {
            text.push_str(&Value::Object(line).to_string());
            text.push('\n');
        }
    }
    next
}

fn lines(header: &BatchHeader, mut records: &[u8], partition: u32, first: i64) -> Vec<Map<String, Value>> {
    let line = |offset: i64, millis: i64| {
        let mut line = Map::new();
        line.insert("partition".to_owned(), partition.into());
        line.insert("offset".to_owned(), offset.into());
        line.insert("time".to_owned(), time::format(Timestamp::from_millis(millis)).into());
        line
    };
    // Where the stream stamps records, all of a batch have the time of its append, whatever they say themselves.
    let appended = header.is_log_append_time().then_some(header.max_timestamp);
    if header.compression() != 0 {
        // Streams keep batches as producers compress them; only their consumers unpack them.
        let mut line = line(header.base_offset, appended.unwrap_or(header.base_timestamp));
        line.insert("compressed_records".to_owned(), header.records.into());
        return vec![line];
    }
    let mut found = Vec::new();
    for _ in 0..header.records {
        let Some(record) = Record::next(&mut records) else { break };
        // Producers send what they like.
        let offset = header.base_offset.saturating_add(record.offset_delta);
        if offset >= first {
            let time = appended.unwrap_or_else(|| header.base_timestamp.saturating_add(record.time_delta));
            let mut line = line(offset, time);
            line.insert("key".to_owned(), shown(record.key));
            line.insert("value".to_owned(), shown(record.value));
            found.push(line);
        }
    }
    found
}

/// Text as it is, other bytes in hexadecimal digits.
fn shown(bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() }),
    }
}

struct Record<'a> {
    time_delta: i64,
    offset_delta: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// The first record of `bytes`, which then begin behind it.
    fn next(bytes: &mut &'a [u8]) -> Option<Self> {
        let length = usize::try_from(varint(bytes)?).ok()?;
        let (mut record, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        record = record.get(1..)?;
        let (time_delta, offset_delta) = (varint(&mut record)?, varint(&mut record)?);
        let (key, value) = (field(&mut record)?, field(&mut record)?);
        Some(Self { time_delta, offset_delta, key, value })
    }
}

/// A length and so many bytes; a negative length is none.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Ok(length) = usize::try_from(varint(bytes)?) else { return Some(None) };
    let (field, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(Some(field))
}

fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    out.put_u8(u8::try_from(rest).expect("below 0x80"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use ballast_streams::testing::BatchBuilder;

    fn described(values: &[&'static [u8]], first: i64) -> (String, i64) {
        let values: Vec<Bytes> = values.iter().map(|value| Bytes::from_static(value)).collect();
        let mut text = String::new();
        let next = describe(&batch(&values, 1_000), 3, first, &mut text);
        (text, next)
    }

    #[test]
    fn lines_come_back_as_records() {
        let (text, next) = described(&[b"a \"quoted\" line", b""], 0);
        assert_eq!(next, 2);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let time = "1970-01-01T00:00:01.000000000Z";
        let first = json!({"partition": 3, "offset": 0, "time": time, "key": null, "value": "a \"quoted\" line"});
        assert_eq!(lines, [first, json!({"partition": 3, "offset": 1, "time": time, "key": null, "value": ""})]);
    }

    #[test]
    fn what_is_no_text_is_shown_in_digits() {
        let (text, _) = described(&[b"\xff\x00"], 0);
        assert!(text.contains(r#""value":{"hex":"ff00"}"#), "{text}");
    }

    #[test]
    fn records_before_the_first_offset_are_left_out() {
        let (text, next) = described(&[b"a", b"b", b"c"], 2);
        assert_eq!((text.lines().count(), next), (1, 3));
    }

    #[test]
    fn the_time_of_a_record_is_that_of_its_append_where_the_stream_stamps_it() {
        for compression in [0, 1] {
            let batch = BatchBuilder::new().timestamps(&[1_000]).attributes(8 | compression);
            let mut text = String::new();
            describe(&batch.max_timestamp(5_000).build(), 0, 0, &mut text);
            assert!(text.contains(r#""time":"1970-01-01T00:00:05.000000000Z""#), "{text}");
        }
    }

    #[test]
    fn damaged_bytes_are_left_out() {
        let bytes = batch(&[Bytes::from_static(b"abc")], 1);
        for end in 0..bytes.len() {
            describe(&bytes[..end], 0, 0, &mut String::new());
        }
        let mut torn = bytes.to_vec();
        torn[HEADER_LEN] = 0xff;
        describe(&torn, 0, 0, &mut String::new());
    }
}
