//! Compaction and the index's own garbage.
//!
//! A volume opens without SlateDB's embedded compactor, which costs more than all the rest of an idle volume.
//! Instead a task looks at the files at the top of the index and runs a compactor when they are too many. It is a task
//! of its own: all else in the background may wait for room at the top.

use super::Inner;
use super::clock::IndexClock;
use crate::{Error, limits};
use ballast_runtime::Random;
use slatedb::config::{
    CompactionWorkerOptions, CompactorOptions, CompressionCodec, GarbageCollectorDirectoryOptions,
    GarbageCollectorOptions,
};
use slatedb::{CompactorBuilder, GarbageCollectorBuilder};
use std::sync::{Arc, Weak};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Of the index's tables, whoever writes them.
pub(crate) const COMPRESSION: Option<CompressionCodec> = Some(CompressionCodec::Lz4);

/// What runs a compactor or a garbage collector over one volume's index.
#[derive(Clone)]
pub(crate) struct IndexPlace {
    pub store: Arc<dyn object_store::ObjectStore>,
    pub path: object_store::path::Path,
    pub clock: Arc<IndexClock>,
    pub random: Random,
}

/// The task that keeps one volume's index in shape.
#[derive(Default)]
pub(crate) struct Compaction {
    stopped: CancellationToken,
    tasks: TaskTracker,
}

impl Compaction {
    /// Runs until it is stopped or the volume is dropped.
    pub fn start(&self, inner: &Arc<Inner>, place: IndexPlace) {
        self.tasks.spawn(keep_in_shape(Arc::downgrade(inner), self.stopped.clone(), place));
    }

    /// Lets a compactor that runs give up what it was doing, and waits for that.
    pub async fn stop(&self) {
        self.stopped.cancel();
        self.tasks.close();
        // One that is slow is taken for dead by the next.
        let _ = tokio::time::timeout(limits::COMPACTOR_STOP_MAX, self.tasks.wait()).await;
    }
}

async fn keep_in_shape(inner: Weak<Inner>, stopped: CancellationToken, place: IndexPlace) {
    loop {
        {
            let Some(inner) = inner.upgrade() else { return };
            if !is_in_shape(&inner) && inner.check().is_ok() {
                compact(&inner, &stopped, &place).await;
            }
        }
        tokio::select! {
            biased;
            () = stopped.cancelled() => return,
            () = tokio::time::sleep(limits::COMPACTION_INTERVAL) => {}
        }
    }
}

/// Returns when few enough files are at the top of the index, or the volume has stopped.
pub(crate) async fn in_shape(inner: &Inner) {
    // A lease that is late is no reason to throw away what was compacted.
    let serves = || matches!(inner.check(), Ok(()) | Err(Error::Unavailable { .. }));
    while !is_in_shape(inner) && serves() {
        tokio::time::sleep(limits::COMPACTOR_INTERVAL).await;
        if let Err(error) = inner.db.refresh_manifest().await {
            tracing::debug!(%error, "the index's manifest could not be read");
        }
    }
}

fn is_in_shape(inner: &Inner) -> bool {
    inner.db.manifest().l0().len() < limits::INDEX_L0_COMPACT
}

/// Runs a compactor until the index is in shape again, however long that takes: one that is stopped throws away the
/// table that it was at.
async fn compact(inner: &Inner, stopped: &CancellationToken, place: &IndexPlace) {
    let worker = CompactionWorkerOptions {
        max_concurrent_compactions: 1,
        compactions_poll_interval: limits::COMPACTOR_INTERVAL,
        heartbeat_interval: limits::COMPACTOR_HEARTBEAT,
        compression_codec: COMPRESSION,
        ..CompactionWorkerOptions::default()
    };
    let options = CompactorOptions {
        poll_interval: limits::COMPACTOR_INTERVAL,
        max_concurrent_compactions: 1,
        worker: Some(worker),
        worker_heartbeat_timeout: limits::COMPACTOR_DEAD,
        ..CompactorOptions::default()
    };
    let builder = CompactorBuilder::new(place.path.clone(), Arc::clone(&place.store))
        .with_options(options)
        .with_system_clock(place.clock.clone())
        .with_seed(place.random.next_u64());
    let compactor = builder.build();
    let ended = tokio::select! {
        biased;
        () = stopped.cancelled() => Ok(()),
        () = in_shape(inner) => Ok(()),
        ended = compactor.run() => ended,
    };
    // One that was cut off while it began has started nothing. It must not go on beginning: it would not hear this.
    if let Err(error) = ended.and(compactor.stop().await) {
        tracing::warn!(%error, "compaction of the index failed: it runs again later");
    }
}

/// Removes manifests and files that the index no longer refers to.
pub(crate) async fn remove_garbage(place: &IndexPlace) {
    let every = |min_age| {
        Some(GarbageCollectorDirectoryOptions {
            interval: None,
            min_age,
            ..GarbageCollectorDirectoryOptions::default()
        })
    };
    let options = GarbageCollectorOptions {
        manifest_options: every(limits::INDEX_GARBAGE_AGE),
        // The log is ours: SlateDB's collector has nothing to look for there.
        wal_options: None,
        wal_fence_options: None,
        compacted_options: every(limits::INDEX_GARBAGE_AGE),
        compactions_options: every(limits::INDEX_GARBAGE_AGE),
        ..GarbageCollectorOptions::default()
    };
    let builder = GarbageCollectorBuilder::new(place.path.clone(), Arc::clone(&place.store))
        .with_options(options)
        .with_system_clock(place.clock.clone())
        .with_seed(place.random.next_u64());
    builder.build().run_gc_once().await;
}

#[cfg(test)]
mod tests {
    use super::is_in_shape;
    use crate::bucket::simulated::Faults;
    use crate::simulation::{PATIENCE, World};
    use crate::{Batch, IndexedVolume, Read, Space, Volume, limits};
    use futures::TryStreamExt;
    use object_store::ObjectStore;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::{Instant, sleep, timeout};

    /// Makes files at the top of the index.
    async fn make_files(volume: &IndexedVolume, count: usize) {
        for number in 0..count {
            let mut batch = Batch::new();
            batch.put(Space::Inode.key(&[&number.to_be_bytes()]), vec![7]);
            volume.commit(batch).await.unwrap();
            volume.flush_index().await.unwrap();
        }
    }

    async fn until(condition: impl AsyncFn() -> bool) {
        let wait = async {
            while !condition().await {
                sleep(limits::COMPACTOR_INTERVAL).await;
            }
        };
        timeout(PATIENCE, wait).await.expect("it comes to pass");
    }

    /// A volume whose index is being compacted, which takes a while and has come to this version of its state: begun,
    /// planned, taken by a worker, and so on.
    async fn compacting(world: &World, version: usize) -> Arc<IndexedVolume> {
        let volume = world.open().await.unwrap();
        make_files(&volume, limits::INDEX_L0_COMPACT).await;
        world.bucket.set_faults(Faults { delay_max: Duration::from_secs(1), ..Faults::default() });
        let reached = || async {
            let objects: Vec<_> = world.bucket.list(None).try_collect().await.unwrap();
            objects.iter().filter(|object| object.location.as_ref().ends_with(".compactions")).count() >= version
        };
        until(reached).await;
        assert!(!is_in_shape(&volume.inner));
        volume
    }

    #[tokio::test(start_paused = true)]
    async fn the_compactor_of_a_closed_volume_ends() {
        for version in 0..8 {
            let world = World::new(1, None);
            let volume = compacting(&world, version).await;
            // Somewhere within its first requests.
            sleep(Duration::from_millis(700)).await;
            volume.close().await.unwrap();
            // What was under way ends, and no more begins.
            sleep(Duration::from_secs(60)).await;
            let requests = world.bucket.requests();
            sleep(Duration::from_secs(60)).await;
            assert_eq!(world.bucket.requests(), requests, "closed after version {version}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_compactor_that_is_told_to_stop_stops() {
        for version in 0..6 {
            let world = World::new(1, None);
            let volume = compacting(&world, version).await;
            volume.inner.compaction.stop().await;
            sleep(Duration::from_secs(60)).await;
            volume.inner.db.refresh_manifest().await.unwrap();
            assert!(!is_in_shape(&volume.inner), "stopped after version {version}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn compaction_that_a_crash_interrupted_soon_goes_on() {
        for version in 1..8 {
            let mut world = World::new(1, None);
            let _dead = compacting(&world, version).await;
            world.crash();
            let volume = world.open().await.unwrap();
            let begun = Instant::now();
            until(async || is_in_shape(&volume.inner)).await;
            let took = begun.elapsed();
            let files = limits::INDEX_L0_COMPACT + 4 * took.as_secs() as usize;
            assert!(files < limits::INDEX_L0_MAX / 4 * 3, "{took:?} after version {version}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn compaction_goes_on_while_all_else_in_the_background_waits() {
        let world = World::new(1, None);
        let volume = world.open().await.unwrap();
        let _round = volume.inner.settling.round().await;
        let mut batch = Batch::new();
        batch.put(Space::Block.key(&[b"asks for collecting"]), vec![7]);
        volume.commit(batch).await.unwrap();
        sleep(2 * limits::COLLECT_INTERVAL).await;
        make_files(&volume, limits::INDEX_L0_COMPACT).await;
        until(async || is_in_shape(&volume.inner)).await;
    }

    /// Closes a volume whose index cannot be written, and opens it again: it takes its time and loses nothing.
    async fn close_without_flush(mut world: World, volume: Arc<IndexedVolume>) -> Arc<IndexedVolume> {
        let mut batch = Batch::new();
        let key = Space::Inode.key(&[b"the last"]);
        batch.put(key.clone(), vec![7]);
        volume.commit(batch).await.unwrap();
        let begun = Instant::now();
        volume.close().await.unwrap();
        let limits = limits::CLOSE_FLUSH_MAX..limits::CLOSE_FLUSH_MAX + 2 * limits::INDEX_CLOSE_MAX;
        assert!(limits.contains(&begun.elapsed()), "{:?}", begun.elapsed());
        world.crash();
        let volume = timeout(PATIENCE, world.open()).await.unwrap().unwrap();
        assert!(volume.get(&key).await.unwrap().is_some());
        volume
    }

    #[tokio::test(start_paused = true)]
    async fn a_volume_whose_index_has_no_room_at_the_top_closes() {
        let world = World::new(1, None);
        let volume = world.open().await.unwrap();
        volume.inner.compaction.stop().await;
        make_files(&volume, limits::INDEX_L0_MAX).await;
        assert_eq!(volume.inner.db.manifest().l0().len(), limits::INDEX_L0_MAX);
        let volume = close_without_flush(world, volume).await;
        assert!(is_in_shape(&volume.inner));
    }

    #[tokio::test(start_paused = true)]
    async fn a_volume_whose_bucket_does_not_answer_closes() {
        let world = World::on_disk();
        let volume = world.open().await.unwrap();
        world.bucket.set_faults(Faults { delay_max: Duration::from_secs(1_000_000), ..Faults::default() });
        close_without_flush(world, volume).await;
    }
}
