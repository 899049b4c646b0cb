//! The middle of the log: the lock, the committer's round, the waiters and the end.

use super::files::FileEntry;
use super::format::FileId;
use super::on_disk::DiskLog;
use super::on_objects::ObjectWriter;
use super::settings::Drive;
use super::state::{Entrant, Sleep, State};
use super::{LogFile, LogListener, Settings};
use crate::disk::DiskFile;
use crate::{Error, Position, Result, limits};
use futures::{StreamExt, stream};
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::Instant;

pub enum Backend {
    Disk(Arc<DiskLog>),
    Objects(Arc<ObjectWriter>),
}

/// How the committer is woken.
pub enum Waker {
    Thread(Condvar),
    Task(Notify),
    Manual,
}

/// What a round of the committer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    Wrote,
    Idle,
    Stopped,
}

pub enum Committer {
    Thread(std::thread::JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

pub struct Shared {
    pub state: Mutex<State>,
    pub backend: Backend,
    pub settings: Settings,
    listener: RwLock<Arc<dyn LogListener>>,
    waker: Waker,
    pub committer: Mutex<Option<Committer>>,
    /// Microseconds that a write of a group takes, with its sync; a moving average.
    write_micros: AtomicU64,
    /// Files that are no part of the log any more and are still there.
    unremoved: Mutex<BTreeMap<FileId, Unremoved>>,
    /// Files that are segments but could not be given the name of one.
    pub unnamed: Mutex<BTreeMap<FileId, Arc<dyn DiskFile>>>,
    /// Where writers wait for room, by [`Entrant`]: the first in line holds the lock and is told when there may be some.
    lines: [AsyncMutex<()>; 3],
    room: Notify,
}

struct Unremoved {
    handle: Option<Arc<dyn DiskFile>>,
    /// When it could not be removed, the last time.
    failed: Option<Instant>,
}

impl Unremoved {
    fn is_due(&self) -> bool {
        self.failed.is_none_or(|failed| failed.elapsed() >= limits::LOG_REMOVE_RETRY)
    }
}

impl Shared {
    pub fn new(state: State, backend: Backend, listener: Arc<dyn LogListener>, settings: Settings) -> Self {
        let waker = match (&backend, settings.drive) {
            (Backend::Disk(_), Drive::Thread) => Waker::Thread(Condvar::new()),
            (Backend::Disk(_), Drive::Manual) => Waker::Manual,
            _ => Waker::Task(Notify::new()),
        };
        let (state, listener) = (Mutex::new(state), RwLock::new(listener));
        let (committer, write_micros) = (Mutex::new(None), AtomicU64::new(0));
        let (unremoved, unnamed) = (Mutex::default(), Mutex::default());
        let (lines, room) = (Default::default(), Notify::new());
        Self { state, backend, settings, listener, waker, committer, write_micros, unremoved, unnamed, lines, room }
    }

    pub fn set_listener(&self, listener: Arc<dyn LogListener>) {
        *self.listener.write() = listener;
    }

    fn listener(&self) -> Arc<dyn LogListener> {
        Arc::clone(&self.listener.read())
    }

    /// True if blocking calls are made where they stand, so that a seed replays.
    pub fn is_inline(&self) -> bool {
        self.settings.drive != Drive::Thread
    }

    /// To be called with the lock still held by whoever has appended.
    pub fn appended(&self, state: MutexGuard<'_, State>) {
        let idle = state.sleep == Sleep::Idle;
        if idle || state.sleep == Sleep::Gathering && state.has_work() {
            self.wake(state);
        }
    }

    /// Wakes the committer, if it sleeps, and lets go of the lock.
    pub fn wake(&self, mut state: MutexGuard<'_, State>) {
        if state.sleep == Sleep::Led {
            return; // Who leads looks for more when it is done.
        }
        let asleep = std::mem::replace(&mut state.sleep, Sleep::Awake) != Sleep::Awake;
        drop(state);
        if asleep {
            match &self.waker {
                Waker::Thread(condvar) => drop(condvar.notify_one()),
                Waker::Task(notify) => notify.notify_one(),
                Waker::Manual => {}
            }
        }
    }

    /// Sleeps until there may be something to do; true if what has gathered is due although nobody waits.
    pub fn sleep_thread(&self) -> bool {
        let Waker::Thread(condvar) = &self.waker else { return false };
        let mut state = self.state.lock();
        if state.has_work() {
            return false;
        }
        state.sleep = Sleep::Gathering;
        let mut timed_out = condvar.wait_for(&mut state, limits::LOG_UNWAITED).timed_out();
        while state.sleep == Sleep::Led {
            timed_out = condvar.wait_for(&mut state, limits::LOG_UNWAITED).timed_out();
        }
        if timed_out && state.sleep == Sleep::Gathering && state.open.is_empty() {
            state.sleep = Sleep::Idle;
            MutexGuard::unlocked(&mut state, || self.listener().idle());
            while state.sleep == Sleep::Idle {
                condvar.wait(&mut state);
            }
            return false;
        }
        state.sleep = Sleep::Awake;
        timed_out
    }

    /// Writes what has gathered on the caller's own thread, if the committer sleeps and the disk is quick: one
    /// who waits alone is spared two changes of threads, which take as long as a quick disk's sync.
    fn lead(&self, mut state: MutexGuard<'_, State>, position: Position) {
        state.sleep = Sleep::Led;
        state.want(position);
        drop(state);
        self.round(false);
        let mut state = self.state.lock();
        state.sleep = Sleep::Gathering;
        if state.has_work() {
            self.wake(state);
        }
    }

    fn may_lead(&self, state: &State) -> bool {
        // Whoever appends wakes a committer that is idle, so that it gathers when there is something to write.
        let asleep = state.sleep == Sleep::Gathering;
        let quick = self.write_micros.load(Ordering::Relaxed) < limits::LOG_LEAD_MICROS;
        // The first write to a file may have to wait until the file is made.
        let is_open = state.files.get(state.open.id).is_some_and(|file| file.handle.is_some());
        asleep
            && quick
            && is_open
            && matches!(self.waker, Waker::Thread(_))
            && state.sealed.is_empty()
            && state.open.byte_len() <= limits::LOG_LEAD_BYTES
    }

    /// The same for a task.
    pub async fn sleep_task(&self) -> bool {
        let Waker::Task(notify) = &self.waker else { return false };
        {
            let mut state = self.state.lock();
            if state.has_work() {
                return false;
            }
            state.sleep = Sleep::Gathering;
        }
        let timed_out = tokio::time::timeout(limits::LOG_UNWAITED, notify.notified()).await.is_err();
        {
            let mut state = self.state.lock();
            if !(timed_out && state.sleep == Sleep::Gathering && state.open.is_empty()) {
                state.sleep = Sleep::Awake;
                return timed_out;
            }
            state.sleep = Sleep::Idle;
        }
        self.listener().idle();
        notify.notified().await;
        false
    }

    /// One turn of the disk's committer: writes one group, if it is time for one.
    pub fn round(&self, due: bool) -> Round {
        let Backend::Disk(disk) = &self.backend else { return Round::Idle };
        let (group, acknowledged) = {
            let mut state = self.state.lock();
            if state.stopped.is_some() {
                return Round::Stopped;
            }
            let Some(group) = state.take(due) else { return Round::Idle };
            (group, state.durable.end)
        };
        let opened = |id: FileId, handle| {
            if let Some(entry) = self.state.lock().files.get_mut(id) {
                entry.handle = Some(handle);
            }
        };
        let begun = Instant::now();
        match disk.write(&group, acknowledged, opened) {
            Ok(()) => {
                self.note_time(begun.elapsed(), group.byte_len());
                self.publish();
                Round::Wrote
            }
            Err(error) => {
                self.stop(error);
                Round::Stopped
            }
        }
    }

    /// Keeps a moving average of what a write takes.
    fn note_time(&self, took: Duration, bytes: u64) {
        self.settings.metrics.note_write(took, bytes);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let average = self.write_micros.load(Ordering::Relaxed);
        self.write_micros.store((average / 8 * 7).saturating_add(took / 8), Ordering::Relaxed);
    }

    /// The oldest group that is not durable has become so: tells the listener, then whoever waits.
    pub fn publish(&self) {
        let group = {
            let mut state = self.state.lock();
            if state.stopped.is_some() {
                return;
            }
            state.publish();
            state.durable
        };
        self.listener().durable(group);
        let waiters = self.state.lock().announce(group.end);
        for waiter in waiters {
            // Whoever has gone away waits no more.
            let _ = waiter.send(Ok(()));
        }
        self.wake_room();
    }

    /// Stops the log for good, unless it has stopped: no waiter is told that anything is durable after this.
    pub fn stop(&self, reason: Error) {
        let waiters = {
            let mut state = self.state.lock();
            let Some(waiters) = state.stop(&reason) else { return };
            self.wake(state);
            waiters
        };
        if let Backend::Disk(disk) = &self.backend {
            disk.stop();
        }
        if matches!(reason, Error::Closed(_)) {
            tracing::debug!(%reason, "the log has stopped");
        } else {
            tracing::error!(%reason, "the log has stopped: nothing is acknowledged any more");
        }
        self.listener().closed(reason.clone());
        for waiter in waiters {
            let _ = waiter.send(Err(reason.clone()));
        }
        self.wake_room();
    }

    pub async fn durable(&self, position: Position) -> Result<()> {
        let receiver = {
            let mut state = self.state.lock();
            if state.announced >= position {
                return Ok(());
            }
            if let Some(reason) = &state.stopped {
                return Err(reason.clone());
            }
            let end = state.open.end();
            if position > end {
                return Err(Error::Invalid(format!("position {} is behind the log's end, {}", position.0, end.0)));
            }
            if self.may_lead(&state) {
                self.lead(state, position);
                state = self.state.lock();
                if state.announced >= position {
                    return Ok(());
                }
                if let Some(reason) = &state.stopped {
                    return Err(reason.clone());
                }
            }
            let receiver = state.wait(position);
            self.wake(state);
            receiver
        };
        receiver.await.unwrap_or_else(|_| Err(Error::Closed("the log has stopped".to_owned())))
    }

    /// First come, first served: who finds others of its kind waiting waits behind them.
    pub async fn room(&self, entrant: Entrant) -> Result<()> {
        let _waiting = {
            let mut state = self.state.lock();
            state.check()?;
            if state.waiting_for_room[entrant as usize] == 0 && state.has_room(entrant) {
                return Ok(());
            }
            state.waiting_for_room[entrant as usize] += 1;
            self.settings.metrics.note_wait();
            WaitingForRoom(self, entrant)
        };
        let _first = self.lines[entrant as usize].lock().await;
        loop {
            let told = self.room.notified();
            {
                let state = self.state.lock();
                state.check()?;
                if state.has_room(entrant) {
                    return Ok(());
                }
            }
            told.await;
        }
    }

    /// To be called when there may be more room, and when there will never be any.
    pub fn wake_room(&self) {
        self.room.notify_waiters();
    }

    pub fn condemn(&self, position: Position) -> Vec<LogFile> {
        let mut state = self.state.lock();
        let durable = state.durable.end;
        #[cfg(test)]
        if self.settings.mutant == Some(super::tests::Mutant::FreeTooEarly) {
            return state.files.condemn(durable, durable);
        }
        state.files.condemn(position, durable)
    }

    pub async fn remove(&self, files: &[LogFile]) {
        for id in files.iter().filter_map(|file| FileId::of(file.place)) {
            let taken: Option<FileEntry> = self.state.lock().files.take_condemned(id);
            if let Some(taken) = taken {
                self.remove_later(id, taken.handle);
                self.wake_room();
            }
        }
        // Of files the oldest first, and one after the other: what a crash leaves is the log without some of its
        // start. Recovery does not ask that of objects, and there are many.
        let at_once = match &self.backend {
            Backend::Disk(_) => 1,
            Backend::Objects(_) => limits::LOG_REMOVES_IN_FLIGHT,
        };
        let due: Vec<_> = {
            let (mut unremoved, mut again) = (self.unremoved.lock(), 0);
            let due = unremoved.iter_mut().filter(|(_, file)| {
                again += usize::from(file.failed.is_some() && file.is_due());
                file.failed.is_none() || file.is_due() && again <= limits::LOG_REMOVE_RETRIES
            });
            due.map(|(id, file)| (*id, file.handle.take())).collect()
        };
        let removals: Vec<_> = due.into_iter().map(|(id, handle)| self.remove_due(id, handle)).collect();
        stream::iter(removals).buffer_unordered(at_once).collect().await
    }

    /// The next call of [`Shared::remove`] removes this as well.
    pub fn remove_later(&self, id: FileId, handle: Option<Arc<dyn DiskFile>>) {
        self.unremoved.lock().insert(id, Unremoved { handle, failed: None });
    }

    /// One that cannot be removed is told of once, and is no reason for the others to stay.
    async fn remove_due(&self, id: FileId, handle: Option<Arc<dyn DiskFile>>) {
        let removed = self.remove_file(id, handle).await;
        let mut unremoved = self.unremoved.lock();
        match removed {
            Ok(()) => drop(unremoved.remove(&id)),
            Err(error) => {
                let before = unremoved.get_mut(&id).and_then(|file| file.failed.replace(Instant::now()));
                if before.is_none() {
                    tracing::warn!(%error, "a part of the log that is not needed any more stays: it is tried again");
                }
            }
        }
    }

    /// True if files that the log has let go of are to be removed, also those for which it is time to try again.
    pub fn is_removing(&self) -> bool {
        self.unremoved.lock().values().any(Unremoved::is_due)
    }

    /// True if there are some of them whose removal has not been tried, or was interrupted.
    pub fn begins_to_remove(&self) -> bool {
        self.unremoved.lock().values().any(|file| file.failed.is_none())
    }

    pub async fn close(&self) -> Result<()> {
        let receiver = {
            let mut state = self.state.lock();
            match &state.stopped {
                Some(Error::Closed(_)) => return Ok(()),
                Some(reason) => return Err(reason.clone()),
                None => {}
            }
            if !state.closing {
                if !state.open.is_empty() {
                    state.seal(super::GroupKind::Data);
                }
                state.seal(super::GroupKind::Close);
                state.closing = true;
            }
            let end = state.open.start;
            let receiver = state.wait(end);
            self.wake(state);
            receiver
        };
        if matches!(self.waker, Waker::Manual) {
            while self.round(true) == Round::Wrote {}
        }
        let flushed = receiver.await.unwrap_or_else(|_| Err(Error::Closed("it was closed".to_owned())));
        self.stop(Error::Closed("it was closed by its own server".to_owned()));
        let committer = self.committer.lock().take();
        match committer {
            Some(Committer::Thread(thread)) => drop(tokio::task::spawn_blocking(move || thread.join()).await),
            Some(Committer::Task(task)) => drop(task.await),
            None => {}
        }
        self.let_go().await;
        flushed
    }
}

struct WaitingForRoom<'a>(&'a Shared, Entrant);

impl Drop for WaitingForRoom<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting_for_room[self.1 as usize] -= 1;
    }
}

/// Runs a blocking call: where it stands, or on a thread that may wait.
pub async fn blocking<T: Send + 'static>(inline: bool, call: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if inline {
        return Ok(call());
    }
    let done = tokio::task::spawn_blocking(call).await;
    done.map_err(|error| Error::unavailable("a thread of the log was lost", error))
}
