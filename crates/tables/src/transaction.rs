//! A transaction of a session.
//!
//! Rows are written through a transaction of the volume. Changes of schemas wait in [`OpenTransaction::tables`]
//! and become visible with the commit. The commit holds the gates of all tables it touched (alone where their
//! schema changes) and the locks of all keys it wrote, so that statements on the direct path never see half of it.

use crate::changes::{Changes, check_size};
use crate::keys::{self, schema as schema_record};
use crate::locks::LockNumber;
use crate::schema::Schema;
use crate::table::{Table, View};
use crate::tables::Inner;
use crate::{Error, Result, limits};
use async_trait::async_trait;
use ballast_store::{Batch, Isolation, KeyRange, Pointer, Position, Read, Scan, Transaction, Value as StoredValue};
use ballast_tree::{Access, access};
use ballast_types::{Call, ErrorKind, Ino, Name};
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::RwLock;
use tokio::time::Instant;

/// A transaction of the volume that queries read while the session holds it; taken out to commit.
pub(crate) struct Shared(RwLock<Option<Box<dyn Transaction>>>);

fn over() -> ballast_store::Error {
    ballast_store::Error::Invalid("the transaction of this cursor is over".into())
}

#[async_trait]
impl Read for Shared {
    async fn get(&self, key: &[u8]) -> ballast_store::Result<Option<StoredValue>> {
        self.0.read().await.as_ref().ok_or_else(over)?.get(key).await
    }

    async fn scan(&self, range: KeyRange) -> ballast_store::Result<Box<dyn Scan>> {
        self.0.read().await.as_ref().ok_or_else(over)?.scan(range).await
    }

    async fn read_payload(&self, pointer: &Pointer) -> ballast_store::Result<Bytes> {
        self.0.read().await.as_ref().ok_or_else(over)?.read_payload(pointer).await
    }
}

/// A table that the transaction has used.
pub(crate) struct Touched {
    pub(crate) table: Arc<Table>,
    /// The schema at first use: it must be the table's still when the transaction commits.
    base: Arc<Schema>,
    /// The schema inside the transaction.
    pub(crate) schema: Arc<Schema>,
    /// Where it is, if it goes with the commit.
    dropped: Option<Named>,
}

/// A table, and the name it had.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) ino: Ino,
    pub(crate) parent: Ino,
    pub(crate) name: Name,
}

impl Named {
    /// Whether the name still leads to the table.
    async fn holds(&self, tables: &Inner) -> Result<bool> {
        match tables.tree.lookup(&Call::internal(), self.parent, &self.name).await {
            Ok(inode) => Ok(inode.ino == self.ino),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// That the table can go: while nothing is written yet, so that nothing is if it cannot.
    async fn check_drop(&self, tables: &Inner, call: &Call) -> Result<()> {
        if !self.holds(tables).await? {
            return Err(Error::Conflict);
        }
        let (directory, inode) = (tables.tree.inode(self.parent).await?, tables.tree.inode(self.ino).await?);
        access::require(&directory, &call.caller, Access::SEARCH)?;
        access::require_removal(&directory, &inode, &call.caller)?;
        Ok(access::require_drop(&inode, &call.caller)?)
    }
}

pub(crate) struct OpenTransaction {
    volume: Arc<Shared>,
    pub(crate) tables: BTreeMap<Ino, Touched>,
    /// Tables made inside: a rollback drops them again.
    created: Vec<Named>,
    /// What the commit waits for, if it writes nothing itself: the start, and the last table that was made.
    depends_on: Position,
    locks: Vec<LockNumber>,
    rows: usize,
    bytes: usize,
    pub(crate) isolation: Isolation,
    pub(crate) read_only: bool,
    /// Begun by a statement among several, not by BEGIN: ends with them.
    pub(crate) implicit: bool,
    pub(crate) now_micros: i64,
    pub(crate) began: Instant,
    /// The end of the log at the start: what its reads depend on.
    started: Position,
}

impl OpenTransaction {
    pub(crate) async fn begin(tables: &Inner, isolation: Isolation, read_only: bool, implicit: bool) -> Result<Self> {
        let volume = tables.volume.begin(isolation).await?;
        let started = tables.volume.position();
        Ok(Self {
            volume: Arc::new(Shared(RwLock::new(Some(volume)))),
            tables: BTreeMap::new(),
            created: Vec::new(),
            depends_on: started,
            locks: Vec::new(),
            rows: 0,
            bytes: 0,
            isolation,
            read_only,
            implicit,
            now_micros: tables.clock.now_nanos() / 1000,
            began: Instant::now(),
            started,
        })
    }

    pub(crate) fn reading(&self) -> Arc<dyn Read> {
        Arc::clone(&self.volume) as Arc<dyn Read>
    }

    /// What an answer to the client depends on: everything before the start.
    pub(crate) fn seen(&self) -> Position {
        self.started
    }

    /// True if nothing has happened in it yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.tables.is_empty() && self.rows == 0 && self.created.is_empty()
    }

    /// The view with the schema that holds inside this transaction.
    pub(crate) fn adopt(&self, view: View) -> Result<View> {
        match self.tables.get(&view.ino()) {
            Some(touched) if touched.dropped.is_some() => Err(Error::UndefinedTable(view.name.to_string())),
            Some(touched) => Ok(View { schema: Arc::clone(&touched.schema), ..view }),
            None => Ok(view),
        }
    }

    /// Notes that the transaction depends on the table's schema.
    pub(crate) fn touch(&mut self, view: &View) -> &mut Touched {
        self.tables.entry(view.ino()).or_insert_with(|| Touched {
            table: Arc::clone(&view.table),
            base: Arc::clone(&view.schema),
            schema: Arc::clone(&view.schema),
            dropped: None,
        })
    }

    /// Notes a table that is visible already, and durable with the position.
    pub(crate) fn created(&mut self, table: Named, position: Position) {
        self.created.push(table);
        self.depends_on = self.depends_on.max(position);
    }

    /// Whether the table of this name goes with the commit.
    pub(crate) fn drops(&self, parent: Ino, name: &Name) -> bool {
        let mut dropped = self.tables.values().filter_map(|touched| touched.dropped.as_ref());
        dropped.any(|dropped| dropped.parent == parent && dropped.name == *name)
    }

    pub(crate) fn alter(&mut self, view: &View, schema: Schema) {
        self.touch(view).schema = Arc::new(schema);
    }

    pub(crate) fn drop_table(&mut self, view: &View, parent: Ino, name: Name) {
        self.touch(view).dropped = Some(Named { ino: view.ino(), parent, name });
    }

    /// Writes what a statement has decided.
    pub(crate) async fn apply(&mut self, tables: &Inner, changes: Changes) -> Result<()> {
        check_size(self.rows + changes.len(), self.bytes + changes.bytes())?;
        self.rows += changes.len();
        self.bytes += changes.bytes();
        tables.metrics.written_bytes.inc_by(changes.bytes() as u64);
        self.locks.extend(changes.keys().map(|key| tables.locks.number(key)));
        if self.locks.len() > 2 * limits::KEY_LOCKS {
            self.locks.sort_unstable();
            self.locks.dedup();
        }
        let guard = self.volume.0.read().await;
        let volume = guard.as_ref().ok_or_else(over)?;
        for (key, value) in changes.into_rows() {
            match value {
                Some(value) => volume.put(key, value.into())?,
                None => volume.delete(key)?,
            }
        }
        Ok(())
    }

    /// Takes everything back. Tables made inside are dropped, unless somebody else has put rows into them meanwhile.
    pub(crate) async fn rollback(self, tables: &Inner, call: &Call) {
        self.volume.0.write().await.take();
        for made in self.created {
            if let Err(error) = take_back(tables, call, &made).await {
                tracing::warn!(name = %made.name, %error, "a table made in a transaction outlived its rollback");
            }
        }
    }

    /// Commits; the position to wait for. On an error nothing is written.
    pub(crate) async fn commit(mut self, tables: &Arc<Inner>, call: &Call) -> Result<Position> {
        let volume = self.volume.0.write().await.take().ok_or_else(over)?;
        let written = self.publish(tables, call, volume).await;
        let position = match written {
            Ok(position) => position,
            Err(error) => {
                self.rollback(tables, call).await;
                return Err(error);
            }
        };
        let mut last = position;
        for touched in self.tables.values() {
            if touched.schema.generation != touched.base.generation {
                purge_later(tables, touched.table.ino, touched.base.generation);
            }
            let Some(Named { parent, name, .. }) = &touched.dropped else { continue };
            match tables.tree.remove_directory(call, *parent, name).await {
                Ok(position) => last = last.max(position),
                // The rest is committed, and nobody may take this for its failure.
                Err(error) => tracing::warn!(%name, %error, "a table outlived the transaction that dropped it"),
            }
        }
        Ok(last)
    }

    async fn publish(&mut self, tables: &Inner, call: &Call, volume: Box<dyn Transaction>) -> Result<Position> {
        let mut extra = Batch::new();
        for touched in self.tables.values().filter(|touched| touched.is_altered()) {
            extra.put(keys::schema_key(touched.table.ino), schema_record::encode(&touched.schema)?);
            if touched.schema.generation != touched.base.generation {
                extra.put(keys::leftover_key(touched.table.ino, touched.base.generation), Bytes::new());
            }
        }
        for dropped in self.tables.values().filter_map(|touched| touched.dropped.as_ref()) {
            dropped.check_drop(tables, call).await?;
        }
        if self.rows == 0 && extra.is_empty() {
            return Ok(self.depends_on);
        }
        let mut alone = Vec::new();
        let mut shared = Vec::new();
        // In the order of inode numbers, so that two commits never wait for each other.
        for touched in self.tables.values() {
            match touched.is_altered() {
                true => alone.push(touched.table.gate.write().await),
                false => shared.push(touched.table.gate.read().await),
            }
        }
        if self.tables.values().any(|touched| !touched.table.is_current(&touched.base)) {
            return Err(Error::Conflict);
        }
        let guard = tables.locks.lock(SmallVec::from_slice(&self.locks)).await;
        let writing = guard.writing(self.tables.values().map(|touched| &touched.table.written));
        let position = volume.commit(extra).await?;
        writing.done(position);
        for touched in self.tables.values().filter(|touched| touched.is_altered()) {
            touched.table.publish(Arc::clone(&touched.schema));
        }
        Ok(position)
    }
}

impl Touched {
    /// Whether it goes with the commit.
    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.is_some()
    }

    fn is_altered(&self) -> bool {
        !Arc::ptr_eq(&self.base, &self.schema)
    }
}

/// Drops a table that was made in a transaction.
async fn take_back(tables: &Inner, call: &Call, made: &Named) -> Result<()> {
    let table = tables.table(made.ino).await?;
    // Whoever is committing rows into it has them in, and nobody else begins to.
    let _gate = table.gate.write().await;
    if !made.holds(tables).await? {
        return Ok(());
    }
    let mut rows = tables.volume.scan(keys::table_range(made.ino)).await?;
    if !rows.next(1).await?.is_empty() {
        tracing::warn!(name = %made.name, "a table made in a transaction outlives its rollback: others have filled it");
        return Ok(());
    }
    tables.tree.remove_directory(call, made.parent, &made.name).await?;
    Ok(())
}

/// Removes a truncated table's old rows in the background; a crash leaves them to the sweep at the next start.
pub(crate) fn purge_later(tables: &Arc<Inner>, ino: Ino, generation: u32) {
    let tables = Arc::clone(tables);
    tokio::spawn(async move {
        if let Err(error) = tables.purge_generation(ino, generation).await {
            tracing::warn!(%ino, %error, "the rows of a truncated table are left to the next start");
        }
    });
}
