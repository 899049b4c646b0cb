//! What lies in a volume, for people who look into it.

use super::{IndexedVolume, rows};
use crate::log::LogFile;
use crate::pointer::Place;
use crate::{KeyRange, Pointer, Position, Read, Result, Row};
use slatedb::ValueDeletable;

/// One row of a record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRow {
    pub seq: u64,
    pub group_end: Position,
    pub key: bytes::Bytes,
    /// Bytes of the value; `None`: the row was deleted.
    pub value_bytes: Option<usize>,
    pub pointers: Vec<Pointer>,
}

impl IndexedVolume {
    pub fn log_files(&self) -> Vec<LogFile> {
        self.inner.log().files()
    }

    /// The rows that a file of the log holds, in the order of their commits.
    pub async fn logged_rows(&self, file: LogFile) -> Result<Vec<LoggedRow>> {
        let mut logged = Vec::new();
        for record in self.inner.log().read_records(file).await? {
            for row in rows::decode(&record)? {
                let (value_bytes, pointers) = match &row.value {
                    ValueDeletable::Value(bytes) => (Some(bytes.len()), super::value::decode_pointers(bytes)?.to_vec()),
                    _ => (None, Vec::new()),
                };
                logged.push(LoggedRow {
                    seq: record.seq,
                    group_end: record.group_end,
                    key: row.key,
                    value_bytes,
                    pointers,
                });
            }
        }
        Ok(logged)
    }

    /// The segments with their sizes in bytes.
    pub fn segments(&self) -> Vec<(Place, u64)> {
        self.inner.segments.places()
    }

    pub async fn segment_payloads(&self, place: Place, bytes: u64) -> Result<Vec<Pointer>> {
        self.inner.segments.list_payloads(place, bytes).await
    }

    /// Up to `rows_max` rows of the present from the start of the range.
    pub async fn rows(&self, range: KeyRange, rows_max: usize) -> Result<Vec<Row>> {
        self.scan(range).await?.next(rows_max).await
    }
}
