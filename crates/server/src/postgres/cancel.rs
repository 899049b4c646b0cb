//! Cancel keys: how a second connection stops the query of a first.

use super::message::Wire;
use ballast_runtime::Random;
use ballast_tables::{Error, Result};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The running connections by process number.
pub struct Registry {
    random: Random,
    running: Mutex<HashMap<i32, (i32, Arc<Notify>)>>,
}

/// What stops a statement.
pub struct Cancel {
    pub notify: Arc<Notify>,
    pub deadline: Option<Instant>,
    /// The end of the open transaction.
    pub transaction: Option<Instant>,
    /// See [`ballast_tables::Session::ending`].
    pub ending: Arc<AtomicBool>,
}

impl Cancel {
    /// Runs until it is done, the client cancels or is gone, or a time is over; what commits by then is waited for.
    pub async fn unless<T>(&self, wire: &Wire, run: impl Future<Output = Result<T>>) -> Result<T> {
        self.ending.store(false, Ordering::Relaxed);
        let stop = async {
            tokio::select! {
                () = self.notify.notified() => Error::Cancelled,
                () = wire.gone() => Error::Cancelled,
                () = over(self.deadline) => Error::StatementTimeout,
                () = over(self.transaction) => Error::TransactionTimeout,
            }
        };
        let (mut run, mut stop, mut stopped) = (pin!(run), pin!(stop), None);
        poll_fn(|context| {
            if stopped.is_none()
                && let Poll::Ready(why) = stop.as_mut().poll(context)
            {
                stopped = Some(why);
            }
            if let Some(why) = &stopped
                && !self.ending.load(Ordering::Relaxed)
            {
                return Poll::Ready(Err(why.clone()));
            }
            run.as_mut().poll(context)
        })
        .await
    }
}

async fn over(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A connection's entry; gone when it is dropped.
pub struct Key {
    pub process: i32,
    pub secret: i32,
    pub notify: Arc<Notify>,
    registry: Arc<super::Shared>,
}

impl Registry {
    pub fn new(random: Random) -> Self {
        Self { random, running: Mutex::default() }
    }

    /// A key that nobody else has.
    pub fn enter(shared: &Arc<super::Shared>) -> Key {
        let registry = &shared.cancel;
        let notify = Arc::new(Notify::new());
        let secret = registry.random.next_u64() as i32;
        let mut running = registry.running.lock();
        let process = loop {
            let process = (registry.random.next_u64() & 0x3fff_ffff) as i32 + 1;
            if !running.contains_key(&process) {
                break process;
            }
        };
        running.insert(process, (secret, Arc::clone(&notify)));
        Key { process, secret, notify, registry: Arc::clone(shared) }
    }

    /// Stops what the connection runs right now, if the secret is its.
    pub fn cancel(&self, process: i32, secret: i32) {
        if let Some((own, notify)) = self.running.lock().get(&process)
            && *own == secret
        {
            notify.notify_waiters();
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.registry.cancel.running.lock().remove(&self.process);
    }
}
