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

mod entry;
mod holder;
mod renewal;
#[cfg(test)]
mod tests;

pub use holder::Holder;

use crate::bucket::record::human_time;
use crate::{Bucket, Error, Result, bucket, limits};
use ballast_runtime::{Clock, Random};
use entry::{Created, Entry, create, newest, read, yielded_name};
use object_store::{ObjectStore, ObjectStoreExt};
use renewal::Shared;
use std::fs::{File, OpenOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

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

/// Who serves the bucket now, in words for people; `None` if nobody does as far as the bucket tells.
pub async fn describe(bucket: &Bucket) -> Result<Option<String>> {
    let (entry, _) = newest(bucket.store().as_ref()).await?;
    let held = entry.filter(|entry| !entry.released);
    Ok(held.map(|entry| format!("{} since {}", entry.holder, human_time(entry.taken))))
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

impl crate::Gate for LeaseGuard {
    fn check(&self) -> Result<()> {
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
        if local.is_shared()? {
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
