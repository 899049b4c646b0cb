//! What the callers of a log and its committer share, under one short lock.

use super::files::{FileEntry, Files};
use super::format::{FILE_HEADER_BYTES, FileId, GroupKind, round_up};
use super::group::{Group, OpenGroup};
use super::{DurableGroup, Settings};
use crate::{Error, Position, Result, disk, limits};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// How groups are laid out: many in one file, or each an object of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Files { block: u64 },
    Objects,
}

/// Who waits for room, and so how much of it there must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrant {
    /// Will bring payload.
    Payload,
    /// Brings rows alone. Who was let in with payload may wait for a lock that this one holds, and keeps the files that
    /// would have to go: so there is a reserve.
    Rows,
    /// Was let in with payload and brings more of it. What it brought keeps the files that would have to go, so
    /// that it waits for memory alone.
    Again,
}

/// What the committer does, so that nobody wakes it in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// It looks at the state again before it sleeps.
    Awake,
    /// It sleeps until somebody waits, or until rows have lain unwaited for long enough.
    Gathering,
    /// It sleeps until anything is appended.
    Idle,
    /// It sleeps while one who waits commits in its place, and is woken by that one if there is more to do.
    Led,
}

#[derive(Debug)]
pub struct State {
    pub open: OpenGroup,
    /// Sealed groups, oldest first, until they are durable; the committer has taken the first `taken`.
    pub sealed: VecDeque<Arc<Group>>,
    pub taken: usize,
    pub durable: DurableGroup,
    pub files: Files,
    pub sleep: Sleep,
    pub stopped: Option<Error>,
    pub closing: bool,
    /// Somebody waits for everything before this.
    wanted: Position,
    /// Bytes of the sealed groups.
    sealed_bytes: u64,
    waiters: BTreeMap<(Position, u64), oneshot::Sender<Result<()>>>,
    waiters_ever: u64,
    /// By [`Entrant`].
    pub waiting_for_room: [usize; 3],
    layout: Layout,
    settings: Settings,
    /// Everything before this is durable, and the listener knows it.
    pub announced: Position,
}

impl State {
    /// `id` is the file (or object) that the first group goes to.
    pub fn new(id: FileId, durable: DurableGroup, files: Files, layout: Layout, settings: Settings) -> Self {
        let offset = match layout {
            Layout::Files { .. } => FILE_HEADER_BYTES,
            Layout::Objects => 0,
        };
        Self {
            open: OpenGroup::new(id, durable.end, offset, (durable.rows_end, durable.rows_seq)),
            sealed: VecDeque::new(),
            taken: 0,
            durable,
            files,
            sleep: Sleep::Awake,
            stopped: None,
            closing: false,
            wanted: durable.end,
            sealed_bytes: 0,
            waiters: BTreeMap::new(),
            waiters_ever: 0,
            waiting_for_room: [0; 3],
            layout,
            announced: durable.end,
            settings,
        }
    }

    pub fn check(&self) -> Result<()> {
        match &self.stopped {
            Some(reason) => Err(reason.clone()),
            None if self.closing => Err(Error::Closed("it is being closed".to_owned())),
            None => Ok(()),
        }
    }

    /// Bytes in memory that are not durable yet.
    pub fn pending_bytes(&self) -> u64 {
        self.sealed_bytes + self.open.byte_len()
    }

    /// Makes sure that a record of these sizes fits the open group and its file.
    pub fn make_place(&mut self, payload_bytes: u64, rows_bytes: u64) {
        let more = self.open.more_bytes(payload_bytes, rows_bytes);
        let grown = self.open.byte_len() + more;
        if !self.open.is_empty() && (grown > self.settings.group_bytes_max as u64 || self.overflows(grown)) {
            self.seal(GroupKind::Data);
        }
        if self.open.is_empty() {
            let more = self.open.more_bytes(payload_bytes, rows_bytes);
            self.place_open_group(more);
        }
    }

    fn overflows(&self, group_bytes: u64) -> bool {
        match self.layout {
            Layout::Files { block } => {
                self.open.offset + round_up(group_bytes, block) > self.settings.capacity(self.open.id.number)
            }
            Layout::Objects => false,
        }
    }

    /// Gives the open group, which is empty, a file that it fits into.
    fn place_open_group(&mut self, group_bytes: u64) {
        if self.overflows(group_bytes) && self.open.offset > FILE_HEADER_BYTES {
            self.close_file();
            let id = FileId { number: self.open.id.number + 1, ..self.open.id };
            self.open = OpenGroup::new(id, self.open.start, FILE_HEADER_BYTES, self.open.rows_before());
        }
        if self.files.get(self.open.id).is_none() {
            let bytes = match self.layout {
                Layout::Files { .. } => self.settings.capacity(self.open.id.number),
                Layout::Objects => 0,
            };
            let mut entry = FileEntry::new(self.open.start, self.open.start, bytes, None);
            entry.is_open = true;
            self.files.insert(self.open.id, entry);
        }
    }

    fn close_file(&mut self) {
        let end = self.open.start;
        if let Some(entry) = self.files.get_mut(self.open.id) {
            entry.is_open = false;
            entry.end = end;
        }
    }

    /// Ends the open group, whether or not it holds anything.
    pub fn seal(&mut self, kind: GroupKind) {
        self.place_open_group(1);
        let block = match self.layout {
            Layout::Files { .. } if self.open.byte_len() >= limits::PAGED_BYTES_MIN => disk::PAGE_BYTES,
            Layout::Files { block } => block,
            Layout::Objects => 1,
        };
        let id = self.open.id;
        let next = OpenGroup::new(id, Position(0), 0, Default::default());
        let group = std::mem::replace(&mut self.open, next).seal(kind, block);
        let (id, offset) = match self.layout {
            Layout::Files { .. } => (id, group.offset + group.byte_len()),
            Layout::Objects => (FileId { number: id.number + 1, ..id }, 0),
        };
        self.open = OpenGroup::new(id, group.end, offset, (group.rows_end, group.last_seq));
        if let Some(entry) = self.files.get_mut(group.id) {
            entry.end = group.end;
            if self.layout == Layout::Objects {
                entry.is_open = false;
                self.files.resize(group.id, group.byte_len());
            }
        }
        self.sealed_bytes += group.byte_len();
        self.sealed.push_back(Arc::new(group));
    }

    /// The next group to write, if it is time for it: somebody waits, much has gathered, or `due` says so.
    pub fn take(&mut self, due: bool) -> Option<Arc<Group>> {
        if self.taken == self.sealed.len() {
            if self.open.is_empty() || !(due || self.has_work()) {
                return None;
            }
            self.seal(GroupKind::Data);
        }
        let group = self.sealed.get(self.taken).cloned();
        self.taken += 1;
        group
    }

    /// The oldest group became durable.
    pub fn publish(&mut self) {
        let group = self.sealed.pop_front().expect("only a sealed group is published");
        self.taken -= 1;
        self.sealed_bytes -= group.byte_len();
        self.durable.end = group.end;
        self.durable.rows_end = group.rows_end;
        self.durable.rows_seq = group.last_seq;
    }

    /// The listener knows that everything before `end` is durable: those who waited for that.
    pub fn announce(&mut self, end: Position) -> Vec<oneshot::Sender<Result<()>>> {
        self.announced = end;
        let later = self.waiters.split_off(&(Position(end.0 + 1), 0));
        std::mem::replace(&mut self.waiters, later).into_values().collect()
    }

    /// True if the committer would find something to write.
    pub fn has_work(&self) -> bool {
        let waited = self.wanted > self.open.start || self.open.byte_len() >= self.settings.flush_bytes as u64;
        self.stopped.is_some() || self.taken < self.sealed.len() || !self.open.is_empty() && waited
    }

    /// Somebody waits for everything before `position`.
    pub fn want(&mut self, position: Position) {
        self.wanted = self.wanted.max(position);
    }

    /// Registers somebody who waits for everything before `position`.
    pub fn wait(&mut self, position: Position) -> oneshot::Receiver<Result<()>> {
        let (sender, receiver) = oneshot::channel();
        self.want(position);
        self.waiters_ever += 1;
        self.waiters.insert((position, self.waiters_ever), sender);
        receiver
    }

    /// Ends the log for good; those who still wait. The first reason stays.
    pub fn stop(&mut self, reason: &Error) -> Option<Vec<oneshot::Sender<Result<()>>>> {
        if self.stopped.is_some() {
            return None;
        }
        self.stopped = Some(reason.clone());
        Some(std::mem::take(&mut self.waiters).into_values().collect())
    }

    /// True if a writer may go on: the budgets of memory and of the disk have room.
    pub fn has_room(&self, entrant: Entrant) -> bool {
        let budget = self.settings.budget_bytes;
        let most = match entrant {
            Entrant::Payload => budget,
            Entrant::Rows => budget + budget / limits::LOG_RESERVE,
            Entrant::Again => u64::MAX,
        };
        // One file alone is never too much: nothing could be freed.
        let disk = self.files.bytes() <= most || self.files.len() <= 1;
        disk && self.pending_bytes() <= self.settings.pending_bytes_max as u64
    }

    /// True if even a writer that did not ask for room is refused.
    pub fn is_overfull(&self) -> bool {
        self.pending_bytes() > limits::LOG_OVERFULL * self.settings.pending_bytes_max as u64
    }
}
