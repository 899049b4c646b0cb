//! `Link: ino, parent ino, name` → nothing: one of the names of an inode that has several.
//!
//! These rows exist only while an inode has two names or more. They tell which name is left when the others
//! are gone, so that the path of a file with one name is always known. Value: version u8 = 1.

use super::{ino_and_rest, or_corrupt};
use crate::Result;
use ballast_store::{KeyRange, Space};
use ballast_types::{Ino, Name};
use bytes::Bytes;

pub const VALUE: Bytes = Bytes::from_static(&[1]);

pub fn key(ino: Ino, parent: Ino, name: &Name) -> Bytes {
    Space::Link.key(&[&ino.to_key(), &parent.to_key(), name.as_bytes()])
}

/// All names of an inode that has several.
pub fn of(ino: Ino) -> KeyRange {
    Space::Link.range(&[&ino.to_key()])
}

pub fn all() -> KeyRange {
    Space::Link.range(&[])
}

/// The inode, and the directory and name that lead to it.
pub fn decode(key: &Bytes, value: &Bytes) -> Result<(Ino, Ino, Name)> {
    or_corrupt(parse(key, value), "a link", key)
}

fn parse(key: &Bytes, value: &Bytes) -> Option<(Ino, Ino, Name)> {
    let (ino, rest) = ino_and_rest(key)?;
    let parent = Ino::from_key(&rest)?;
    let name = Name::new(rest.slice(Ino::KEY_LEN..)).ok()?;
    (*value == VALUE).then_some((ino, parent, name))
}

#[cfg(test)]
mod tests {
    use super::super::inode::tests::any_name;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_link_comes_back_as_it_was_written(ino: u64, parent: u64, name in any_name()) {
            let row = decode(&key(Ino(ino), Ino(parent), &name), &VALUE).unwrap();
            prop_assert_eq!(row, (Ino(ino), Ino(parent), name));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(key: Vec<u8>, value: Vec<u8>) {
            let _ = decode(&key.into(), &value.into());
        }
    }

    #[test]
    fn the_bytes_of_a_link_never_change() {
        let name = "ab".parse().unwrap();
        assert_eq!(&key(Ino(3), Ino(1), &name)[..], b"\x15\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x01ab");
        assert_eq!(&VALUE[..], b"\x01");
    }
}
