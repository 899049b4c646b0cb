//! The few shapes that the records are made of.

use bytes::{Buf, BufMut, Bytes};

pub fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Small for small values of either sign.
pub fn put_signed(out: &mut impl BufMut, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub fn take_u8(from: &mut Bytes) -> Option<u8> {
    from.has_remaining().then(|| from.get_u8())
}

pub fn take_u16(from: &mut Bytes) -> Option<u16> {
    (from.remaining() >= 2).then(|| from.get_u16_le())
}

pub fn take_u64(from: &mut Bytes) -> Option<u64> {
    (from.remaining() >= 8).then(|| from.get_u64_le())
}

pub fn take_varint(from: &mut Bytes) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take_u8(from)?;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit only.
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

pub fn take_u32(from: &mut Bytes) -> Option<u32> {
    u32::try_from(take_varint(from)?).ok()
}

pub fn take_signed(from: &mut Bytes) -> Option<i64> {
    let value = take_varint(from)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

pub fn take_bytes(from: &mut Bytes, length: usize) -> Option<Bytes> {
    (from.len() >= length).then(|| from.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_come_back_as_they_were(unsigned: u64, signed: i64) {
            let mut out = BytesMut::new();
            put_varint(&mut out, unsigned);
            put_signed(&mut out, signed);
            let mut bytes = out.freeze();
            prop_assert_eq!(take_varint(&mut bytes), Some(unsigned));
            prop_assert_eq!(take_signed(&mut bytes), Some(signed));
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(junk: Vec<u8>) {
            let _ = take_varint(&mut Bytes::from(junk.clone()));
            let _ = take_signed(&mut Bytes::from(junk));
        }
    }

    #[test]
    fn the_extremes_take_one_and_ten_bytes() {
        let length = |value| {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            out.len()
        };
        assert_eq!((length(0), length(127), length(128), length(u64::MAX)), (1, 1, 2, 10));
        assert_eq!(take_varint(&mut Bytes::from_static(&[0xff; 10])), None, "more than 64 bits");
    }
}
