//! Segments: large immutable objects that hold settled payload.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic `BLSTSEG1` |
//! | … | the payloads, one behind the other |
//! | each payload | varints: offset from the start of the segment, length; CRC32C, 4 bytes little endian |
//! | 4, 4, 4 | number of payloads, bytes of the list, CRC32C of the list; little endian |
//! | 4 | magic `GSLB` |
//!
//! A local volume has another kind beside them: a file of the log that became a segment where it is, with the log's
//! own bytes (see `log::settled`); and a log of objects has objects that stay where they are, for what cannot be read.
//!
//! Rows point at payloads directly; the list at the end is for `fsck` and `inspect`. A segment's name holds the
//! epoch of the writer that made it, so no two writers ever use the same name. A PUT is durable on return.
//! Cost: one PUT for up to [`limits::SEGMENT_BYTES_MAX`]; one ranged GET for a read.

use crate::bucket::failure;
use crate::codec::{Reader, put_varint};
use crate::log::SettledFiles;
use crate::pointer::{Hold, Place};
use crate::{Error, Payload, Pointer, Result, limits};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: &[u8; 8] = b"BLSTSEG1";
const END_MAGIC: &[u8; 4] = b"GSLB";
const FOOTER_BYTES: usize = 16;
/// Two varints below 2^28 and a CRC.
const LIST_ENTRY_BYTES_MAX: u64 = 12;

/// What is known of a segment in memory.
struct Known {
    bytes: u64,
    /// Cloned for every write under way that points into the segment.
    hold: Arc<()>,
    /// The last generation that began while a write held it, or in which one took a hold.
    touched: u64,
    condemned: bool,
}

impl Known {
    fn found(bytes: u64) -> Self {
        Self { bytes, hold: Arc::default(), touched: 0, condemned: false }
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.hold) > 1
    }
}

/// The segments of one volume.
pub(crate) struct Segments {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    epoch: u64,
    next: AtomicU64,
    generation: AtomicU64,
    /// Segments that were files of the log: their places are of the log.
    files: SettledFiles,
    known: Arc<Mutex<BTreeMap<Place, Known>>>,
}

impl Segments {
    /// Lists what is there. `epoch` must be this writer's own: it makes names that were never used before.
    pub async fn open(store: Arc<dyn ObjectStore>, prefix: Path, epoch: u64, files: SettledFiles) -> Result<Self> {
        let (next, generation) = (AtomicU64::new(1), AtomicU64::new(1));
        let segments = Self { store, prefix, epoch, files, next, generation, known: Arc::default() };
        segments.look_for_strays().await?;
        Ok(segments)
    }

    /// Learns of segments that earlier writers were still writing when this one opened: garbage, because their rows
    /// cannot come any more. One listing, and one of the files.
    pub async fn look_for_strays(&self) -> Result<()> {
        let known = Arc::clone(&self.known);
        for (place, bytes) in self.files.look(move |place| known.lock().contains_key(&place)).await? {
            self.known.lock().entry(place).or_insert(Known::found(bytes));
        }
        let mut list = self.store.list(Some(&self.prefix));
        while let Some(meta) = list.try_next().await.map_err(|error| unavailable("list segments", error))? {
            let name = meta.location.filename().unwrap_or_default();
            match parse_name(name) {
                Some(Place::Segment { epoch, .. }) if epoch == self.epoch => {}
                Some(place) => {
                    self.known.lock().entry(place).or_insert(Known::found(meta.size));
                }
                None => {
                    tracing::warn!(object = %meta.location, "an object among the segments is not one: left alone");
                }
            }
        }
        Ok(())
    }

    /// Bytes of a segment of so many payloads beside theirs, at most.
    pub fn overhead(payloads: u64) -> u64 {
        (MAGIC.len() + FOOTER_BYTES) as u64 + payloads * LIST_ENTRY_BYTES_MAX
    }

    /// Writes payloads into as many segments as they need; durable on return, in the order given.
    pub async fn write(&self, payloads: Vec<Bytes>) -> Result<Vec<Payload>> {
        self.write_again(payloads.into_iter().map(|payload| (crc32c::crc32c(&payload), payload)).collect()).await
    }

    /// Writes payloads that keep the CRCs which they were first written with, so that damaged ones stay damaged.
    pub async fn write_again(&self, payloads: Vec<(u32, Bytes)>) -> Result<Vec<Payload>> {
        let mut groups: Vec<Vec<(u32, Bytes)>> = Vec::new();
        let mut bytes = usize::MAX;
        for payload in payloads {
            bytes = bytes.saturating_add(payload.1.len());
            if bytes > limits::SEGMENT_BYTES_MAX {
                groups.push(Vec::new());
                bytes = payload.1.len();
            }
            groups.last_mut().expect("the first payload opened a group").push(payload);
        }
        let puts = groups.into_iter().map(|group| self.write_one(group));
        let written: Vec<Vec<Payload>> =
            futures::stream::iter(puts).buffered(limits::SEGMENT_PUTS_MAX).try_collect().await?;
        Ok(written.into_iter().flatten().collect())
    }

    async fn write_one(&self, payloads: Vec<(u32, Bytes)>) -> Result<Vec<Payload>> {
        let place = Place::Segment { epoch: self.epoch, number: self.next.fetch_add(1, Ordering::Relaxed) };
        let pointers = place_payloads(place, &payloads);
        let footer = encode_footer(&pointers);
        let payloads = payloads.into_iter().map(|(_, payload)| payload);
        let body: PutPayload = std::iter::once(Bytes::from_static(MAGIC)).chain(payloads).chain([footer]).collect();
        let bytes = body.content_length() as u64;
        let hold: Arc<()> = Arc::default();
        // Known before it is there: collecting must not take it for an orphan.
        self.expect(place, bytes, Arc::clone(&hold));
        let options = PutOptions::from(PutMode::Create);
        // It stays known also when that fails: it may be there all the same, or still come, and is collected then.
        let put = self.store.put_opts(&self.path(place), body, options).await;
        put.map_err(unwritten)?;
        Ok(pointers.into_iter().map(|pointer| Payload { pointer, hold: Some(Arc::clone(&hold) as _) }).collect())
    }

    /// Learns of a segment that is about to be there, or has become one.
    pub fn expect(&self, place: Place, bytes: u64, hold: Arc<()>) {
        let mut known = self.known.lock();
        let touched = self.generation();
        known.insert(place, Known { bytes, hold, touched, condemned: false });
    }

    pub async fn read(&self, pointer: &Pointer) -> Result<Bytes> {
        let end = pointer.offset + u64::from(pointer.length);
        if self.known.lock().get(&pointer.place).is_some_and(|known| known.bytes < end) {
            let name = self.name(pointer.place);
            return Err(Error::Corrupt(format!("{name} ends before its payload at byte {}", pointer.offset)));
        }
        let bytes = self.read_unchecked(pointer).await?;
        if bytes.len() == pointer.length as usize && crc32c::crc32c(&bytes) == pointer.crc {
            return Ok(bytes);
        }
        Err(Error::Corrupt(format!("payload at byte {} of {}", pointer.offset, self.name(pointer.place))))
    }

    /// What is there of the payload, whatever it is.
    pub async fn read_unchecked(&self, pointer: &Pointer) -> Result<Bytes> {
        let read = match pointer.place {
            Place::Log { .. } => self.files.read(pointer).await,
            Place::Segment { .. } => self.read_object(pointer).await,
        };
        match read {
            // Nobody has removed it, and it may come back.
            Err(Error::PayloadMoved) if self.known.lock().get(&pointer.place).is_some_and(|known| !known.condemned) => {
                Err(Error::Corrupt(format!("{} is gone", self.name(pointer.place))))
            }
            read => read,
        }
    }

    async fn read_object(&self, pointer: &Pointer) -> Result<Bytes> {
        let (path, end) = (self.path(pointer.place), pointer.offset + u64::from(pointer.length));
        match self.store.get_range(&path, pointer.offset..end).await {
            Ok(read) => Ok(read),
            Err(object_store::Error::NotFound { .. }) => Err(Error::PayloadMoved),
            Err(error) if failure::is_lost(&error) => Err(unread(&path, error)),
            // What lies behind the end of an object is an error of its own to each store.
            Err(error) => match self.store.head(&path).await {
                Ok(meta) if meta.size <= pointer.offset => Ok(Bytes::new()),
                _ => Err(unread(&path, error)),
            },
        }
    }

    /// The name of its object or file.
    pub fn name(&self, place: Place) -> String {
        match place {
            Place::Log { .. } => self.files.name(place),
            Place::Segment { .. } => self.path(place).to_string(),
        }
    }

    /// Keeps the segment while a write that points into it is under way; `None` if it is gone or condemned.
    pub fn hold(&self, place: Place) -> Hold {
        let mut known = self.known.lock();
        let segment = known.get_mut(&place).filter(|segment| !segment.condemned)?;
        segment.touched = self.generation();
        Some(Arc::clone(&segment.hold) as _)
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Starts a generation: whatever is written or held now, or from now on, is of the number returned or younger.
    /// A write that is under way now may be visible only to scans that begin later.
    pub fn next_generation(&self) -> u64 {
        let mut known = self.known.lock();
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        known.values_mut().filter(|segment| segment.is_held()).for_each(|segment| segment.touched = generation);
        generation
    }

    /// Segments that no write has touched since `generation` began, with their sizes; also those whose removal failed.
    pub fn older_than(&self, generation: u64) -> Vec<(Place, u64)> {
        let known = self.known.lock();
        let old = known.iter().filter(|(_, segment)| segment.touched < generation);
        old.map(|(place, segment)| (*place, segment.bytes)).collect()
    }

    /// Condemns a segment that nothing has touched since `generation` and nothing holds: true if it is now.
    pub fn condemn(&self, place: Place, generation: u64) -> bool {
        let mut known = self.known.lock();
        let Some(segment) = known.get_mut(&place) else { return false };
        let free = segment.touched < generation && !segment.is_held();
        segment.condemned |= free;
        segment.condemned
    }

    pub async fn remove(&self, place: Place) -> Result<()> {
        match place {
            Place::Log { .. } => self.files.remove(place).await?,
            Place::Segment { .. } => match self.store.delete(&self.path(place)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(unavailable("remove a segment", error)),
            },
        }
        self.known.lock().remove(&place);
        Ok(())
    }

    pub fn bytes(&self) -> u64 {
        self.known.lock().values().map(|segment| segment.bytes).sum()
    }

    pub fn count(&self) -> u64 {
        self.known.lock().len() as u64
    }

    pub fn places(&self) -> Vec<(Place, u64)> {
        self.known.lock().iter().map(|(place, segment)| (*place, segment.bytes)).collect()
    }

    /// The pointers that the list at the segment's end names, after checking the list: for `fsck`.
    pub async fn list_payloads(&self, place: Place, bytes: u64) -> Result<Vec<Pointer>> {
        if matches!(place, Place::Log { .. }) {
            return self.files.payloads(place).await;
        }
        let path = self.path(place);
        let short = || Error::Corrupt(format!("{path} is too short for a segment"));
        let read = |range| async { self.store.get_range(&path, range).await.map_err(|error| unread(&path, error)) };
        let start = bytes.checked_sub(FOOTER_BYTES as u64).filter(|start| *start >= 8).ok_or_else(short)?;
        let (magic, footer) = (read(0..8).await?, read(start..bytes).await?);
        let mut reader = Reader::new(footer, "the end of a segment");
        let (count, length, crc) = (reader.u32()?, reader.u32()?, reader.u32()?);
        if magic != MAGIC.as_slice() || reader.rest() != END_MAGIC.as_slice() {
            return Err(Error::Corrupt(format!("{path} does not look like a segment")));
        }
        let list = read(start.checked_sub(u64::from(length)).filter(|at| *at >= 8).ok_or_else(short)?..start).await?;
        if crc32c::crc32c(&list) != crc {
            return Err(Error::Corrupt(format!("the list of payloads of {path}")));
        }
        decode_list(place, list, count)
    }

    /// Compares every byte of a segment with its checksum, also those that no row points at: for `fsck`.
    pub async fn check(&self, place: Place, bytes: u64) -> Result<()> {
        let listed = self.list_payloads(place, bytes).await?;
        if matches!(place, Place::Log { .. }) {
            for pointer in &listed {
                self.read(pointer).await?;
            }
            return Ok(());
        }
        let path = self.path(place);
        let read = async { self.store.get(&path).await?.bytes().await };
        let all = read.await.map_err(|error| unread(&path, error))?;
        let mut end = MAGIC.len();
        for pointer in &listed {
            let payload = all.get(end..end + pointer.length as usize);
            if pointer.offset != end as u64 || payload.is_none_or(|payload| crc32c::crc32c(payload) != pointer.crc) {
                return Err(Error::Corrupt(format!("payload at byte {} of {path}", pointer.offset)));
            }
            end += pointer.length as usize;
        }
        if all.get(end..) != Some(&encode_footer(&listed)) {
            return Err(Error::Corrupt(format!("{path}, byte {end}: its list of payloads does not follow them")));
        }
        Ok(())
    }

    fn path(&self, place: Place) -> Path {
        let (Place::Segment { epoch, number } | Place::Log { epoch, number }) = place;
        self.prefix.clone().join(format!("{epoch:08x}-{number:08x}"))
    }
}

fn parse_name(name: &str) -> Option<Place> {
    let (epoch, number) = name.split_once('-')?;
    Some(Place::Segment { epoch: u64::from_str_radix(epoch, 16).ok()?, number: u64::from_str_radix(number, 16).ok()? })
}

fn unavailable(what: &str, error: object_store::Error) -> Error {
    Error::unavailable(format!("the bucket does not let us {what}"), error)
}

/// Damage, if the segment is gone or the disk has lost it.
fn unread(path: &Path, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => Error::Corrupt(format!("{path} is gone")),
        error if failure::is_lost(&error) => Error::Corrupt(format!("{path}: the disk cannot read it ({error})")),
        error => unavailable("read a segment", error),
    }
}

/// A full disk is told as such. All else is the bucket's fault: the caller asked for nothing that could be wrong.
fn unwritten(error: object_store::Error) -> Error {
    match failure("write a segment", error) {
        told @ (Error::Exhausted(_) | Error::Unavailable { .. }) => told,
        other => Error::unavailable("the bucket does not let us write a segment", other),
    }
}

fn place_payloads(place: Place, payloads: &[(u32, Bytes)]) -> Vec<Pointer> {
    let mut offset = MAGIC.len() as u64;
    let place_one = |(crc, payload): &(u32, Bytes)| {
        let length = u32::try_from(payload.len()).expect("payload is far below 4 GiB");
        let pointer = Pointer { place, offset, length, crc: *crc };
        offset += u64::from(length);
        pointer
    };
    payloads.iter().map(place_one).collect()
}

fn encode_footer(pointers: &[Pointer]) -> Bytes {
    let mut out = Vec::with_capacity(12 * pointers.len() + FOOTER_BYTES);
    for pointer in pointers {
        put_varint(&mut out, pointer.offset);
        put_varint(&mut out, u64::from(pointer.length));
        out.extend_from_slice(&pointer.crc.to_le_bytes());
    }
    let crc = crc32c::crc32c(&out);
    let length = u32::try_from(out.len()).expect("a segment holds far fewer payloads");
    let count = u32::try_from(pointers.len()).expect("a segment holds far fewer payloads");
    for number in [count, length, crc] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(END_MAGIC);
    Bytes::from(out)
}

fn decode_list(place: Place, list: Bytes, count: u32) -> Result<Vec<Pointer>> {
    let mut reader = Reader::new(list, "the list of a segment");
    let mut pointers = Vec::new();
    for _ in 0..count {
        let offset = reader.varint()?;
        let length = u32::try_from(reader.varint()?).map_err(|_| reader.corrupt("a length is too large"))?;
        pointers.push(Pointer { place, offset, length, crc: reader.u32()? });
    }
    reader.end()?;
    Ok(pointers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{SimDisk, SimFaults};
    use crate::{Position, log};
    use ballast_runtime::Random;
    use object_store::memory::InMemory;

    async fn segments(store: &Arc<dyn ObjectStore>, epoch: u64) -> Segments {
        let disk = SimDisk::new(Random::from_seed(1), SimFaults::default());
        let medium = log::Medium::Disk { disk: Arc::new(disk), directory: "/log".into() };
        let settings = log::Settings { drive: log::Drive::Manual, ..log::Settings::default() };
        let opened = log::open(medium, epoch, Position(0), Arc::new(log::NoListener), settings).await.unwrap();
        let files = opened.log.settled_files();
        Segments::open(Arc::clone(store), Path::from("v/segments"), epoch, files).await.unwrap()
    }

    #[tokio::test]
    async fn payloads_read_back_from_a_segment_also_after_reopening() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let first = segments(&store, 1).await;
        let written = first.write(vec![Bytes::from_static(b"one"), Bytes::from_static(b"three")]).await.unwrap();
        let second = segments(&store, 2).await;
        assert_eq!(second.count(), 1);
        for (payload, bytes) in written.iter().zip([&b"one"[..], b"three"]) {
            assert_eq!(second.read(&payload.pointer).await.unwrap(), bytes);
        }
        let (place, bytes) = second.places()[0];
        let listed = second.list_payloads(place, bytes).await.unwrap();
        assert_eq!(listed, written.iter().map(|payload| payload.pointer).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_flipped_byte_is_named() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let segments = segments(&store, 1).await;
        let payload = segments.write(vec![Bytes::from_static(b"payload")]).await.unwrap().remove(0);
        let path = segments.path(payload.pointer.place);
        let mut bytes = store.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        bytes[10] ^= 1;
        store.put(&path, bytes.into()).await.unwrap();
        assert!(matches!(segments.read(&payload.pointer).await, Err(Error::Corrupt(_))));
    }

    #[test]
    fn a_segment_that_a_full_disk_does_not_take_is_exhaustion_and_all_else_unavailable() {
        let generic = |kind: std::io::ErrorKind| object_store::Error::Generic {
            store: "test",
            source: Box::new(std::io::Error::from(kind)),
        };
        assert!(matches!(unwritten(generic(std::io::ErrorKind::StorageFull)), Error::Exhausted(_)));
        assert!(matches!(unwritten(generic(std::io::ErrorKind::QuotaExceeded)), Error::Exhausted(_)));
        let exists = object_store::Error::AlreadyExists { path: "s".into(), source: "it is there".into() };
        let denied = object_store::Error::PermissionDenied { path: "s".into(), source: "no".into() };
        for other in [generic(std::io::ErrorKind::ConnectionReset), exists, denied] {
            assert!(matches!(unwritten(other), Error::Unavailable { .. }));
        }
    }

    #[tokio::test]
    async fn a_segment_that_is_held_or_touched_is_not_condemned() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let segments = segments(&store, 1).await;
        let payload = segments.write(vec![Bytes::from_static(b"payload")]).await.unwrap().remove(0);
        let place = payload.pointer.place;
        let generation = segments.next_generation();
        assert!(!segments.condemn(place, generation), "its payload is not committed yet");
        drop(payload);
        drop(segments.hold(place));
        assert!(!segments.condemn(place, generation), "a write touched it since");
        assert!(segments.condemn(place, segments.next_generation()));
        assert!(segments.hold(place).is_none(), "condemned: nothing may point into it any more");
    }
}
