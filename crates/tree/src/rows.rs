//! Reads of the tree's rows, typed: of the live volume, of a cut or of a snapshot.

use crate::{Entry, Error, Inode, Result, keys, limits};
use ballast_store::{KeyRange, Read, Row};
use ballast_types::{Ino, Name};
use bytes::Bytes;

/// `Stale` if it is gone.
pub async fn inode(reader: &dyn Read, ino: Ino) -> Result<Inode> {
    let value = reader.get(&keys::inode::key(ino)).await?.ok_or(Error::Stale(ino))?;
    // A copy: what the index returns may be a piece of a large block, which a cached inode would keep.
    keys::inode::decode_for(ino, Bytes::copy_from_slice(&value.bytes))
}

pub async fn entry(reader: &dyn Read, parent: Ino, name: &Name) -> Result<Option<Entry>> {
    let key = keys::entry::key(parent, name);
    let value = reader.get(&key).await?;
    value.map(|value| Ok(keys::entry::decode(&key, value.bytes)?.1)).transpose()
}

/// Up to `entries_max` entries of a directory behind the name `after`, in the order of their names.
pub async fn entries(reader: &dyn Read, parent: Ino, after: Option<&Name>, entries_max: usize) -> Result<Vec<Entry>> {
    let all = keys::entry::of(parent);
    let range = after.map_or(all.clone(), |name| all.after(&keys::entry::key(parent, name)));
    let mut found = Vec::new();
    let mut scan = reader.scan(range).await?;
    while found.len() < entries_max {
        let rows = scan.next(limits::SCAN_ROWS.min(entries_max - found.len())).await?;
        if rows.is_empty() {
            break;
        }
        for Row { key, value } in rows {
            found.push(keys::entry::decode(&key, value.bytes)?.1);
        }
    }
    Ok(found)
}

pub async fn attribute(reader: &dyn Read, ino: Ino, name: &[u8]) -> Result<Option<Bytes>> {
    let key = keys::attribute::key(ino, name);
    let value = reader.get(&key).await?;
    value.map(|value| keys::attribute::decode(&key, value.bytes)).transpose()
}

/// The names of an inode's attributes.
pub async fn attribute_names(reader: &dyn Read, ino: Ino) -> Result<Vec<Bytes>> {
    let mut names = Vec::new();
    each(reader, keys::attribute::of(ino), |row| {
        names.push(keys::attribute::decode_key(&row.key)?.1);
        Ok(())
    })
    .await?;
    Ok(names)
}

/// The names of an inode that has several.
pub async fn links(reader: &dyn Read, ino: Ino) -> Result<Vec<(Ino, Name)>> {
    let mut names = Vec::new();
    each(reader, keys::link::of(ino), |row| {
        let (_, parent, name) = keys::link::decode(&row.key, &row.value.bytes)?;
        names.push((parent, name));
        Ok(())
    })
    .await?;
    Ok(names)
}

/// Calls `visit` with every row of a range.
pub async fn each(reader: &dyn Read, range: KeyRange, mut visit: impl FnMut(Row) -> Result<()> + Send) -> Result<()> {
    let mut scan = reader.scan(range).await?;
    loop {
        let rows = scan.next(limits::SCAN_ROWS).await?;
        if rows.is_empty() {
            return Ok(());
        }
        rows.into_iter().try_for_each(&mut visit)?;
    }
}
