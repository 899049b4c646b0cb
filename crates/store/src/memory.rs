//! A volume in memory: the model that property tests compare with, and what engines' own tests run on.
//!
//! It is right by being small: a map of rows, a map of payloads, one mutex. A cut clones the maps' `Arc`s;
//! the next write copies them. Everything is "durable" at once, unless a test asks to lose a suffix with
//! [`MemoryVolume::crash`].

use crate::pointer::Place;
use crate::volume::{Isolation, Read, Room, Row, Scan, SnapshotEntry, Transaction, Volume, VolumeStats};
use crate::{Batch, Error, KeyRange, Mutation, Payload, Pointer, Position, Result, Value};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

type Rows = BTreeMap<Bytes, Value>;
type Payloads = BTreeMap<u64, Bytes>;

#[derive(Debug, Default)]
struct State {
    rows: Arc<Rows>,
    payloads: Arc<Payloads>,
    /// The commit that last wrote or deleted a key: what transactions validate against.
    versions: BTreeMap<Bytes, u64>,
    commits: u64,
    position: u64,
    /// The rows as of the last call of `durable`.
    durable_rows: Arc<Rows>,
    snapshots: BTreeMap<String, (SnapshotEntry, Arc<Rows>, Arc<Payloads>)>,
    closed: bool,
    nearly_full: bool,
}

/// See the module. Clones share one volume.
#[derive(Clone, Debug, Default)]
pub struct MemoryVolume {
    state: Arc<Mutex<State>>,
}

impl MemoryVolume {
    pub fn new() -> Self {
        Self::default()
    }

    /// What a crash and a restart would leave: everything up to the last position that was waited for.
    pub fn crash(&self) -> Self {
        let state = self.state.lock();
        let rows = Arc::clone(&state.durable_rows);
        let survivor = State {
            durable_rows: Arc::clone(&rows),
            rows,
            payloads: Arc::clone(&state.payloads),
            position: state.position,
            snapshots: state.snapshots.clone(),
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(survivor)) }
    }

    /// All rows, for comparison.
    pub fn rows(&self) -> BTreeMap<Bytes, Value> {
        (*self.state.lock().rows).clone()
    }

    /// Whether it refuses new data from now on, as where the disk has little space left.
    pub fn set_nearly_full(&self, nearly_full: bool) {
        self.state.lock().nearly_full = nearly_full;
    }

    fn cut_now(&self) -> MemoryCut {
        let state = self.state.lock();
        MemoryCut { rows: Arc::clone(&state.rows), payloads: Arc::clone(&state.payloads) }
    }
}

impl State {
    fn check_open(&self) -> Result<()> {
        if self.closed { Err(Error::Closed("it was closed".into())) } else { Ok(()) }
    }

    fn apply(&mut self, batch: &Batch) -> Result<Position> {
        self.check_open()?;
        batch.check()?;
        self.commits += 1;
        let rows = Arc::make_mut(&mut self.rows);
        for mutation in batch.mutations() {
            self.versions.insert(mutation.key().clone(), self.commits);
            match mutation {
                Mutation::Put { key, value } => rows.insert(key.clone(), value.clone()),
                Mutation::Delete { key } => rows.remove(key),
            };
        }
        self.position += 1 + batch.byte_len() as u64;
        Ok(Position(self.position))
    }

    fn append(&mut self, bytes: Bytes, place: fn(u64) -> Place) -> Payload {
        let offset = self.position;
        self.position += bytes.len() as u64;
        let length = u32::try_from(bytes.len()).expect("callers check the size of payload");
        let pointer = Pointer { place: place(0), offset, length, crc: crc32c::crc32c(&bytes) };
        Arc::make_mut(&mut self.payloads).insert(offset, bytes);
        Payload { pointer, hold: None }
    }
}

/// One cut of the maps.
#[derive(Clone, Debug)]
struct MemoryCut {
    rows: Arc<Rows>,
    payloads: Arc<Payloads>,
}

impl MemoryCut {
    fn payload(&self, pointer: &Pointer) -> Result<Bytes> {
        if pointer.length == 0 {
            return Ok(Bytes::new());
        }
        let bytes = self.payloads.get(&pointer.offset).ok_or(Error::PayloadMoved)?;
        let whole = bytes.len() == pointer.length as usize && crc32c::crc32c(bytes) == pointer.crc;
        if whole { Ok(bytes.clone()) } else { Err(Error::Corrupt(format!("payload at {}", pointer.offset))) }
    }
}

#[async_trait]
impl Read for MemoryCut {
    async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.rows.get(key).cloned())
    }

    async fn scan(&self, range: KeyRange) -> Result<Box<dyn Scan>> {
        Ok(Box::new(MemoryScan { rows: Arc::clone(&self.rows), next: Some(range) }))
    }

    async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        self.payload(pointer)
    }
}

struct MemoryScan {
    rows: Arc<Rows>,
    next: Option<KeyRange>,
}

#[async_trait]
impl Scan for MemoryScan {
    async fn next(&mut self, rows_max: usize) -> Result<Vec<Row>> {
        let Some(range) = self.next.take() else { return Ok(Vec::new()) };
        let found = select(&self.rows, &range).take(rows_max);
        let found: Vec<Row> = found.map(|(key, value)| Row { key: key.clone(), value: value.clone() }).collect();
        self.next = found.last().map(|row| range.after(&row.key));
        Ok(found)
    }
}

fn select<'a>(rows: &'a Rows, range: &KeyRange) -> impl Iterator<Item = (&'a Bytes, &'a Value)> {
    let end = range.end.clone().map_or(Bound::Unbounded, Bound::Excluded);
    // An inverted range makes `BTreeMap::range` panic; it holds no keys.
    let inverted = range.end.as_ref().is_some_and(|end| *end <= range.start);
    let bounds = (Bound::Included(range.start.clone()), end);
    (!inverted).then(|| rows.range(bounds)).into_iter().flatten()
}

#[async_trait]
impl Read for MemoryVolume {
    async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.check()?;
        self.cut_now().get(key).await
    }

    async fn scan(&self, range: KeyRange) -> Result<Box<dyn Scan>> {
        self.check()?;
        self.cut_now().scan(range).await
    }

    async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        self.check()?;
        self.cut_now().payload(pointer)
    }
}

#[async_trait]
impl Volume for MemoryVolume {
    fn check_space(&self) -> Result<()> {
        match self.state.lock().nearly_full {
            true => Err(Error::Exhausted("the disk is nearly full".into())),
            false => Ok(()),
        }
    }

    async fn room(&self) -> Result<Room> {
        self.check()?;
        Ok(Room(()))
    }

    async fn append_payload(&self, _room: &Room, parts: &[Bytes]) -> Result<Payload> {
        let bytes = Bytes::from(parts.concat());
        if bytes.len() > crate::limits::PAYLOAD_BYTES_MAX {
            return Err(Error::Invalid(format!("a payload of {} bytes is too large", bytes.len())));
        }
        let mut state = self.state.lock();
        state.check_open()?;
        Ok(state.append(bytes, |number| Place::Log { epoch: 1, number }))
    }

    async fn write_segment(&self, payloads: Vec<Bytes>) -> Result<Vec<Payload>> {
        let mut state = self.state.lock();
        state.check_open()?;
        let place = |number| Place::Segment { epoch: 1, number };
        Ok(payloads.into_iter().map(|bytes| state.append(bytes, place)).collect())
    }

    async fn commit(&self, batch: Batch) -> Result<Position> {
        self.state.lock().apply(&batch)
    }

    async fn durable(&self, position: Position) -> Result<()> {
        let mut state = self.state.lock();
        state.check_open()?;
        assert!(position.0 <= state.position, "a position that was never handed out");
        state.durable_rows = Arc::clone(&state.rows);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.state.lock().check_open()
    }

    fn position(&self) -> Position {
        Position(self.state.lock().position)
    }

    async fn begin(&self, isolation: Isolation) -> Result<Box<dyn Transaction>> {
        let began = self.state.lock().commits;
        let cut = Mutex::new(self.cut_now());
        Ok(Box::new(MemoryTransaction { volume: self.clone(), cut, began, isolation, log: Mutex::default() }))
    }

    async fn cut(&self) -> Result<Arc<dyn Read>> {
        Ok(Arc::new(self.cut_now()))
    }

    async fn create_snapshot(&self, name: &str) -> Result<SnapshotEntry> {
        let mut state = self.state.lock();
        state.check_open()?;
        if state.snapshots.contains_key(name) {
            return Err(Error::AlreadyExists(format!("snapshot {name:?}")));
        }
        let entry = SnapshotEntry { name: name.to_owned(), created: 0, position: Position(state.position) };
        state.durable_rows = Arc::clone(&state.rows);
        let kept = (entry.clone(), Arc::clone(&state.rows), Arc::clone(&state.payloads));
        state.snapshots.insert(name.to_owned(), kept);
        Ok(entry)
    }

    async fn snapshots(&self) -> Result<Vec<SnapshotEntry>> {
        Ok(self.state.lock().snapshots.values().map(|(entry, ..)| entry.clone()).collect())
    }

    async fn open_snapshot(&self, name: &str) -> Result<Arc<dyn Read>> {
        let state = self.state.lock();
        let found = state.snapshots.get(name).ok_or_else(|| Error::NotFound(format!("snapshot {name:?}")));
        found.map(|(_, rows, payloads)| {
            Arc::new(MemoryCut { rows: Arc::clone(rows), payloads: Arc::clone(payloads) }) as Arc<dyn Read>
        })
    }

    async fn delete_snapshot(&self, name: &str) -> Result<()> {
        let gone = self.state.lock().snapshots.remove(name);
        gone.map(drop).ok_or_else(|| Error::NotFound(format!("snapshot {name:?}")))
    }

    fn stats(&self) -> VolumeStats {
        let position = self.position();
        VolumeStats { position, durable: position, ..VolumeStats::default() }
    }

    async fn close(&self) -> Result<()> {
        let mut state = self.state.lock();
        state.durable_rows = Arc::clone(&state.rows);
        state.closed = true;
        Ok(())
    }
}

/// What a transaction read and wrote.
#[derive(Debug, Default)]
struct TransactionLog {
    batch: Batch,
    keys_read: Vec<Bytes>,
    ranges_read: Vec<KeyRange>,
}

/// Own writes are applied to a private copy of the cut.
struct MemoryTransaction {
    volume: MemoryVolume,
    cut: Mutex<MemoryCut>,
    began: u64,
    isolation: Isolation,
    log: Mutex<TransactionLog>,
}

#[async_trait]
impl Read for MemoryTransaction {
    async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.log.lock().keys_read.push(Bytes::copy_from_slice(key));
        Ok(self.cut.lock().rows.get(key).cloned())
    }

    async fn scan(&self, range: KeyRange) -> Result<Box<dyn Scan>> {
        self.log.lock().ranges_read.push(range.clone());
        let cut = self.cut.lock().clone();
        cut.scan(range).await
    }

    async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        self.volume.read_payload(pointer).await
    }
}

#[async_trait]
impl Transaction for MemoryTransaction {
    fn put(&self, key: Bytes, value: Value) -> Result<()> {
        Arc::make_mut(&mut self.cut.lock().rows).insert(key.clone(), value.clone());
        self.log.lock().batch.put_with_payload(key, value.bytes, value.pointers);
        Ok(())
    }

    fn delete(&self, key: Bytes) -> Result<()> {
        Arc::make_mut(&mut self.cut.lock().rows).remove(&key);
        self.log.lock().batch.delete(key);
        Ok(())
    }

    async fn commit(self: Box<Self>, extra: Batch) -> Result<Position> {
        let log = self.log.into_inner();
        let mut state = self.volume.state.lock();
        let changed = |key: &Bytes| state.versions.get(key).is_some_and(|version| *version > self.began);
        let mut conflict = log.batch.mutations().iter().any(|mutation| changed(mutation.key()));
        if self.isolation == Isolation::Serializable && !log.batch.is_empty() {
            conflict |= log.keys_read.iter().any(changed);
            let newer = state.versions.iter().filter(|(_, version)| **version > self.began);
            let newer: Vec<&Bytes> = newer.map(|(key, _)| key).collect();
            conflict |= log.ranges_read.iter().any(|range| newer.iter().any(|key| range.contains(key)));
        }
        if conflict {
            return Err(Error::Conflict);
        }
        let mut batch = log.batch;
        batch.append(extra);
        state.apply(&batch)
    }
}
