//! What one commit writes.

use crate::pointer::{Hold, Payload, Pointer, Value};
use crate::{Error, Result, Space, limits};
use bytes::Bytes;

/// One write of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    Put { key: Bytes, value: Value },
    Delete { key: Bytes },
}

impl Mutation {
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// What is put.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Put { value, .. } => Some(value),
            Self::Delete { .. } => None,
        }
    }

    pub(crate) fn pointers(&self) -> &[Pointer] {
        self.value().map_or(&[], |value| &value.pointers)
    }
}

/// Rows that are written together or not at all. Where a key occurs twice, the later mutation wins.
#[derive(Debug, Default)]
pub struct Batch {
    mutations: Vec<Mutation>,
    /// Places of payload that this batch points at; released when the batch is committed or dropped.
    holds: Vec<Hold>,
    bytes: usize,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.push(Mutation::Put { key: key.into(), value: Value::from(value.into()) });
    }

    /// Writes a row that points at payload: `fresh` payload that was appended for this batch goes first, then
    /// pointers that were `kept` from an earlier value of the row.
    pub fn put_with_payload(
        &mut self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        pointers: impl IntoIterator<Item = Pointer>,
    ) {
        let value = Value { bytes: value.into(), pointers: pointers.into_iter().collect() };
        self.push(Mutation::Put { key: key.into(), value });
    }

    /// Keeps the place of fresh payload alive until this batch is committed. Call it once for every payload
    /// that the batch points at.
    pub fn hold(&mut self, payload: &Payload) {
        self.holds.push(payload.hold.clone());
    }

    pub(crate) fn holds_payload(&self) -> bool {
        !self.holds.is_empty()
    }

    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.push(Mutation::Delete { key: key.into() });
    }

    /// Adds all of `other` behind what is here.
    pub fn append(&mut self, other: Self) {
        self.mutations.extend(other.mutations);
        self.holds.extend(other.holds);
        self.bytes += other.bytes;
    }

    fn push(&mut self, mutation: Mutation) {
        self.bytes += mutation.key().len();
        self.bytes += mutation.value().map_or(0, |value| value.bytes.len());
        self.mutations.push(mutation);
    }

    pub fn is_empty(&self) -> bool {
        self.mutations.is_empty()
    }

    pub fn len(&self) -> usize {
        self.mutations.len()
    }

    /// Bytes of keys and values.
    pub fn byte_len(&self) -> usize {
        self.bytes
    }

    pub fn mutations(&self) -> &[Mutation] {
        &self.mutations
    }

    /// Refuses what no volume takes: empty or oversized keys, values and batches.
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |text: String| Err(Error::Invalid(text));
        if self.mutations.len() > limits::BATCH_ROWS_MAX || self.bytes > limits::BATCH_BYTES_MAX {
            return invalid(format!("a batch of {} rows and {} bytes is too large", self.len(), self.bytes));
        }
        for mutation in &self.mutations {
            let key = mutation.key();
            if key.is_empty() || key.len() > limits::KEY_BYTES_MAX {
                return invalid(format!("a key of {} bytes cannot be stored", key.len()));
            }
            if let Some(value) = mutation.value()
                && (value.bytes.len() > limits::VALUE_BYTES_MAX || value.pointers.len() > limits::POINTERS_MAX)
            {
                let (bytes, pointers) = (value.bytes.len(), value.pointers.len());
                return invalid(format!("a value of {bytes} bytes and {pointers} pointers is too large"));
            }
            if !mutation.pointers().is_empty() && Space::with_payload_of(key).is_none() {
                return invalid(format!("rows of space {:#04x} hold no pointers", key[0]));
            }
        }
        Ok(())
    }
}
