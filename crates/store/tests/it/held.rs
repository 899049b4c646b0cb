//! A bucket that keeps the index's manifest to itself for a while.

use crate::settled::{delete, fill};
use crate::volumes::{World, dump};
use anyhow::Result;
use async_trait::async_trait;
use ballast_store::{Batch, Volume};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Manifests that are put while it holds never arrive, nor does their answer. While it hides segments, asking for a list
/// of them fails.
#[derive(Debug, Default)]
struct Held {
    inner: InMemory,
    holds: AtomicBool,
    held: Notify,
    hides_segments: AtomicBool,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("held")
    }
}

#[async_trait]
impl ObjectStore for Held {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        if location.as_ref().contains("/manifest/") && self.holds.load(Ordering::SeqCst) {
            self.held.notify_one();
            std::future::pending::<()>().await;
        }
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        if self.hides_segments.load(Ordering::SeqCst) && prefix.is_some_and(|path| path.as_ref().contains("/segments"))
        {
            let error = object_store::Error::Generic { store: "held", source: "no list of segments".into() };
            return futures::stream::once(async { Err(error) }).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// The index counts rows as flushed before it has written the manifest that a restart reads.
#[tokio::test]
async fn no_file_leaves_the_log_before_the_index_has_said_in_the_bucket_that_it_may() -> Result<()> {
    for log_in_files in [true, false] {
        let bucket = Arc::new(Held::default());
        let world = World::new(log_in_files, 1)?.with_bucket(Arc::<Held>::clone(&bucket));
        let volume = world.open().await?;
        // Files to remove, and files to keep as segments.
        fill(&volume, 0..30).await?;
        delete(&volume, 0..20).await?;
        fill(&volume, 30..60).await?;
        let mut batch = Batch::new();
        batch.put(bytes::Bytes::from_static(b"\x10last"), b"row".to_vec());
        volume.durable(volume.commit(batch).await?).await?;
        let before = dump(&*volume).await?;
        bucket.holds.store(true, Ordering::SeqCst);
        let flushing = tokio::spawn({
            let volume = Arc::clone(&volume);
            async move { volume.flush_index().await }
        });
        bucket.held.notified().await;
        // It may wait for the manifest as long as it wants to: a second is enough to do harm.
        let _ = tokio::time::timeout(Duration::from_secs(1), volume.settle()).await;
        flushing.abort();
        drop(volume);
        bucket.holds.store(false, Ordering::SeqCst);
        let volume = world.open().await?;
        assert_eq!(dump(&*volume).await?, before);
        volume.close().await?;
    }
    Ok(())
}

/// Rows on their way into the index when a server dies are replayed, and would be again and again.
#[tokio::test]
async fn a_tail_over_its_limit_is_flushed_after_a_restart_although_nobody_writes() -> Result<()> {
    let bucket = Arc::new(Held::default());
    let world = World::new(true, 2)?.with_bucket(Arc::<Held>::clone(&bucket)).with_tail_bytes_max(1000);
    let volume = world.open().await?;
    bucket.holds.store(true, Ordering::SeqCst);
    for number in 0..100u64 {
        let mut batch = Batch::new();
        batch.put([b"\x10".as_slice(), &number.to_be_bytes()].concat(), vec![7; 100]);
        volume.durable(volume.commit(batch).await?).await?;
    }
    bucket.held.notified().await;
    drop(volume);
    bucket.holds.store(false, Ordering::SeqCst);
    let volume = world.open().await?;
    assert!(volume.stats().tail_bytes > 5000, "{:?}", volume.stats());
    bucket.holds.store(true, Ordering::SeqCst);
    tokio::time::timeout(Duration::from_secs(60), bucket.held.notified()).await?;
    Ok(())
}

/// Index and log are open by then, with tasks and threads of their own.
#[tokio::test]
async fn an_open_that_fails_late_leaves_nothing_running() -> Result<()> {
    for log_in_files in [true, false] {
        let bucket = Arc::new(Held::default());
        let world = World::new(log_in_files, 3)?.with_bucket(Arc::<Held>::clone(&bucket));
        bucket.hides_segments.store(true, Ordering::SeqCst);
        let failed = world.open().await.map(drop).unwrap_err().to_string();
        assert!(failed.contains("list segments"), "{failed}");
        let runtime = tokio::runtime::Handle::current().metrics();
        let ended = async {
            while runtime.num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await?;
        assert_eq!(world.open_files()?, Vec::<std::path::PathBuf>::new());
        bucket.hides_segments.store(false, Ordering::SeqCst);
        world.open().await?.close().await?;
    }
    Ok(())
}
