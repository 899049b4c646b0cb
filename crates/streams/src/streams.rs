//! The engine of one volume: finds streams, and hands out their partitions.

use crate::groups::Groups;
use crate::keys;
use crate::metrics::Counters;
use crate::partition::ahead::ReadAhead;
use crate::partition::tail::TailBudget;
use crate::partition::{Partition, PartitionId, registry::Registry};
use crate::stream::{Descriptor, Stream};
use crate::{Error, Result};
use async_trait::async_trait;
use ballast_runtime::memory::Budget;
use ballast_runtime::telemetry::Metrics;
use ballast_runtime::{Clock, Random};
use ballast_store::{Read, Volume};
use ballast_tree::{Content, Inode, Tree};
use ballast_types::{Ino, Kind};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What may differ between servers.
#[derive(Clone, Debug)]
pub struct Config {
    /// Memory for the newest record batches of all partitions, from which readers at the end are served.
    pub tail_bytes: usize,
    /// Memory for what fetches have read and their readers have not yet taken.
    pub fetch_bytes: usize,
    /// How long the first members of a group wait for others before the group starts.
    pub group_initial_delay: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { tail_bytes: 64 << 20, fetch_bytes: 256 << 20, group_initial_delay: Duration::from_millis(50) }
    }
}

/// The streams of one volume. Clones share one engine.
#[derive(Clone)]
pub struct Streams {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub volume: Arc<dyn Volume>,
    pub tree: Tree,
    pub clock: Arc<dyn Clock>,
    pub random: Random,
    pub partitions: Registry,
    pub tail: TailBudget,
    pub ahead: ReadAhead,
    /// For what fetches read.
    pub fetching: Budget,
    pub counters: Counters,
    pub producer_ids: tokio::sync::Mutex<std::ops::Range<u64>>,
    pub groups: Groups,
    /// Where the next tick of retention goes on.
    pub retention_cursor: parking_lot::Mutex<Option<PartitionId>>,
}

impl Streams {
    /// The engine over a volume and its tree; streams whose last name is removed are emptied by it.
    pub fn new(volume: Arc<dyn Volume>, tree: Tree, clock: Arc<dyn Clock>, random: Random, config: Config) -> Self {
        let inner = Arc::new(Inner {
            tail: TailBudget::new(config.tail_bytes),
            groups: Groups::new(config.group_initial_delay, random.clone()),
            ahead: ReadAhead::default(),
            fetching: Budget::new(config.fetch_bytes),
            counters: Counters::default(),
            volume,
            tree,
            clock,
            random,
            partitions: Registry::default(),
            producer_ids: tokio::sync::Mutex::new(0..0),
            retention_cursor: parking_lot::Mutex::default(),
        });
        inner.tree.register(Arc::new(StreamContent(Arc::downgrade(&inner))));
        Self { inner }
    }

    /// Shows the engine's counters under `ballast_streams_`.
    pub fn register_metrics(&self, metrics: &Metrics) {
        self.inner.counters.register(metrics);
    }

    pub fn tree(&self) -> &Tree {
        &self.inner.tree
    }

    pub fn now_ms(&self) -> i64 {
        self.inner.now_ms()
    }

    pub fn random(&self) -> &Random {
        &self.inner.random
    }

    /// The stream of an inode, whoever asks.
    pub async fn stream(&self, ino: Ino) -> Result<Stream> {
        self.inner.stream(ino).await
    }
}

impl Inner {
    pub fn now_ms(&self) -> i64 {
        self.clock.now_nanos().div_euclid(1_000_000)
    }

    pub fn reader(&self) -> &dyn Read {
        self.volume.as_ref()
    }

    /// The stream of an inode that still has a name.
    pub async fn stream(&self, ino: Ino) -> Result<Stream> {
        stream_of(&self.tree.inode(ino).await?)
    }

    /// A partition, its state in memory.
    pub async fn partition(&self, id: PartitionId) -> Result<Arc<Partition>> {
        let partition = self.partitions.get(id);
        partition.load(self).await?;
        Ok(partition)
    }

    /// A partition of a stream that exists.
    pub async fn known_partition(&self, id: PartitionId) -> Result<(Stream, Arc<Partition>)> {
        let stream = self.stream(id.ino).await?;
        if id.partition >= stream.partitions() {
            return Err(Error::UnknownPartition(id.partition.into()));
        }
        let partition = self.partition(id).await?;
        Ok((stream, partition))
    }
}

/// Reads the stream out of its inode.
pub(crate) fn stream_of(inode: &Inode) -> Result<Stream> {
    if inode.kind != Kind::Stream || inode.links == 0 {
        return Err(Error::NotFound(format!("inode {}", inode.ino)));
    }
    let descriptor: Descriptor = keys::descriptor::decode(&inode.descriptor)?;
    Ok(Stream { ino: inode.ino, descriptor, inode: inode.clone() })
}

/// What the tree knows of this engine. Holds it weakly: the engine holds the tree.
struct StreamContent(Weak<Inner>);

#[async_trait]
impl Content for StreamContent {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Stream]
    }

    async fn purge(&self, ino: Ino) -> ballast_tree::Result<()> {
        match self.0.upgrade() {
            Some(inner) => inner.purge(ino).await.map_err(into_tree_error),
            None => Ok(()),
        }
    }
}

fn into_tree_error(error: Error) -> ballast_tree::Error {
    match error {
        Error::Tree(error) => error,
        Error::Store(error) => ballast_tree::Error::Store(error),
        other => ballast_tree::Error::Store(ballast_store::Error::Corrupt(other.to_string())),
    }
}
