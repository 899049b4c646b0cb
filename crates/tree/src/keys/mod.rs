//! The rows of the tree, one file per record type.
//!
//! | space | key | value | file |
//! |---|---|---|---|
//! | `Inode` | ino | attributes, parent and descriptor | [`inode`] |
//! | `Entry` | parent ino, name | ino and kind | [`entry`] |
//! | `Link` | ino, parent ino, name | nothing; only while the inode has several names | [`link`] |
//! | `Attribute` | ino, name | value | [`attribute`] |
//! | `Orphan` | ino | kind | [`orphan`] |
//! | `TreeCounter` | `"next-ino"` | the first number that is not reserved | [`counter`] |
//!
//! Every value starts with its version. A value that does not decode is reported as corrupt, never guessed at.
//! Integers are LEB128 varints where small ones are usual.

pub mod attribute;
pub mod counter;
pub mod entry;
pub mod inode;
pub mod link;
pub mod orphan;
mod wire;

use crate::{Error, Result};
use ballast_types::{Ino, Name};
use bytes::Bytes;

/// Reads `ino, name` behind the tag of a key.
fn ino_and_rest(key: &Bytes) -> Option<(Ino, Bytes)> {
    let ino = Ino::from_key(key.get(1..)?)?;
    Some((ino, key.slice(1 + Ino::KEY_LEN..)))
}

fn ino_and_name(key: &Bytes) -> Option<(Ino, Name)> {
    let (ino, rest) = ino_and_rest(key)?;
    Some((ino, Name::new(rest).ok()?))
}

fn corrupt(what: &str, key: &[u8]) -> Error {
    Error::corrupt(format!("{what} at key {}", key.escape_ascii()))
}

fn or_corrupt<T>(decoded: Option<T>, what: &str, key: &[u8]) -> Result<T> {
    decoded.ok_or_else(|| corrupt(what, key))
}
