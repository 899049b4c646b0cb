//! An open table.

use crate::keys::{self, primary, row};
use crate::locks::Written;
use crate::schema::Schema;
use crate::{Error, Result, Row, Value, limits};
use ballast_types::{Ino, TreePath};
use bytes::Bytes;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The one object of a table in this server. Statements hold the schema that they were planned for and check,
/// under the gate, that it is still the table's when they commit.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) ino: Ino,
    current: RwLock<Arc<Schema>>,
    /// Commits of rows hold it shared, changes of the schema alone.
    pub(crate) gate: tokio::sync::RwLock<()>,
    dropped: AtomicBool,
    pub(crate) written: Written,
}

impl Table {
    pub(crate) fn new(ino: Ino, schema: Schema) -> Self {
        Self {
            ino,
            current: RwLock::new(Arc::new(schema)),
            gate: tokio::sync::RwLock::default(),
            dropped: AtomicBool::new(false),
            written: Written::default(),
        }
    }

    pub(crate) fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.current.read())
    }

    /// To call with the gate held alone.
    pub(crate) fn publish(&self, schema: Arc<Schema>) {
        *self.current.write() = schema;
    }

    pub(crate) fn mark_dropped(&self) {
        self.dropped.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::SeqCst)
    }

    pub(crate) fn is_current(&self, schema: &Schema) -> bool {
        !self.is_dropped() && self.current.read().version == schema.version
    }
}

/// A table as one statement or transaction sees it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) table: Arc<Table>,
    pub(crate) schema: Arc<Schema>,
    /// As the client wrote it; for messages.
    pub(crate) name: Arc<str>,
    /// Where it was found.
    pub(crate) path: Arc<TreePath>,
}

impl View {
    pub(crate) fn ino(&self) -> Ino {
        self.table.ino
    }

    /// The row key of primary key values, given in key order and of the columns' types.
    pub(crate) fn key<'v>(&self, values: impl Iterator<Item = &'v Value>) -> Result<Bytes> {
        let mut key = Vec::with_capacity(keys::ROW_PREFIX_LEN + 16);
        key.extend_from_slice(&keys::row_prefix(self.table.ino, self.schema.generation));
        for (value, of) in values.zip(self.schema.key_types()) {
            primary::encode(value, of, &mut key)?;
        }
        if key.len() > limits::KEY_BYTES_MAX {
            let text = format!("the primary key has {} bytes, more than {}", key.len(), limits::KEY_BYTES_MAX);
            return Err(Error::TooLarge(text));
        }
        Ok(Bytes::from(key))
    }

    pub(crate) fn key_of_row(&self, row: &[Value]) -> Result<Bytes> {
        self.key(self.schema.key.iter().map(|at| &row[*at]))
    }

    pub(crate) fn encode(&self, row: &[Value]) -> Result<Bytes> {
        row::encode(&self.schema, row)
    }

    /// Some columns of a row as it lies in the volume.
    pub(crate) fn decode(&self, key: &[u8], value: &Bytes, positions: &[usize]) -> Result<Row> {
        row::decode(&self.schema, &key[keys::ROW_PREFIX_LEN.min(key.len())..], value, positions)
    }

    pub(crate) fn all_positions(&self) -> Vec<usize> {
        (0..self.schema.columns.len()).collect()
    }

    /// The name of the primary key's constraint.
    pub(crate) fn constraint(&self) -> String {
        let name = self.name.rsplit('/').next().unwrap_or(&self.name);
        format!("{name}_pkey")
    }

    pub(crate) fn unique_violation(&self, row: &[Value]) -> Error {
        let columns: Vec<&str> = self.schema.key.iter().map(|at| self.schema.columns[*at].name.as_str()).collect();
        let print = |at: &usize| crate::value::text::print(&row[*at], self.schema.columns[*at].column_type);
        let values: Vec<String> = self.schema.key.iter().map(print).collect();
        let detail = format!("Key ({})=({}) already exists.", columns.join(", "), values.join(", "));
        Error::UniqueViolation { constraint: self.constraint(), detail }
    }

    /// Refuses nulls where the schema forbids them.
    pub(crate) fn check_nulls(&self, row: &[Value]) -> Result<()> {
        for (column, value) in self.schema.columns.iter().zip(row) {
            if value.is_null() && !column.nullable {
                return Err(Error::NotNull { table: self.name.to_string(), column: column.name.clone() });
            }
        }
        Ok(())
    }
}
