//! How a row's value lies in the index: the pointers, then the engine's bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | format: 0 without pointers, 1 with |
//! | varint | (format 1) number of pointers |
//! | each | place: 1 log, 2 segment; varints epoch, number, offset, length; CRC32C, 4 bytes little endian |
//! | rest | the engine's bytes |
//!
//! The store sees the pointers of every row this way, and can move payload without knowing an engine.

use crate::codec::{Reader, put_varint};
use crate::pointer::Place;
use crate::{Pointer, Result, Value, limits};
use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

const PLAIN: u8 = 0;
const WITH_POINTERS: u8 = 1;

const PLACE_LOG: u8 = 1;
const PLACE_SEGMENT: u8 = 2;

pub(crate) fn encode(value: &Value) -> Bytes {
    let mut out = BytesMut::with_capacity(size_hint(value));
    put(value, &mut out);
    out.freeze()
}

/// Bytes that an encoded value takes, nearly.
pub(crate) fn size_hint(value: &Value) -> usize {
    1 + value.bytes.len() + 24 * value.pointers.len()
}

pub(crate) fn put(value: &Value, out: &mut impl BufMut) {
    if value.pointers.is_empty() {
        out.put_u8(PLAIN);
    } else {
        out.put_u8(WITH_POINTERS);
        put_varint(out, value.pointers.len() as u64);
        value.pointers.iter().for_each(|pointer| put_pointer(pointer, out));
    }
    out.put_slice(&value.bytes);
}

pub(crate) fn decode(bytes: Bytes) -> Result<Value> {
    let mut reader = Reader::new(bytes, "the value of a row");
    let pointers = match reader.u8()? {
        PLAIN => SmallVec::new(),
        WITH_POINTERS => {
            let count = reader.length()?;
            if count > limits::POINTERS_MAX {
                return Err(reader.corrupt("too many pointers"));
            }
            (0..count).map(|_| decode_pointer(&mut reader)).collect::<Result<_>>()?
        }
        format => return Err(reader.corrupt(&format!("unknown format {format}"))),
    };
    Ok(Value { bytes: reader.rest(), pointers })
}

/// The pointers alone: what replay and settling look for.
pub(crate) fn decode_pointers(bytes: &Bytes) -> Result<SmallVec<[Pointer; 1]>> {
    if bytes.first() == Some(&PLAIN) {
        return Ok(SmallVec::new());
    }
    decode(bytes.clone()).map(|value| value.pointers)
}

fn put_pointer(pointer: &Pointer, out: &mut impl BufMut) {
    let (place, epoch, number) = match pointer.place {
        Place::Log { epoch, number } => (PLACE_LOG, epoch, number),
        Place::Segment { epoch, number } => (PLACE_SEGMENT, epoch, number),
    };
    out.put_u8(place);
    for number in [epoch, number, pointer.offset, u64::from(pointer.length)] {
        put_varint(out, number);
    }
    out.put_u32_le(pointer.crc);
}

fn decode_pointer(reader: &mut Reader) -> Result<Pointer> {
    let place = reader.u8()?;
    let (epoch, number, offset) = (reader.varint()?, reader.varint()?, reader.varint()?);
    let place = match place {
        PLACE_LOG => Place::Log { epoch, number },
        PLACE_SEGMENT => Place::Segment { epoch, number },
        other => return Err(reader.corrupt(&format!("unknown place {other}"))),
    };
    let length = u32::try_from(reader.varint()?).map_err(|_| reader.corrupt("a payload is too long"))?;
    Ok(Pointer { place, offset, length, crc: reader.u32()? })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn any_pointer() -> impl Strategy<Value = Pointer> {
        (any::<bool>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>()).prop_map(
            |(log, epoch, number, offset, length, crc)| {
                let place = if log { Place::Log { epoch, number } } else { Place::Segment { epoch, number } };
                Pointer { place, offset, length, crc }
            },
        )
    }

    proptest! {
        #[test]
        fn a_value_reads_back_as_it_was_written(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            pointers in proptest::collection::vec(any_pointer(), 0..5),
        ) {
            let value = Value { bytes: bytes.into(), pointers: pointers.into() };
            prop_assert_eq!(decode(encode(&value)).unwrap(), value.clone());
            prop_assert_eq!(decode_pointers(&encode(&value)).unwrap(), value.pointers);
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(bytes.into());
        }
    }

    #[test]
    fn the_format_is_the_one_on_disk() {
        let plain = Value::from(Bytes::from_static(b"xy"));
        assert_eq!(encode(&plain).as_ref(), b"\x00xy");
        let place = Place::Log { epoch: 3, number: 300 };
        let log = Pointer { place, offset: 5, length: 128, crc: 0x0102_0304 };
        let segment = Pointer { place: Place::Segment { epoch: 1, number: 2 }, offset: 0, length: 1, crc: 0 };
        let value = Value { bytes: Bytes::from_static(b"z"), pointers: [log, segment].into_iter().collect() };
        let golden = b"\x01\x02\x01\x03\xac\x02\x05\x80\x01\x04\x03\x02\x01\x02\x01\x02\x00\x01\x00\x00\x00\x00z";
        assert_eq!(encode(&value).as_ref(), golden);
    }
}
