//! A budget of memory that many take shares of: requests that arrive in pieces, answers that wait for their readers.
//!
//! Shares that grow together could wait for memory that they hold, each for the others'. So one share at a time, the
//! *last*, may grow without asking: whoever waits longest gets this right when the budget is empty, finishes, and gives
//! back what it had. What it takes is bounded by the size of one request or answer.
//!
//! Who holds a share and makes no progress should give it up while [`Share::is_wanted`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Clones are one budget.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    /// In KiB.
    shared: Arc<Semaphore>,
    last: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// What one request or answer holds; given back when it is dropped.
pub struct Share {
    budget: Budget,
    held: Option<OwnedSemaphorePermit>,
    last: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub fn new(bytes: usize) -> Self {
        let (shared, last) = (Arc::new(Semaphore::new(bytes >> 10)), Arc::new(Semaphore::new(1)));
        Self(Arc::new(Inner { shared, last, waiting: AtomicUsize::new(0) }))
    }

    /// Of something that holds nothing yet.
    pub fn share(&self) -> Share {
        Share { budget: self.clone(), held: None, last: None }
    }

    /// Bytes that nobody holds.
    pub fn free(&self) -> usize {
        self.0.shared.available_permits() << 10
    }
}

impl Share {
    /// Whether so many bytes may be held in all.
    pub fn allows(&self, bytes: usize) -> bool {
        self.last.is_some() || bytes.div_ceil(1 << 10) <= self.held_kib()
    }

    fn held_kib(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Returns when so many bytes may be held in all.
    pub async fn grow(&mut self, bytes: usize) {
        if self.allows(bytes) {
            return;
        }
        let more_kib = u32::try_from(bytes.div_ceil(1 << 10) - self.held_kib()).unwrap_or(u32::MAX);
        let inner = &self.budget.0;
        let more = match Arc::clone(&inner.shared).try_acquire_many_owned(more_kib) {
            Ok(more) => more,
            Err(_) => {
                let _waiting = Waiting::new(&inner.waiting);
                tokio::select! {
                    biased;
                    more = Arc::clone(&inner.shared).acquire_many_owned(more_kib) => more.expect("nobody closes it"),
                    last = Arc::clone(&inner.last).acquire_owned() => {
                        self.last = Some(last.expect("nobody closes it"));
                        return;
                    }
                }
            }
        };
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
    }

    /// Gives back all but `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        if let Some(held) = &mut self.held {
            let spare_kib = held.num_permits().saturating_sub(bytes.div_ceil(1 << 10));
            held.split(spare_kib);
        }
    }

    /// Whether it holds memory that others wait for.
    pub fn is_wanted(&self) -> bool {
        let holds = self.held_kib() > 0 || self.last.is_some();
        holds && self.budget.0.waiting.load(Ordering::Relaxed) > 0
    }
}

/// Counts somebody as waiting while it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
