//! Moves the payload of rows into fresh segments: the one way in which a pointer ever changes.
//!
//! Rows are replaced only if they still are what was read, so a writer always wins over a move. Cost: the
//! payload is read once and written once; a batch of rows is one transaction. What cannot be read stays where it is,
//! and the rows go on pointing there: neither is zeros in its place what was written, nor is it gone for good.

use super::{Inner, transaction};
use crate::pointer::Place;
use crate::{Error, Pointer, Result, Value, limits};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Moved {
    pub rows: u64,
    pub bytes: u64,
    /// Keys whose rows changed under the move: to be looked at again.
    pub changed: BTreeSet<Bytes>,
    /// Keys whose rows cannot be read, and why.
    pub unread: BTreeMap<Bytes, Error>,
}

/// What there is of a payload that is to be copied.
pub(crate) enum ToCopy {
    Bytes(Bytes),
    Moved,
    /// It cannot be read, and its place stays: [`Settling::leave`](super::settle::Settling::leave).
    Unreadable,
}

/// Moves what the rows of these keys have in `wanted` places. Neighbouring keys lie together afterwards.
pub(crate) async fn move_rows(
    inner: &Arc<Inner>,
    keys: impl IntoIterator<Item = Bytes>,
    wanted: &(dyn Fn(Place) -> bool + Send + Sync),
) -> Result<Moved> {
    let mut moved = Moved::default();
    let mut batch: Vec<(Bytes, Value)> = Vec::new();
    let mut bytes = 0;
    for key in keys {
        let value = match inner.get(&key).await {
            Err(error @ Error::Corrupt(_)) => {
                moved.unread.insert(key, error);
                continue;
            }
            found => found?,
        };
        let Some(value) = value else { continue };
        let size: usize =
            value.pointers.iter().filter(|pointer| wanted(pointer.place)).map(|pointer| pointer.length as usize).sum();
        if !value.pointers.iter().any(|pointer| wanted(pointer.place)) {
            continue;
        }
        batch.push((key, value));
        bytes += size;
        if bytes >= limits::SETTLE_BYTES || batch.len() >= limits::SETTLE_ROWS {
            move_batch(inner, std::mem::take(&mut batch), wanted, &mut moved).await?;
            bytes = 0;
        }
    }
    move_batch(inner, batch, wanted, &mut moved).await?;
    Ok(moved)
}

/// Reads payloads, many at a time where they are far away. All of them lie in memory.
pub(crate) async fn read_to_copy(inner: &Inner, pointers: &[Pointer]) -> Result<Vec<ToCopy>> {
    let reads: Vec<_> = pointers.iter().map(|pointer| read_one(inner, pointer)).collect();
    stream::iter(reads).buffered(inner.log().reads_at_once()).try_collect().await
}

async fn read_one(inner: &Inner, pointer: &Pointer) -> Result<ToCopy> {
    match inner.read_to_copy(pointer).await {
        Err(Error::PayloadMoved) => Ok(ToCopy::Moved),
        Err(error @ Error::Corrupt(_)) => {
            inner.settling.leave(pointer.place, &error);
            Ok(ToCopy::Unreadable)
        }
        read => read.map(ToCopy::Bytes),
    }
}

async fn move_batch(
    inner: &Arc<Inner>,
    batch: Vec<(Bytes, Value)>,
    wanted: &(dyn Fn(Place) -> bool + Send + Sync),
    moved: &mut Moved,
) -> Result<()> {
    let of_row =
        |value: &Value| value.pointers.iter().filter(|pointer| wanted(pointer.place)).copied().collect::<Vec<_>>();
    let mut seen = HashSet::new();
    let mut pointers: Vec<Pointer> = batch.iter().flat_map(|(_, value)| of_row(value)).collect();
    pointers.retain(|pointer| seen.insert(*pointer));
    let read = read_to_copy(inner, &pointers).await?;
    let mut payloads: Vec<(u32, Bytes)> = Vec::new();
    let mut index: HashMap<Pointer, usize> = HashMap::new();
    let mut gone = HashSet::new();
    for (pointer, read) in pointers.into_iter().zip(read) {
        match read {
            ToCopy::Bytes(bytes) => {
                index.insert(pointer, payloads.len());
                payloads.push((pointer.crc, bytes));
            }
            ToCopy::Moved => drop(gone.insert(pointer)),
            ToCopy::Unreadable => {}
        }
    }
    let has_changed = |(_, value): &(Bytes, Value)| of_row(value).iter().any(|pointer| gone.contains(pointer));
    let (changed, mut rows): (Vec<_>, Vec<_>) = batch.into_iter().partition(has_changed);
    moved.changed.extend(changed.into_iter().map(|(key, _)| key));
    rows.retain(|(_, value)| of_row(value).iter().any(|pointer| index.contains_key(pointer)));
    if rows.is_empty() {
        return Ok(());
    }
    let bytes: usize = payloads.iter().map(|(_, bytes)| bytes.len()).sum();
    let written = inner.segments.write_again(payloads).await?;
    let count = rows.len() as u64;
    let replacements = rows.into_iter().map(|(key, old)| {
        let mut new = old.clone();
        for pointer in &mut new.pointers {
            if let Some(at) = index.get(pointer) {
                *pointer = written[*at].pointer;
            }
        }
        (key, old, new)
    });
    let changed = transaction::replace_unchanged(inner, replacements.collect()).await?;
    moved.rows += count - changed.len() as u64;
    moved.bytes += bytes as u64;
    moved.changed.extend(changed);
    Ok(())
}
