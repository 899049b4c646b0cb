//! The lease: which server may serve a bucket, and since when, and until when.
//!
//! # How it works
//! Every change of the lease (taken, renewed, released) creates the object `lease/<number>` with the next number;
//! the highest number is the state. Names are never used twice, so that a create is the only condition that the
//! bucket must keep, and of several who try the same number one wins. The body names the holder, the *term* (the
//! epoch, one more for each taking) and a nonce, so that after an ambiguous answer reading the key tells whose it is.
//!
//! # Who may take it
//! Anybody if there is none or it was released. Otherwise whoever can tell that the holder cannot be serving:
//! * a local bucket is also locked with `flock`, which the kernel releases when the holder dies: who gets the
//!   lock takes the lease at once;
//! * a process of this very machine, boot and process namespace that no longer runs is dead: at once;
//! * a lease that ran out longer ago than clocks may differ (30 minutes): at once;
//! * a lease that seems to have run out is watched for one time to live; if nothing new appears, its holder knows
//!   by its own clock that it is over. No clock of another machine is trusted for less;
//! * `take_over` does not ask: the holder finds out when it renews, stops, and says so with `lease/yielded-<epoch>`;
//!   the new one waits for that, at most one time to live, after which the old one has stopped by its own clock. Until
//!   then its entries are not *settled*: if it dies meanwhile, whoever follows at once waits in its place.
//!
//! # What the holder may believe
//! [`Lease::check`] is true until one time to live after the *sending* of the last renewal that succeeded, by the
//! clock of the machine and by the monotonic one, whichever is earlier. It gates reads. Writes are safe without:
//! the log fences them. A renewal that comes after that time first lists, to see that nobody came between.
//!
//! # Old numbers
//! They are removed once they are so old (ten times to live) that no delayed create of an old holder can still be
//! on its way to a number that was used and removed.
//!
//! Cost: taking is a LIST, one or two GETs and a PUT; a renewal is a PUT and sometimes a DELETE, every third of the
//! time to live.

mod holder;
mod renewal;
#[cfg(test)]
mod tests;

pub use holder::Holder;

use crate::bucket::record::{self, Record, hexadecimal, human_time};
use crate::{Bucket, Error, Result, bucket, limits};
use ballast_runtime::{Clock, Random};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode};
use renewal::Shared;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const KIND: &str = "lease";
const VERSION: u32 = 1;

/// What a server asks for.
#[derive(Clone, Debug)]
pub struct Claim {
    pub holder: Holder,
    /// Take the lease even if another server seems to be serving.
    pub take_over: bool,
    pub time_to_live: Duration,
}

impl Claim {
    pub fn new(holder: Holder) -> Self {
        Self { holder, take_over: false, time_to_live: limits::LEASE_TIME_TO_LIVE }
    }
}

/// The state of a lease as its own holder knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseState {
    Held,
    /// Another server has it; the text names it. Final.
    Fenced(String),
    /// Given back. Final.
    Released,
}

/// One number of the lease, as it lies in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    number: u64,
    epoch: u64,
    nonce: [u8; 16],
    holder: Holder,
    /// When this holder took it, by its clock; nanoseconds since the epoch, as the next two.
    taken: i64,
    written: i64,
    expires: i64,
    /// The holder also holds the `flock` of a local bucket.
    locked: bool,
    /// No earlier holder can be serving any more. A takeover says so only after it has waited.
    settled: bool,
    released: bool,
}

impl Entry {
    fn encode(&self) -> Bytes {
        let mut fields = self.holder.fields();
        let rest = json!({
            "number": self.number, "epoch": self.epoch, "nonce": hexadecimal(self.nonce), "taken": self.taken,
            "written": self.written, "expires": self.expires, "locked": self.locked, "settled": self.settled,
            "released": self.released,
        });
        if let (Some(fields), Some(rest)) = (fields.as_object_mut(), rest.as_object()) {
            fields.extend(rest.clone());
        }
        record::encode(KIND, VERSION, &fields)
    }

    fn understand(record: &Record) -> Result<Self> {
        if record.version != VERSION {
            return Err(Error::Unsupported(format!(
                "the bucket's lease has format {}, this Ballast knows {VERSION}: use the same Ballast on all servers",
                record.version
            )));
        }
        Ok(Self {
            number: record.unsigned("number")?,
            epoch: record.unsigned("epoch")?,
            nonce: record.bytes16("nonce")?,
            holder: Holder::of(record)?,
            taken: record.signed("taken")?,
            written: record.signed("written")?,
            expires: record.signed("expires")?,
            locked: record.truth("locked")?,
            settled: record.truth("settled")?,
            released: record.truth("released")?,
        })
    }

    fn refusal(&self) -> Error {
        Error::Fenced(format!(
            "{} has it since {}, its lease runs until {} and is renewed; stop that server, or take over with --take-over",
            self.holder,
            human_time(self.taken),
            human_time(self.expires)
        ))
    }
}

fn name(number: u64) -> Path {
    Path::from(format!("lease/{number:06}"))
}

/// Exists once the holder before this epoch has stopped.
fn yielded_name(epoch: u64) -> Path {
    Path::from(format!("lease/yielded-{epoch:06}"))
}

/// The number in `lease/000123`; `None` for anything else.
fn number_of(object: &ObjectMeta) -> Option<u64> {
    object.location.filename()?.parse().ok()
}

async fn list(store: &dyn ObjectStore) -> Result<Vec<ObjectMeta>> {
    let listed: Result<Vec<_>, _> = store.list(Some(&Path::from("lease"))).try_collect().await;
    let mut listed = listed.map_err(|error| bucket::failure("list lease/", error))?;
    listed.sort_by_key(|object| number_of(object).unwrap_or(0));
    Ok(listed)
}

async fn read(store: &dyn ObjectStore, number: u64) -> Result<Option<Entry>> {
    let record = record::read(store, KIND, &name(number)).await?;
    record.map(|record| Entry::understand(&record)).transpose()
}

/// The newest entry. It may be superseded a moment later.
async fn newest(store: &dyn ObjectStore) -> Result<(Option<Entry>, Vec<ObjectMeta>)> {
    for _ in 0..limits::LEASE_RACES_MAX {
        let listed = list(store).await?;
        let Some(number) = listed.iter().filter_map(number_of).max() else { return Ok((None, listed)) };
        if let Some(entry) = read(store, number).await? {
            return Ok((Some(entry), listed));
        }
    }
    Err(Error::Corrupt("the newest object below lease/ is listed again and again but cannot be read".into()))
}

/// Who serves the bucket now, in words for people; `None` if nobody does as far as the bucket tells.
pub async fn describe(bucket: &Bucket) -> Result<Option<String>> {
    let (entry, _) = newest(bucket.store().as_ref()).await?;
    let held = entry.filter(|entry| !entry.released);
    Ok(held.map(|entry| format!("{} since {}", entry.holder, human_time(entry.taken))))
}

/// What came of creating an entry.
enum Created {
    Ours,
    Theirs(Entry),
}

/// Creates the entry's number. An ambiguous answer is settled by reading the key.
async fn create(store: &dyn ObjectStore, entry: &Entry) -> Result<Created> {
    let name = name(entry.number);
    let put = store.put_opts(&name, entry.encode().into(), PutMode::Create.into()).await;
    let Err(refused) = put else { return Ok(Created::Ours) };
    match read(store, entry.number).await {
        Ok(Some(found)) if found.nonce == entry.nonce => Ok(Created::Ours),
        Ok(Some(found)) => Ok(Created::Theirs(found)),
        _ => Err(bucket::failure(&format!("create {name}"), refused)),
    }
}

/// The right to serve a bucket. Renewed in the background while it is held. Dropped, it is neither renewed nor
/// released: as after a crash, others wait until it runs out, or see that this process is gone.
#[derive(Debug)]
pub struct Lease {
    shared: Arc<Shared>,
    renewing: JoinHandle<()>,
}

impl Lease {
    /// Takes the lease. `Fenced` says who holds it, since when, and what to do.
    pub async fn acquire(bucket: &Bucket, claim: &Claim, clock: Arc<dyn Clock>, random: &Random) -> Result<Self> {
        let store = bucket.store().clone();
        let lock = lock_directory(bucket)?;
        for _ in 0..limits::LEASE_RACES_MAX {
            let (found, listed) = newest(store.as_ref()).await?;
            let freedom = Freedom::of(found.as_ref(), claim, clock.as_ref(), &lock);
            if freedom == Freedom::Refused {
                let held = found.as_ref().filter(|found| !found.released);
                return Err(held.map_or_else(starting_or_stopping, Entry::refusal));
            }
            if let (Freedom::Watch, Some(found)) = (freedom, &found)
                && let Some(renewed) = watch_for_renewal(store.as_ref(), found, claim.time_to_live).await?
            {
                return Err(renewed.refusal());
            }
            let sent = Moment::now(clock.as_ref());
            let entry = Entry {
                number: found.as_ref().map_or(1, |found| found.number + 1),
                epoch: found.as_ref().map_or(1, |found| found.epoch + 1),
                nonce: random.bytes16(),
                holder: claim.holder.clone(),
                taken: sent.wall,
                written: sent.wall,
                expires: sent.wall + nanos(claim.time_to_live),
                locked: lock.is_held(),
                settled: freedom != Freedom::Contested,
                released: false,
            };
            match create(store.as_ref(), &entry).await? {
                // Somebody was faster: look again whether it is to be refused.
                Created::Theirs(_) => continue,
                Created::Ours => {}
            }
            let epoch = entry.epoch;
            let shared = Shared::new(store.clone(), entry, sent, clock, claim.time_to_live, lock);
            let lease = Self { renewing: tokio::spawn(renewal::run(shared.clone(), listed)), shared };
            if let (Freedom::Contested, Some(found)) = (freedom, &found) {
                wait_until_stopped(store.as_ref(), epoch, found, claim.time_to_live).await;
                lease.shared.settle(lock_directory(bucket)?);
            }
            return Ok(lease);
        }
        Err(Error::Unavailable { what: "other servers take the bucket's lease again and again".into(), source: None })
    }

    /// The number of this taking: greater than that of every earlier holder.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch()
    }

    /// Whether this server may serve right now. Costs two readings of a clock: call it for every read.
    pub fn valid(&self) -> bool {
        self.shared.valid()
    }

    /// As [`Lease::valid`], with the reason: `Fenced` for good, `Unavailable` until a renewal succeeds.
    pub fn check(&self) -> Result<()> {
        self.shared.check()
    }

    /// A handle for the gates of reads.
    pub fn guard(&self) -> LeaseGuard {
        LeaseGuard(self.shared.clone())
    }

    /// Tells when the lease is lost.
    pub fn state(&self) -> watch::Receiver<LeaseState> {
        self.shared.state()
    }

    /// Gives the lease back, so that the next server need not wait. Call it after the last write is durable.
    pub async fn release(mut self) -> Result<()> {
        self.renewing.abort();
        // Whether it ended by itself or was stopped, it no longer renews.
        let _ = (&mut self.renewing).await;
        self.shared.release().await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

fn starting_or_stopping() -> Error {
    Error::Fenced("a process of this machine that is just starting or stopping has it; try again in a moment".into())
}

/// A cheap handle that tells whether the lease is still held.
#[derive(Clone, Debug)]
pub struct LeaseGuard(Arc<Shared>);

impl LeaseGuard {
    pub fn valid(&self) -> bool {
        self.0.valid()
    }

    pub fn check(&self) -> Result<()> {
        self.0.check()
    }
}

/// One moment on the two clocks.
#[derive(Clone, Copy, Debug)]
struct Moment {
    wall: i64,
    monotonic: Instant,
}

impl Moment {
    fn now(clock: &dyn Clock) -> Self {
        Self { wall: clock.now_nanos(), monotonic: Instant::now() }
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX / 2)
}

/// What a claim may do about the newest entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Freedom {
    Free,
    /// Take it if it is not renewed for a time to live.
    Watch,
    /// Take it from a holder that may be serving.
    Contested,
    Refused,
}

impl Freedom {
    fn of(found: Option<&Entry>, claim: &Claim, clock: &dyn Clock, lock: &DirectoryLock) -> Self {
        let Some(entry) = found.filter(|entry| !entry.released) else {
            return if matches!(lock, DirectoryLock::Elsewhere) { Self::without_right(claim) } else { Self::Free };
        };
        match lock {
            DirectoryLock::Elsewhere => return Self::without_right(claim),
            // The holder had this lock and has it no longer: its process has ended.
            DirectoryLock::Held(_) if entry.locked && entry.settled => return Self::Free,
            _ => {}
        }
        let over_since = clock.now_nanos().saturating_sub(entry.expires);
        if over_since > nanos(limits::CLOCKS_DIFFER_MAX) {
            Self::Free
        } else if entry.holder.is_gone(&claim.holder) {
            // One that died while it waited for another to stop leaves the wait to its successor.
            if entry.settled { Self::Free } else { Self::Contested }
        } else if claim.take_over {
            Self::Contested
        } else if over_since > 0 {
            Self::Watch
        } else {
            Self::Refused
        }
    }

    fn without_right(claim: &Claim) -> Self {
        if claim.take_over { Self::Contested } else { Self::Refused }
    }
}

/// The lock on a local bucket's directory.
#[derive(Debug)]
enum DirectoryLock {
    /// Released when the file is closed.
    Held(#[expect(dead_code, reason = "holding it is its purpose")] File),
    Elsewhere,
    /// The bucket is not local, or lies on a file system of several machines, where the lock may mean nothing.
    Meaningless,
}

impl DirectoryLock {
    fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }
}

fn lock_directory(bucket: &Bucket) -> Result<DirectoryLock> {
    let Some(local) = bucket.local() else { return Ok(DirectoryLock::Meaningless) };
    let lock = || {
        if local.network_file_system()?.is_some() {
            return Ok(DirectoryLock::Meaningless);
        }
        let path = local.owner_lock();
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let held = bucket::local::try_lock(&file)?;
        Ok(if held { DirectoryLock::Held(file) } else { DirectoryLock::Elsewhere })
    };
    lock().map_err(|error: std::io::Error| Error::unavailable("could not lock the bucket's directory", error))
}

/// Waits one time to live for a new number; the entry of the new number if there is one.
async fn watch_for_renewal(store: &dyn ObjectStore, found: &Entry, time_to_live: Duration) -> Result<Option<Entry>> {
    let until = Instant::now() + time_to_live;
    let seconds = time_to_live.as_secs();
    tracing::info!(holder = %found.holder, seconds, "waiting whether the last server still renews its lease");
    loop {
        if let Some(renewed) = read(store, found.number + 1).await? {
            return Ok(Some(renewed).filter(|renewed| !renewed.released));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        tokio::time::sleep(poll_interval(time_to_live)).await;
    }
}

/// Waits until the old holder says that it has stopped, or must have by its own clock.
async fn wait_until_stopped(store: &dyn ObjectStore, epoch: u64, old: &Entry, time_to_live: Duration) {
    let until = Instant::now() + time_to_live;
    let seconds = time_to_live.as_secs();
    tracing::info!(holder = %old.holder, seconds, "took the lease over; waiting for the old server to stop");
    // An error means only that it cannot be heard now; the wait has an end either way.
    while Instant::now() < until && store.head(&yielded_name(epoch)).await.is_err() {
        tokio::time::sleep(poll_interval(time_to_live)).await;
    }
}

fn poll_interval(time_to_live: Duration) -> Duration {
    (time_to_live / limits::LEASE_POLLS_PER_LIFE).max(Duration::from_millis(1))
}
