//! `Attribute: ino, name` → the value of an extended attribute. Value: version u8 = 1, value to the end.

use super::{corrupt, ino_and_rest, or_corrupt};
use crate::Result;
use ballast_store::{KeyRange, Space};
use ballast_types::Ino;
use bytes::{Buf, BufMut, Bytes, BytesMut};

const VERSION: u8 = 1;

pub fn key(ino: Ino, name: &[u8]) -> Bytes {
    Space::Attribute.key(&[&ino.to_key(), name])
}

/// All attributes of an inode, in the order of their names.
pub fn of(ino: Ino) -> KeyRange {
    Space::Attribute.range(&[&ino.to_key()])
}

pub fn all() -> KeyRange {
    Space::Attribute.range(&[])
}

pub fn encode(value: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + value.len());
    out.put_u8(VERSION);
    out.put_slice(value);
    out.freeze()
}

/// The inode and the name.
pub fn decode_key(key: &Bytes) -> Result<(Ino, Bytes)> {
    or_corrupt(ino_and_rest(key), "the key of an attribute", key)
}

pub fn decode(key: &[u8], mut value: Bytes) -> Result<Bytes> {
    if value.first() != Some(&VERSION) {
        return Err(corrupt("an attribute", key));
    }
    value.advance(1);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_attribute_comes_back_as_it_was_written(ino: u64, name: Vec<u8>, value: Vec<u8>) {
            let key = key(Ino(ino), &name);
            prop_assert_eq!(decode_key(&key).unwrap(), (Ino(ino), Bytes::from(name)));
            prop_assert_eq!(decode(&key, encode(&value)).unwrap(), Bytes::from(value));
        }
    }

    #[test]
    fn the_bytes_of_an_attribute_never_change() {
        assert_eq!(&key(Ino(1), b"user.a")[..], b"\x12\0\0\0\0\0\0\0\x01user.a");
        assert_eq!(&encode(b"v")[..], b"\x01v");
        assert!(decode(b"k", Bytes::new()).is_err(), "an empty value has no version");
    }
}
