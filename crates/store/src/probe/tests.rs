//! The probe against stores that keep their promises and against stores that lie.

use super::*;
use ballast_runtime::SystemClock;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};

/// How a store lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    TakesEveryCreate,
    ChecksThenWrites,
    TakesStaleTags,
    RefusesFreshTags,
    ForgetsMetadata,
    IgnoresIfNoneMatch,
    CachesReads,
    ListsLate,
    IgnoresRanges,
}

#[derive(Debug)]
struct Liar {
    lie: Lie,
    objects: Arc<InMemory>,
    cache: parking_lot::Mutex<std::collections::HashMap<Path, Option<bytes::Bytes>>>,
    listing: parking_lot::Mutex<Option<Vec<ObjectMeta>>>,
}

impl std::fmt::Display for Liar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.lie)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Liar {
    async fn put_opts(
        &self,
        name: &Path,
        payload: PutPayload,
        mut opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        match (self.lie, &opts.mode) {
            (Lie::TakesEveryCreate, PutMode::Create) | (Lie::TakesStaleTags, PutMode::Update(_)) => {
                opts.mode = PutMode::Overwrite;
            }
            (Lie::ChecksThenWrites, PutMode::Create) => {
                let there = self.objects.head(name).await.is_ok();
                tokio::task::yield_now().await;
                if !there {
                    opts.mode = PutMode::Overwrite;
                }
            }
            (Lie::RefusesFreshTags, PutMode::Update(_)) => {
                let path = name.to_string();
                return Err(object_store::Error::Precondition { path, source: "never the same".into() });
            }
            (Lie::ForgetsMetadata, _) => opts.attributes = Default::default(),
            _ => {}
        }
        self.objects.put_opts(name, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        name: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(name, opts).await
    }

    async fn get_opts(&self, name: &Path, mut options: GetOptions) -> object_store::Result<GetResult> {
        if self.lie == Lie::IgnoresIfNoneMatch {
            options.if_none_match = None;
        }
        if self.lie == Lie::IgnoresRanges {
            options.range = None;
        }
        if self.lie == Lie::CachesReads && options.if_none_match.is_none() && !options.head {
            let known = self.cache.lock().get(name).cloned();
            if known.is_none() {
                let read = match self.objects.get(name).await {
                    Ok(got) => Some(got.bytes().await?),
                    Err(_) => None,
                };
                self.cache.lock().insert(name.clone(), read);
            } else if let Some(None) = known {
                return Err(object_store::Error::NotFound { path: name.to_string(), source: "cached".into() });
            }
        }
        self.objects.get_opts(name, options).await
    }

    fn delete_stream(
        &self,
        names: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.objects.delete_stream(names)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        if self.lie != Lie::ListsLate {
            return self.objects.list(prefix);
        }
        let fresh: Vec<_> = self.objects.list(prefix).map(|object| object.unwrap()).collect().now_or_never().unwrap();
        let late = self.listing.lock().replace(fresh.clone()).unwrap_or_default();
        let whole = prefix.is_none_or(|prefix| prefix.parts().count() == 1);
        futures::stream::iter(if whole { fresh } else { late }).map(Ok).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

fn bucket(lie: Lie) -> Bucket {
    let liar = Liar { lie, objects: Arc::default(), cache: Default::default(), listing: Default::default() };
    Bucket::over(Arc::new(liar), "memory")
}

async fn failures(bucket: &Bucket, depth: Depth) -> Vec<&'static str> {
    let report = run(bucket, depth, &SystemClock, &Random::from_seed(1), |_| {}).await.unwrap();
    let left: Vec<_> = bucket.store().list(None).try_collect().await.unwrap();
    assert_eq!(left, [], "it cleans up after itself");
    report.failed().map(|step| step.name).collect()
}

#[tokio::test]
async fn an_honest_store_passes_within_the_promised_number_of_requests() {
    for (depth, requests_max) in [(Depth::Quick, 150), (Depth::Full, 500)] {
        let bucket = bucket(Lie::None);
        assert_eq!(failures(&bucket, depth).await, [] as [&str; 0]);
        let report = run(&bucket, depth, &SystemClock, &Random::from_seed(1), |_| {}).await.unwrap();
        let requests: u64 = report.steps.iter().map(|step| step.requests).sum();
        assert!(requests <= requests_max, "{depth:?} needed {requests}");
        println!("{depth:?}: {requests} requests");
    }
}

#[tokio::test]
async fn a_local_bucket_passes() {
    let directory = tempfile::tempdir().unwrap();
    let url = directory.path().join("bucket");
    let random = Random::from_seed(1);
    let bucket = Bucket::open(url.to_str().unwrap(), &bucket::Environment::default(), &random).unwrap();
    assert_eq!(failures(&bucket, Depth::Full).await, [] as [&str; 0]);
}

#[tokio::test]
async fn each_lie_is_named_by_the_test_that_finds_it() {
    for (lie, test) in [
        (Lie::TakesEveryCreate, "create-once"),
        (Lie::ChecksThenWrites, "racing-creates"),
        (Lie::TakesStaleTags, "update-with-stale-tag"),
        (Lie::RefusesFreshTags, "update-with-fresh-tag"),
        (Lie::ForgetsMetadata, "metadata-kept"),
        (Lie::IgnoresIfNoneMatch, "read-if-changed"),
        (Lie::CachesReads, "read-after-write"),
        (Lie::ListsLate, "list-after-write-and-delete"),
        (Lie::IgnoresRanges, "ranged-reads"),
    ] {
        for depth in [Depth::Quick, Depth::Full] {
            let failed = failures(&bucket(lie), depth).await;
            assert!(failed.contains(&test), "{lie:?} was found by {failed:?}, {depth:?}");
        }
    }
}

#[tokio::test]
async fn the_verdict_names_the_test_what_was_seen_and_what_it_means() {
    let bucket = bucket(Lie::TakesEveryCreate);
    let error = quick(&bucket, &SystemClock, &Random::from_seed(1)).await.unwrap_err().to_string();
    for part in ["create-once", "created a second time", "overwrite each other", "ballast probe"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_with_its_direction() {
    let behind = ballast_runtime::ManualClock::at(1_000_000_000);
    let report = run(&bucket(Lie::None), Depth::Quick, &behind, &Random::from_seed(1), |_| {}).await.unwrap();
    let failed: Vec<_> = report.failed().collect();
    assert!(
        matches!(&failed[..], [Step { name: "clock", finding: Finding::Failed { seen, .. }, .. }] if seen.contains("behind"))
    );
}
