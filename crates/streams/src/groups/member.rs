//! A member of a group.

use super::{Joined, Synced};
use crate::{Error, Result, limits};
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What a member brings.
#[derive(Clone, Debug, Default)]
pub struct JoinRequest {
    /// Empty for a new member.
    pub member: String,
    /// The name of a static member, which keeps its share over a restart.
    pub instance: Option<String>,
    pub client: String,
    pub host: String,
    pub session_ms: i64,
    pub rebalance_ms: i64,
    pub protocol_type: String,
    /// The ways of sharing that it knows, the best first, each with what it wants to say to the leader.
    pub protocols: Vec<(String, Bytes)>,
    /// A new member is told its id first and must come again with it, so that one that never comes back leaves no
    /// trace.
    pub id_first: bool,
}

impl JoinRequest {
    pub(super) fn check(&self) -> Result<()> {
        if !(limits::SESSION_TIMEOUT_MIN_MS..=limits::SESSION_TIMEOUT_MAX_MS).contains(&self.session_ms) {
            return Err(Error::InvalidSessionTimeout(self.session_ms));
        }
        // Its id was made here, or nobody knows it.
        let own = [&self.client, &self.protocol_type].into_iter().chain(&self.instance);
        let mut names = own.chain(self.protocols.iter().map(|(name, _)| name));
        if names.any(|name| name.len() > limits::MEMBER_NAME_BYTES_MAX) {
            return Err(Error::InvalidMember("a name of the member is too long"));
        }
        if self.protocols.len() > limits::MEMBER_PROTOCOLS_MAX {
            return Err(Error::InvalidMember("the member knows too many protocols"));
        }
        if self.protocols.is_empty() || self.protocol_type.is_empty() {
            return Err(Error::InconsistentProtocol);
        }
        Ok(())
    }
}

/// A member, as the leader learns of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    pub member: String,
    pub instance: Option<String>,
    pub metadata: Bytes,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub instance: Option<String>,
    pub client: String,
    pub host: String,
    pub session: Duration,
    pub rebalance: Duration,
    pub protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
    /// Without a sign of life until then it is out.
    pub deadline: Instant,
    pub joining: Option<oneshot::Sender<Result<Joined>>>,
    pub syncing: Option<oneshot::Sender<Result<Synced>>>,
    /// Members in the order of their coming: the first is the leader.
    pub order: u64,
}

impl Member {
    pub fn new(request: JoinRequest, order: u64, now: Instant) -> Self {
        let mut member = Self {
            instance: request.instance.clone(),
            client: String::new(),
            host: String::new(),
            session: Duration::ZERO,
            rebalance: Duration::ZERO,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            deadline: now,
            joining: None,
            syncing: None,
            order,
        };
        member.update(request, now);
        member
    }

    /// Takes over what the member says now.
    pub fn update(&mut self, request: JoinRequest, now: Instant) {
        let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        self.session = millis(request.session_ms);
        self.rebalance = millis(request.rebalance_ms).min(millis(limits::SESSION_TIMEOUT_MAX_MS)).max(self.session);
        (self.client, self.host, self.protocols) = (request.client, request.host, request.protocols);
        self.alive(now);
    }

    pub fn alive(&mut self, now: Instant) {
        self.deadline = now + self.session;
    }

    /// Waits for an answer, and has not gone away meanwhile.
    pub fn is_waiting(&self) -> bool {
        self.joining.as_ref().is_some_and(|answer| !answer.is_closed())
            || self.syncing.as_ref().is_some_and(|answer| !answer.is_closed())
    }

    pub fn is_joining(&self) -> bool {
        self.joining.as_ref().is_some_and(|answer| !answer.is_closed())
    }

    pub fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    pub fn metadata(&self, protocol: &str) -> Bytes {
        let known = self.protocols.iter().find(|(name, _)| name == protocol);
        known.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub fn bytes(&self) -> usize {
        self.protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum()
    }

    /// Answers whatever the member waits for.
    pub fn refuse(&mut self, error: &Error) {
        if let Some(answer) = self.joining.take() {
            let _ = answer.send(Err(error.clone()));
        }
        if let Some(answer) = self.syncing.take() {
            let _ = answer.send(Err(error.clone()));
        }
    }
}
