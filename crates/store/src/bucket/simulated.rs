//! A bucket for simulations: real conditional semantics in memory, behind a network that is not to be trusted.
//!
//! Each request is a task of its own, so that it may still arrive when its sender has given up, been dropped or
//! crashed. By the numbers of a seeded [`Random`] and the time of tokio (which a test may pause), a request is
//! delayed on its way there and back, so that answers come in another order than requests; it may be lost before
//! it has any effect; its effect may happen while its answer is lost. What was acknowledged is never lost.
//!
//! Several clients may use the same bucket, each with its own faults; [`SimulatedStore::crash`] kills one.

use async_trait::async_trait;
use ballast_runtime::{Clock, Random};
use chrono::DateTime;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How unreliable the way to the bucket is. Rates are in thousandths of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Each way takes up to this long.
    pub delay_max: Duration,
    /// Requests that fail without any effect.
    pub lost_requests: u64,
    /// Requests whose effect happens and whose sender is told of a failure.
    pub lost_answers: u64,
}

/// One client's way to a simulated bucket. Clones are the same client.
#[derive(Clone, Debug)]
pub struct SimulatedStore {
    objects: Arc<InMemory>,
    /// Bytes that the bucket's disk cannot read.
    lost: Arc<parking_lot::Mutex<BTreeMap<Path, Range<u64>>>>,
    random: Random,
    dates: Option<Arc<Dates>>,
    client: Arc<Client>,
}

/// When objects were written, by a clock of the simulation's own.
#[derive(Debug)]
struct Dates {
    clock: Arc<dyn Clock>,
    written: parking_lot::Mutex<BTreeMap<Path, i64>>,
}

#[derive(Debug, Default)]
struct Client {
    faults: parking_lot::RwLock<Faults>,
    crashed: AtomicBool,
    requests: AtomicU64,
}

/// What happens to one request.
struct Fate {
    there: Duration,
    back: Duration,
    request_lost: bool,
    answer_lost: bool,
}

impl SimulatedStore {
    /// A new, empty bucket and the first client of it.
    pub fn new(random: Random, faults: Faults) -> Self {
        let objects = Arc::new(InMemory::new());
        let (lost, client) = Default::default();
        Self { objects, lost, random, dates: None, client }.with_faults(faults)
    }

    /// Dates objects by this clock instead of the machine's: collectors of garbage compare the two.
    pub fn dated_by(mut self, clock: Arc<dyn Clock>) -> Self {
        self.dates = Some(Arc::new(Dates { clock, written: parking_lot::Mutex::default() }));
        self
    }

    fn with_faults(self, faults: Faults) -> Self {
        *self.client.faults.write() = faults;
        self
    }

    /// Another client of the same bucket.
    pub fn another_client(&self, faults: Faults) -> Self {
        Self { client: Arc::default(), ..self.clone() }.with_faults(faults)
    }

    /// Another bucket with the same objects, and a client of it without faults.
    pub fn copy(&self) -> Self {
        let dates = self.dates.as_ref().map(|dates| {
            let written = parking_lot::Mutex::new(dates.written.lock().clone());
            Arc::new(Dates { clock: dates.clock.clone(), written })
        });
        let (objects, random, client) = (Arc::new(self.objects.fork()), self.random.clone(), Arc::default());
        Self { objects, lost: Arc::new(self.lost.lock().clone().into()), random, dates, client }
    }

    pub fn set_faults(&self, faults: Faults) {
        *self.client.faults.write() = faults;
    }

    /// From now on, to read these bytes of an object fails as if the bucket's disk had lost them.
    pub fn lose(&self, object: &Path, bytes: Range<u64>) {
        self.lost.lock().insert(object.clone(), bytes);
    }

    pub fn give_back(&self, object: &Path) {
        self.lost.lock().remove(object);
    }

    /// Ends this client: it gets no answer any more, and its requests under way may or may not still arrive.
    pub fn crash(&self) {
        self.client.crashed.store(true, Ordering::SeqCst);
    }

    /// How many requests this client has sent.
    pub fn requests(&self) -> u64 {
        self.client.requests.load(Ordering::SeqCst)
    }

    fn fate(&self) -> Fate {
        self.client.requests.fetch_add(1, Ordering::SeqCst);
        let faults = *self.client.faults.read();
        let delay_max = u64::try_from(faults.delay_max.as_nanos()).unwrap_or(u64::MAX - 1);
        let delay = || Duration::from_nanos(self.random.below(delay_max + 1));
        // All four numbers are drawn always, so that one fault more does not change the fate of all later requests.
        let (there, back) = (delay(), delay());
        let (request, answer) = (self.random.below(1000), self.random.below(1000));
        Fate { there, back, request_lost: request < faults.lost_requests, answer_lost: answer < faults.lost_answers }
    }

    /// Sends one request. Its effect happens in a task of its own.
    async fn send<T: Send + 'static>(&self, effect: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let fate = self.fate();
        let (client, random) = (self.client.clone(), self.random.clone());
        let arrives = async move {
            tokio::time::sleep(fate.there).await;
            let sender_died = client.crashed.load(Ordering::SeqCst) && random.below(2) == 0;
            if fate.request_lost || sender_died {
                return Err(lost("the request was lost"));
            }
            effect.await
        };
        let answer = tokio::spawn(arrives).await;
        tokio::time::sleep(fate.back).await;
        if self.client.crashed.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if fate.answer_lost {
            return Err(lost("the answer was lost"));
        }
        answer?
    }
}

/// Notes when an object was written.
fn note(dates: Option<&Arc<Dates>>, location: &Path) {
    if let Some(dates) = dates {
        dates.written.lock().insert(location.clone(), dates.clock.now_nanos());
    }
}

/// Says when an object was written.
fn date(dates: Option<&Arc<Dates>>, meta: &mut ObjectMeta) {
    if let Some(dates) = dates {
        let written = dates.written.lock().get(&meta.location).copied().unwrap_or_default();
        meta.last_modified = DateTime::from_timestamp_nanos(written);
    }
}

fn lost(what: &str) -> Error {
    let source = std::io::Error::new(std::io::ErrorKind::TimedOut, what);
    Error::Generic { store: "simulated bucket", source: source.into() }
}

impl std::fmt::Display for SimulatedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("simulated bucket")
    }
}

#[async_trait]
impl ObjectStore for SimulatedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (objects, location, dates) = (self.objects.clone(), location.clone(), self.dates.clone());
        let put = async move {
            let put = objects.put_opts(&location, payload, opts).await?;
            note(dates.as_ref(), &location);
            Ok(put)
        };
        self.send(put).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (objects, wanted) = (self.objects.clone(), location.clone());
        let upload = self.send(async move { objects.put_multipart_opts(&wanted, opts).await }).await?;
        Ok(Box::new(SimulatedUpload { store: self.clone(), location: location.clone(), upload: Some(upload) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (objects, location, asked, head) = (self.objects.clone(), location.clone(), location.clone(), options.head);
        let mut got = self.send(async move { objects.get_opts(&location, options).await }).await?;
        date(self.dates.as_ref(), &mut got.meta);
        let is_lost = |lost: &Range<u64>| lost.start < got.range.end && got.range.start < lost.end;
        if !head && self.lost.lock().get(&asked).is_some_and(is_lost) {
            let source = std::io::Error::from_raw_os_error(libc::EIO).into();
            return Err(Error::Generic { store: "simulated bucket", source });
        }
        Ok(got)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let (objects, location) = (store.objects.clone(), location?);
                store.send(async move { objects.delete(&location).await.map(|()| location) }).await
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let request = async move {
            let objects = store.objects.clone();
            let list = async move { objects.list(prefix.as_ref()).try_collect::<Vec<_>>().await };
            let mut listed = store.send(list).await?;
            listed.iter_mut().for_each(|meta| date(store.dates.as_ref(), meta));
            Ok::<_, Error>(listed)
        };
        stream::once(request).map_ok(|listed| stream::iter(listed).map(Ok)).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (objects, prefix) = (self.objects.clone(), prefix.cloned());
        let mut listed = self.send(async move { objects.list_with_delimiter(prefix.as_ref()).await }).await?;
        listed.objects.iter_mut().for_each(|meta| date(self.dates.as_ref(), meta));
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (objects, from, to, dates) = (self.objects.clone(), from.clone(), to.clone(), self.dates.clone());
        let copy = async move {
            objects.copy_opts(&from, &to, options).await?;
            note(dates.as_ref(), &to);
            Ok(())
        };
        self.send(copy).await
    }
}

#[derive(Debug)]
struct SimulatedUpload {
    store: SimulatedStore,
    location: Path,
    upload: Option<Box<dyn MultipartUpload>>,
}

fn over() -> Error {
    Error::Generic { store: "simulated bucket", source: "the upload is complete or aborted".into() }
}

#[async_trait]
impl MultipartUpload for SimulatedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(upload) = self.upload.as_mut() else { return async { Err(over()) }.boxed() };
        let (part, store) = (upload.put_part(data), self.store.clone());
        async move { store.send(part).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let mut upload = self.upload.take().ok_or_else(over)?;
        let (location, dates) = (self.location.clone(), self.store.dates.clone());
        let complete = async move {
            let put = upload.complete().await?;
            note(dates.as_ref(), &location);
            Ok(put)
        };
        self.store.send(complete).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::PutMode;

    const UNRELIABLE: Faults = Faults { delay_max: Duration::from_secs(1), lost_requests: 100, lost_answers: 100 };

    async fn winners(seed: u64) -> Vec<Option<u64>> {
        let one = SimulatedStore::new(Random::from_seed(seed), UNRELIABLE);
        let two = one.another_client(UNRELIABLE);
        let mut winners = Vec::new();
        for round in 0..50 {
            let name = Path::from(format!("{round}"));
            let race = [&one, &two, &one, &two].into_iter().enumerate().map(|(racer, store)| {
                let name = name.clone();
                async move { store.put_opts(&name, racer.to_string().into(), PutMode::Create.into()).await.is_ok() }
            });
            let won = futures::future::join_all(race).await;
            assert!(won.iter().filter(|won| **won).count() <= 1);
            let read = one.objects.get(&name).await.ok();
            let content = match read {
                Some(read) => Some(String::from_utf8(read.bytes().await.unwrap().to_vec()).unwrap().parse().unwrap()),
                None => None,
            };
            let acknowledged = won.iter().position(|won| *won).map(|racer| racer as u64);
            assert!(acknowledged.is_none() || acknowledged == content, "an acknowledged create stays");
            winners.push(content);
        }
        winners
    }

    #[tokio::test(start_paused = true)]
    async fn a_seed_replays_the_same_run_and_acknowledged_creates_stay() {
        let first = winners(7).await;
        assert_eq!(first, winners(7).await);
        assert_ne!(first, winners(8).await);
        assert!(first.iter().collect::<std::collections::HashSet<_>>().len() > 2, "answers come in any order");
    }

    #[tokio::test(start_paused = true)]
    async fn a_crashed_client_hears_nothing_and_what_it_had_acknowledged_stays() {
        let store =
            SimulatedStore::new(Random::from_seed(1), Faults { lost_answers: 0, lost_requests: 0, ..UNRELIABLE });
        let next = store.another_client(Faults::default());
        store.put(&Path::from("acknowledged"), "x".into()).await.unwrap();
        let mut arrived = 0;
        for round in 0..20 {
            let client = store.another_client(*store.client.faults.read());
            let name = Path::from(format!("under way/{round}"));
            let crashed = tokio::spawn({
                let (client, name) = (client.clone(), name.clone());
                async move { client.put(&name, "x".into()).await }
            });
            tokio::time::sleep(Duration::from_millis(200)).await;
            client.crash();
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert!(!crashed.is_finished() || next.head(&name).await.is_ok());
            arrived += usize::from(next.head(&name).await.is_ok());
        }
        next.head(&Path::from("acknowledged")).await.unwrap();
        assert!(arrived > 2 && arrived < 18, "{arrived} of 20 requests of crashed clients arrived");
    }
}
