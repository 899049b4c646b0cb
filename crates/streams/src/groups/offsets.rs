//! Committed offsets.

use super::{Membership, check_name, subscription};
use crate::keys::{group, offset};
use crate::names::kafka_name;
use crate::partition::PartitionId;
use crate::streams::{Inner, Streams};
use crate::{Error, Result, limits};
use ballast_store::{Batch, Isolation, Row, Space};
use ballast_types::{ErrorKind, Ino};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// How far a group has read a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to be read.
    pub offset: i64,
    /// -1 if the client did not say.
    pub leader_epoch: i32,
    pub committed_ms: i64,
    /// The client's own note.
    pub metadata: String,
}

impl Streams {
    /// Commits offsets of a group: all in one commit, durable on return. `committed_ms` is set here.
    pub async fn commit_offsets(
        &self,
        group: &str,
        membership: &Membership,
        offsets: Vec<(PartitionId, CommittedOffset)>,
    ) -> Result<()> {
        check_name(group)?;
        let inner = &self.inner;
        let committing = inner.groups.lock_of(group).read().await;
        let known = inner.groups.find(group);
        let protocol_type = match &known {
            Some(known) => {
                let mut state = known.state.lock();
                state.check_commit(membership, Instant::now())?;
                state.protocol_type().to_owned()
            }
            None if membership.generation >= 0 => return Err(Error::IllegalGeneration),
            None => String::new(),
        };
        if offsets.iter().any(|(_, offset)| offset.metadata.len() > limits::OFFSET_METADATA_BYTES_MAX) {
            return Err(Error::OffsetMetadataTooLong);
        }
        if offsets.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        let committed_ms = inner.now_ms();
        for (id, committed) in offsets {
            batch.put(offset::key(group, id), CommittedOffset { committed_ms, ..committed }.encode());
        }
        // The row that names the group is written once, and again when it learns what its members speak.
        let row = inner.group_row(group).await?;
        if row.is_none_or(|row| row.protocol_type.is_empty() && !protocol_type.is_empty()) {
            batch.put(group::key(group), group::GroupRow { protocol_type }.encode());
        }
        let position = inner.volume.commit(batch).await?;
        drop(committing);
        Ok(inner.volume.durable(position).await?)
    }

    /// The committed offset of a partition, if there is one.
    pub async fn committed_offset(&self, group: &str, id: PartitionId) -> Result<Option<CommittedOffset>> {
        check_name(group)?;
        let value = self.inner.volume.get(&offset::key(group, id)).await?;
        let committed = value.map(|value| CommittedOffset::decode(&value.bytes)).transpose()?;
        self.inner.settle_reads().await?;
        Ok(committed)
    }

    /// All committed offsets of a group, of streams that still exist.
    pub async fn committed_offsets(&self, group: &str) -> Result<Vec<(PartitionId, CommittedOffset)>> {
        check_name(group)?;
        let mut found = Vec::new();
        let mut scan = self.inner.volume.scan(offset::range(group)).await?;
        loop {
            let rows = scan.next(limits::DELETE_ROWS).await?;
            let last_page = rows.len() < limits::DELETE_ROWS;
            for row in rows {
                let Some(id) = offset::parse(&row.key) else { continue };
                if found.len() >= limits::LIST_MAX {
                    continue;
                }
                match self.stream(id.ino).await {
                    Ok(_) => found.push((id, CommittedOffset::decode(&row.value.bytes)?)),
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            if last_page {
                break;
            }
        }
        self.inner.settle_reads().await?;
        Ok(found)
    }

    /// Removes a group without members, with its offsets.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        check_name(group)?;
        let inner = &self.inner;
        let alone = inner.groups.lock_of(group).write().await;
        if inner.groups.has_members(group) {
            return Err(Error::GroupNotEmpty(group.to_owned()));
        }
        if inner.group_row(group).await?.is_none() {
            let alive = inner.groups.find(group).is_some();
            return if alive { Ok(()) } else { Err(Error::GroupNotFound(group.to_owned())) };
        }
        inner.delete_group_rows(group).await?;
        drop(alone);
        Ok(inner.volume.durable(inner.volume.position()).await?)
    }

    /// Removes committed offsets of a group, except of streams that its members read: for each, whether it is removed.
    pub async fn delete_offsets(&self, group: &str, ids: &[PartitionId]) -> Result<Vec<Result<()>>> {
        check_name(group)?;
        let inner = &self.inner;
        let alone = inner.groups.lock_of(group).write().await;
        let topics = match inner.groups.find(group).filter(|alive| alive.state.lock().has_members()) {
            Some(alive) => {
                let state = alive.state.lock();
                if state.protocol_type() != subscription::CONSUMER {
                    return Err(Error::GroupNotEmpty(group.to_owned()));
                }
                state.topics()
            }
            None if inner.group_row(group).await?.is_none() => return Err(Error::GroupNotFound(group.to_owned())),
            None => Some(BTreeSet::new()),
        };
        let mut batch = Batch::new();
        let mut streams = HashMap::new();
        let mut outcomes = Vec::with_capacity(ids.len());
        for id in ids {
            let is_read = match streams.get(&id.ino) {
                Some(is_read) => *is_read,
                None => {
                    let is_read = inner.is_among(id.ino, topics.as_ref()).await?;
                    streams.insert(id.ino, is_read);
                    is_read
                }
            };
            if !is_read {
                batch.delete(offset::key(group, *id));
            }
            outcomes.push(if is_read { Err(Error::GroupSubscribed) } else { Ok(()) });
        }
        if batch.is_empty() {
            return Ok(outcomes);
        }
        let position = inner.volume.commit(batch).await?;
        drop(alone);
        inner.volume.durable(position).await?;
        Ok(outcomes)
    }
}

impl Inner {
    /// What was read may not be durable yet: an answer that tells it waits until it is.
    async fn settle_reads(&self) -> Result<()> {
        Ok(self.volume.durable(self.volume.position()).await?)
    }

    /// Whether a stream is one of these topics, however it is spelled; `None` means all topics.
    async fn is_among(&self, ino: Ino, topics: Option<&BTreeSet<String>>) -> Result<bool> {
        let Some(topics) = topics.filter(|topics| !topics.is_empty()) else { return Ok(topics.is_none()) };
        match self.tree.path_of(ino).await {
            Ok(path) => {
                let name = kafka_name(&path).is_some_and(|name| topics.contains(&name));
                Ok(name || topics.contains(&path.to_string()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete_group_rows(&self, name: &str) -> Result<()> {
        self.delete_all(offset::range(name)).await?;
        let mut batch = Batch::new();
        batch.delete(group::key(name));
        self.volume.commit(batch).await?;
        Ok(())
    }
}

impl super::Groups {
    /// Forgets the offsets of groups that have had no members and no commits for long, and of streams that are gone.
    /// Those of groups with members are made young again now and then: a partition without records has no commits, and
    /// must not lose its offset when the group is empty for a moment.
    pub(crate) async fn expire(&self, inner: &Inner) -> Result<()> {
        let now_ms = inner.now_ms();
        let before = |age: Duration| now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let mut failed = None;
        // Groups of which an offset has to stay.
        let mut kept: HashSet<String> = HashSet::new();
        let mut scan = inner.volume.scan(Space::StreamOffset.range(&[])).await?;
        loop {
            let rows = scan.next(limits::DELETE_ROWS).await?;
            let last_page = rows.len() < limits::DELETE_ROWS;
            let mut changes = Vec::new();
            for row in rows {
                let (Some(id), Some(name)) = (offset::parse(&row.key), offset::parse_group(&row.key)) else { continue };
                let committed = match CommittedOffset::decode(&row.value.bytes) {
                    Ok(committed) => committed,
                    Err(error) => {
                        failed.get_or_insert(error);
                        kept.insert(name.to_owned());
                        continue;
                    }
                };
                let alive = self.has_members(name);
                let gone = inner.stream(id.ino).await.is_err_and(|error| error.kind() == ErrorKind::NotFound);
                if gone || (!alive && committed.committed_ms < before(limits::OFFSETS_RETENTION)) {
                    changes.push((row, None));
                } else {
                    kept.insert(name.to_owned());
                    if alive && committed.committed_ms < before(limits::OFFSETS_REFRESH) {
                        changes.push((row, Some(CommittedOffset { committed_ms: now_ms, ..committed })));
                    }
                }
            }
            change_unless_committed(inner, changes).await?;
            if last_page {
                break;
            }
        }
        let mut scan = inner.volume.scan(group::range()).await?;
        loop {
            let rows = scan.next(limits::DELETE_ROWS).await?;
            let last_page = rows.len() < limits::DELETE_ROWS;
            for name in rows.iter().filter_map(|row| group::parse(&row.key)).filter(|name| !kept.contains(*name)) {
                self.remove_unused(inner, name).await?;
            }
            if last_page {
                break;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Removes the row of a group that has neither members nor offsets.
    async fn remove_unused(&self, inner: &Inner, name: &str) -> Result<()> {
        let _alone = self.lock_of(name).write().await;
        if !self.has_members(name) && inner.volume.scan(offset::range(name)).await?.next(1).await?.is_empty() {
            let mut batch = Batch::new();
            batch.delete(group::key(name));
            inner.volume.commit(batch).await?;
        }
        Ok(())
    }
}

/// Changes offsets that are still as they were read. A commit that gets in between stays: the rest waits for the next tick.
async fn change_unless_committed(inner: &Inner, changes: Vec<(Row, Option<CommittedOffset>)>) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let transaction = inner.volume.begin(Isolation::Snapshot).await?;
    for (Row { key, value }, next) in changes {
        if transaction.get(&key).await?.is_none_or(|now| now.bytes != value.bytes) {
            continue;
        }
        match next {
            Some(next) => transaction.put(key, next.encode().into())?,
            None => transaction.delete(key)?,
        }
    }
    match transaction.commit(Batch::new()).await {
        Ok(_) | Err(ballast_store::Error::Conflict) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use ballast_runtime::{ManualClock, Random};
    use ballast_store::MemoryVolume;
    use ballast_tree::Tree;
    use futures::FutureExt;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_group_is_not_removed_between_the_check_and_the_commit_of_an_offset() {
        let (volume, clock) = (Arc::new(MemoryVolume::new()), Arc::new(ManualClock::at(0)));
        let tree = Tree::open(Arc::clone(&volume) as _, Arc::clone(&clock) as _, (0, 0)).await.expect("it is new");
        let streams = Streams::new(volume, tree, clock, Random::from_seed(1), Config::default());
        let nobody = Membership { generation: -1, ..Membership::default() };
        let lock = streams.inner.groups.lock_of("g");
        let committing = lock.read().await;
        assert!(streams.commit_offsets("g", &nobody, Vec::new()).now_or_never().is_some(), "commits share the lock");
        assert!(streams.delete_group("g").now_or_never().is_none());
        assert!(streams.delete_offsets("g", &[]).now_or_never().is_none());
        drop(committing);
        let _removing = lock.write().await;
        assert!(streams.commit_offsets("g", &nobody, Vec::new()).now_or_never().is_none());
    }
}
