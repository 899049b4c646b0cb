//! The conformance probe: does this bucket do what our durability rests on?
//!
//! Object stores that speak the same protocol differ in what they guarantee: two processes of one server over one
//! folder may both win a create, a proxy may cache a missing key, a compatible store may ignore a condition. Such a
//! bucket loses acknowledged data without ever failing. The probe tries what we rely on and names what it saw and
//! what that would mean. It finds gross faults, not rare ones: passing is no proof.
//!
//! [`run`] is what `ballast probe` does: all tests, through every endpoint that is known. [`quick`] is the short form
//! before a bucket is used for the first time; the superblock remembers that it passed.
//!
//! Cost: about 440 requests of less than 1 KiB for all of it, about 140 for the short form; four tests run side by
//! side, so that at 30 ms a request they take some 2 s and 1 s. Everything happens below `probe/<random>/` and is removed at the end; what a killed
//! probe left is removed by a later one.

mod conditions;
mod consistency;

use crate::{Bucket, Error, Result, bucket};
use ballast_runtime::{Clock, Random};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Raised when a test is added that a bucket probed before must pass as well.
pub const VERSION: u64 = 1;

/// How thorough the probe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    Quick,
    Full,
}

/// What one test found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    Passed,
    /// The bucket does not offer it, and we can do without.
    Skipped(String),
    Failed {
        /// What the bucket did.
        seen: String,
        /// What would become of data.
        means: &'static str,
    },
}

/// One test and what it found, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The test's name: lower case with hyphens, stable, for scripts.
    pub name: &'static str,
    pub finding: Finding,
    pub requests: u64,
}

/// All of it. A bucket whose report has a failed step must not be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub steps: Vec<Step>,
    /// Ways to the bucket that raced with each other. With one, faults between servers stay unseen.
    pub endpoints: usize,
}

impl Report {
    pub fn failed(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| matches!(step.finding, Finding::Failed { .. }))
    }

    /// `Unsupported` with all failed tests by name.
    pub fn verdict(&self, bucket: &Bucket) -> Result<()> {
        let failures: Vec<_> = self
            .failed()
            .map(|step| match &step.finding {
                Finding::Failed { seen, means } => format!("`{}`: {seen}; {means}", step.name),
                _ => step.name.to_owned(),
            })
            .collect();
        if failures.is_empty() {
            return Ok(());
        }
        Err(Error::Unsupported(format!(
            "the bucket {bucket} does not keep what it promises and would lose data. Failed: {}. \
             Run `ballast probe` for details, and use another store",
            failures.join(". ")
        )))
    }
}

/// Runs all tests and reports each when it is done. An error means that the bucket could not be probed at all; what
/// the tests found is in the report.
pub async fn run(
    bucket: &Bucket,
    depth: Depth,
    clock: &dyn Clock,
    random: &Random,
    mut report: impl FnMut(&Step),
) -> Result<Report> {
    let root = Path::from(format!("probe/{:016x}", random.next_u64()));
    let endpoints = bucket.endpoints();
    // The tests need nothing of each other; side by side, they wait for the network a quarter of the time.
    let tests = futures::stream::iter(TESTS.map(|(name, test)| {
        let probe = Probe { bucket, depth, clock, random, endpoints, root: &root, requests: AtomicU64::new(0) };
        async move {
            let finding = test(&probe).await?;
            Ok::<_, Error>(Step { name, finding, requests: probe.requests.load(Ordering::Relaxed) })
        }
    }));
    let mut tests = tests.buffered(TESTS_AT_ONCE);
    let mut done = Report { steps: Vec::new(), endpoints: endpoints.len() };
    let mut outcome = Ok(());
    while let Some(step) = tests.next().await {
        match step {
            Ok(step) => {
                report(&step);
                done.steps.push(step);
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    drop(tests);
    // Also after an error: nothing is to be left behind.
    let cleaned = clean_up(bucket, &root).await;
    outcome.and(cleaned).map(|()| done)
}

/// The short form, as a verdict.
pub async fn quick(bucket: &Bucket, clock: &dyn Clock, random: &Random) -> Result<()> {
    run(bucket, Depth::Quick, clock, random, |_| {}).await?.verdict(bucket)
}

const TESTS_AT_ONCE: usize = 4;
const CLEAN_UPS_MAX: usize = 3;

type Test = for<'a> fn(&'a Probe<'a>) -> futures::future::BoxFuture<'a, Result<Finding>>;

/// In the order of their importance.
const TESTS: [(&str, Test); 14] = [
    ("create-once", |probe| conditions::create_once(probe).boxed()),
    ("racing-creates", |probe| conditions::racing_creates(probe).boxed()),
    ("update-with-fresh-tag", |probe| conditions::update_with_fresh_tag(probe).boxed()),
    ("update-with-stale-tag", |probe| conditions::update_with_stale_tag(probe).boxed()),
    ("update-of-missing", |probe| conditions::update_of_missing(probe).boxed()),
    ("racing-updates", |probe| conditions::racing_updates(probe).boxed()),
    ("metadata-kept", |probe| conditions::metadata_kept(probe).boxed()),
    ("read-if-changed", |probe| consistency::read_if_changed(probe).boxed()),
    ("read-after-write", |probe| consistency::read_after_write(probe).boxed()),
    ("read-after-delete", |probe| consistency::read_after_delete(probe).boxed()),
    ("list-after-write-and-delete", |probe| consistency::list_after_write_and_delete(probe).boxed()),
    ("ranged-reads", |probe| consistency::ranged_reads(probe).boxed()),
    ("upload-hidden-until-complete", |probe| consistency::upload_hidden_until_complete(probe).boxed()),
    ("clock", |probe| consistency::clock(probe).boxed()),
];

/// What the tests share.
struct Probe<'a> {
    bucket: &'a Bucket,
    depth: Depth,
    clock: &'a dyn Clock,
    random: &'a Random,
    endpoints: &'a [Arc<dyn ObjectStore>],
    root: &'a Path,
    requests: AtomicU64,
}

impl Probe<'_> {
    fn name(&self, name: &str) -> Path {
        self.root.parts().chain(name.split('/').map(Into::into)).collect()
    }

    /// The store through which a test runs that does not care which one.
    fn store(&self) -> &dyn ObjectStore {
        self.count(1);
        self.bucket.store().as_ref()
    }

    /// The endpoint of a racer: neighbours have different ones if there are several.
    fn endpoint(&self, racer: usize) -> Arc<dyn ObjectStore> {
        self.count(1);
        self.endpoints[racer % self.endpoints.len()].clone()
    }

    fn count(&self, requests: u64) {
        self.requests.fetch_add(requests, Ordering::Relaxed);
    }

    /// Bytes that were never written before: on S3 a tag is a hash of the bytes, so that only new bytes make a tag
    /// a version.
    fn fresh(&self, what: &str) -> String {
        format!("{what} {:016x}", self.random.next_u64())
    }

    /// The text of an object; `None` if it is not there.
    async fn text(&self, store: &dyn ObjectStore, name: &Path) -> Result<Option<String>> {
        let doing = || format!("read {name}");
        match store.get(name).await {
            Ok(got) => {
                let bytes = got.bytes().await.map_err(|error| bucket::failure(&doing(), error))?;
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(bucket::failure(&doing(), error)),
        }
    }

    async fn put(&self, name: &Path, text: &str) -> Result<object_store::PutResult> {
        let put = self.store().put(name, text.to_owned().into()).await;
        put.map_err(|error| bucket::failure(&format!("write {name}"), error))
    }
}

/// Removes what this probe wrote, and what probes wrote that ended more than a day ago without cleaning up.
async fn clean_up(bucket: &Bucket, root: &Path) -> Result<()> {
    let store = bucket.store();
    let mut last = None;
    // Bulk deletes of some stores fail now and then; the second round has little left to do.
    for _ in 0..CLEAN_UPS_MAX {
        let listed: Result<Vec<_>, _> = store.list(Some(&Path::from("probe"))).try_collect().await;
        let listed = listed.map_err(|error| bucket::failure("list probe/", error))?;
        let newest = listed.iter().map(|object| object.last_modified).max();
        let ours = |object: &object_store::ObjectMeta| {
            let age = newest.map_or(chrono::TimeDelta::zero(), |newest| newest - object.last_modified);
            age > chrono::TimeDelta::days(1) || object.location.prefix_matches(root)
        };
        let doomed: Vec<_> = listed.into_iter().filter(ours).map(|object| Ok(object.location)).collect();
        let gone = store.delete_stream(futures::stream::iter(doomed).boxed());
        let failed = gone.filter_map(|result| async { result.err() }).collect::<Vec<_>>().await;
        last = failed.into_iter().find(|error| !matches!(error, object_store::Error::NotFound { .. }));
        if last.is_none() {
            return Ok(());
        }
    }
    last.map_or(Ok(()), |error| Err(bucket::failure("remove what the probe wrote", error)))
}

#[cfg(test)]
mod tests;
