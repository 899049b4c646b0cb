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
pub(crate) struct IndexPlace {
    pub store: Arc<dyn object_store::ObjectStore>,
    pub path: object_store::path::Path,
    pub clock: Arc<IndexClock>,
    pub random: Random,
}

/// Compacts until the index is in shape again or `give_up` passes; returns at once if it already is.
pub(crate) async fn compact(inner: &Arc<Inner>, place: &IndexPlace, give_up: Duration) {
    let long = || inner.db.manifest().l0().len() >= limits::INDEX_L0_COMPACT;
    if !long() {
        return;
    }
    let worker = CompactionWorkerOptions {
        max_concurrent_compactions: 1,
        compactions_poll_interval: Duration::from_millis(100),
        ..CompactionWorkerOptions::default()
    };
    let options = CompactorOptions {
        poll_interval: Duration::from_millis(100),
        max_concurrent_compactions: 1,
        worker: Some(worker),
        ..CompactorOptions::default()
    };
    let builder = CompactorBuilder::new(place.path.clone(), Arc::clone(&place.store))
        .with_options(options)
        .with_system_clock(place.clock.clone())
        .with_seed(place.random.next_u64());
    let compactor = Arc::new(builder.build());
    let running = tokio::spawn({
        let compactor = Arc::clone(&compactor);
        async move { compactor.run().await }
    });
    let began = tokio::time::Instant::now();
    while long() && began.elapsed() < give_up && !running.is_finished() && inner.check().is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Err(error) = inner.db.refresh_manifest().await {
            tracing::debug!(%error, "the index's manifest could not be read");
            break;
        }
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
