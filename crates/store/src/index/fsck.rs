//! Checks a whole volume: every object of the index, every row, every payload, every segment, every file of the log,
//! every snapshot.
//!
//! It changes nothing. Cost: the index, the segments and the log are read once as they lie there, whether or not
//! anything needs them, and once more what rows point at, of the present and of each snapshot. The caller owns the
//! volume and writes nothing meanwhile; the volume's own settling and collecting wait. What it cannot know, the meaning of rows, the engines check themselves.

use super::{IndexedVolume, Inner};
use crate::bucket::failure;
use crate::pointer::Place;
use crate::volume::Read;
use crate::{Error, KeyRange, Pointer, Result, Space, limits};
use bytes::Bytes;
use futures::StreamExt;
use object_store::ObjectStore;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How far a check is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub rows: u64,
    pub payload_bytes: u64,
    /// Bytes of segments and log that there are in all, as an estimate of the work.
    pub payload_bytes_total: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub rows: u64,
    pub payloads: u64,
    pub payload_bytes: u64,
    pub segments: u64,
    pub index_objects: u64,
    pub log_files: u64,
    pub log_records: u64,
    pub snapshots: u64,
    /// Segments that nothing points into: garbage that collecting will remove, no damage.
    pub segments_unused: u64,
    /// What is wrong, in words for people. Empty is clean. At most [`limits::FSCK_PROBLEMS_MAX`].
    pub problems: Vec<String>,
}

impl Report {
    fn problem(&mut self, text: String) {
        if self.problems.len() < limits::FSCK_PROBLEMS_MAX {
            self.problems.push(text);
        }
    }

    /// Keeps an error about stored data as a problem; passes any other on.
    fn note<T>(&mut self, what: impl FnOnce() -> String, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error @ (Error::Corrupt(_) | Error::NotFound(_) | Error::PayloadMoved)) => {
                let error = if matches!(error, Error::PayloadMoved) {
                    "what it points at is missing".into()
                } else {
                    error.to_string()
                };
                self.problem(format!("{}: {error}", what()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl IndexedVolume {
    /// Reads and checks everything. `progress` is called now and then.
    pub async fn fsck(&self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Report> {
        let inner = &self.inner;
        // Background work would move payload from under the check.
        let _collecting = inner.settling.collecting().await;
        let _round = inner.settling.round().await;
        let stats = crate::Volume::stats(self);
        let total = stats.segment_bytes + stats.log_bytes;
        let mut check = Check { inner, report: Report::default(), total, used: BTreeSet::new(), progress };
        check.index().await?;
        check.rows("the present", self).await?;
        for entry in inner.snapshots.list() {
            check.report.snapshots += 1;
            let of = format!("snapshot {:?}", entry.name);
            let read = super::snapshot::open(inner, &entry.name).await;
            if let Some(read) = check.report.note(|| of.clone(), read)? {
                check.rows(&of, read.as_ref()).await?;
            }
        }
        check.segments().await?;
        check.log().await?;
        Ok(check.report)
    }
}

struct Check<'a> {
    inner: &'a Arc<Inner>,
    report: Report,
    total: u64,
    used: BTreeSet<Place>,
    progress: &'a mut (dyn FnMut(Progress) + Send),
}

impl Check<'_> {
    async fn index(&mut self) -> Result<()> {
        let store = &self.inner.index;
        let mut listed = store.list(Some(&self.inner.index_path));
        while let Some(object) = listed.next().await {
            let object = object.map_err(|error| failure("list the index", error))?.location;
            let damages = match store.damages(&object).await {
                // Garbage that has just been removed.
                Err(object_store::Error::NotFound { .. }) => continue,
                damages => damages.map_err(|error| failure(&format!("read {object}"), error))?,
            };
            self.report.index_objects += 1;
            damages.into_iter().for_each(|damage| self.report.problem(damage.to_string()));
        }
        Ok(())
    }

    async fn rows(&mut self, of: &str, read: &dyn Read) -> Result<()> {
        let all = KeyRange { start: Bytes::from_static(&[0]), end: None };
        let Some(mut scan) = self.report.note(|| format!("the rows of {of}"), read.scan(all).await)? else {
            return Ok(());
        };
        loop {
            let rows = self.report.note(|| format!("a row of {of}"), scan.next(limits::SCAN_ROWS).await)?;
            let rows = rows.unwrap_or_default();
            if rows.is_empty() {
                return Ok(());
            }
            for row in &rows {
                self.report.rows += 1;
                if !row.value.pointers.is_empty() && Space::with_payload_of(&row.key).is_none() {
                    self.report.problem(format!(
                        "row {} of {of} points at payload, which its space never does",
                        hex(&row.key)
                    ));
                }
                for pointer in &row.value.pointers {
                    self.payload(of, read, &row.key, pointer).await?;
                }
            }
            let (rows, payload_bytes) = (self.report.rows, self.report.payload_bytes);
            (self.progress)(Progress { rows, payload_bytes, payload_bytes_total: self.total });
        }
    }

    async fn payload(&mut self, of: &str, read: &dyn Read, key: &[u8], pointer: &Pointer) -> Result<()> {
        self.used.insert(pointer.place);
        let read = read.read_payload(pointer).await;
        let place = pointer.place;
        let what = || format!("row {} of {of}, payload at byte {} of {place}", hex(key), pointer.offset);
        if self.report.note(what, read)?.is_some() {
            self.report.payloads += 1;
            self.report.payload_bytes += u64::from(pointer.length);
        }
        Ok(())
    }

    async fn segments(&mut self) -> Result<()> {
        for (place, bytes) in self.inner.segments.places() {
            self.report.segments += 1;
            if !self.used.contains(&place) {
                self.report.segments_unused += 1;
            }
            let checked = self.inner.segments.check(place, bytes).await;
            self.report.note(|| self.inner.segments.name(place), checked)?;
        }
        Ok(())
    }

    async fn log(&mut self) -> Result<()> {
        for file in self.inner.log().files() {
            self.report.log_files += 1;
            let records = match self.inner.log().check_records(file).await {
                // An earlier server was still removing it when this one opened. A row that needs it was named above.
                Err(Error::NotFound(_) | Error::PayloadMoved) => continue,
                records => records,
            };
            let records = self.report.note(|| file.place.to_string(), records)?.unwrap_or_default();
            self.report.log_records += records.len() as u64;
            for record in &records {
                self.report.note(|| format!("record {} of {}", record.seq, file.place), super::rows::decode(record))?;
            }
        }
        Ok(())
    }
}

/// A key for people: its space, and the rest in hexadecimal.
pub fn hex(key: &[u8]) -> String {
    let mut text = String::with_capacity(2 * key.len());
    for (at, byte) in key.iter().enumerate() {
        if at == 1 {
            text.push(':');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
