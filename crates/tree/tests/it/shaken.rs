//! A volume in memory that counts its reads, gives other tasks a turn in the middle of everything, and fails
//! when told to.

use async_trait::async_trait;
use ballast_runtime::Random;
use ballast_store::{
    Batch, Error, Isolation, KeyRange, MemoryVolume, Payload, Pointer, Position, Read, Result, Room, Scan,
    SnapshotEntry, Transaction, Value, Volume, VolumeStats,
};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub struct Shaken {
    pub inner: MemoryVolume,
    pub reads: AtomicU64,
    pub fails: AtomicBool,
    /// Without it nothing waits.
    random: Option<Random>,
}

impl Shaken {
    pub fn steady(inner: &MemoryVolume) -> Arc<Self> {
        Arc::new(Self { inner: inner.clone(), reads: AtomicU64::new(0), fails: AtomicBool::new(false), random: None })
    }

    pub fn new(inner: &MemoryVolume, seed: u64) -> Arc<Self> {
        let random = Some(Random::from_seed(seed));
        Arc::new(Self { inner: inner.clone(), reads: AtomicU64::new(0), fails: AtomicBool::new(false), random })
    }

    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    async fn shake(&self) {
        if let Some(random) = &self.random {
            for _ in 0..random.below(4) {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[async_trait]
impl Read for Shaken {
    async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.shake().await;
        let found = self.inner.get(key).await;
        self.shake().await;
        found
    }

    async fn scan(&self, range: KeyRange) -> Result<Box<dyn Scan>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.shake().await;
        let scan = self.inner.scan(range).await;
        self.shake().await;
        scan
    }

    async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        self.inner.read_payload(pointer).await
    }
}

#[async_trait]
impl Volume for Shaken {
    async fn room(&self) -> Result<Room> {
        self.inner.room().await
    }

    fn check_space(&self) -> Result<()> {
        self.inner.check_space()
    }

    async fn append_payload(&self, room: &Room, parts: &[Bytes]) -> Result<Payload> {
        self.inner.append_payload(room, parts).await
    }

    async fn write_segment(&self, payloads: Vec<Bytes>) -> Result<Vec<Payload>> {
        self.inner.write_segment(payloads).await
    }

    async fn commit(&self, batch: Batch) -> Result<Position> {
        self.shake().await;
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::Exhausted("the disk is full".into()));
        }
        let position = self.inner.commit(batch).await;
        self.shake().await;
        position
    }

    async fn durable(&self, position: Position) -> Result<()> {
        self.inner.durable(position).await
    }

    fn check(&self) -> Result<()> {
        self.inner.check()
    }

    fn position(&self) -> Position {
        self.inner.position()
    }

    async fn begin(&self, isolation: Isolation) -> Result<Box<dyn Transaction>> {
        self.inner.begin(isolation).await
    }

    async fn cut(&self) -> Result<Arc<dyn Read>> {
        self.inner.cut().await
    }

    async fn create_snapshot(&self, name: &str) -> Result<SnapshotEntry> {
        self.inner.create_snapshot(name).await
    }

    async fn snapshots(&self) -> Result<Vec<SnapshotEntry>> {
        self.inner.snapshots().await
    }

    async fn open_snapshot(&self, name: &str) -> Result<Arc<dyn Read>> {
        self.inner.open_snapshot(name).await
    }

    async fn delete_snapshot(&self, name: &str) -> Result<()> {
        self.inner.delete_snapshot(name).await
    }

    fn stats(&self) -> VolumeStats {
        self.inner.stats()
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
