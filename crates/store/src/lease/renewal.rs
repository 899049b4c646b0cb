//! Keeping a lease: what its holder knows, and the task that renews it.

use super::entry::{Created, Entry, create, name, newest, yielded_name};
use super::{DirectoryLock, LeaseState, Moment, nanos};
use crate::bucket::record::human_time;
use crate::{Error, Result, limits};
use ballast_runtime::Clock;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What the holder of a lease knows of it.
#[derive(Debug)]
pub(super) struct Shared {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    time_to_live: Duration,
    /// The zero of `until_monotonic`.
    begun: Instant,
    /// Until when the lease is held: wall clock, nanoseconds. The lowest number there is once it is lost.
    until_wall: AtomicI64,
    /// The same in nanoseconds since `begun`.
    until_monotonic: AtomicU64,
    held: Mutex<Held>,
    state: watch::Sender<LeaseState>,
}

#[derive(Debug)]
struct Held {
    entry: Entry,
    /// Numbers of earlier entries of ours and when they were written, oldest first.
    old: VecDeque<(u64, Instant)>,
    lock: Option<DirectoryLock>,
    /// The renewal that may already lie in the bucket though its answer was lost, and when it was first sent.
    pending: Option<(Entry, Moment)>,
}

impl Shared {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        entry: Entry,
        sent: Moment,
        clock: Arc<dyn Clock>,
        time_to_live: Duration,
        lock: DirectoryLock,
    ) -> Arc<Self> {
        let held = Held { entry, old: VecDeque::new(), lock: Some(lock), pending: None };
        let shared = Self {
            store,
            clock,
            time_to_live,
            begun: sent.monotonic,
            until_wall: AtomicI64::new(i64::MIN),
            until_monotonic: AtomicU64::new(0),
            held: Mutex::new(held),
            state: watch::Sender::new(LeaseState::Held),
        };
        shared.extend(sent);
        Arc::new(shared)
    }

    /// The lease is held for one time to live from the moment the renewal was sent, not answered.
    fn extend(&self, sent: Moment) {
        let until = (sent.monotonic + self.time_to_live).saturating_duration_since(self.begun);
        self.until_monotonic.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
        self.until_wall.store(sent.wall.saturating_add(nanos(self.time_to_live)), Ordering::Release);
    }

    /// After a takeover: the old holder has stopped, and may have left the lock only now.
    pub(super) fn settle(&self, lock: DirectoryLock) {
        let mut held = self.held.lock();
        held.entry.locked = lock.is_held();
        held.entry.settled = true;
        held.lock = Some(lock);
    }

    pub(super) fn epoch(&self) -> u64 {
        self.held.lock().entry.epoch
    }

    pub(super) fn state(&self) -> watch::Receiver<LeaseState> {
        self.state.subscribe()
    }

    pub(super) fn valid(&self) -> bool {
        self.clock.now_nanos() < self.until_wall.load(Ordering::Acquire) && !self.remaining().is_zero()
    }

    /// How long the lease is still held by the monotonic clock.
    fn remaining(&self) -> Duration {
        Duration::from_nanos(self.until_monotonic.load(Ordering::Acquire)).saturating_sub(self.begun.elapsed())
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.valid() {
            return Ok(());
        }
        match &*self.state.borrow() {
            LeaseState::Fenced(by) => Err(Error::Fenced(by.clone())),
            LeaseState::Released => Err(Error::Closed("its lease was released".into())),
            LeaseState::Held => {
                let what = "the lease on the bucket could not be renewed in time; reads wait until it is".into();
                Err(Error::Unavailable { what, source: None })
            }
        }
    }

    fn end(&self, state: LeaseState) {
        self.until_wall.store(i64::MIN, Ordering::Release);
        self.until_monotonic.store(0, Ordering::Release);
        self.state.send_replace(state);
    }

    /// Another server has the lease: stop serving, then let it know.
    async fn fenced(&self, by: &Entry) {
        let text = format!("{} took it at {}", by.holder, human_time(by.taken));
        tracing::error!(%text, "this server has lost its lease and stops serving");
        self.end(LeaseState::Fenced(text));
        self.held.lock().lock = None;
        let yielded = self.store.put_opts(&yielded_name(by.epoch), "".into(), PutMode::Create.into()).await;
        if let Err(error) = yielded {
            tracing::debug!(%error, "could not tell the new server that this one has stopped");
        }
    }

    /// One renewal. `Ok(false)` if the lease is lost.
    async fn renew(&self) -> Result<bool> {
        let current = self.held.lock().entry.clone();
        if !self.valid()
            && let (Some(newest), _) = newest(self.store.as_ref()).await?
            && newest.nonce != current.nonce
        {
            // Ours may have been superseded and removed long ago: only the newest number tells.
            self.fenced(&newest).await;
            return Ok(false);
        }
        let now = Moment::now(self.clock.as_ref());
        let next = Entry {
            number: current.number + 1,
            written: now.wall,
            expires: now.wall.saturating_add(nanos(self.time_to_live)),
            ..current
        };
        let (entry, sent) = self.held.lock().pending.get_or_insert((next, now)).clone();
        match create(self.store.as_ref(), &entry).await? {
            Created::Theirs(other) => {
                self.fenced(&self.newest_of_others(other).await).await;
                Ok(false)
            }
            Created::Ours => {
                self.renewed(entry, sent);
                self.remove_old().await;
                Ok(true)
            }
        }
    }

    fn renewed(&self, entry: Entry, sent: Moment) {
        self.extend(sent);
        let mut held = self.held.lock();
        let superseded = std::mem::replace(&mut held.entry, entry);
        held.old.push_back((superseded.number, sent.monotonic));
        held.pending = None;
    }

    /// Who to name: the one that took our number may itself have been superseded.
    async fn newest_of_others(&self, other: Entry) -> Entry {
        match newest(self.store.as_ref()).await {
            Ok((Some(newest), _)) if newest.epoch > other.epoch => newest,
            _ => other,
        }
    }

    async fn remove_old(&self) {
        let kept = self.time_to_live * limits::LEASE_KEPT_LIVES;
        let oldest = {
            let mut held = self.held.lock();
            let due = held.old.front().is_some_and(|(_, written)| written.elapsed() > kept);
            if due { held.old.pop_front() } else { None }
        };
        if let Some((number, _)) = oldest
            && let Err(error) = self.store.delete(&name(number)).await
        {
            tracing::debug!(number, %error, "could not remove an old lease");
        }
    }

    pub(super) async fn release(&self) -> Result<()> {
        if *self.state.borrow() != LeaseState::Held {
            return Ok(());
        }
        self.end(LeaseState::Released);
        let (current, pending) = {
            let held = self.held.lock();
            (held.entry.clone(), held.pending.clone())
        };
        // A renewal whose answer was lost may have taken the next number: then the release takes the one behind it.
        let last = match pending {
            Some((entry, _)) if matches!(create(self.store.as_ref(), &entry).await?, Created::Ours) => entry,
            _ => current,
        };
        let written = self.clock.now_nanos();
        let entry = Entry { number: last.number + 1, written, expires: written, released: true, ..last };
        // If it is somebody else's by now, there is nothing to give back.
        create(self.store.as_ref(), &entry).await?;
        self.held.lock().lock = None;
        Ok(())
    }
}

/// Renews every third of the time to live, and more often after a failure, until the lease is lost. Before that it
/// removes what earlier holders left, as far as `listed` shows it.
pub(super) async fn run(shared: Arc<Shared>, listed: Vec<ObjectMeta>) {
    let every = shared.time_to_live / limits::LEASE_RENEWALS_PER_LIFE;
    let soon = every / limits::LEASE_RENEWALS_PER_LIFE;
    // The first renewal must not wait for a long clean-up.
    let _ = tokio::time::timeout(soon, remove_stale(shared.store.as_ref(), &listed, shared.time_to_live)).await;
    let after_success = || shared.remaining().saturating_sub(shared.time_to_live - every);
    let mut pause = after_success();
    loop {
        tokio::time::sleep(pause).await;
        // A request without an end must not keep the next attempt from being made.
        pause = match tokio::time::timeout(every, shared.renew()).await {
            Ok(Ok(true)) => after_success(),
            Ok(Ok(false)) => return,
            Ok(Err(error)) => {
                tracing::warn!(%error, "could not renew the lease on the bucket; trying again");
                soon
            }
            Err(_) => {
                tracing::warn!("renewing the lease on the bucket takes too long; trying again");
                soon
            }
        };
    }
}

/// Removes entries that are ten times to live older than the newest, by the bucket's own times. Failures do not
/// matter: the next taking tries again.
async fn remove_stale(store: &dyn ObjectStore, listed: &[ObjectMeta], time_to_live: Duration) {
    let Some(newest) = listed.iter().map(|object| object.last_modified).max() else { return };
    let keep = chrono::TimeDelta::from_std(time_to_live * limits::LEASE_KEPT_LIVES).unwrap_or(chrono::TimeDelta::MAX);
    for object in listed.iter().take(limits::LEASE_SWEEP_MAX) {
        if newest - object.last_modified > keep
            && let Err(error) = store.delete(&object.location).await
        {
            tracing::debug!(object = %object.location, %error, "could not remove an old lease");
        }
    }
}
