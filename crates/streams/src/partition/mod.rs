//! A partition: records with ascending offsets.
//!
//! Its rows are the truth. In memory is what the next append and readers at the end need: loaded at the first
//! use from the last index row, dropped when too many others are in use. A partition that nobody uses costs
//! nothing, also not on disk before its first append.
//!
//! Two locks: the *writer*, which an append holds while it takes its offsets and commits (not while it waits for
//! the disk), and *shared*, held for moments, which readers use.
//!
//! | module | what it does |
//! |---|---|
//! | [`append`] | offsets, payload, index row, one commit for a whole request; the high watermark |
//! | [`producers`] | which batches a producer has written already |
//! | [`tail`] | the newest batches in memory |
//! | [`fetch`] | reading, and waiting for more |
//! | [`ahead`] | what a reader further back will ask for next, read before it asks |
//! | [`lookup`] | offsets by time |
//! | [`trim`] | deleting from the start |
//! | [`load`], [`registry`] | from rows into memory, and how much of that at once |

pub(crate) mod ahead;
pub(crate) mod append;
pub(crate) mod fetch;
pub(crate) mod load;
pub(crate) mod lookup;
pub(crate) mod producers;
pub(crate) mod registry;
pub(crate) mod tail;
pub(crate) mod trim;

use ballast_types::Ino;
use parking_lot::Mutex;
use producers::ProducerState;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tail::Tail;
use tokio::sync::{Notify, OnceCell};

/// One partition of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    pub ino: Ino,
    pub partition: u32,
}

pub(crate) struct Partition {
    pub id: PartitionId,
    loaded: OnceCell<()>,
    pub writer: Arc<tokio::sync::Mutex<Writer>>,
    pub shared: Mutex<Shared>,
}

/// What the next append needs.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// The next offset to be given out.
    pub next_offset: i64,
    pub bytes_so_far: u64,
    pub max_timestamp_so_far: i64,
    pub max_timestamp_at: i64,
    /// Producers that wrote lately; the others are in their rows.
    pub producers: HashMap<i64, ProducerState>,
    /// The stream was dropped, or a commit failed and nobody knows what the rows say: look the partition up again.
    pub gone: bool,
}

/// What readers see.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The first offset that may be read.
    pub log_start: i64,
    /// Everything before it is durable and may be read.
    pub high_watermark: i64,
    /// Everything before it is committed, but perhaps not durable yet.
    pub next_offset: i64,
    pub tail: Tail,
    pub gone: bool,
    waiters: Vec<Weak<Notify>>,
    /// When so many waiters are listed, those that gave up are struck out.
    sweep_at: usize,
}

impl Partition {
    fn new(id: PartitionId) -> Self {
        Self { id, loaded: OnceCell::new(), writer: Arc::default(), shared: Mutex::default() }
    }

    /// Moves the high watermark up and wakes who waits for it.
    fn advance(&self, high_watermark: i64) {
        let mut shared = self.shared.lock();
        if high_watermark > shared.high_watermark {
            shared.high_watermark = high_watermark;
            shared.wake();
        }
    }
}

impl Shared {
    fn wake(&mut self) {
        for waiter in self.waiters.drain(..) {
            if let Some(waiter) = waiter.upgrade() {
                waiter.notify_one();
            }
        }
    }

    /// Lets `waiter` be told once when the high watermark moves.
    fn wait(&mut self, waiter: &Arc<Notify>) {
        if self.waiters.len() >= self.sweep_at {
            self.waiters.retain(|waiter| waiter.strong_count() > 0);
            self.sweep_at = 16.max(2 * self.waiters.len());
        }
        self.waiters.push(Arc::downgrade(waiter));
    }
}
