//! Who still uses inodes that may have lost their last name, and which of them may go.

use crate::limits;
use ballast_types::Ino;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;

/// Keeps an inode without a name alive, as an open file does.
#[must_use = "the inode may go as soon as the pin is dropped"]
pub struct Pin {
    ino: Ino,
    pins: Arc<Pins>,
}

impl Pin {
    pub fn ino(&self) -> Ino {
        self.ino
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        Pins::pin(&self.pins, self.ino)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.pins.unpin(self.ino);
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pin({})", self.ino)
    }
}

#[derive(Default)]
pub struct Pins {
    state: Mutex<State>,
    reapable: Notify,
}

#[derive(Default)]
struct State {
    users: HashMap<Ino, Users>,
    /// Inodes that have neither name nor pin.
    ready: VecDeque<Ino>,
    /// There may be orphans in the volume that nobody here knows of.
    scan: bool,
}

#[derive(Clone, Copy, Default)]
struct Users {
    pins: u32,
    /// It has lost its last name: when the last pin goes, it may go.
    orphan: bool,
    /// It was made without a name, and may get one.
    linkable: bool,
    /// It is being removed.
    dying: bool,
}

impl Users {
    fn is_idle(&self) -> bool {
        self.pins == 0 && !self.dying
    }
}

impl Pins {
    pub fn pin(this: &Arc<Self>, ino: Ino) -> Pin {
        this.state.lock().users.entry(ino).or_default().pins += 1;
        Pin { ino, pins: Arc::clone(this) }
    }

    fn unpin(&self, ino: Ino) {
        let mut state = self.state.lock();
        let Some(users) = state.users.get_mut(&ino) else { return };
        users.pins -= 1;
        if !users.is_idle() {
            return;
        }
        let orphan = users.orphan;
        state.users.remove(&ino);
        if orphan {
            state.queue(ino);
            drop(state);
            self.reapable.notify_one();
        }
    }

    pub fn is_pinned(&self, ino: Ino) -> bool {
        self.state.lock().users.get(&ino).is_some_and(|users| users.pins > 0)
    }

    pub fn is_dying(&self, ino: Ino) -> bool {
        self.state.lock().users.get(&ino).is_some_and(|users| users.dying)
    }

    pub fn is_linkable(&self, ino: Ino) -> bool {
        self.state.lock().users.get(&ino).is_some_and(|users| users.linkable && users.pins > 0)
    }

    /// The inode was made without a name.
    pub fn set_linkable(&self, ino: Ino) {
        let mut state = self.state.lock();
        let users = state.users.entry(ino).or_default();
        (users.orphan, users.linkable) = (true, true);
    }

    /// The inode made without a name got one.
    pub fn clear_orphan(&self, ino: Ino) {
        if let Some(users) = self.state.lock().users.get_mut(&ino) {
            (users.orphan, users.linkable) = (false, false);
        }
    }

    /// The inode has lost its last name.
    pub fn orphaned(&self, ino: Ino) {
        let mut state = self.state.lock();
        match state.users.get_mut(&ino) {
            Some(users) if users.pins > 0 => users.orphan = true,
            _ => {
                state.queue(ino);
                drop(state);
                self.reapable.notify_one();
            }
        }
    }

    /// Orphans may be in the volume that are not known here: the next reap looks for them.
    pub fn request_scan(&self) {
        self.state.lock().scan = true;
        self.reapable.notify_one();
    }

    pub fn take_scan(&self) -> bool {
        std::mem::take(&mut self.state.lock().scan)
    }

    /// How many wait.
    pub fn ready(&self) -> usize {
        self.state.lock().ready.len()
    }

    pub fn take_ready(&self) -> Option<Ino> {
        self.state.lock().ready.pop_front()
    }

    /// Marks an inode without pins as dying; false if it has pins or dies already.
    pub fn begin_dying(&self, ino: Ino) -> bool {
        let mut state = self.state.lock();
        let users = state.users.entry(ino).or_default();
        let begins = users.pins == 0 && !users.dying;
        if begins {
            users.dying = true;
        } else if !users.dying {
            users.orphan = true;
        }
        begins
    }

    /// The removal is over. If it failed, the inode is still an orphan, and wakes the next reap.
    pub fn end_dying(&self, ino: Ino, retry: bool) {
        let mut state = self.state.lock();
        let Some(users) = state.users.get_mut(&ino) else { return };
        users.dying = false;
        users.orphan = retry;
        if users.pins == 0 {
            state.users.remove(&ino);
            if retry {
                state.queue(ino);
                drop(state);
                self.reapable.notify_one();
            }
        }
    }

    pub async fn reapable(&self) {
        self.reapable.notified().await;
    }
}

impl State {
    fn queue(&mut self, ino: Ino) {
        if self.ready.len() < limits::REAP_QUEUE_MAX {
            self.ready.push_back(ino);
        } else {
            self.scan = true;
        }
    }
}
