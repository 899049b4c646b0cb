//! A volume in memory whose payload moves, as settling moves it in the real one.

use async_trait::async_trait;
use ballast_store::{
    Batch, Error, Isolation, KeyRange, MemoryVolume, Mutation, Payload, Pointer, Position, Read, Result, Room, Scan,
    SnapshotEntry, Transaction, Value, Volume, VolumeStats,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

/// See the module. Clones share one volume.
#[derive(Clone, Debug, Default)]
pub struct ShiftingVolume {
    memory: MemoryVolume,
    /// Where payload was and is no more.
    left: Arc<Mutex<HashSet<Pointer>>>,
    full: Arc<AtomicBool>,
    /// Held by a test that keeps commits, or payload, waiting.
    commits: Arc<RwLock<()>>,
    appends: Arc<RwLock<()>>,
}

impl ShiftingVolume {
    pub fn crash(&self) -> Self {
        Self { memory: self.memory.crash(), left: Arc::clone(&self.left), ..Self::default() }
    }

    /// Whether it refuses commits for want of room.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Whether it refuses new data.
    pub fn set_nearly_full(&self, nearly_full: bool) {
        self.memory.set_nearly_full(nearly_full);
    }

    /// Commits wait until this is dropped.
    pub async fn hold_commits(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.commits).write_owned().await
    }

    /// The same for payload.
    pub async fn hold_appends(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.appends).write_owned().await
    }

    pub fn rows(&self) -> BTreeMap<Bytes, Value> {
        self.memory.rows()
    }

    /// Moves all payload to new places and changes the rows that point at it.
    pub async fn shift(&self) {
        for (key, value) in self.memory.rows() {
            let mut moved = value.clone();
            let mut batch = Batch::new();
            for pointer in &mut moved.pointers {
                let payload = self.memory.read_payload(pointer).await.expect("the model keeps everything");
                let written = self.memory.write_segment(vec![payload]).await.expect("it is open");
                batch.hold(&written[0]);
                *pointer = written[0].pointer;
            }
            // Under the lock that commits take, so that none gets in between.
            let mut left = self.left.lock();
            if value.pointers.is_empty() || self.memory.rows().get(&key) != Some(&value) {
                continue;
            }
            left.extend(value.pointers.iter().copied());
            batch.put_with_payload(key, moved.bytes, moved.pointers);
            let committed = futures::executor::block_on(self.memory.commit(batch)).expect("it is open");
            futures::executor::block_on(self.memory.durable(committed)).expect("it is open");
        }
    }
}

#[async_trait]
impl Read for ShiftingVolume {
    async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.memory.get(key).await
    }

    async fn scan(&self, range: KeyRange) -> Result<Box<dyn Scan>> {
        self.memory.scan(range).await
    }

    async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        if self.left.lock().contains(pointer) {
            return Err(Error::PayloadMoved);
        }
        self.memory.read_payload(pointer).await
    }
}

#[async_trait]
impl Volume for ShiftingVolume {
    fn check_space(&self) -> Result<()> {
        self.memory.check_space()
    }

    async fn room(&self) -> Result<Room> {
        self.memory.room().await
    }

    async fn append_payload(&self, room: &Room, parts: &[Bytes]) -> Result<Payload> {
        let _free = self.appends.read().await;
        self.memory.append_payload(room, parts).await
    }

    async fn write_segment(&self, payloads: Vec<Bytes>) -> Result<Vec<Payload>> {
        self.memory.write_segment(payloads).await
    }

    async fn commit(&self, batch: Batch) -> Result<Position> {
        let _free = self.commits.read().await;
        if self.full.load(Ordering::SeqCst) {
            return Err(Error::Exhausted("the disk is full".into()));
        }
        let left = self.left.lock();
        let points_there = |mutation: &Mutation| {
            mutation.value().is_some_and(|value| value.pointers.iter().any(|pointer| left.contains(pointer)))
        };
        if batch.mutations().iter().any(points_there) {
            return Err(Error::PayloadMoved);
        }
        futures::executor::block_on(self.memory.commit(batch))
    }

    async fn durable(&self, position: Position) -> Result<()> {
        self.memory.durable(position).await
    }

    fn check(&self) -> Result<()> {
        self.memory.check()
    }

    fn position(&self) -> Position {
        self.memory.position()
    }

    async fn begin(&self, isolation: Isolation) -> Result<Box<dyn Transaction>> {
        self.memory.begin(isolation).await
    }

    async fn cut(&self) -> Result<Arc<dyn Read>> {
        self.memory.cut().await
    }

    async fn create_snapshot(&self, name: &str) -> Result<SnapshotEntry> {
        self.memory.create_snapshot(name).await
    }

    async fn snapshots(&self) -> Result<Vec<SnapshotEntry>> {
        self.memory.snapshots().await
    }

    async fn open_snapshot(&self, name: &str) -> Result<Arc<dyn Read>> {
        self.memory.open_snapshot(name).await
    }

    async fn delete_snapshot(&self, name: &str) -> Result<()> {
        self.memory.delete_snapshot(name).await
    }

    fn stats(&self) -> VolumeStats {
        self.memory.stats()
    }

    async fn close(&self) -> Result<()> {
        self.memory.close().await
    }
}
