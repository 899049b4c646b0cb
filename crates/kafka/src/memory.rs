//! Memory for large requests: one budget for all connections, taken in steps as bytes arrive.
//!
//! A request that grows while others grow too could wait for memory that they hold, and they for its. So one request at
//! a time, the *last*, may grow without asking: whoever waits longest gets this right when the budget is empty,
//! finishes, and gives back what it had. What it takes is bounded by the size of a request.
//!
//! While somebody waits, requests that hold memory and do not get their bytes are given up soon: see
//! [`crate::frame::read`].

use crate::limits;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) struct Budget {
    /// In KiB.
    shared: Semaphore,
    last: Semaphore,
    waiting: AtomicUsize,
}

/// What one request holds; given back when it is dropped.
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    held: Option<SemaphorePermit<'a>>,
    last: Option<SemaphorePermit<'a>>,
}

impl Budget {
    pub fn new(bytes: usize) -> Self {
        Self { shared: Semaphore::new(bytes >> 10), last: Semaphore::new(1), waiting: AtomicUsize::new(0) }
    }

    /// Of a request that holds nothing yet.
    pub fn share(&self) -> Share<'_> {
        Share { budget: self, held: None, last: None }
    }

    /// Whether a request waits for memory that others hold.
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Share<'_> {
    /// Returns when the request may be `bytes` long.
    pub async fn grow(&mut self, bytes: usize) {
        let held_kib = self.held.as_ref().map_or(0, SemaphorePermit::num_permits);
        let more_kib = (bytes.saturating_sub(limits::UNCOUNTED_BYTES) >> 10).saturating_sub(held_kib);
        if more_kib == 0 || self.last.is_some() {
            return;
        }
        let more_kib = u32::try_from(more_kib).expect("the length of a request is bounded");
        let more = match self.budget.shared.try_acquire_many(more_kib) {
            Ok(more) => more,
            Err(_) => {
                let _waiting = Waiting::new(&self.budget.waiting);
                tokio::select! {
                    biased;
                    more = self.budget.shared.acquire_many(more_kib) => more.expect("nobody closes it"),
                    last = self.budget.last.acquire() => {
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

    /// Whether it holds memory that others could use.
    pub fn holds(&self) -> bool {
        self.held.is_some() || self.last.is_some()
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
