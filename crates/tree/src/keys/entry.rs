//! `Entry: parent ino, name` → the inode of a name. Value: version u8 = 1, kind u8, ino varint.

use super::wire::{put_varint, take_u8, take_varint};
use super::{ino_and_name, or_corrupt};
use crate::{Entry, Result};
use ballast_store::{KeyRange, Space};
use ballast_types::{Ino, Kind, Name};
use bytes::{BufMut, Bytes, BytesMut};

const VERSION: u8 = 1;

pub fn key(parent: Ino, name: &Name) -> Bytes {
    Space::Entry.key(&[&parent.to_key(), name.as_bytes()])
}

/// All entries of a directory, in the order of their names.
pub fn of(parent: Ino) -> KeyRange {
    Space::Entry.range(&[&parent.to_key()])
}

pub fn all() -> KeyRange {
    Space::Entry.range(&[])
}

pub fn encode(entry: &Entry) -> Bytes {
    let mut out = BytesMut::with_capacity(12);
    out.put_u8(VERSION);
    out.put_u8(entry.kind as u8);
    put_varint(&mut out, entry.ino.0);
    out.freeze()
}

/// The directory and its entry.
pub fn decode(key: &Bytes, value: Bytes) -> Result<(Ino, Entry)> {
    let (parent, name) = or_corrupt(ino_and_name(key), "the key of a directory entry", key)?;
    let (kind, ino) = or_corrupt(parse(value), "a directory entry", key)?;
    Ok((parent, Entry { name, ino, kind }))
}

fn parse(mut value: Bytes) -> Option<(Kind, Ino)> {
    if take_u8(&mut value)? != VERSION {
        return None;
    }
    let found = (Kind::from_u8(take_u8(&mut value)?)?, Ino(take_varint(&mut value)?));
    value.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::super::inode::tests::{any_kind, any_name};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_entry_comes_back_as_it_was_written(parent: u64, ino: u64, name in any_name(), kind in any_kind()) {
            let entry = Entry { name, ino: Ino(ino), kind };
            let row = decode(&key(Ino(parent), &entry.name), encode(&entry)).unwrap();
            prop_assert_eq!(row, (Ino(parent), entry));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(key: Vec<u8>, value: Vec<u8>) {
            let _ = decode(&key.into(), value.into());
        }
    }

    #[test]
    fn the_bytes_of_an_entry_never_change() {
        let entry = Entry { name: "ab".parse().unwrap(), ino: Ino(300), kind: Kind::Table };
        assert_eq!(&key(Ino(1), &entry.name)[..], b"\x11\0\0\0\0\0\0\0\x01ab");
        assert_eq!(&encode(&entry)[..], b"\x01\x05\xac\x02");
    }
}
