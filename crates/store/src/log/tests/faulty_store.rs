//! A bucket in memory that is slow, loses answers and reorders.

use async_trait::async_trait;
use ballast_runtime::Random;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One in so many PUTs: fails without effect, fails after it took effect. 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub lost_request: u64,
    pub lost_answer: u64,
    pub slow: u64,
    /// How fast one PUT goes; 0 is at once.
    pub bytes_per_second: u64,
}

/// See the module. Clones share the bucket.
#[derive(Clone, Debug)]
pub struct FaultyStore {
    pub inner: Arc<InMemory>,
    random: Random,
    faults: Faults,
    puts: Arc<AtomicU64>,
}

impl FaultyStore {
    pub fn new(random: Random, faults: Faults) -> Self {
        Self { inner: Arc::new(InMemory::new()), random, faults, puts: Arc::default() }
    }

    pub fn puts(&self) -> u64 {
        self.puts.load(Ordering::SeqCst)
    }

    fn strikes(&self, one_in: u64) -> bool {
        one_in > 0 && self.random.below(one_in) == 0
    }

    async fn delay(&self) {
        let millis = if self.strikes(self.faults.slow) { 15_000 } else { 60 };
        tokio::time::sleep(Duration::from_millis(self.random.below(millis))).await;
    }

    fn broken(&self) -> Error {
        Error::Generic { store: "faulty", source: "the connection broke".into() }
    }
}

impl std::fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        if self.strikes(self.faults.lost_request) {
            self.delay().await;
            return Err(self.broken());
        }
        if self.faults.bytes_per_second > 0 {
            let seconds = payload.content_length() as f64 / self.faults.bytes_per_second as f64;
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
        // What was sent arrives, whether or not the sender is still there.
        let (store, location) = (self.clone(), location.clone());
        let sent = tokio::spawn(async move {
            store.delay().await;
            let put = store.inner.put_opts(&location, payload, opts).await;
            store.delay().await;
            put
        });
        let put = sent.await.map_err(|_| self.broken())?;
        if self.strikes(self.faults.lost_answer) { Err(self.broken()) } else { put }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.delay().await;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
