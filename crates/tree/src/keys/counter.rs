//! `TreeCounter: "next-ino"` → the first inode number that is not reserved. Value: version u8 = 1, u64.

use super::or_corrupt;
use super::wire::{take_u8, take_u64};
use crate::Result;
use ballast_store::Space;
use bytes::{BufMut, Bytes, BytesMut};

const VERSION: u8 = 1;

pub fn key() -> Bytes {
    Space::TreeCounter.key(&[b"next-ino"])
}

pub fn encode(next: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.put_u8(VERSION);
    out.put_u64_le(next);
    out.freeze()
}

pub fn decode(value: Bytes) -> Result<u64> {
    or_corrupt(parse(value), "the counter of inode numbers", &key())
}

fn parse(mut value: Bytes) -> Option<u64> {
    if take_u8(&mut value)? != VERSION {
        return None;
    }
    let next = take_u64(&mut value)?;
    value.is_empty().then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_counter_comes_back_as_it_was_written(next: u64) {
            prop_assert_eq!(decode(encode(next)).unwrap(), next);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(junk: Vec<u8>) {
            let _ = decode(junk.into());
        }
    }

    #[test]
    fn the_bytes_of_a_counter_never_change() {
        assert_eq!(&key()[..], b"\x14next-ino");
        assert_eq!(&encode(4098)[..], b"\x01\x02\x10\0\0\0\0\0\0");
    }
}
