//! Counters of the engine, by name: format 1 and a number.

use super::Reader;
use crate::Result;
use ballast_store::Space;
use bytes::{BufMut, Bytes, BytesMut};

const FORMAT: u8 = 1;

/// The first producer id that no block has reserved yet.
pub(crate) fn producer_id_key() -> Bytes {
    Space::StreamCounter.key(&[b"producer-id"])
}

pub(crate) fn encode(number: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.put_u8(FORMAT);
    out.put_u64(number);
    out.freeze()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<u64> {
    let mut reader = Reader::open(bytes, "stream counter", FORMAT)?;
    let number = reader.u64()?;
    reader.end()?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_format_1() {
        assert_eq!(encode(258).as_ref(), b"\x01\0\0\0\0\0\0\x01\x02");
        assert_eq!(decode(&encode(u64::MAX)).expect("it was just encoded"), u64::MAX);
    }
}
