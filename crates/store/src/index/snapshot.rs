//! Named snapshots: a checkpoint of the index and a row that names it.
//!
//! Making one flushes the tail (bounded, so the time is constant), writes one manifest and one row. It pins the
//! index's files by the checkpoint, segments by what its rows point at (found by one scan when collecting first
//! needs it). Files of the log it does not pin: before one goes, what the snapshot needs of it is copied into a
//! segment, and a row of Space::Rescued says where it is now. What a snapshot needs that cannot be read itself, nobody
//! knows: until it is deleted it pins all segments and files of the log that there were when that was found out.
//!
//! Row: Space::System, `snapshot/` name → format 1; checkpoint id, 16 bytes; creation time in nanoseconds and
//! position, 8 bytes each, little endian.

use super::relocate::{self, ToCopy};
use super::{Inner, cut, value};
use crate::codec::Reader;
use crate::log::LogFile;
use crate::pointer::Place;
use crate::volume::{Read, Row, Scan, SnapshotEntry};
use crate::{Batch, Error, KeyRange, Pointer, Position, Result, Space, Value, limits};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use slatedb::config::{CheckpointOptions, CheckpointScope, DbReaderOptions};
use slatedb::{DbReader, DbReaderMode};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

const FORMAT: u8 = 1;
const PREFIX: &[u8] = b"snapshot/";

/// How to open the index again, read-only.
pub(crate) type OpenReader = Box<dyn Fn() -> slatedb::DbReaderBuilder<object_store::path::Path> + Send + Sync>;
/// How to reach what only SlateDB's administration can do.
pub(crate) type OpenAdmin = Box<dyn Fn() -> slatedb::admin::Admin + Send + Sync>;

pub(crate) struct Snapshots {
    named: Mutex<BTreeMap<String, Named>>,
    /// One of creating and deleting at a time.
    changing: tokio::sync::Mutex<()>,
    reader: OpenReader,
    admin: OpenAdmin,
}

#[derive(Clone)]
struct Named {
    entry: SnapshotEntry,
    checkpoint: Uuid,
    open: Option<Arc<DbReader>>,
    places: Option<Arc<BTreeSet<Place>>>,
}

impl Snapshots {
    pub fn new(reader: OpenReader, admin: OpenAdmin) -> Self {
        Self { named: Mutex::default(), changing: tokio::sync::Mutex::new(()), reader, admin }
    }

    pub fn list(&self) -> Vec<SnapshotEntry> {
        self.named.lock().values().map(|named| named.entry.clone()).collect()
    }

    fn find(&self, name: &str) -> Result<Named> {
        let found = self.named.lock().get(name).cloned();
        found.ok_or_else(|| Error::NotFound(format!("snapshot {name:?}")))
    }
}

/// Reads the names at open, and removes checkpoints that a crash left without one.
pub(crate) async fn load(inner: &Arc<Inner>) -> Result<()> {
    let mut scan = cut::scan_now(inner, Space::System.range(&[PREFIX])).await?;
    loop {
        let rows = scan.next(limits::SCAN_ROWS).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let name = String::from_utf8_lossy(&row.key[1 + PREFIX.len()..]).into_owned();
            let named = decode(name.clone(), row.value.bytes)?;
            inner.snapshots.named.lock().insert(name, named);
        }
    }
    forget_strangers(inner).await?;
    let known: BTreeSet<Uuid> = inner.snapshots.named.lock().values().map(|named| named.checkpoint).collect();
    for checkpoint in inner.db.manifest().checkpoints() {
        if checkpoint.name.is_some() && !known.contains(&checkpoint.id) {
            let admin = (inner.snapshots.admin)();
            admin.delete_checkpoint(checkpoint.id).await.map_err(super::index_error)?;
        }
    }
    Ok(())
}

pub(crate) async fn create(inner: &Arc<Inner>, name: &str) -> Result<SnapshotEntry> {
    if name.is_empty() || name.len() > limits::SNAPSHOT_NAME_MAX || name.contains(['/', '\0']) {
        return Err(Error::Invalid(format!("{name:?} cannot name a snapshot: 1 to 100 bytes, no slash")));
    }
    let _changing = inner.snapshots.changing.lock().await;
    if inner.snapshots.named.lock().contains_key(name) {
        return Err(Error::AlreadyExists(format!("snapshot {name:?}")));
    }
    // No file of the log may go between the checkpoint and the row that pins it.
    let _round = inner.settling.round().await;
    let options = CheckpointOptions { name: Some(name.to_owned()), ..CheckpointOptions::default() };
    let checkpoint = inner.db.create_checkpoint(CheckpointScope::All, &options).await;
    let checkpoint = checkpoint.map_err(|error| inner.error(error))?.id;
    let entry = SnapshotEntry {
        name: name.to_owned(),
        created: inner.clock.now_nanos(),
        // Past the cut, which is safe: it only says which log files the snapshot may point into.
        position: inner.log().position(),
    };
    let named = Named { entry: entry.clone(), checkpoint, open: None, places: None };
    let mut batch = Batch::new();
    batch.put(key(name), encode(&named));
    let end = inner.commit(&batch).await?;
    inner.durable(end).await?;
    inner.snapshots.named.lock().insert(name.to_owned(), named);
    Ok(entry)
}

pub(crate) async fn open(inner: &Arc<Inner>, name: &str) -> Result<Arc<dyn Read>> {
    let reader = open_reader(inner, name).await?;
    Ok(Arc::new(SnapshotRead { inner: Arc::clone(inner), name: name.to_owned(), reader }))
}

async fn open_reader(inner: &Arc<Inner>, name: &str) -> Result<Arc<DbReader>> {
    let named = inner.snapshots.find(name)?;
    if let Some(reader) = named.open {
        return Ok(reader);
    }
    // Everything that the checkpoint holds is in the index's files: there is no log to replay.
    let options = DbReaderOptions { skip_wal_replay: true, ..DbReaderOptions::default() };
    let builder = (inner.snapshots.reader)();
    let builder = builder.with_reader_mode(DbReaderMode::Checkpoint(named.checkpoint)).with_options(options);
    let reader = Arc::new(builder.build().await.map_err(super::index_error)?);
    let mut all = inner.snapshots.named.lock();
    let named = all.get_mut(name).ok_or_else(|| Error::NotFound(format!("snapshot {name:?}")))?;
    Ok(Arc::clone(named.open.get_or_insert(reader)))
}

pub(crate) async fn delete(inner: &Arc<Inner>, name: &str) -> Result<()> {
    let _changing = inner.snapshots.changing.lock().await;
    // Settling and collecting read snapshots, and save what they need.
    let _round = inner.settling.round().await;
    let named = inner.snapshots.find(name)?;
    let mut batch = Batch::new();
    batch.delete(key(name));
    let end = inner.commit(&batch).await?;
    inner.durable(end).await?;
    inner.snapshots.named.lock().remove(name);
    inner.settling.note_churn(1);
    if let Some(reader) = named.open {
        reader.close().await.map_err(super::index_error)?;
    }
    forget_rescued(inner, name).await?;
    let admin = (inner.snapshots.admin)();
    admin.delete_checkpoint(named.checkpoint).await.map_err(super::index_error)
}

async fn forget_rescued(inner: &Arc<Inner>, name: &str) -> Result<()> {
    let range = KeyRange::prefix(rescued_prefix(name));
    let mut scan = cut::scan_now(inner, range).await?;
    loop {
        let rows = scan.next(limits::SCAN_ROWS).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        rows.into_iter().for_each(|row| batch.delete(row.key));
        inner.commit(&batch).await?;
    }
}

/// Removes what was saved for snapshots that a crash has deleted only in part.
async fn forget_strangers(inner: &Arc<Inner>) -> Result<()> {
    let mut range = Space::Rescued.range(&[]);
    loop {
        let mut scan = cut::scan_now(inner, range.clone()).await?;
        let Some(row) = scan.next(1).await?.pop() else { return Ok(()) };
        let name = row.key[1..].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        if inner.snapshots.find(&name).is_err() {
            forget_rescued(inner, &name).await?;
        }
        // Names hold no zero, so the next one's rows lie behind all of this one's.
        range.start = Space::Rescued.key(&[name.as_bytes(), &[1]]);
    }
}

/// Every segment and log file that a named snapshot's rows point into.
pub(crate) async fn places(inner: &Arc<Inner>) -> Result<BTreeSet<Place>> {
    let names: Vec<String> = inner.snapshots.named.lock().keys().cloned().collect();
    let mut all = BTreeSet::new();
    for name in names {
        all.extend(places_of(inner, &name).await?.iter().copied());
    }
    Ok(all)
}

/// Those of one snapshot: none if it was deleted meanwhile.
async fn places_of(inner: &Arc<Inner>, name: &str) -> Result<Arc<BTreeSet<Place>>> {
    let Ok(named) = inner.snapshots.find(name) else { return Ok(Arc::default()) };
    if let Some(places) = named.places {
        return Ok(places);
    }
    let places = match look_for_places(inner, name).await {
        Err(_) if inner.snapshots.find(name).is_err() => return Ok(Arc::default()),
        Err(error @ Error::Corrupt(_)) => {
            tracing::error!(snapshot = name, %error, "it cannot be read: all that it may need is kept");
            all_places(inner)
        }
        places => places?,
    };
    let places = Arc::new(places);
    let mut known = inner.snapshots.named.lock();
    if let Some(same) = known.get_mut(name).filter(|same| same.checkpoint == named.checkpoint) {
        same.places = Some(Arc::clone(&places));
    }
    Ok(places)
}

async fn look_for_places(inner: &Arc<Inner>, name: &str) -> Result<BTreeSet<Place>> {
    let mut places = BTreeSet::new();
    let read = open(inner, name).await?;
    let note = |row: &Row| places.extend(row.value.pointers.iter().map(|pointer| pointer.place));
    super::collect::for_each_row(read.as_ref(), note).await?;
    Ok(places)
}

/// What there is now: of what is made later, no snapshot of today needs anything.
fn all_places(inner: &Inner) -> BTreeSet<Place> {
    // In this order: a file of the log is a segment before it leaves the log.
    let mut places: BTreeSet<Place> =
        inner.log().files().into_iter().flat_map(|file| inner.log().places(file)).collect();
    places.extend(inner.segments.places().into_iter().map(|(place, _)| place));
    places
}

struct SnapshotRead {
    inner: Arc<Inner>,
    name: String,
    reader: Arc<DbReader>,
}

#[async_trait]
impl Read for SnapshotRead {
    async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.inner.ready().await?;
        let bytes = self.reader.get(key).await.map_err(|error| self.inner.error(error))?;
        bytes.map(value::decode).transpose()
    }

    async fn scan(&self, range: KeyRange) -> Result<Box<dyn Scan>> {
        self.inner.ready().await?;
        cut::scan(self.reader.as_ref(), range, Some(Arc::clone(&self.reader))).await
    }

    async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        self.inner.ready().await?;
        let unread = match self.inner.read_payload(pointer).await {
            // Lost is also what another server removed when it had been rescued.
            Err(error @ (Error::PayloadMoved | Error::Corrupt(_))) => error,
            other => return other,
        };
        let to = rescued(&self.inner, &self.name, pointer).await?.ok_or(unread)?;
        self.inner.read_payload(&to).await
    }
}

/// Copies what the snapshots need of log files that are about to go. A file is left ([`Settling::is_left`]) if that
/// cannot be read, or the snapshot itself. What was copied before is not copied again.
///
/// [`Settling::is_left`]: super::settle::Settling::is_left
pub(crate) async fn rescue(inner: &Arc<Inner>, files: &[LogFile]) -> Result<()> {
    let places: BTreeSet<Place> = files.iter().flat_map(|file| inner.log().places(*file)).collect();
    let older = |named: &&Named| files.iter().any(|file| file.start < named.entry.position);
    let names: Vec<String> =
        inner.snapshots.named.lock().values().filter(older).map(|named| named.entry.name.clone()).collect();
    for name in names {
        match rescue_for(inner, &name, &places).await {
            Err(error @ Error::Corrupt(_)) => {
                let needed = places_of(inner, &name).await?;
                places.intersection(&needed).for_each(|place| inner.settling.leave(*place, &error));
            }
            rescued => rescued?,
        }
    }
    Ok(())
}

async fn rescue_for(inner: &Arc<Inner>, name: &str, places: &BTreeSet<Place>) -> Result<()> {
    let read = open(inner, name).await?;
    let mut needed = BTreeSet::new();
    super::collect::for_each_row(read.as_ref(), |row| {
        let of_files = row.value.pointers.iter().filter(|pointer| places.contains(&pointer.place));
        needed.extend(of_files.map(|pointer| (pointer.place, pointer.offset, pointer.length, pointer.crc)));
    })
    .await?;
    let mut missing = Vec::new();
    for (place, offset, length, crc) in needed {
        let pointer = Pointer { place, offset, length, crc };
        if rescued(inner, name, &pointer).await?.is_none() {
            missing.push(pointer);
        }
    }
    let mut needed = missing.as_slice();
    while !needed.is_empty() {
        let (some, rest) = needed.split_at(fitting(needed));
        needed = rest;
        let (mut pointers, mut payloads) = (Vec::new(), Vec::new());
        for (pointer, read) in some.iter().zip(relocate::read_to_copy(inner, some).await?) {
            match read {
                ToCopy::Bytes(bytes) => {
                    pointers.push(pointer);
                    payloads.push((pointer.crc, bytes));
                }
                ToCopy::Moved => return Err(Error::PayloadMoved),
                ToCopy::Unreadable => {}
            }
        }
        let mut batch = Batch::new();
        for (from, to) in pointers.into_iter().zip(inner.segments.write_again(payloads).await?) {
            batch.hold(&to);
            batch.put_with_payload(rescued_key(name, from), Bytes::new(), [to.pointer]);
        }
        let end = inner.commit(&batch).await?;
        inner.durable(end).await?;
    }
    Ok(())
}

/// How many of these payloads are copied together.
fn fitting(pointers: &[Pointer]) -> usize {
    let mut bytes = 0;
    let fits = |pointer: &&Pointer| {
        bytes += pointer.length as usize;
        bytes <= limits::SETTLE_BYTES
    };
    pointers.iter().take(limits::RESCUE_PAYLOADS).take_while(fits).count().max(1)
}

fn rescued_prefix(name: &str) -> Bytes {
    Space::Rescued.key(&[name.as_bytes(), &[0]])
}

/// Where there is a copy for a snapshot of what was in the log.
async fn rescued(inner: &Inner, name: &str, pointer: &Pointer) -> Result<Option<Pointer>> {
    let row = inner.get(&rescued_key(name, pointer)).await?;
    Ok(row.and_then(|value| value.pointers.first().copied()))
}

fn rescued_key(name: &str, pointer: &Pointer) -> Bytes {
    let (Place::Log { epoch, number } | Place::Segment { epoch, number }) = pointer.place;
    let numbers = [epoch, number, pointer.offset].map(u64::to_be_bytes);
    Bytes::from([rescued_prefix(name).as_ref(), &numbers.concat()].concat())
}

fn key(name: &str) -> Bytes {
    Space::System.key(&[PREFIX, name.as_bytes()])
}

fn encode(named: &Named) -> Vec<u8> {
    let mut out = vec![FORMAT];
    out.extend_from_slice(named.checkpoint.as_bytes());
    out.extend_from_slice(&named.entry.created.to_le_bytes());
    out.extend_from_slice(&named.entry.position.0.to_le_bytes());
    out
}

fn decode(name: String, bytes: Bytes) -> Result<Named> {
    let mut reader = Reader::new(bytes, "the row of a snapshot");
    let format = reader.u8()?;
    if format != FORMAT {
        return Err(reader.corrupt(&format!("unknown format {format}")));
    }
    let id = reader.take(16)?;
    let checkpoint = Uuid::from_slice(&id).map_err(|_| reader.corrupt("the checkpoint's id"))?;
    let (created, position) = (reader.u64()? as i64, Position(reader.u64()?));
    reader.end()?;
    Ok(Named { entry: SnapshotEntry { name, created, position }, checkpoint, open: None, places: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_together_is_bounded_by_its_bytes() {
        let of = |length: usize, count| {
            let place = Place::Log { epoch: 1, number: 1 };
            fitting(&vec![Pointer { place, offset: 0, length: length as u32, crc: 0 }; count])
        };
        assert_eq!(of(limits::SETTLE_BYTES / 4, 100), 4);
        assert_eq!(of(limits::SETTLE_BYTES + 1, 100), 1);
        assert_eq!((of(10, 3), of(10, 1000)), (3, limits::RESCUE_PAYLOADS));
    }

    #[test]
    fn the_format_is_the_one_on_disk() {
        let entry = SnapshotEntry { name: "a".into(), created: 1, position: Position(2) };
        let named = Named { entry, checkpoint: Uuid::from_bytes([7; 16]), open: None, places: None };
        let bytes = encode(&named);
        assert_eq!(bytes, [&[1][..], &[7; 16], &[1, 0, 0, 0, 0, 0, 0, 0], &[2, 0, 0, 0, 0, 0, 0, 0]].concat());
        let back = decode("a".into(), bytes.into()).unwrap();
        assert_eq!((back.entry, back.checkpoint), (named.entry, named.checkpoint));
    }
}
