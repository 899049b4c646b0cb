//! Opening volumes: what all volumes of a server share, and what happens between open and close.

use super::checked::{self, CheckedStore};
use super::clock::IndexClock;
use super::compaction::{self, IndexPlace};
use super::cut::Cuts;
use super::snapshot::{self, Snapshots};
use super::wal::{LogInit, Shared};
use super::{IndexedVolume, Inner, index_error, settle};
use crate::disk::{Disk, RealDisk};
use crate::log::{self, LogFile, Medium};
use crate::reserve::Reserve;
use crate::segment::Segments;
use crate::{Bucket, Error, Result, bucket, limits};
use ballast_runtime::{Clock, Random};
use object_store::ObjectStore;
use object_store::path::Path;
use slatedb::config::Settings;
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};
use slatedb::db_cache::{DbCache, SplitCache};
use slatedb::{Db, DbReader};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Names a volume within its bucket; 0 is the root volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(pub u64);

impl std::fmt::Display for VolumeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The right to serve: asked before every operation, so it must be cheap.
pub trait Gate: Send + Sync + 'static {
    /// `Fenced` when the lease is lost.
    fn check(&self) -> Result<()>;
}

/// Never lost: for a bucket that nobody else opens, as in tests, benches and examples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unshared;

impl Gate for Unshared {
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// What the volumes of a server are made of; a simulation passes its own.
#[derive(Clone)]
pub struct Components {
    /// The bucket; paths are relative to its prefix.
    pub bucket: Arc<dyn ObjectStore>,
    /// Where the log's files may lie. Without it, the log is objects.
    pub local: Option<Local>,
    pub clock: Arc<dyn Clock>,
    pub random: Random,
    pub gate: Arc<dyn Gate>,
    pub log: log::Settings,
}

impl Components {
    fn reserve(&self) -> Option<Arc<Reserve>> {
        self.local.as_ref().map(|local| Arc::clone(&local.reserve))
    }
}

/// The directory of a `file://` bucket, and the disk that it is on.
#[derive(Clone)]
pub struct Local {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    is_shared: bool,
    reserve: Arc<Reserve>,
}

impl Local {
    /// `is_shared`: other machines may reach it. A log of files is fenced within one kernel, so there a new log is objects.
    pub fn new(disk: Arc<dyn Disk>, directory: PathBuf, is_shared: bool) -> Self {
        let path = directory.join(bucket::local::OWN).join("reserve");
        let reserve = Arc::new(Reserve::new(Arc::clone(&disk), directory.clone(), path));
        Self { disk, directory, is_shared, reserve }
    }

    /// `None` if the bucket is no directory.
    pub fn of(bucket: &Bucket) -> Result<Option<Self>> {
        let Some(local) = bucket.local() else { return Ok(None) };
        let is_shared = local.is_shared();
        let is_shared =
            is_shared.map_err(|error| Error::unavailable("could not look at the bucket's file system", error))?;
        Ok(Some(Self::new(Arc::new(RealDisk), local.directory().to_owned(), is_shared)))
    }

    /// What is kept free of the disk.
    pub fn reserve(&self) -> &Arc<Reserve> {
        &self.reserve
    }
}

/// The volumes of one server: they share one cache.
pub struct Store {
    components: Components,
    /// The bucket as SlateDB sees it.
    index: Arc<CheckedStore>,
    cache: Arc<dyn DbCache>,
    clock: Arc<IndexClock>,
}

impl Store {
    pub fn new(components: Components) -> Self {
        let part = |bytes| {
            let options = MokaCacheOptions { max_capacity: bytes, time_to_live: None, time_to_idle: None };
            Some(Arc::new(MokaCache::new_with_opts(options)) as Arc<dyn DbCache>)
        };
        let (blocks, meta) = (limits::BLOCK_CACHE_BYTES * 3 / 4, limits::BLOCK_CACHE_BYTES / 4);
        let cache = SplitCache::new().with_block_cache(part(blocks)).with_meta_cache(part(meta));
        let clock = Arc::new(IndexClock::new(&*components.clock));
        let index = Arc::new(CheckedStore::new(Arc::clone(&components.bucket)));
        Self { components, index, cache: Arc::new(cache.build()), clock }
    }

    /// Opens a volume, making it if it is new: fences an earlier owner, replays the log's tail, starts background
    /// work. Cost: about 20 small requests to the bucket and the replay of at most [`limits::TAIL_BYTES_MAX`].
    pub async fn open_volume(&self, id: VolumeId) -> Result<Arc<IndexedVolume>> {
        self.components.gate.check()?;
        let root = Path::from(format!("volumes/{id}"));
        let index = root.clone().join("index");
        let (db, shared) = self.open_index(id, &root, &index).await?;
        let inner = match self.open_rest(id, &root, &index, &db, &shared).await {
            Ok(inner) => inner,
            Err(error) => {
                // Index and log run already. What waits for the bucket is cut off.
                let _ = tokio::time::timeout(limits::INDEX_CLOSE_MAX, super::close_index(&db)).await;
                return Err(error);
            }
        };
        let place = IndexPlace {
            store: Arc::clone(&self.index) as _,
            path: index,
            clock: self.clock.clone(),
            random: self.components.random.clone(),
        };
        inner.compaction.start(&inner, place.clone());
        // A run of short lives must not let the index's top, and with it the tail, grow without bound.
        if inner.db.manifest().l0().len() >= limits::INDEX_L0_MAX / 2 {
            let _ = tokio::time::timeout(limits::OPEN_COMPACTION_MAX, compaction::in_shape(&inner)).await;
        }
        tokio::spawn(background(Arc::downgrade(&inner), inner.settling.stopped(), place));
        tokio::spawn(collecting(Arc::downgrade(&inner), inner.settling.stopped()));
        Ok(Arc::new(IndexedVolume { inner }))
    }

    /// What a volume has besides its index and log.
    async fn open_rest(
        &self,
        id: VolumeId,
        root: &Path,
        index: &Path,
        db: &Db,
        shared: &Arc<Shared>,
    ) -> Result<Arc<Inner>> {
        let components = &self.components;
        let log = shared.log().ok_or_else(|| Error::Closed("the index opened without its log".into()))?;
        let replayed_from = crate::Position(db.manifest().replay_after_wal_id());
        let files = log.files();
        let is_whole = files.windows(2).all(|two| two[0].end == two[1].start);
        let files = files.into_iter().filter(|file| file.start < replayed_from).collect();
        let unread = settle::Unread { files, is_whole };
        let epoch = db.manifest().writer_epoch();
        let (bucket, path) = (Arc::clone(&components.bucket), root.clone().join("segments"));
        let segments = Segments::open(bucket, path, epoch, log.settled_files()).await?;
        let inner = Arc::new(Inner {
            id,
            db: db.clone(),
            index: Arc::clone(&self.index),
            index_path: index.clone(),
            shared: Arc::clone(shared),
            segments,
            snapshots: self.snapshots(id, index),
            cuts: Cuts::default(),
            clock: Arc::clone(&components.clock),
            gate: Arc::clone(&components.gate),
            reserve: components.reserve(),
            settling: settle::Settling::new(unread, &components.log),
            combiner: Default::default(),
            compaction: Default::default(),
        });
        snapshot::load(&inner).await?;
        Ok(inner)
    }

    /// Where the volume's log is, or shall be.
    async fn medium(&self, id: VolumeId, root: &Path) -> Result<Medium> {
        let components = &self.components;
        let prefix = root.clone().join("log");
        let files = |local: &Local| (Arc::clone(&local.disk), local.directory.join(format!("volumes/{id}/log")));
        let files = components.local.as_ref().map(files);
        let is_shared = components.local.as_ref().is_some_and(|local| local.is_shared);
        let kind = log::Kind::of(&components.bucket, &prefix, files.clone(), &components.log).await?;
        match (kind, files) {
            (Some(log::Kind::Files), None) => Err(Error::Invalid(format!(
                "the log of volume {id} is files, of a bucket in a directory: copy the bucket back into one, and open that"
            ))),
            (Some(log::Kind::Files), Some((disk, directory))) => {
                if is_shared {
                    tracing::warn!(
                        "the log is files where other machines may reach them: open it on one machine alone"
                    );
                }
                Ok(Medium::Disk { disk, directory })
            }
            (None, Some((disk, directory))) if !is_shared => Ok(Medium::Disk { disk, directory }),
            _ => Ok(Medium::Object { store: Arc::clone(&components.bucket), prefix }),
        }
    }

    /// Opens index and log. What a dead server still had under way may get in between two steps of it; the index
    /// then says that a version exists already, which is no damage if it is gone the next time.
    async fn open_index(&self, id: VolumeId, root: &Path, index: &Path) -> Result<(Db, Arc<Shared>)> {
        let components = &self.components;
        let medium = self.medium(id, root).await?;
        let mut attempt = 1;
        loop {
            // Reading many groups costs something only where each is an object.
            let groups_max = match &medium {
                Medium::Disk { .. } => u64::MAX,
                Medium::Object { .. } => limits::TAIL_OBJECTS_MAX,
            };
            let shared = Arc::new(Shared::new(components.log.tail_bytes_max, groups_max));
            let settings = log::Settings { reserve: components.reserve(), ..components.log.clone() };
            let init = LogInit { medium: medium.clone(), settings, shared: Arc::clone(&shared) };
            let built = Db::builder(index.clone(), Arc::clone(&self.index) as _)
                .with_settings(index_settings())
                .with_db_cache(Arc::clone(&self.cache), id.0)
                .with_seed(components.random.next_u64())
                .with_system_clock(self.clock.clone())
                .with_wal_writer(Box::new(init))
                .build()
                .await;
            let error = match built {
                Ok(db) => return Ok((db, shared)),
                Err(error) => error,
            };
            // What is damaged stays so.
            let is_final = shared.has_failed() || checked::damage_in(&error).is_some();
            match open_error(&shared, error) {
                Error::Corrupt(text) if !is_final && attempt < limits::INDEX_OPENS_MAX => {
                    tracing::warn!(attempt, %text, "the index could not be opened: it is tried again");
                    attempt += 1;
                }
                error => return Err(error),
            }
        }
    }

    fn snapshots(&self, id: VolumeId, index: &Path) -> Snapshots {
        let (store, cache, path) = (Arc::clone(&self.index), Arc::clone(&self.cache), index.clone());
        let (clock, random) = (self.clock.clone(), self.components.random.clone());
        let reader = move || {
            DbReader::builder(path.clone(), Arc::clone(&store) as _)
                .with_db_cache(Arc::clone(&cache), id.0)
                .with_system_clock(clock.clone())
                .with_seed(random.next_u64())
        };
        let (store, path) = (Arc::clone(&self.index), index.clone());
        let (clock, random) = (self.clock.clone(), self.components.random.clone());
        let admin = move || {
            slatedb::admin::Admin::builder(path.clone(), Arc::clone(&store) as _)
                .with_system_clock(clock.clone())
                .with_seed(random.next_u64())
                .build()
        };
        Snapshots::new(Box::new(reader), Box::new(admin))
    }
}

fn index_settings() -> Settings {
    Settings {
        flush_interval: None, // the log's committer decides
        manifest_poll_interval: Duration::from_secs(5),
        l0_sst_size_bytes: 4 * usize::try_from(limits::TAIL_BYTES_MAX).expect("a few MiB"),
        l0_max_ssts: limits::INDEX_L0_MAX,
        l0_max_ssts_per_key: limits::INDEX_L0_MAX,
        max_unflushed_bytes: limits::INDEX_UNFLUSHED_BYTES_MAX,
        compactor_options: None,
        garbage_collector_options: None,
        compression_codec: compaction::COMPRESSION,
        ..Settings::default()
    }
}

/// The log's own reason for a failed open, which SlateDB only passes on as text.
fn open_error(shared: &Shared, error: slatedb::Error) -> Error {
    match shared.closed_reason() {
        // The log was closed because the index could not be opened.
        Some(Error::Closed(_)) | None => index_error(error),
        Some(reason) => reason.clone(),
    }
}

/// Collects now and then, beside the other work, because a round may take minutes. Ends when the volume is dropped or
/// closed.
async fn collecting(inner: std::sync::Weak<Inner>, stopped: tokio_util::sync::CancellationToken) {
    let first = tokio::time::Instant::now() + limits::COLLECT_INTERVAL;
    let mut tick = tokio::time::interval_at(first, limits::COLLECT_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let rounds = async {
        loop {
            tick.tick().await;
            let Some(inner) = inner.upgrade() else { return };
            if inner.check().is_ok() && inner.settling.churn() > 0 {
                report("collecting", super::collect::collect(&inner).await);
            }
        }
    };
    stopped.run_until_cancelled(rounds).await;
}

/// The other periodic work of one volume but compaction. Ends when the volume is dropped or closed.
async fn background(inner: std::sync::Weak<Inner>, stopped: tokio_util::sync::CancellationToken, place: IndexPlace) {
    let mut tick = tokio::time::interval(limits::SETTLE_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut swept = tokio::time::Instant::now();
    loop {
        tokio::select! {
            biased;
            () = stopped.cancelled() => return,
            _ = tick.tick() => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        let now = tokio::time::Instant::now();
        let sweep = now - swept >= limits::INDEX_GARBAGE_INTERVAL;
        let work = work(&inner, &place, sweep);
        tokio::select! {
            biased;
            () = stopped.cancelled() => return,
            () = work => {}
        }
        if sweep {
            swept = now;
        }
    }
}

async fn work(inner: &Arc<Inner>, place: &IndexPlace, sweep: bool) {
    if inner.check().is_err() {
        return;
    }
    if let Some(reserve) = inner.reserve.clone().filter(|reserve| reserve.is_due()) {
        report("keeping a reserve of the disk", inner.log().blocking(move || reserve.tend()).await.flatten());
    }
    // What was frozen but not yet written when the last server died is replayed, and nobody may write for long.
    if inner.shared.tail_is_full() {
        report("flushing the index", inner.flush_index().await);
    }
    let files = inner.log().files();
    let log_bytes: u64 = files.iter().map(LogFile::byte_len).sum();
    let much = log_bytes > inner.settling.log_bytes || files.len() > limits::SETTLE_LOG_FILES;
    if much || inner.settling.has_more() || inner.log().is_removing() {
        report("settling", settle::settle(inner).await);
    }
    if sweep {
        compaction::remove_garbage(place).await;
    }
}

fn report<T: std::fmt::Debug + Default + PartialEq>(what: &str, result: Result<T>) {
    match result {
        Ok(done) if done == T::default() => {}
        Ok(done) => tracing::debug!(?done, "{what}"),
        Err(error) => tracing::warn!(%error, "{what} failed: it is tried again"),
    }
}
