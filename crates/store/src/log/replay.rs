//! Reading groups back: of a file for recovery and settling, and of the log's tail for replay.

use super::Record;
use super::format::{BLOCK_BYTES, Entry, Fault, FileId, GroupHeader, GroupKind, parse_records};
use super::on_disk::{io_error, offset_of, read_error};
use super::on_objects::{FoundObject, Objects};
use super::shared::blocking;
use crate::disk::{self, DiskFile};
use crate::{Error, Position, Result, limits};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes read at once where groups are small, and where their payload is skipped.
const WINDOW_BYTES: usize = 128 << 10;
const SKIPPING_WINDOW_BYTES: usize = 4 << 10;

/// A group without its payload.
#[derive(Clone, Debug)]
pub struct ReadGroup {
    pub header: GroupHeader,
    pub entries: Vec<Entry>,
    pub records: Bytes,
}

impl ReadGroup {
    /// Checks records that were read against their header.
    pub fn new(header: GroupHeader, records: Bytes) -> Result<Self, Fault> {
        let entries = parse_records(&header, &records)?;
        Ok(Self { header, entries, records })
    }

    /// Its rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = Record> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Rows { seq, rows } => {
                let rows = self.records.slice(rows.clone());
                Some(Record { seq: *seq, rows, group_end: self.header.end() })
            }
            Entry::Payload { .. } => None,
        })
    }
}

/// A file on disk whose start is known.
#[derive(Clone, Debug)]
pub struct Source {
    pub id: FileId,
    pub path: PathBuf,
    pub start: Position,
    pub file: Arc<dyn DiskFile>,
}

impl Source {
    /// The error for damage at a position of this file.
    pub fn corrupt(&self, position: Position, what: &dyn std::fmt::Display) -> Error {
        let offset = offset_of(self.start, position);
        Error::Corrupt(format!("{}, the group at byte {offset}: {what}", self.path.display()))
    }
}

/// Reads a file's groups one after the other.
pub struct GroupReader {
    pub source: Source,
    /// Where the next group starts.
    pub at: Position,
    file_bytes: u64,
    window: Vec<u8>,
    window_at: u64,
    skipping: bool,
}

impl GroupReader {
    pub fn new(source: Source, at: Position) -> Result<Self> {
        let length = source.file.byte_len();
        let file_bytes = length.map_err(|error| io_error("measuring", &source.path, error))?;
        Ok(Self { source, at, file_bytes, window: Vec::new(), window_at: 0, skipping: false })
    }

    /// The group at `at`, without its payload, or what is wrong with it. Goes on behind it if it is whole.
    pub fn next(&mut self) -> Result<Result<ReadGroup, Fault>> {
        let offset = offset_of(self.source.start, self.at);
        let window = if self.skipping { SKIPPING_WINDOW_BYTES } else { WINDOW_BYTES };
        let header =
            match GroupHeader::decode(self.bytes(offset, super::format::GROUP_HEADER_BYTES as usize, window)?) {
                Ok(header) => header,
                Err(fault) => return Ok(Err(fault)),
            };
        if let Err(fault) = self.check(&header, offset) {
            return Ok(Err(fault));
        }
        self.skipping = header.payload_bytes as usize > WINDOW_BYTES / 2;
        let records = self.bytes(offset + header.records_at(), header.record_bytes as usize, 0)?;
        // A copy: rows that live on must not keep the window, with the payload in it.
        let group = ReadGroup::new(header, Bytes::copy_from_slice(records));
        if group.is_ok() {
            self.at = header.end();
        }
        Ok(group)
    }

    fn check(&self, header: &GroupHeader, offset: u64) -> Result<(), Fault> {
        if header.id != self.source.id || header.start != self.at {
            return Err(Fault::Field("its header belongs elsewhere"));
        }
        if header.kind == GroupKind::Fence || header.acknowledged > header.start {
            return Err(Fault::Field("its header contradicts itself"));
        }
        if !header.byte_len().is_multiple_of(BLOCK_BYTES) {
            return Err(Fault::Field("its length is not one of whole blocks"));
        }
        if offset + header.byte_len() > self.file_bytes {
            return Err(Fault::Short);
        }
        Ok(())
    }

    /// Bytes of the file, possibly fewer than asked for at its end; reads `window` ahead.
    fn bytes(&mut self, offset: u64, length: usize, window: usize) -> Result<&[u8]> {
        let inside = offset >= self.window_at && offset + length as u64 <= self.window_at + self.window.len() as u64;
        if !inside {
            self.window.resize(length.max(window), 0);
            let mut read = disk::read_full_at(&*self.source.file, &mut self.window, offset);
            if read.as_ref().is_err_and(disk::is_damage) && window > length {
                // What is lost may be payload, which nobody needs here.
                self.window.truncate(length);
                read = disk::read_full_at(&*self.source.file, &mut self.window, offset);
            }
            let read = read.map_err(|error| read_error(&self.source.path, error))?;
            self.window.truncate(read);
            self.window_at = offset;
        }
        let from = (offset - self.window_at) as usize;
        Ok(&self.window[from..self.window.len().min(from + length)])
    }

    /// Compares the payload of a group with its CRCs.
    pub fn check_payload(&self, group: &ReadGroup) -> Result<Result<(), Fault>> {
        let start = offset_of(self.source.start, group.header.start) + super::format::GROUP_HEADER_BYTES;
        for entry in &group.entries {
            let Entry::Payload { at, length, crc } = entry else { continue };
            let mut bytes = vec![0; *length as usize];
            let read = disk::read_full_at(&*self.source.file, &mut bytes, start + at);
            let read = read.map_err(|error| read_error(&self.source.path, error))?;
            if read < bytes.len() || crc32c::crc32c(&bytes) != *crc {
                return Ok(Err(Fault::Field("the checksum of its payload is wrong")));
            }
        }
        Ok(Ok(()))
    }
}

/// A part of the log: groups from `from` to `to`, both in this file.
#[derive(Clone, Debug)]
pub struct Stretch {
    pub source: Source,
    pub from: Position,
    pub to: Position,
}

/// The rows of the log's tail, in order, whole groups at a time.
pub struct Replay(Medium);

enum Medium {
    Disk { left: Option<Left>, inline: bool },
    Objects(BoxStream<'static, Result<ReadGroup>>),
}

/// What is still to be read from files.
struct Left {
    stretches: VecDeque<Stretch>,
    reader: Option<GroupReader>,
    #[cfg(test)]
    skip_one: bool,
}

impl Replay {
    pub(super) fn of_files(stretches: Vec<Stretch>, settings: &super::Settings) -> Self {
        let left = Left {
            stretches: stretches.into(),
            reader: None,
            #[cfg(test)]
            skip_one: settings.mutant == Some(super::tests::Mutant::SkipAtRecovery),
        };
        Self(Medium::Disk { left: Some(left), inline: settings.drive != super::Drive::Thread })
    }

    pub(super) fn of_objects(objects: Objects, found: Vec<FoundObject>) -> Self {
        let read = move |object| {
            let objects = objects.clone();
            async move { objects.group(object).await }
        };
        Self(Medium::Objects(stream::iter(found).map(read).buffered(limits::LOG_GETS_IN_FLIGHT).boxed()))
    }

    /// Further records, of whole groups, in order; `None` at the end. Payload is not read. `Corrupt` where a
    /// group is not what was written: nothing behind it is given out.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>> {
        let records = match &mut self.0 {
            Medium::Disk { left, inline } => {
                let Some(mut taken) = left.take() else { return Ok(None) };
                let read = move || {
                    let records = taken.next();
                    (taken, records)
                };
                let (taken, records) = blocking(*inline, read).await?;
                let records = records?;
                *left = Some(taken);
                records
            }
            Medium::Objects(groups) => next_of_objects(groups).await?,
        };
        Ok((!records.is_empty()).then_some(records))
    }
}

async fn next_of_objects(groups: &mut BoxStream<'static, Result<ReadGroup>>) -> Result<Vec<Record>> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    while records.len() < limits::REPLAY_RECORDS && bytes < limits::REPLAY_BYTES {
        let Some(group) = groups.try_next().await? else { break };
        bytes += group.records.len();
        records.extend(group.rows());
    }
    Ok(records)
}

impl Left {
    fn next(&mut self) -> Result<Vec<Record>> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < limits::REPLAY_RECORDS && bytes < limits::REPLAY_BYTES {
            let Some(stretch) = self.stretches.front() else { break };
            let to = stretch.to;
            let mut reader = match self.reader.take() {
                Some(reader) => reader,
                None => GroupReader::new(stretch.source.clone(), stretch.from)?,
            };
            if reader.at == to {
                self.stretches.pop_front();
                continue;
            }
            for record in next_group(&mut reader, to)?.rows() {
                #[cfg(test)]
                if std::mem::take(&mut self.skip_one) {
                    continue;
                }
                bytes += record.rows.len();
                records.push(record);
            }
            self.reader = Some(reader);
        }
        Ok(records)
    }
}

fn next_group(reader: &mut GroupReader, to: Position) -> Result<ReadGroup> {
    let at = reader.at;
    let group = reader.next()?.map_err(|fault| reader.source.corrupt(at, &fault))?;
    if reader.at > to {
        return Err(reader.source.corrupt(at, &"it goes beyond the end of its file"));
    }
    Ok(group)
}

/// All records of rows between two positions of a file; `with_payload` also compares all payload with its CRCs.
pub fn read_rows(stretch: Stretch, with_payload: bool) -> Result<Vec<Record>> {
    let mut reader = GroupReader::new(stretch.source, stretch.from)?;
    let mut records = Vec::new();
    while reader.at < stretch.to {
        let group = next_group(&mut reader, stretch.to)?;
        if with_payload {
            let checked = reader.check_payload(&group)?;
            checked.map_err(|fault| reader.source.corrupt(group.header.start, &fault))?;
        }
        records.extend(group.rows());
    }
    Ok(records)
}
