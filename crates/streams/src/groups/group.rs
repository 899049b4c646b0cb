//! The state of one group: Kafka's classic protocol.
//!
//! ```text
//!           join                 all have joined           the leader has brought the shares
//!   Empty ───────▶ Preparing ───────────────────▶ Completing ───────────────────▶ Stable
//!                     ▲                               │ join, leave, expiry          │
//!                     └───────────────────────────────┴──────────────────────────────┘
//! ```
//!
//! A *generation* is one round of this. Nothing here waits or knows a clock: every call is told the time, and
//! [`GroupState::tick`] does what is due and says when to come again.

use super::member::{JoinRequest, JoinedMember, Member};
use super::subscription;
use super::{GroupView, Joined, MemberView, Membership, SyncRequest, Synced};
use crate::{Error, Result, limits};
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Empty,
    /// Waits for all members to join, until `deadline`. At the start of a group it waits until then in any case.
    Preparing {
        deadline: Instant,
        initial: bool,
    },
    /// Waits for the leader's shares, until `deadline`.
    Completing {
        deadline: Instant,
    },
    Stable,
}

#[derive(Debug)]
pub(crate) struct GroupState {
    phase: Phase,
    generation: i32,
    protocol_type: String,
    protocol: String,
    leader: String,
    members: HashMap<String, Member>,
    /// Instance id to member id.
    instances: HashMap<String, String>,
    /// Ids that were given out to members that have not come back yet, with their time limit.
    pending: HashMap<String, Instant>,
    initial_delay: Duration,
    next_order: u64,
}

/// What the timer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    WaitUntil(Instant),
    /// Nobody is left.
    Unused,
}

impl GroupState {
    pub fn new(initial_delay: Duration) -> Self {
        Self {
            phase: Phase::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: HashMap::new(),
            instances: HashMap::new(),
            pending: HashMap::new(),
            initial_delay,
            next_order: 0,
        }
    }

    pub fn is_unused(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    pub fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    pub fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    /// The topics that members read; `None` if a member does not say it in a way that can be read.
    pub fn topics(&self) -> Option<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for (_, said) in self.members.values().flat_map(|member| &member.protocols) {
            all.extend(subscription::topics(said)?.into_iter().map(str::to_owned));
        }
        Some(all)
    }

    pub fn join(
        &mut self,
        request: JoinRequest,
        fresh: String,
        now: Instant,
    ) -> Result<oneshot::Receiver<Result<Joined>>> {
        request.check()?;
        self.check_fits(&request)?;
        if request.member.is_empty() {
            return self.join_new(request, fresh, now);
        }
        let id = request.member.clone();
        if let Some(instance) = &request.instance {
            match self.instances.get(instance) {
                Some(owner) if *owner != id => return Err(Error::FencedInstance),
                _ => {}
            }
        }
        if self.pending.remove(&id).is_some() {
            return Ok(self.add(id, request, now));
        }
        let leads = self.leader == id;
        let Some(member) = self.members.get_mut(&id) else { return Err(Error::UnknownMember) };
        let changed = member.protocols != request.protocols;
        let settled = match self.phase {
            Phase::Empty | Phase::Preparing { .. } => false,
            Phase::Completing { .. } => !changed,
            // A leader that joins again wants a new round.
            Phase::Stable => !changed && !leads,
        };
        member.update(request, now);
        let (answer, answered) = oneshot::channel();
        if settled {
            let _ = answer.send(Ok(self.joined(&id, false)));
        } else {
            member.joining = Some(answer);
            self.rebalance(now);
        }
        Ok(answered)
    }

    fn join_new(
        &mut self,
        request: JoinRequest,
        fresh: String,
        now: Instant,
    ) -> Result<oneshot::Receiver<Result<Joined>>> {
        let known = request.instance.as_ref().and_then(|instance| self.instances.get(instance)).cloned();
        if let Some(old) = known {
            return Ok(self.replace(&old, fresh, request, now));
        }
        if request.instance.is_none() && request.id_first {
            let session = Duration::from_millis(u64::try_from(request.session_ms).unwrap_or(0));
            self.pending.insert(fresh.clone(), now + session);
            return Err(Error::MemberIdRequired(fresh));
        }
        Ok(self.add(fresh, request, now))
    }

    /// The protocol must be the group's, and the group must have room.
    fn check_fits(&self, request: &JoinRequest) -> Result<()> {
        let mut others = self.members.iter().filter(|(id, _)| **id != request.member);
        if others.clone().next().is_some() {
            let shared = |name: &String| others.clone().all(|(_, member)| member.knows(name));
            if self.protocol_type != request.protocol_type || !request.protocols.iter().any(|(name, _)| shared(name)) {
                return Err(Error::InconsistentProtocol);
            }
        }
        let known = self.members.contains_key(&request.member);
        if !known && self.members.len() + self.pending.len() >= limits::GROUP_MEMBERS_MAX {
            return Err(Error::GroupFull);
        }
        let own: usize = request.protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum();
        if others
            .try_fold(own, |sum, (_, member)| sum.checked_add(member.bytes()))
            .is_none_or(|sum| sum > limits::GROUP_BYTES_MAX)
        {
            return Err(Error::GroupFull);
        }
        Ok(())
    }

    fn add(&mut self, id: String, request: JoinRequest, now: Instant) -> oneshot::Receiver<Result<Joined>> {
        if self.members.is_empty() {
            self.protocol_type.clone_from(&request.protocol_type);
        }
        if let Some(instance) = &request.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.next_order += 1;
        let mut member = Member::new(request, self.next_order, now);
        let (answer, answered) = oneshot::channel();
        member.joining = Some(answer);
        self.members.insert(id, member);
        self.rebalance(now);
        answered
    }

    /// A static member has come back under a new id: it takes the old one's place, without a new round if nothing
    /// else changed.
    fn replace(
        &mut self,
        old: &str,
        id: String,
        request: JoinRequest,
        now: Instant,
    ) -> oneshot::Receiver<Result<Joined>> {
        let Some(mut member) = self.members.remove(old) else { return self.add(id, request, now) };
        member.refuse(&Error::FencedInstance);
        let before = member.metadata(&self.protocol);
        if let Some(instance) = &request.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        let led = self.leader == old;
        if led {
            self.leader.clone_from(&id);
        }
        member.update(request, now);
        let wants_the_same = self.is_the_same(&before, &member.metadata(&self.protocol));
        let (answer, answered) = oneshot::channel();
        // Vote with the member as it is now.
        self.members.insert(id.clone(), member);
        if self.phase == Phase::Stable && wants_the_same && self.vote() == self.protocol {
            let _ = answer.send(Ok(self.joined(&id, led)));
        } else {
            if let Some(member) = self.members.get_mut(&id) {
                member.joining = Some(answer);
            }
            self.rebalance(now);
        }
        answered
    }

    /// Whether a member's share suits what it says now as it suited what it said before. A consumer also tells of the
    /// round it was in, which a restart forgets; what matters is what it reads. Of other protocols Apache Kafka asks
    /// nothing either.
    fn is_the_same(&self, before: &[u8], now: &[u8]) -> bool {
        if self.protocol_type != subscription::CONSUMER || before == now {
            return true;
        }
        let (before, now) = (subscription::topics(before), subscription::topics(now));
        before.is_some() && before == now
    }

    /// Starts a new round, or finishes the one that runs if this was the last member to come.
    fn rebalance(&mut self, now: Instant) {
        let deadline = now + self.members.values().map(|member| member.rebalance).max().unwrap_or_default();
        match self.phase {
            Phase::Empty => self.phase = Phase::Preparing { deadline: now + self.initial_delay, initial: true },
            Phase::Preparing { initial: true, .. } => {
                self.phase = Phase::Preparing { deadline: now + self.initial_delay, initial: true };
            }
            Phase::Preparing { initial: false, .. } => {}
            Phase::Completing { .. } | Phase::Stable => {
                for member in self.members.values_mut() {
                    if let Some(answer) = member.syncing.take() {
                        let _ = answer.send(Err(Error::RebalanceInProgress));
                    }
                }
                self.phase = Phase::Preparing { deadline, initial: false };
            }
        }
        self.finish_if_all_joined(now);
    }

    fn finish_if_all_joined(&mut self, now: Instant) {
        let Phase::Preparing { initial, .. } = self.phase else { return };
        let waited = !initial || self.initial_delay.is_zero();
        if waited && self.pending.is_empty() && self.members.values().all(Member::is_joining) {
            self.finish_join(now);
        }
    }

    /// The round has its members: those that have not joined are out, except static ones.
    fn finish_join(&mut self, now: Instant) {
        let gone: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| !member.is_joining() && member.instance.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        gone.iter().for_each(|id| self.drop_member(id));
        self.generation = self.generation.wrapping_add(1).max(1);
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.protocol.clear();
            self.leader.clear();
            return;
        }
        let leads = self.members.get(&self.leader).is_some_and(Member::is_joining);
        if !leads {
            let first = self.members.iter().min_by_key(|(_, member)| (!member.is_joining(), member.order));
            self.leader = first.map(|(id, _)| id.clone()).unwrap_or_default();
        }
        self.protocol = self.vote();
        let deadline = now + self.members.values().map(|member| member.rebalance).max().unwrap_or_default();
        self.phase = Phase::Completing { deadline };
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id, false);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.alive(now);
            if let Some(answer) = member.joining.take() {
                let _ = answer.send(Ok(joined));
            }
        }
    }

    /// The protocol that all know and most like best.
    fn vote(&self) -> String {
        let everybody = |name: &str| self.members.values().all(|member| member.knows(name));
        let mut votes: HashMap<&str, usize> = HashMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| everybody(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        // The name decides between equals, so that the outcome does not depend on the order of a map.
        votes
            .into_iter()
            .max_by_key(|(name, count)| (*count, std::cmp::Reverse(*name)))
            .map(|(name, _)| name.to_owned())
            .unwrap_or_default()
    }

    fn joined(&self, id: &str, skip_assignment: bool) -> Joined {
        let members = if self.leader == id { self.joined_members() } else { Vec::new() };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member: id.to_owned(),
            skip_assignment,
            members,
        }
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let mut members: Vec<(&String, &Member)> = self.members.iter().collect();
        members.sort_by_key(|(_, member)| member.order);
        let view = |(id, member): (&String, &Member)| JoinedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(&self.protocol),
        };
        members.into_iter().map(view).collect()
    }

    pub fn sync(&mut self, request: SyncRequest, now: Instant) -> Result<oneshot::Receiver<Result<Synced>>> {
        self.check(&request.membership)?;
        let other = |said: &Option<String>, known: &str| said.as_ref().is_some_and(|said| said != known);
        if other(&request.protocol_type, &self.protocol_type) || other(&request.protocol, &self.protocol) {
            return Err(Error::InconsistentProtocol);
        }
        let id = request.membership.member;
        let leads = self.leader == id;
        let Some(member) = self.members.get_mut(&id) else { return Err(Error::UnknownMember) };
        member.alive(now);
        let (answer, answered) = oneshot::channel();
        member.syncing = Some(answer);
        match self.phase {
            Phase::Empty => Err(Error::UnknownMember),
            Phase::Preparing { .. } => Err(Error::RebalanceInProgress),
            Phase::Completing { .. } if leads => {
                self.assign(request.assignments)?;
                self.phase = Phase::Stable;
                self.answer_syncs(now);
                Ok(answered)
            }
            Phase::Completing { .. } => Ok(answered),
            Phase::Stable => {
                self.answer_syncs(now);
                Ok(answered)
            }
        }
    }

    fn assign(&mut self, assignments: Vec<(String, Bytes)>) -> Result<()> {
        if assignments.iter().map(|(_, share)| share.len()).sum::<usize>() > limits::GROUP_BYTES_MAX {
            return Err(Error::Exhausted("the shares of the group are too large"));
        }
        let mut shares: HashMap<String, Bytes> = assignments.into_iter().collect();
        for (id, member) in &mut self.members {
            member.assignment = shares.remove(id).unwrap_or_default();
        }
        Ok(())
    }

    fn answer_syncs(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            if let Some(answer) = member.syncing.take() {
                member.alive(now);
                let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
                let _ = answer.send(Ok(Synced { protocol_type, protocol, assignment: member.assignment.clone() }));
            }
        }
    }

    /// The member is of this group and of this generation.
    pub fn check(&self, membership: &Membership) -> Result<()> {
        if let Some(owner) = membership.instance.as_ref().and_then(|instance| self.instances.get(instance))
            && *owner != membership.member
        {
            return Err(Error::FencedInstance);
        }
        if !self.members.contains_key(&membership.member) {
            return Err(Error::UnknownMember);
        }
        if membership.generation == self.generation { Ok(()) } else { Err(Error::IllegalGeneration) }
    }

    pub fn heartbeat(&mut self, membership: &Membership, now: Instant) -> Result<()> {
        self.check(membership)?;
        if let Some(member) = self.members.get_mut(&membership.member) {
            member.alive(now);
        }
        match self.phase {
            Phase::Preparing { .. } => Err(Error::RebalanceInProgress),
            Phase::Empty | Phase::Completing { .. } | Phase::Stable => Ok(()),
        }
    }

    /// Who commits an offset must be a member, or, without a generation, the group must have none.
    pub fn check_commit(&mut self, membership: &Membership, now: Instant) -> Result<()> {
        if membership.generation < 0 && membership.member.is_empty() {
            return if self.members.is_empty() { Ok(()) } else { Err(Error::UnknownMember) };
        }
        self.check(membership)?;
        if let Some(member) = self.members.get_mut(&membership.member) {
            member.alive(now);
        }
        match self.phase {
            Phase::Completing { .. } => Err(Error::RebalanceInProgress),
            Phase::Empty | Phase::Preparing { .. } | Phase::Stable => Ok(()),
        }
    }

    pub fn leave(&mut self, member: &str, instance: Option<&str>, now: Instant) -> Result<()> {
        let owner = instance.and_then(|instance| self.instances.get(instance)).cloned();
        let id = match owner {
            Some(owner) if member.is_empty() || owner == member => owner,
            Some(_) => return Err(Error::FencedInstance),
            None if instance.is_some() => return Err(Error::UnknownMember),
            None => member.to_owned(),
        };
        if self.pending.remove(&id).is_some() {
            self.finish_if_all_joined(now);
            return Ok(());
        }
        if !self.members.contains_key(&id) {
            return Err(Error::UnknownMember);
        }
        self.remove(&id, now);
        Ok(())
    }

    fn drop_member(&mut self, id: &str) {
        let Some(mut member) = self.members.remove(id) else { return };
        member.refuse(&Error::UnknownMember);
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
    }

    /// Takes a member out and lets the others share anew.
    fn remove(&mut self, id: &str, now: Instant) {
        self.drop_member(id);
        match self.phase {
            Phase::Empty => {}
            Phase::Preparing { .. } if self.members.is_empty() => self.finish_join(now),
            Phase::Preparing { .. } => self.finish_if_all_joined(now),
            Phase::Completing { .. } | Phase::Stable => self.rebalance(now),
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) -> Step {
        self.pending.retain(|_, deadline| *deadline > now);
        let silent: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.deadline <= now && !member.is_waiting())
            .map(|(id, _)| id.clone())
            .collect();
        silent.iter().for_each(|id| self.remove(id, now));
        match self.phase {
            Phase::Preparing { deadline, .. } if deadline <= now => self.finish_join(now),
            Phase::Preparing { initial: false, .. } => self.finish_if_all_joined(now),
            Phase::Completing { deadline } if deadline <= now => self.give_up_syncing(now),
            _ => {}
        }
        if self.is_unused() { Step::Unused } else { Step::WaitUntil(self.next_deadline(now)) }
    }

    /// The leader has not brought the shares in time: whoever has not asked for one is out.
    fn give_up_syncing(&mut self, now: Instant) {
        let gone: Vec<String> =
            self.members.iter().filter(|(_, member)| member.syncing.is_none()).map(|(id, _)| id.clone()).collect();
        gone.iter().for_each(|id| self.drop_member(id));
        self.rebalance(now);
    }

    fn next_deadline(&self, now: Instant) -> Instant {
        // A member that waits has no deadline of its own, but may go away unheard.
        let members = self.members.values().map(|member| match member.is_waiting() {
            true => now + member.session,
            false => member.deadline,
        });
        let phase = match self.phase {
            Phase::Preparing { deadline, .. } | Phase::Completing { deadline } => Some(deadline),
            Phase::Empty | Phase::Stable => None,
        };
        members.chain(self.pending.values().copied()).chain(phase).min().unwrap_or(now)
    }

    pub fn view(&self, name: &str) -> GroupView {
        let state = match self.phase {
            Phase::Empty => "Empty",
            Phase::Preparing { .. } => "PreparingRebalance",
            Phase::Completing { .. } => "CompletingRebalance",
            Phase::Stable => "Stable",
        };
        let mut members: Vec<(&String, &Member)> = self.members.iter().collect();
        members.sort_by_key(|(_, member)| member.order);
        let view = |(id, member): (&String, &Member)| MemberView {
            id: id.clone(),
            instance: member.instance.clone(),
            client: member.client.clone(),
            host: member.host.clone(),
            metadata: member.metadata(&self.protocol),
            assignment: member.assignment.clone(),
        };
        GroupView {
            name: name.to_owned(),
            state,
            protocol_type: self.protocol_type.clone(),
            protocol: if self.phase == Phase::Stable { self.protocol.clone() } else { String::new() },
            members: members.into_iter().map(view).collect(),
        }
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
