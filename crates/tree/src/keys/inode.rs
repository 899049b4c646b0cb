//! `Inode: ino` → the inode.
//!
//! ```text
//! version u8 = 1, kind u8, mode u16, uid, gid, links varints, btime i64,
//! mtime - btime, ctime - mtime, atime - mtime signed varints, size, rdev, attributes varints,
//! parent varint (0: none), then if there is one: length of the name u8, name,
//! descriptor to the end
//! ```
//! A fresh file with a name of ten bytes takes about 35 bytes.

use super::wire::{
    put_signed, put_varint, take_bytes, take_signed, take_u8, take_u16, take_u32, take_u64, take_varint,
};
use super::{corrupt, ino_and_rest, or_corrupt};
use crate::{Inode, Result};
use ballast_store::{KeyRange, Space};
use ballast_types::{Ino, Kind, Name, Timestamp};
use bytes::{BufMut, Bytes, BytesMut};

const VERSION: u8 = 1;

pub fn key(ino: Ino) -> Bytes {
    Space::Inode.key(&[&ino.to_key()])
}

pub fn all() -> KeyRange {
    Space::Inode.range(&[])
}

pub fn encode(inode: &Inode) -> Bytes {
    let mut out = BytesMut::with_capacity(48 + inode.descriptor.len());
    out.put_u8(VERSION);
    out.put_u8(inode.kind as u8);
    out.put_u16_le(inode.mode as u16);
    put_varint(&mut out, inode.uid.into());
    put_varint(&mut out, inode.gid.into());
    put_varint(&mut out, inode.links.into());
    out.put_i64_le(inode.btime.0);
    put_signed(&mut out, inode.mtime.0.wrapping_sub(inode.btime.0));
    put_signed(&mut out, inode.ctime.0.wrapping_sub(inode.mtime.0));
    put_signed(&mut out, inode.atime.0.wrapping_sub(inode.mtime.0));
    put_varint(&mut out, inode.size);
    put_varint(&mut out, inode.rdev.into());
    put_varint(&mut out, inode.attributes.into());
    match &inode.parent {
        None => put_varint(&mut out, 0),
        Some((parent, name)) => {
            put_varint(&mut out, parent.0);
            out.put_u8(u8::try_from(name.as_bytes().len()).expect("a name has at most 255 bytes"));
            out.put_slice(name.as_bytes());
        }
    }
    out.put_slice(&inode.descriptor);
    out.freeze()
}

pub fn decode(key: &Bytes, value: Bytes) -> Result<Inode> {
    let (ino, rest) = or_corrupt(ino_and_rest(key), "the key of an inode", key)?;
    if !rest.is_empty() {
        return Err(corrupt("the key of an inode", key));
    }
    decode_for(ino, value)
}

/// Decodes the value of the inode with this number.
pub fn decode_for(ino: Ino, value: Bytes) -> Result<Inode> {
    or_corrupt(parse(ino, value), "an inode", &key(ino))
}

fn parse(ino: Ino, mut value: Bytes) -> Option<Inode> {
    let from = &mut value;
    if take_u8(from)? != VERSION {
        return None;
    }
    let kind = Kind::from_u8(take_u8(from)?)?;
    let mode = u32::from(take_u16(from)?);
    let (uid, gid, links) = (take_u32(from)?, take_u32(from)?, take_u32(from)?);
    let btime = take_u64(from)? as i64;
    let mtime = btime.wrapping_add(take_signed(from)?);
    let ctime = mtime.wrapping_add(take_signed(from)?);
    let atime = mtime.wrapping_add(take_signed(from)?);
    let (size, rdev, attributes) = (take_varint(from)?, take_u32(from)?, take_u32(from)?);
    let parent = match take_varint(from)? {
        0 => None,
        parent => {
            let length = take_u8(from)?;
            Some((Ino(parent), Name::new(take_bytes(from, length.into())?).ok()?))
        }
    };
    let [atime, mtime, ctime, btime] = [atime, mtime, ctime, btime].map(Timestamp);
    let descriptor = value;
    Some(Inode {
        ino,
        kind,
        mode,
        uid,
        gid,
        links,
        size,
        atime,
        mtime,
        ctime,
        btime,
        rdev,
        attributes,
        parent,
        descriptor,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn any_kind() -> impl Strategy<Value = Kind> {
        (1u8..=9).prop_map(|tag| Kind::from_u8(tag).unwrap())
    }

    pub fn any_name() -> impl Strategy<Value = Name> {
        proptest::collection::vec(any::<u8>(), 1..=255).prop_filter_map("a legal name", |bytes| Name::new(bytes).ok())
    }

    prop_compose! {
        fn any_inode()(
            kind in any_kind(), mode in 0u32..=0o7777, ids: (u32, u32, u32), size: u64, times: [i64; 4],
            rdev: u32, attributes: u32, parent in proptest::option::of((1u64.., any_name())), descriptor: Vec<u8>,
        ) -> Inode {
            let [atime, mtime, ctime, btime] = times.map(Timestamp);
            Inode {
                ino: Ino(7), kind, mode, uid: ids.0, gid: ids.1, links: ids.2, size, atime, mtime, ctime, btime, rdev,
                attributes, parent: parent.map(|(ino, name)| (Ino(ino), name)), descriptor: descriptor.into(),
            }
        }
    }

    proptest! {
        #[test]
        fn an_inode_comes_back_as_it_was_written(inode in any_inode()) {
            prop_assert_eq!(decode(&key(inode.ino), encode(&inode)).unwrap(), inode);
        }

        #[test]
        fn a_cut_inode_is_corrupt_or_shorter_but_never_a_panic(inode in any_inode(), cut: prop::sample::Index) {
            let bytes = encode(&inode);
            let _ = decode_for(inode.ino, bytes.slice(..cut.index(bytes.len())));
        }
    }

    #[test]
    fn the_bytes_of_an_inode_never_change() {
        let inode = Inode {
            ino: Ino(258),
            kind: Kind::File,
            mode: 0o644,
            uid: 1000,
            gid: 100,
            links: 1,
            size: 300,
            atime: Timestamp(1_700_000_000_000_000_001),
            mtime: Timestamp(1_700_000_000_000_000_000),
            ctime: Timestamp(1_700_000_000_000_000_000),
            btime: Timestamp(1_700_000_000_000_000_000),
            rdev: 0,
            attributes: 2,
            parent: Some((Ino(1), "ab".parse().unwrap())),
            descriptor: Bytes::from_static(b"d"),
        };
        assert_eq!(&key(inode.ino)[..], b"\x10\0\0\0\0\0\0\x01\x02");
        let golden =
            b"\x01\x02\xa4\x01\xe8\x07\x64\x01\x00\x00*6\xfe\x9c\x97\x17\x00\x00\x02\xac\x02\x00\x02\x01\x02abd";
        let encoded = encode(&inode);
        assert_eq!(encoded.escape_ascii().to_string(), golden.escape_ascii().to_string());
        assert_eq!(decode(&key(inode.ino), Bytes::from_static(golden)).unwrap(), inode);
    }

    #[test]
    fn an_unknown_version_is_corrupt() {
        let error = decode_for(Ino(1), Bytes::from_static(b"\x02")).unwrap_err();
        assert_eq!(error.kind(), ballast_types::ErrorKind::Corrupt);
    }
}
