//! A volume that shows one cut, a snapshot as a rule, and takes no writes.
//!
//! With it the tree, the engines and the protocols serve a snapshot with the code that serves the present.
//! Every write answers `Unsupported`; there is nothing that could become durable or be closed.

use crate::volume::{Isolation, Read, Room, Scan, SnapshotEntry, Transaction, Volume, VolumeStats};
use crate::{Batch, Error, KeyRange, Payload, Pointer, Position, Result, Value};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;

/// One cut, as a volume.
#[derive(Clone)]
pub struct FrozenVolume {
    reader: Arc<dyn Read>,
}

impl FrozenVolume {
    pub fn new(reader: Arc<dyn Read>) -> Self {
        Self { reader }
    }
}

fn refused<T>() -> Result<T> {
    Err(Error::Unsupported("a snapshot cannot be changed".to_owned()))
}

#[async_trait]
impl Read for FrozenVolume {
    async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.reader.get(key).await
    }

    async fn scan(&self, range: KeyRange) -> Result<Box<dyn Scan>> {
        self.reader.scan(range).await
    }

    async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        self.reader.read_payload(pointer).await
    }
}

/// Reads only; a commit of nothing succeeds.
#[async_trait]
impl Transaction for FrozenVolume {
    fn put(&self, _: Bytes, _: Value) -> Result<()> {
        refused()
    }

    fn delete(&self, _: Bytes) -> Result<()> {
        refused()
    }

    async fn commit(self: Box<Self>, extra: Batch) -> Result<Position> {
        Volume::commit(&*self, extra).await
    }
}

#[async_trait]
impl Volume for FrozenVolume {
    async fn room(&self) -> Result<Room> {
        refused()
    }

    async fn append_payload(&self, _: &Room, _: &[Bytes]) -> Result<Payload> {
        refused()
    }

    async fn write_segment(&self, _: Vec<Bytes>) -> Result<Vec<Payload>> {
        refused()
    }

    async fn commit(&self, batch: Batch) -> Result<Position> {
        if batch.is_empty() { Ok(self.position()) } else { refused() }
    }

    /// Everything in a cut that was opened by name is durable.
    async fn durable(&self, _: Position) -> Result<()> {
        Ok(())
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn position(&self) -> Position {
        Position(0)
    }

    async fn begin(&self, _: Isolation) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(self.clone()))
    }

    async fn cut(&self) -> Result<Arc<dyn Read>> {
        Ok(Arc::clone(&self.reader))
    }

    async fn create_snapshot(&self, _: &str) -> Result<SnapshotEntry> {
        refused()
    }

    async fn snapshots(&self) -> Result<Vec<SnapshotEntry>> {
        Ok(Vec::new())
    }

    async fn open_snapshot(&self, name: &str) -> Result<Arc<dyn Read>> {
        Err(Error::NotFound(format!("snapshot {name:?}")))
    }

    async fn delete_snapshot(&self, _: &str) -> Result<()> {
        refused()
    }

    fn stats(&self) -> VolumeStats {
        VolumeStats::default()
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryVolume;

    #[tokio::test]
    async fn a_frozen_volume_shows_its_cut_and_takes_nothing() {
        let volume = MemoryVolume::new();
        let row = |value: &'static str| {
            let mut batch = Batch::new();
            batch.put(Bytes::from_static(b"key"), value.as_bytes().to_vec());
            batch
        };
        volume.commit(row("before")).await.unwrap();
        volume.create_snapshot("s").await.unwrap();
        volume.commit(row("after")).await.unwrap();
        let frozen = FrozenVolume::new(volume.open_snapshot("s").await.unwrap());
        assert_eq!(frozen.get(b"key").await.unwrap().unwrap().bytes, "before");
        assert!(matches!(Volume::commit(&frozen, row("again")).await, Err(Error::Unsupported(_))));
        assert!(matches!(frozen.room().await, Err(Error::Unsupported(_))));
        let transaction = frozen.begin(Isolation::Serializable).await.unwrap();
        assert_eq!(transaction.get(b"key").await.unwrap().unwrap().bytes, "before");
        assert!(transaction.delete(Bytes::from_static(b"key")).is_err());
        assert!(transaction.commit(Batch::new()).await.is_ok());
    }
}
