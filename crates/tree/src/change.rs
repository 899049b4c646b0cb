//! News of changes, for those who keep copies: a mount tells the kernel to forget a name that changed through
//! another protocol.
//!
//! A subscriber learns of a change soon after. For a follower, the change does not return to its caller before the
//! follower has dealt with it, so that its copies are never older than the answer; within a limit, because a
//! follower that is stuck must not keep everybody else.

use crate::limits;
use ballast_store::Position;
use ballast_types::{Ino, Kind, Name, RequestId};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// One change. Visible to every reader when it is sent; durable when its position is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub what: What,
    /// Of the call that made it, so that a subscriber knows its own; the default for an engine's own changes.
    pub request: RequestId,
    pub position: Position,
}

/// What changed. A change of names changes the directories' times and sizes too, without further notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A name appeared: of a new inode, or a further one of an inode whose count of links changed.
    Created { parent: Ino, name: Name, ino: Ino, kind: Kind },
    /// A name went; the inode as well, if it was the last.
    Removed { parent: Ino, name: Name, ino: Ino, kind: Kind },
    /// A name became another. An exchange is two of these.
    Renamed { from: (Ino, Name), to: (Ino, Name), ino: Ino, kind: Kind },
    /// Attributes or extended attributes were set.
    Attributes { ino: Ino },
    /// An engine changed size, times or descriptor along with the content.
    Content { ino: Ino },
}

/// Which changes a subscriber wants to hear of.
pub type Wants = fn(&What, RequestId) -> bool;

/// A subscription; it starts with the changes after it was made.
pub struct Changes {
    receiver: mpsc::Receiver<Told>,
    missed: Arc<AtomicU64>,
    /// Dropped when the subscriber asks for the next change: it has dealt with this one.
    seen: Option<mpsc::Sender<()>>,
}

/// What a subscriber gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Change(Change),
    /// The subscriber was too slow and missed so many changes: what it keeps may be old, all of it.
    Missed(u64),
}

impl Changes {
    /// The next news; `None` when the tree is closed. Asking for it says that the one before was dealt with.
    pub async fn next(&mut self) -> Option<News> {
        self.seen = None;
        match self.missed.swap(0, Ordering::AcqRel) {
            0 => {}
            missed => return Some(News::Missed(missed)),
        }
        let told = self.receiver.recv().await?;
        self.seen = told.seen;
        Some(News::Change(told.change))
    }
}

struct Told {
    change: Change,
    seen: Option<mpsc::Sender<()>>,
}

struct Subscriber {
    wants: Wants,
    /// Changes wait for it.
    follows: bool,
    sender: mpsc::Sender<Told>,
    missed: Arc<AtomicU64>,
}

/// All subscribers of a tree.
#[derive(Default)]
pub(crate) struct Feed {
    subscribers: RwLock<Vec<Subscriber>>,
    /// How many there are: without any, nobody takes the lock.
    count: AtomicUsize,
}

/// Followers that have not dealt with a change yet.
pub(crate) struct Unseen(mpsc::Receiver<()>);

impl Unseen {
    /// Returns when they have, or after a limit.
    pub async fn seen(mut self) {
        // All senders are gone when the last follower has moved on.
        let seen = self.0.recv();
        if tokio::time::timeout(limits::FOLLOW_WAIT, seen).await.is_err() {
            tracing::warn!("a follower of changes is slow: its copies may be old for a moment");
        }
    }
}

impl Feed {
    pub fn subscribe(&self, wants: Wants, follows: bool) -> Changes {
        let (sender, receiver) = mpsc::channel(limits::CHANGES_MAX);
        let missed = Arc::<AtomicU64>::default();
        let mut subscribers = self.subscribers.write();
        subscribers.retain(|subscriber| !subscriber.sender.is_closed());
        subscribers.push(Subscriber { wants, follows, sender, missed: Arc::clone(&missed) });
        self.count.store(subscribers.len(), Ordering::Release);
        Changes { receiver, missed, seen: None }
    }

    /// Tells subscribers; whom to wait for once no lock is held any more.
    pub fn tell(&self, news: impl IntoIterator<Item = What>, request: RequestId, position: Position) -> Option<Unseen> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut unseen = None;
        let mut seen = None;
        let subscribers = self.subscribers.read();
        for what in news {
            for subscriber in subscribers.iter().filter(|subscriber| (subscriber.wants)(&what, request)) {
                let seen = subscriber.follows.then(|| {
                    let sender = seen.get_or_insert_with(|| {
                        let (sender, receiver) = mpsc::channel(1);
                        unseen = Some(Unseen(receiver));
                        sender
                    });
                    sender.clone()
                });
                let change = Change { what: what.clone(), request, position };
                if let Err(mpsc::error::TrySendError::Full(_)) = subscriber.sender.try_send(Told { change, seen }) {
                    subscriber.missed.fetch_add(1, Ordering::AcqRel);
                }
            }
        }
        unseen
    }
}
