//! Listing a directory with the inodes in it.
//!
//! A read of the index costs as much as several rows of a scan, and inodes of one directory often have numbers
//! in a row. So the missing ones are read by few scans. The scans take no locks; what may have changed since
//! is read again, one by one.

use crate::tree::Inner;
use crate::{Entry, Error, Inode, Result, keys, limits, rows};
use ballast_store::{KeyRange, Row};
use ballast_types::{Call, Ino, Name};
use std::collections::HashMap;
use std::sync::Arc;

pub async fn list_inodes(
    tree: &Arc<Inner>,
    call: &Call,
    ino: Ino,
    after: Option<&Name>,
    entries_max: usize,
) -> Result<Vec<(Entry, Arc<Inode>)>> {
    let entries = tree.list_page(call, ino, after, entries_max).await?;
    let mut scanned = scan_missing(tree, &entries).await?;
    let mut found = Vec::with_capacity(entries.len());
    for entry in entries {
        let inode = match scanned.remove(&entry.ino) {
            Some(inode) => Ok(inode),
            None => tree.inode(entry.ino).await,
        };
        match inode {
            Ok(inode) => found.push((entry, inode)),
            // Removed since the entries were read.
            Err(Error::Stale(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Reads what is not in the cache, as far as that is done well by scans.
async fn scan_missing(tree: &Inner, entries: &[Entry]) -> Result<HashMap<Ino, Arc<Inode>>> {
    let missing = entries.iter().map(|entry| entry.ino).filter(|ino| tree.cache.inode(*ino).is_none());
    let mut missing: Vec<Ino> = missing.collect();
    missing.sort_unstable();
    let mut found = HashMap::new();
    let moment = tree.cache.moment();
    for run in missing.chunk_by(|one, next| next.0 - one.0 <= limits::SCAN_GAP_MAX) {
        let [first, .., last] = run else { continue };
        if run.len() < limits::SCAN_RUN_MIN {
            continue;
        }
        let range = KeyRange::new(keys::inode::key(*first), keys::inode::key(Ino(last.0 + 1)));
        rows::each(tree.reader(), range, |Row { key, value }| {
            let mut inode = keys::inode::decode(&key, bytes::Bytes::copy_from_slice(&value.bytes))?;
            if run.binary_search(&inode.ino).is_ok() {
                tree.touched.lay_over(&mut inode);
                let inode = Arc::new(inode);
                if tree.cache.put_unchanged(&inode, &moment) {
                    found.insert(inode.ino, inode);
                }
            }
            Ok(())
        })
        .await?;
    }
    Ok(found)
}
