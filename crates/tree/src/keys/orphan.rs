//! `Orphan: ino` → an inode without a name that still has content. Value: version u8 = 1, kind u8.

use super::{ino_and_rest, or_corrupt};
use crate::Result;
use ballast_store::{KeyRange, Space};
use ballast_types::{Ino, Kind};
use bytes::Bytes;

const VERSION: u8 = 1;

pub fn key(ino: Ino) -> Bytes {
    Space::Orphan.key(&[&ino.to_key()])
}

pub fn all() -> KeyRange {
    Space::Orphan.range(&[])
}

pub fn encode(kind: Kind) -> Bytes {
    Bytes::copy_from_slice(&[VERSION, kind as u8])
}

pub fn decode(key: &Bytes, value: &Bytes) -> Result<(Ino, Kind)> {
    or_corrupt(parse(key, value), "an orphan", key)
}

fn parse(key: &Bytes, value: &Bytes) -> Option<(Ino, Kind)> {
    let (ino, rest) = ino_and_rest(key)?;
    match (rest.as_ref(), value.as_ref()) {
        ([], [VERSION, kind]) => Some((ino, Kind::from_u8(*kind)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::inode::tests::any_kind;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_orphan_comes_back_as_it_was_written(ino: u64, kind in any_kind()) {
            prop_assert_eq!(decode(&key(Ino(ino)), &encode(kind)).unwrap(), (Ino(ino), kind));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(key: Vec<u8>, value: Vec<u8>) {
            let _ = decode(&key.into(), &value.into());
        }
    }

    #[test]
    fn the_bytes_of_an_orphan_never_change() {
        assert_eq!(&key(Ino(1))[..], b"\x13\0\0\0\0\0\0\0\x01");
        assert_eq!(&encode(Kind::Stream)[..], b"\x01\x04");
    }
}
