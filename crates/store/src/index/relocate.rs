//! Moves the payload of rows into fresh segments: the one way in which a pointer ever changes.
//!
//! Rows are replaced only if they still are what was read, so a writer always wins over a move. Cost: the
//! payload is read once and written once; a batch of rows is one transaction.

use super::{Inner, transaction};
use crate::pointer::Place;
use crate::{Error, Pointer, Result, Value, limits};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Moved {
    pub rows: u64,
    pub bytes: u64,
    /// Keys whose rows changed under the move: to be looked at again.
    pub changed: BTreeSet<Bytes>,
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
        let Some(value) = inner.get(&key).await? else { continue };
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

/// Reads payloads, many at a time where they are far away; `None` for what has moved. All of them lie in memory.
pub(crate) async fn read_to_copy(inner: &Inner, pointers: &[Pointer]) -> Result<Vec<Option<Bytes>>> {
    let reads: Vec<_> = pointers.iter().map(|pointer| inner.read_to_copy(pointer)).collect();
    let read = stream::iter(reads).buffered(inner.log().reads_at_once()).map(|read| match read {
        Err(Error::PayloadMoved) => Ok(None),
        read => read.map(Some),
    });
    read.try_collect().await
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
    for (pointer, bytes) in pointers.into_iter().zip(read) {
        if let Some(bytes) = bytes {
            index.insert(pointer, payloads.len());
            payloads.push((pointer.crc, bytes));
        }
    }
    let is_read = |(_, value): &(Bytes, Value)| of_row(value).iter().all(|pointer| index.contains_key(pointer));
    let (rows, gone): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_read);
    moved.changed.extend(gone.into_iter().map(|(key, _)| key));
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
