//! Transactions: SlateDB's, with our values and our rules about payload.

use super::writing::{Writing, to_the_end};
use super::{Inner, cut, value};
use crate::log::Entrant;
use crate::volume::{Isolation, Read, Scan, Transaction};
use crate::{Batch, Error, KeyRange, Mutation, Pointer, Position, Result, Space, Value};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use slatedb::{DbTransaction, IsolationLevel};
use smallvec::SmallVec;
use std::collections::HashSet;
use std::sync::Arc;

pub(crate) fn begin(inner: Arc<Inner>, isolation: Isolation) -> Result<IndexTransaction> {
    let level = match isolation {
        Isolation::Snapshot => IsolationLevel::Snapshot,
        Isolation::Serializable => IsolationLevel::SerializableSnapshot,
    };
    let ticket = Arc::new(inner.cuts.ticket());
    let transaction = inner.db.begin(level).map_err(|error| inner.error(error))?;
    Ok(IndexTransaction { inner, transaction, ticket, rows: Mutex::default() })
}

pub(crate) struct IndexTransaction {
    inner: Arc<Inner>,
    transaction: DbTransaction,
    ticket: Arc<cut::CutTicket>,
    /// The keys of rows of spaces with payload that were written, and their pointers.
    rows: Mutex<Vec<(Bytes, SmallVec<[Pointer; 1]>)>>,
}

#[async_trait]
impl Read for IndexTransaction {
    async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.inner.ready().await?;
        let bytes = self.transaction.get(key).await.map_err(|error| self.inner.error(error))?;
        bytes.map(value::decode).transpose()
    }

    async fn scan(&self, range: KeyRange) -> Result<Box<dyn Scan>> {
        self.inner.ready().await?;
        cut::scan(&self.transaction, range, Some(Arc::clone(&self.ticket))).await
    }

    async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        self.inner.read_payload(pointer).await
    }
}

#[async_trait]
impl Transaction for IndexTransaction {
    fn put(&self, key: Bytes, value: Value) -> Result<()> {
        self.note(&key, &value.pointers);
        self.transaction.put(key, value::encode(&value)).map_err(|error| self.inner.error(error))
    }

    fn delete(&self, key: Bytes) -> Result<()> {
        self.note(&key, &[]);
        self.transaction.delete(key).map_err(|error| self.inner.error(error))
    }

    async fn commit(self: Box<Self>, extra: Batch) -> Result<Position> {
        self.inner.ready().await?;
        if !extra.holds_payload() {
            self.inner.room(Entrant::Rows).await?;
        }
        self.write(extra, &HashSet::new()).await
    }
}

impl IndexTransaction {
    fn note(&self, key: &Bytes, pointers: &[Pointer]) {
        if !pointers.is_empty() || Space::with_payload_of(key).is_some() {
            self.rows.lock().push((key.clone(), pointers.into()));
        }
    }

    /// Commits without waiting for room in the log. The rows that are replaced point at `kept` already.
    async fn write(self, extra: Batch, kept: &HashSet<Pointer>) -> Result<Position> {
        extra.check()?;
        for mutation in extra.mutations() {
            match mutation {
                Mutation::Put { key, value } => self.put(key.clone(), value.clone())?,
                Mutation::Delete { key } => self.delete(key.clone())?,
            }
        }
        let rows = std::mem::take(&mut *self.rows.lock());
        let rows = rows.iter().map(|(key, pointers)| (key, pointers.as_slice()));
        let mut writing = Writing::of(&self.inner, rows, kept)?;
        let (transaction, ticket) = (self.transaction, self.ticket);
        to_the_end(async move {
            let inner = Arc::clone(&writing.inner);
            let handle = transaction.commit().await.map_err(|error| inner.error(error))?;
            writing.is_visible();
            drop(ticket);
            let end = handle.map(|handle| inner.shared.end_of(handle.seqnum()));
            Ok(end.unwrap_or_else(|| inner.log().position()))
        })
        .await
    }
}

/// Replaces the values of rows that have not changed since they were read; the keys that had changed.
pub(crate) async fn replace_unchanged(inner: &Arc<Inner>, rows: Vec<(Bytes, Value, Value)>) -> Result<Vec<Bytes>> {
    let transaction = begin(Arc::clone(inner), Isolation::Snapshot)?;
    let keys: Vec<Bytes> = rows.iter().map(|(key, ..)| key.clone()).collect();
    let kept: HashSet<Pointer> = rows.iter().flat_map(|(_, old, _)| &old.pointers).copied().collect();
    let mut changed = Vec::new();
    for (key, old, new) in rows {
        if transaction.get(&key).await? == Some(old) {
            transaction.put(key, new)?;
        } else {
            changed.push(key);
        }
    }
    match transaction.write(Batch::new(), &kept).await {
        Ok(_) => Ok(changed),
        Err(Error::Conflict | Error::PayloadMoved) => Ok(keys),
        Err(error) => Err(error),
    }
}
