//! Every record that tables keep in a volume.
//!
//! | key | value | module |
//! |---|---|---|
//! | `TableSchema, ino, 0` | the schema with all layouts | [`schema`] |
//! | `TableSchema, ino, 1, generation` | nothing: rows of this generation are still to be removed | here |
//! | `TableRow, ino, generation, primary key` | the columns outside the key | [`primary`], [`row`] |

pub mod codec;
pub mod primary;
pub mod row;
pub mod schema;

use ballast_store::{KeyRange, Space};
use ballast_types::Ino;
use bytes::Bytes;

pub fn schema_key(ino: Ino) -> Bytes {
    Space::TableSchema.key(&[&ino.to_key(), &[0]])
}

/// All rows that describe the table.
pub fn schema_range(ino: Ino) -> KeyRange {
    Space::TableSchema.range(&[&ino.to_key()])
}

pub fn leftover_key(ino: Ino, generation: u32) -> Bytes {
    Space::TableSchema.key(&[&ino.to_key(), &[1], &generation.to_be_bytes()])
}

/// The inode and generation of a leftover's key.
pub fn leftover_from_key(key: &[u8]) -> Option<(Ino, u32)> {
    let ino = Ino::from_key(key.get(1..)?)?;
    let rest = key.get(1 + Ino::KEY_LEN..)?.strip_prefix(&[1])?;
    Some((ino, u32::from_be_bytes(rest.try_into().ok()?)))
}

/// What every row key of a table starts with: tag, inode, generation.
pub const ROW_PREFIX_LEN: usize = 1 + Ino::KEY_LEN + 4;

pub fn row_prefix(ino: Ino, generation: u32) -> [u8; ROW_PREFIX_LEN] {
    let mut prefix = [0; ROW_PREFIX_LEN];
    prefix[0] = Space::TableRow as u8;
    prefix[1..=Ino::KEY_LEN].copy_from_slice(&ino.to_key());
    prefix[1 + Ino::KEY_LEN..].copy_from_slice(&generation.to_be_bytes());
    prefix
}

/// All rows of one generation.
pub fn generation_range(ino: Ino, generation: u32) -> KeyRange {
    KeyRange::prefix(Bytes::copy_from_slice(&row_prefix(ino, generation)))
}

/// All rows of all generations.
pub fn table_range(ino: Ino) -> KeyRange {
    Space::TableRow.range(&[&ino.to_key()])
}
