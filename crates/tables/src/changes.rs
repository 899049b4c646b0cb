//! What a statement is about to write.

use crate::{Error, Result, limits};
use ballast_store::Batch;
use bytes::Bytes;
use std::collections::HashMap;

/// Rows to put and to delete; the last word on a key counts. A statement fills it and then applies it whole, so
/// that a failed statement leaves nothing behind, inside a transaction too.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    order: Vec<(Bytes, Option<Bytes>)>,
    places: HashMap<Bytes, usize>,
    bytes: usize,
}

impl Changes {
    pub(crate) fn put(&mut self, key: Bytes, value: Bytes) -> Result<()> {
        self.set(key, Some(value))
    }

    pub(crate) fn delete(&mut self, key: Bytes) -> Result<()> {
        self.set(key, None)
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>) -> Result<()> {
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        // The map is spared where it is not needed: most statements write one row.
        if self.order.len() == 1 && self.places.is_empty() {
            self.places.insert(self.order[0].0.clone(), 0);
        }
        match self.places.get(&key) {
            Some(at) => self.order[*at].1 = value,
            None => {
                if !self.order.is_empty() {
                    self.places.insert(key.clone(), self.order.len());
                }
                self.order.push((key, value));
            }
        }
        check_size(self.order.len(), self.bytes)
    }

    /// What the statement has already decided about the key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        if self.order.len() == 1 {
            return self.order.first().filter(|(own, _)| own == key).map(|(_, value)| value);
        }
        self.places.get(key).map(|at| &self.order[*at].1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.order.iter().map(|(key, _)| key)
    }

    pub(crate) fn into_rows(self) -> impl Iterator<Item = (Bytes, Option<Bytes>)> {
        self.order.into_iter()
    }

    pub(crate) fn into_batch(self) -> Batch {
        let mut batch = Batch::new();
        for (key, value) in self.order {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        batch
    }
}

/// Keeps what a statement has to find before it writes within memory.
pub(crate) fn check_found(rows: usize, bytes: usize) -> Result<()> {
    check_size(rows, 0)?;
    if bytes <= limits::FOUND_BYTES_MAX {
        return Ok(());
    }
    let text = format!("a statement can change rows of at most {} bytes: split it", limits::FOUND_BYTES_MAX);
    Err(Error::TooLarge(text))
}

/// A transaction is one record of the log; this keeps it within what the volume takes.
pub(crate) fn check_size(rows: usize, bytes: usize) -> Result<()> {
    if rows <= limits::TRANSACTION_ROWS_MAX && bytes <= limits::TRANSACTION_BYTES_MAX {
        return Ok(());
    }
    Err(Error::TooLarge(format!(
        "a transaction can write at most {} rows and {} bytes: split it",
        limits::TRANSACTION_ROWS_MAX,
        limits::TRANSACTION_BYTES_MAX
    )))
}
