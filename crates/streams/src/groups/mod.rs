//! Consumer groups: members that share the partitions of streams, and the offsets they have reached.
//!
//! Membership is in memory alone: after a restart the members find that nobody knows them, and join again.
//! Committed offsets are rows, durable before they are answered, keyed by the stream's inode, so that they
//! follow a renamed stream.
//!
//! | module | what it does |
//! |---|---|
//! | [`group`] | the state of one group: pure, told the time, answers through channels |
//! | [`member`] | one member, and what it asked for |
//! | [`subscription`] | what consumers tell their leader |
//! | [`offsets`] | committed offsets |
//! | this | finds groups, and one task a group for its timers |

pub(crate) mod group;
pub(crate) mod member;
pub(crate) mod offsets;
mod subscription;

use crate::streams::{Inner, Streams};
use crate::{Error, Result, keys, limits};
use ballast_runtime::Random;
use bytes::Bytes;
use group::{GroupState, Step};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, RwLock, oneshot};
use tokio::time::Instant;

pub use member::{JoinRequest, JoinedMember};
pub use offsets::CommittedOffset;

/// What a member learns when the group has come together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub leader: String,
    pub member: String,
    /// The leader returned and its assignment still holds: it need not make a new one.
    pub skip_assignment: bool,
    /// All members, for the leader alone.
    pub members: Vec<JoinedMember>,
}

/// Who a member says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    pub member: String,
    pub instance: Option<String>,
    pub generation: i32,
}

/// A member's share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    pub protocol_type: String,
    pub protocol: String,
    pub assignment: Bytes,
}

#[derive(Clone, Debug, Default)]
pub struct SyncRequest {
    pub membership: Membership,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// From the leader: each member's share.
    pub assignments: Vec<(String, Bytes)>,
}

/// A group as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    pub name: String,
    /// Kafka's word: Empty, PreparingRebalance, CompletingRebalance, Stable.
    pub state: &'static str,
    pub protocol_type: String,
    pub protocol: String,
    pub members: Vec<MemberView>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    pub id: String,
    pub instance: Option<String>,
    pub client: String,
    pub host: String,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

/// The groups that have members.
pub(crate) struct Groups {
    groups: Arc<Mutex<HashMap<String, Arc<Group>>>>,
    /// Of a group's rows: commits share it, and who removes rows has it alone.
    locks: [RwLock<()>; limits::GROUP_LOCKS],
    initial_delay: Duration,
    random: Random,
}

pub(crate) struct Group {
    name: String,
    pub state: Mutex<GroupState>,
    /// A deadline may have come nearer.
    changed: Notify,
}

impl Groups {
    pub fn new(initial_delay: Duration, random: Random) -> Self {
        Self { groups: Arc::default(), locks: std::array::from_fn(|_| RwLock::default()), initial_delay, random }
    }

    pub fn find(&self, name: &str) -> Option<Arc<Group>> {
        self.groups.lock().get(name).cloned()
    }

    fn has_members(&self, name: &str) -> bool {
        self.find(name).is_some_and(|group| group.state.lock().has_members())
    }

    fn lock_of(&self, name: &str) -> &RwLock<()> {
        &self.locks[crc32c::crc32c(name.as_bytes()) as usize % limits::GROUP_LOCKS]
    }

    /// Runs `change` on a group, made if it is not there. It is kept while it has members.
    fn with_new<T>(&self, name: &str, change: impl FnOnce(&mut GroupState) -> Result<T>) -> Result<T> {
        let mut groups = self.groups.lock();
        let group = match groups.get(name) {
            Some(group) => Arc::clone(group),
            None if groups.len() >= limits::GROUPS_MAX => {
                return Err(Error::Exhausted("there are too many groups with members"));
            }
            None => {
                let state = Mutex::new(GroupState::new(self.initial_delay));
                Arc::new(Group { name: name.to_owned(), state, changed: Notify::new() })
            }
        };
        let mut state = group.state.lock();
        let result = change(&mut state);
        let in_use = !state.is_unused();
        drop(state);
        if in_use && !groups.contains_key(name) {
            groups.insert(name.to_owned(), Arc::clone(&group));
            tokio::spawn(keep_time(Arc::clone(&self.groups), Arc::clone(&group)));
        }
        group.changed.notify_one();
        result
    }

    /// Runs `change` on a group that has members.
    fn with<T>(&self, name: &str, change: impl FnOnce(&mut GroupState) -> Result<T>) -> Result<T> {
        let group = self.find(name).ok_or(Error::UnknownMember)?;
        let result = change(&mut group.state.lock());
        group.changed.notify_one();
        result
    }
}

/// Lets the timers of a group go off; ends with its last member.
async fn keep_time(groups: Arc<Mutex<HashMap<String, Arc<Group>>>>, group: Arc<Group>) {
    loop {
        let step = group.state.lock().tick(Instant::now());
        match step {
            Step::WaitUntil(deadline) => {
                // Woken early or by the clock: the next tick sees.
                let _ = tokio::time::timeout_at(deadline, group.changed.notified()).await;
            }
            Step::Unused => {
                let mut groups = groups.lock();
                // A member may have come in between.
                if group.state.lock().is_unused() {
                    groups.remove(&group.name);
                    return;
                }
            }
        }
    }
}

fn check_name(name: &str) -> Result<()> {
    let valid = !name.is_empty() && name.len() <= limits::GROUP_NAME_BYTES_MAX;
    if valid { Ok(()) } else { Err(Error::InvalidGroup(name.chars().take(64).collect())) }
}

impl Streams {
    /// Joins a group. The first half registers the member, in the order of the calls; awaiting what it returns
    /// waits for the others.
    pub fn join(&self, group: &str, request: JoinRequest) -> Result<oneshot::Receiver<Result<Joined>>> {
        check_name(group)?;
        let fresh = format!("{}-{}", request.client, uuid::Uuid::from_bytes(self.inner.random_uuid()));
        let now = Instant::now();
        self.inner.groups.with_new(group, |state| state.join(request, fresh, now))
    }

    /// Hands out the shares: at once, or when the leader has brought them.
    pub fn sync(&self, group: &str, request: SyncRequest) -> Result<oneshot::Receiver<Result<Synced>>> {
        let now = Instant::now();
        self.inner.groups.with(group, |state| state.sync(request, now))
    }

    /// Says that the member is alive.
    pub fn heartbeat(&self, group: &str, membership: &Membership) -> Result<()> {
        let now = Instant::now();
        self.inner.groups.with(group, |state| state.heartbeat(membership, now))
    }

    /// A member goes, by its id or by its instance id.
    pub fn leave(&self, group: &str, member: &str, instance: Option<&str>) -> Result<()> {
        let now = Instant::now();
        self.inner.groups.with(group, |state| state.leave(member, instance, now))
    }

    /// A group with members or with committed offsets.
    pub async fn describe_group(&self, name: &str) -> Result<GroupView> {
        check_name(name)?;
        if let Some(group) = self.inner.groups.find(name) {
            return Ok(group.state.lock().view(name));
        }
        let row = self.inner.group_row(name).await?.ok_or_else(|| Error::GroupNotFound(name.to_owned()))?;
        Ok(empty_view(name, row.protocol_type))
    }

    /// All groups that have members or committed offsets.
    pub async fn list_groups(&self) -> Result<Vec<GroupView>> {
        let alive: Vec<Arc<Group>> = self.inner.groups.groups.lock().values().cloned().collect();
        let mut views: HashMap<String, GroupView> =
            alive.iter().map(|group| (group.name.clone(), group.state.lock().view(&group.name))).collect();
        let mut scan = self.inner.volume.scan(keys::group::range()).await?;
        loop {
            let rows = scan.next(limits::DELETE_ROWS).await?;
            let last_page = rows.len() < limits::DELETE_ROWS;
            for row in rows {
                let Some(name) = keys::group::parse(&row.key) else { continue };
                if views.len() < limits::LIST_MAX && !views.contains_key(name) {
                    let row = keys::group::GroupRow::decode(&row.value.bytes)?;
                    views.insert(name.to_owned(), empty_view(name, row.protocol_type));
                }
            }
            if last_page {
                return Ok(views.into_values().collect());
            }
        }
    }
}

fn empty_view(name: &str, protocol_type: String) -> GroupView {
    GroupView { name: name.to_owned(), state: "Empty", protocol_type, protocol: String::new(), members: Vec::new() }
}

impl Inner {
    fn random_uuid(&self) -> [u8; 16] {
        self.groups.random.bytes16()
    }

    pub(crate) async fn group_row(&self, name: &str) -> Result<Option<keys::group::GroupRow>> {
        let value = self.volume.get(&keys::group::key(name)).await?;
        value.map(|value| keys::group::GroupRow::decode(&value.bytes)).transpose()
    }
}
