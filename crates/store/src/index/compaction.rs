//! Compaction and the index's own garbage, for all volumes of a server.
//!
//! A volume opens without SlateDB's embedded compactor, which costs more than all the rest of an idle volume.
//! Instead one task looks at the files at the top of each index and runs a compactor for those that need it,
//! one volume at a time.

use super::Inner;
use super::clock::IndexClock;
use crate::limits;
use ballast_runtime::Random;
use slatedb::config::{
    CompactionWorkerOptions, CompactorOptions, GarbageCollectorDirectoryOptions, GarbageCollectorOptions,
};
use slatedb::{CompactorBuilder, GarbageCollectorBuilder};
use std::sync::Arc;
use std::time::Duration;

/// What runs a compactor or a garbage collector over one volume's index.
#[derive(Clone)]
pub(crate) struct IndexPlace {
    pub store: Arc<dyn object_store::ObjectStore>,
    pub path: object_store::path::Path,
    pub clock: Arc<IndexClock>,
    pub random: Random,
}

/// Compacts until the index is in shape again, `give_up` passes or the volume is closed; returns at once if it already is.
pub(crate) async fn compact(inner: &Arc<Inner>, place: &IndexPlace, give_up: Duration) {
    if is_in_shape(inner) {
        return;
    }
    // The caller may go away; a compactor has to be told to end.
    let run = run(Arc::clone(inner), place.clone(), give_up);
    if let Err(error) = inner.settling.tasks().spawn(run).await {
        tracing::warn!(%error, "the task of a compactor was lost");
    }
}

fn is_in_shape(inner: &Inner) -> bool {
    inner.db.manifest().l0().len() < limits::INDEX_L0_COMPACT
}

async fn run(inner: Arc<Inner>, place: IndexPlace, give_up: Duration) {
    let worker = CompactionWorkerOptions {
        max_concurrent_compactions: 1,
        compactions_poll_interval: limits::COMPACTOR_INTERVAL,
        heartbeat_interval: limits::COMPACTOR_HEARTBEAT,
        ..CompactionWorkerOptions::default()
    };
    let options = CompactorOptions {
        poll_interval: limits::COMPACTOR_INTERVAL,
        max_concurrent_compactions: 1,
        worker: Some(worker),
        worker_heartbeat_timeout: limits::COMPACTOR_DEAD,
        ..CompactorOptions::default()
    };
    let builder = CompactorBuilder::new(place.path, place.store)
        .with_options(options)
        .with_system_clock(place.clock)
        .with_seed(place.random.next_u64());
    let compactor = Arc::new(builder.build());
    let running = tokio::spawn({
        let compactor = Arc::clone(&compactor);
        async move { compactor.run().await }
    });
    let in_shape = async {
        while !is_in_shape(&inner) && !running.is_finished() && inner.check().is_ok() {
            tokio::time::sleep(limits::COMPACTOR_INTERVAL).await;
            if let Err(error) = inner.db.refresh_manifest().await {
                tracing::debug!(%error, "the index's manifest could not be read");
                break;
            }
        }
    };
    tokio::select! {
        () = inner.settling.stopped() => {}
        _ = tokio::time::timeout(give_up, in_shape) => {}
    }
    if let Err(error) = compactor.stop().await {
        tracing::warn!(%error, "the compactor of the index did not stop cleanly");
    }
    if let Ok(Err(error)) = running.await {
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
    use crate::simulation::World;
    use crate::{Batch, IndexedVolume, Space, Volume, limits};
    use futures::TryStreamExt;
    use object_store::ObjectStore;
    use std::sync::Arc;
    use std::time::Duration;

    /// A volume whose index is being compacted, which takes a while and has come to this version of its state: begun,
    /// planned, taken by a worker, and so on.
    async fn compacting(world: &World, version: usize) -> Arc<IndexedVolume> {
        let volume = world.open().await.unwrap();
        for number in 0..limits::INDEX_L0_COMPACT as u8 {
            let mut batch = Batch::new();
            batch.put(Space::Inode.key(&[&[number]]), vec![number]);
            volume.commit(batch).await.unwrap();
            volume.flush_index().await.unwrap();
        }
        world.bucket.set_faults(Faults { delay_max: Duration::from_secs(1), ..Faults::default() });
        let versions = || async {
            let objects: Vec<_> = world.bucket.list(None).try_collect().await.unwrap();
            objects.iter().filter(|object| object.location.as_ref().ends_with(".compactions")).count()
        };
        while versions().await < version {
            tokio::time::sleep(limits::COMPACTOR_INTERVAL).await;
        }
        assert!(!is_in_shape(&volume.inner));
        volume
    }

    #[tokio::test(start_paused = true)]
    async fn the_compactor_of_a_closed_volume_ends() {
        let world = World::new(1, None);
        let volume = compacting(&world, 6).await;
        volume.close().await.unwrap();
        let requests = world.bucket.requests();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(world.bucket.requests(), requests);
    }

    #[tokio::test(start_paused = true)]
    async fn compaction_that_a_crash_interrupted_soon_goes_on() {
        for version in 1..8 {
            let mut world = World::new(1, None);
            let _dead = compacting(&world, version).await;
            world.crash();
            let volume = world.open().await.unwrap();
            let begun = tokio::time::Instant::now();
            while !is_in_shape(&volume.inner) {
                tokio::time::sleep(limits::COMPACTOR_INTERVAL).await;
            }
            // Four files a second may come meanwhile.
            let took = begun.elapsed();
            assert!(took.as_secs() < limits::INDEX_L0_MAX as u64 / 4, "{took:?} after version {version}");
        }
    }
}
