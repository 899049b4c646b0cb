//! The tables of a volume.

use crate::keys::{self, schema as schema_record};
use crate::locks::KeyLocks;
use crate::metrics::TablesMetrics;
use crate::schema::Schema;
use crate::sql::engine::QueryEngine;
use crate::table::{Table, View};
use crate::{Error, Result, limits};
use async_trait::async_trait;
use ballast_runtime::telemetry::Metrics;
use ballast_runtime::{Clock, Random};
use ballast_store::{Batch, KeyRange, Position, Volume};
use ballast_tree::access::Access;
use ballast_tree::{Content, Inode, NewInode, Tree};
use ballast_types::{Call, ErrorKind, Ino, Kind, Name, TreePath};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// What a server chooses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes that all queries share for sorts, joins and groups.
    pub query_memory_bytes: usize,
    /// How often a statement of its own transaction runs again after a conflict.
    pub conflict_retries_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { query_memory_bytes: limits::QUERY_MEMORY_BYTES, conflict_retries_max: limits::CONFLICT_RETRIES_MAX }
    }
}

/// What a part of a table's rows takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    pub rows: usize,
    pub bytes: u64,
    /// The encoded primary key of the last row, if others may follow.
    pub last: Option<Bytes>,
}

/// Clones share the tables of one volume.
#[derive(Clone)]
pub struct Tables(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) volume: Arc<dyn Volume>,
    pub(crate) tree: Tree,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    pub(crate) settings: Settings,
    pub(crate) locks: KeyLocks,
    pub(crate) engine: QueryEngine,
    pub(crate) metrics: TablesMetrics,
    open: Mutex<HashMap<Ino, Arc<Table>>>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Tables {
    /// Registers itself with the tree as what empties dropped tables.
    pub fn new(
        volume: Arc<dyn Volume>,
        tree: Tree,
        clock: Arc<dyn Clock>,
        random: Random,
        settings: Settings,
    ) -> Result<Self> {
        let metrics = TablesMetrics::default();
        let engine = QueryEngine::new(&settings, &metrics)?;
        let locks = KeyLocks::new(limits::KEY_LOCKS);
        let open = Mutex::default();
        let inner = Inner { volume, tree, clock, random, settings, locks, engine, metrics, open };
        let tables = Self(Arc::new(inner));
        tables.0.tree.register(Arc::new(TableContent(Arc::downgrade(&tables.0))));
        Ok(tables)
    }

    pub fn register_metrics(&self, metrics: &Metrics) {
        metrics.register("tables", |registry| self.0.metrics.register(registry));
    }

    pub fn tree(&self) -> &Tree {
        &self.0.tree
    }

    /// The schema of a table, for whoever may see it: what `stat` and the POSIX view show.
    pub async fn schema(&self, call: &Call, ino: Ino) -> Result<Arc<Schema>> {
        self.0.tree.access(call, ino, Access::EXISTS).await?;
        Ok(self.0.table(ino).await?.schema())
    }

    /// Adds up the keys and values of up to `rows_max` rows behind the encoded primary key `after`; empty, from the
    /// first row on. Cost: one scan.
    pub async fn measure(&self, call: &Call, ino: Ino, after: &[u8], rows_max: usize) -> Result<Measured> {
        let generation = self.schema(call, ino).await?.generation;
        let mut range = keys::generation_range(ino, generation);
        if !after.is_empty() {
            range = range.after(&[&keys::row_prefix(ino, generation), after].concat());
        }
        let mut scan = self.0.volume.scan(range).await?;
        let mut measured = Measured::default();
        while measured.rows < rows_max {
            let rows = scan.next(limits::MEASURE_ROWS.min(rows_max - measured.rows)).await?;
            let Some(last) = rows.last() else { return Ok(Measured { last: None, ..measured }) };
            measured.rows += rows.len();
            measured.bytes += rows.iter().map(|row| (row.key.len() + row.value.bytes.len()) as u64).sum::<u64>();
            measured.last = Some(last.key.slice(keys::ROW_PREFIX_LEN..));
        }
        Ok(measured)
    }

    /// Removes the rows of truncated tables that a crash left behind; how many generations. Run once after
    /// the volume is opened, in the background.
    pub async fn sweep(&self) -> Result<usize> {
        let mut swept = 0;
        let mut range = ballast_store::Space::TableSchema.range(&[]);
        loop {
            let mut scan = self.0.volume.scan(range.clone()).await?;
            let rows = scan.next(limits::PURGE_ROWS).await?;
            let Some(last) = rows.last() else { return Ok(swept) };
            range = range.after(&last.key);
            for (ino, generation) in rows.iter().filter_map(|row| keys::leftover_from_key(&row.key)) {
                self.0.purge_generation(ino, generation).await?;
                swept += 1;
            }
        }
    }
}

impl Inner {
    /// The open table of an inode.
    pub(crate) async fn table(&self, ino: Ino) -> Result<Arc<Table>> {
        if let Some(table) = self.open.lock().get(&ino) {
            return Ok(Arc::clone(table));
        }
        let record = self.volume.get(&keys::schema_key(ino)).await?;
        let record = record.ok_or_else(|| Error::Corrupt(format!("table {ino} has no schema")))?;
        let table = Arc::new(Table::new(ino, schema_record::decode(&record.bytes)?));
        let mut open = self.open.lock();
        if open.len() >= limits::OPEN_TABLES_MAX {
            // Those that no statement holds; whoever needs one again reads one row.
            open.retain(|_, table| Arc::strong_count(table) > 1);
        }
        Ok(Arc::clone(open.entry(ino).or_insert(table)))
    }

    /// The table at a path, if the caller may do this to it.
    pub(crate) async fn view(&self, call: &Call, path: &TreePath, wanted: Access, name: &str) -> Result<View> {
        let inode = match self.tree.resolve(call, path).await {
            Ok(inode) => inode,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::UndefinedTable(name.to_owned())),
            Err(ballast_tree::Error::NotADirectory(_)) => return Err(Error::UndefinedTable(name.to_owned())),
            Err(error) => return Err(error.into()),
        };
        if inode.kind != Kind::Table {
            return Err(Error::NotATable(name.to_owned()));
        }
        self.check(call, inode.ino, wanted, name).await?;
        let table = self.table(inode.ino).await?;
        let schema = table.schema();
        Ok(View { table, schema, name: name.into(), path: Arc::new(path.clone()) })
    }

    /// That the table is still there and the caller may do this to it.
    pub(crate) async fn check(&self, call: &Call, ino: Ino, wanted: Access, name: &str) -> Result<Inode> {
        match self.tree.access(call, ino, wanted).await {
            Ok(inode) if inode.links == 0 => Err(Error::UndefinedTable(name.to_owned())),
            Ok(inode) => Ok(inode),
            Err(error) => Err(match error.kind() {
                ErrorKind::NotFound => Error::UndefinedTable(name.to_owned()),
                ErrorKind::Denied => Error::Denied(name.to_owned()),
                _ => error.into(),
            }),
        }
    }

    pub(crate) async fn create(
        &self,
        call: &Call,
        parent: Ino,
        name: &Name,
        schema: Schema,
    ) -> Result<(Ino, Position)> {
        let record = schema_record::encode(&schema)?;
        let new = NewInode { kind: Kind::Table, mode: 0o755, rdev: 0, descriptor: Bytes::new() };
        let rows = move |inode: &Inode, batch: &mut Batch| batch.put(keys::schema_key(inode.ino), record.clone());
        let (inode, position) = self.tree.create(call, parent, name, new, &rows).await?;
        // Whoever was quicker has opened it already: there is one of it.
        self.open.lock().entry(inode.ino).or_insert_with(|| Arc::new(Table::new(inode.ino, schema)));
        Ok((inode.ino, position))
    }

    /// Writes a changed schema if the table still has the one that the change started from.
    pub(crate) async fn alter(&self, view: &View, next: Schema) -> Result<Position> {
        let _gate = view.table.gate.write().await;
        if !view.table.is_current(&view.schema) {
            return Err(Error::Conflict);
        }
        let mut batch = Batch::new();
        batch.put(keys::schema_key(view.ino()), schema_record::encode(&next)?);
        if next.generation != view.schema.generation {
            batch.put(keys::leftover_key(view.ino(), view.schema.generation), Bytes::new());
        }
        let position = self.volume.commit(batch).await?;
        view.table.publish(Arc::new(next));
        Ok(position)
    }

    /// Removes the rows of a generation that TRUNCATE left, and then the note of it.
    pub(crate) async fn purge_generation(&self, ino: Ino, generation: u32) -> Result<()> {
        self.purge_range(keys::generation_range(ino, generation)).await?;
        let mut batch = Batch::new();
        batch.delete(keys::leftover_key(ino, generation));
        self.volume.commit(batch).await?;
        Ok(())
    }

    async fn purge_range(&self, mut range: KeyRange) -> Result<()> {
        loop {
            let mut scan = self.volume.scan(range.clone()).await?;
            let rows = scan.next(limits::PURGE_ROWS).await?;
            drop(scan);
            let Some(last) = rows.last() else { return Ok(()) };
            range = range.after(&last.key);
            let mut batch = Batch::new();
            rows.into_iter().for_each(|row| batch.delete(row.key));
            let position = self.volume.commit(batch).await?;
            // Bounded by the log's pace: a purge never runs ahead of what is durable.
            self.volume.durable(position).await?;
        }
    }
}

/// What the tree knows of this engine. The tree outlives nobody: it holds the engine weakly.
struct TableContent(Weak<Inner>);

#[async_trait]
impl Content for TableContent {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Table]
    }

    async fn purge(&self, ino: Ino) -> ballast_tree::Result<()> {
        let Some(tables) = self.0.upgrade() else {
            return Err(ballast_store::Error::Closed("the tables are closed".into()).into());
        };
        let table = tables.open.lock().get(&ino).cloned();
        if let Some(table) = table {
            // Whoever commits behind this finds the table dropped.
            let _gate = table.gate.write().await;
            table.mark_dropped();
        }
        let purge = async {
            tables.purge_range(keys::table_range(ino)).await?;
            tables.purge_range(keys::schema_range(ino)).await
        };
        purge.await.map_err(|error| match error {
            Error::Store(error) => error.into(),
            Error::Tree(error) => error,
            other => ballast_tree::Error::Invalid(other.to_string()),
        })?;
        tables.open.lock().remove(&ino);
        Ok(())
    }
}
