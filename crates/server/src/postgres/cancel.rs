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
    running: Mutex<HashMap<i32, (i32, Arc<Signal>)>>,
}

/// A client's wish to stop what its connection is doing. It holds until the next statement.
#[derive(Default)]
pub struct Signal {
    given: AtomicBool,
    notify: Notify,
}

impl Signal {
    fn give(&self) {
        self.given.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    /// What comes next is something else than what the client wanted to stop.
    pub fn clear(&self) {
        self.given.store(false, Ordering::SeqCst);
    }

    async fn given(&self) {
        let mut notified = pin!(self.notify.notified());
        // From here on no giving is missed, and one before shows in the flag.
        notified.as_mut().enable();
        if !self.given.load(Ordering::SeqCst) {
            notified.await;
        }
    }
}

/// What stops a statement.
pub struct Cancel {
    pub signal: Arc<Signal>,
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
                why = self.stopped() => why,
                () = wire.gone() => Error::Cancelled,
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

    /// Waits until the client cancels or a time is over.
    pub async fn stopped(&self) -> Error {
        tokio::select! {
            () = self.signal.given() => Error::Cancelled,
            () = over(self.deadline) => Error::StatementTimeout,
            () = over(self.transaction) => Error::TransactionTimeout,
        }
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
    pub signal: Arc<Signal>,
    registry: Arc<super::Shared>,
}

impl Registry {
    pub fn new(random: Random) -> Self {
        Self { random, running: Mutex::default() }
    }

    /// A key that nobody else has.
    pub fn enter(shared: &Arc<super::Shared>) -> Key {
        let registry = &shared.cancel;
        let signal = Arc::new(Signal::default());
        let secret = registry.random.next_u64() as i32;
        let mut running = registry.running.lock();
        let process = loop {
            let process = (registry.random.next_u64() & 0x3fff_ffff) as i32 + 1;
            if !running.contains_key(&process) {
                break process;
            }
        };
        running.insert(process, (secret, Arc::clone(&signal)));
        Key { process, secret, signal, registry: Arc::clone(shared) }
    }

    /// Stops what the connection runs right now, if the secret is its.
    pub fn cancel(&self, process: i32, secret: i32) {
        if let Some((own, signal)) = self.running.lock().get(&process)
            && *own == secret
        {
            signal.give();
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.registry.cancel.running.lock().remove(&self.process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_cancel_that_comes_while_nobody_waits_is_found_by_the_next_wait() {
        let signal = Arc::new(Signal::default());
        let ending = Arc::default();
        let cancel = Cancel { signal: Arc::clone(&signal), deadline: None, transaction: None, ending };
        assert!(cancel.stopped().now_or_never().is_none());
        signal.give();
        assert!(matches!(cancel.stopped().now_or_never(), Some(Error::Cancelled)));
        signal.clear();
        assert!(cancel.stopped().now_or_never().is_none(), "the next statement is another");
    }
}
