//! A volume with its tree and streams, that can crash.

use ballast_runtime::{ManualClock, Random};
use ballast_store::MemoryVolume;
use ballast_streams::testing::BatchBuilder;
use ballast_streams::{
    AppendPart, Appended, Config, FetchPart, FetchRequest, Fetched, PartitionId, Result, Settings, Stream, Streams,
};
use ballast_tree::Tree;
use ballast_types::Call;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

pub struct World {
    pub volume: MemoryVolume,
    pub clock: ManualClock,
    pub streams: Streams,
    pub tree: Tree,
    pub call: Call,
    config: Config,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let clock = ManualClock::at(1_000_000_000_000_000_000);
        Self::open(MemoryVolume::new(), clock, config).await
    }

    async fn open(volume: MemoryVolume, clock: ManualClock, config: Config) -> Self {
        let shared: Arc<MemoryVolume> = Arc::new(volume.clone());
        let tree = Tree::open(shared.clone(), Arc::new(clock.clone()), (0, 0)).await.unwrap();
        let streams = Streams::new(shared, tree.clone(), Arc::new(clock.clone()), Random::from_seed(7), config.clone());
        Self { volume, clock, streams, tree, call: Call::internal(), config }
    }

    /// The server dies; another one opens the volume as the crash has left it.
    pub async fn crash(&self) -> Self {
        Self::open(self.volume.crash(), self.clock.clone(), self.config.clone()).await
    }

    pub async fn stream(&self, name: &str, partitions: u32) -> Stream {
        self.streams.create(&self.call, name, partitions, Settings::default()).await.unwrap()
    }

    pub async fn append(&self, id: PartitionId, batch: &BatchBuilder) -> Result<Appended> {
        self.append_bytes(id, batch.build()).await
    }

    pub async fn append_bytes(&self, id: PartitionId, records: Bytes) -> Result<Appended> {
        self.streams.append(vec![AppendPart { id, records }]).await.durable().await.remove(0)
    }

    pub async fn fetch(&self, id: PartitionId, offset: i64, bytes_max: usize) -> Result<Fetched> {
        let parts = vec![FetchPart { id, offset, bytes_max }];
        let request = FetchRequest { parts, bytes_max, bytes_min: 1, wait: Duration::ZERO };
        self.streams.fetch(&request).await.parts.remove(0)
    }
}

pub fn id(stream: &Stream, partition: u32) -> PartitionId {
    PartitionId { ino: stream.ino, partition }
}

/// Base offset and number of records of each batch that was fetched.
pub fn batches(fetched: &Fetched) -> Vec<(i64, i64)> {
    let mut bytes = Bytes::from(fetched.records.concat());
    assert_eq!(bytes.len(), fetched.bytes);
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        let header = ballast_streams::batch::BatchHeader::parse(&bytes).unwrap();
        let batch = bytes.split_to(header.length);
        assert_eq!(crc32c::crc32c(&batch[21..]), header.crc, "the batch is as it was sent");
        batches.push((header.base_offset, i64::from(header.records)));
    }
    batches
}
