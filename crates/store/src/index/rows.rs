//! How the rows of a commit, or of several that were combined, lie in a record of the log.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | format: 1 |
//! | 8 | creation time of the commit, milliseconds, little endian |
//! | varint | number of rows |
//! | each | 1 put or 2 delete; varint length of the key; key; of a put: varint length of the value; value |
//!
//! The record's sequence number and checksum are the log's. Replay needs nothing else back, because no row
//! of ours expires or merges.

use crate::codec::{Reader, put_varint};
use crate::log::Record;
use crate::{Error, Result};
use slatedb::{RowEntry, ValueDeletable};

const FORMAT: u8 = 1;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// Appends the encoded rows to `out`.
pub(crate) fn encode(rows: &[RowEntry], out: &mut Vec<u8>) -> Result<()> {
    out.push(FORMAT);
    let created = rows.first().and_then(|row| row.create_ts).unwrap_or_default();
    out.extend_from_slice(&created.to_le_bytes());
    put_varint(out, rows.len() as u64);
    for row in rows {
        let value = match &row.value {
            ValueDeletable::Value(value) => Some(value),
            ValueDeletable::Tombstone => None,
            ValueDeletable::Merge(_) => return Err(Error::Unsupported("rows of ours never merge".into())),
        };
        if row.expire_ts.is_some() {
            return Err(Error::Unsupported("rows of ours never expire".into()));
        }
        out.push(if value.is_some() { PUT } else { DELETE });
        put_varint(out, row.key.len() as u64);
        out.extend_from_slice(&row.key);
        if let Some(value) = value {
            put_varint(out, value.len() as u64);
            out.extend_from_slice(value);
        }
    }
    Ok(())
}

pub(crate) fn decode(record: &Record) -> Result<Vec<RowEntry>> {
    let mut reader = Reader::new(record.rows.clone(), "a record of the log");
    let format = reader.u8()?;
    if format != FORMAT {
        return Err(reader.corrupt(&format!("unknown format {format}")));
    }
    let created = reader.u64()? as i64;
    let count = reader.length()?;
    let mut rows = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        let kind = reader.u8()?;
        let length = reader.length()?;
        let key = reader.take(length)?;
        let value = match kind {
            PUT => {
                let length = reader.length()?;
                ValueDeletable::Value(reader.take(length)?)
            }
            DELETE => ValueDeletable::Tombstone,
            other => return Err(reader.corrupt(&format!("unknown kind of row {other}"))),
        };
        rows.push(RowEntry { key, value, seq: record.seq, create_ts: Some(created), expire_ts: None });
    }
    reader.end()?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn row(seq: u64, created: i64, key: Vec<u8>, value: Option<Vec<u8>>) -> RowEntry {
        let value = value.map_or(ValueDeletable::Tombstone, |value| ValueDeletable::Value(value.into()));
        RowEntry { key: key.into(), value, seq, create_ts: Some(created), expire_ts: None }
    }

    fn record(seq: u64, rows: Vec<u8>) -> Record {
        Record { seq, rows: rows.into(), group_end: Position(0) }
    }

    proptest! {
        #[test]
        fn rows_read_back_as_they_were_written(
            seq in any::<u64>(),
            created in any::<i64>(),
            rows in proptest::collection::vec((any::<Vec<u8>>(), any::<Option<Vec<u8>>>()), 1..8),
        ) {
            let rows: Vec<_> = rows.into_iter().map(|(key, value)| row(seq, created, key, value)).collect();
            let mut out = Vec::new();
            encode(&rows, &mut out).unwrap();
            prop_assert_eq!(decode(&record(seq, out)).unwrap(), rows);
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&record(1, bytes));
        }
    }

    #[test]
    fn the_format_is_the_one_on_disk() {
        let rows = [row(9, 1, b"k".to_vec(), Some(b"vw".to_vec())), row(9, 1, b"d".to_vec(), None)];
        let mut out = Vec::new();
        encode(&rows, &mut out).unwrap();
        assert_eq!(Bytes::from(out).as_ref(), b"\x01\x01\0\0\0\0\0\0\0\x02\x01\x01k\x02vw\x02\x01d");
    }
}
