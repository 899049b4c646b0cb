//! Running INSERT, UPDATE and DELETE.
//!
//! A statement reads, decides and collects its [`Changes`]; then they are written together. By key, outside a
//! transaction, the locks of its keys make that one step. Everything else reads through a transaction of the
//! volume, which finds out at the commit whether somebody got in the way.

use super::{Answer, Rows, Session, Tag};
use crate::changes::Changes;
use crate::portion::portion;
use crate::schema::Schema;
use crate::sql::arrow;
use crate::sql::expression::{Context, Expression, printed};
use crate::sql::plan::access::{Access, Found};
use crate::sql::plan::write::{Conflict, Delete, Insert, Returning, Source, Target, Update};
use crate::sql::plan::{OutputColumn, Plan};
use crate::sql::query::Query;
use crate::table::View;
use crate::tables::Inner;
use crate::transaction::OpenTransaction;
use crate::{Error, Result, Row, Type, Value, limits};
use ballast_store::{Position, Read};
use ballast_tree::access::Access as Right;
use bytes::Bytes;
use futures::TryStreamExt;
use smallvec::SmallVec;
use std::sync::Arc;

/// What a statement has done so far.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) changes: Changes,
    pub(super) count: u64,
    pub(super) returned: Vec<Row>,
}

/// What a write works with.
pub(super) struct Writing<'a> {
    pub(super) reading: &'a dyn Read,
    pub(super) context: Context<'a>,
}

impl Session {
    pub(super) async fn write(&mut self, plan: &Plan, types: &[Type], parameters: &[Value]) -> Result<Answer> {
        let (view, returning) = match plan {
            Plan::Insert(insert) => (&insert.view, &insert.returning),
            Plan::Update(update) => (&update.view, &update.returning),
            Plan::Delete(delete) => (&delete.view, &delete.returning),
            _ => return Err(Error::Corrupt("a plan that only reads was run as a write".into())),
        };
        let right = if matches!(plan, Plan::Insert(_)) { Right::WRITE } else { Right::WRITE.and(Right::READ) };
        let verb = match plan {
            Plan::Insert(_) => "INSERT",
            Plan::Update(_) => "UPDATE",
            _ => "DELETE",
        };
        self.refuse_if_read_only(verb)?;
        self.enter(view, right).await?;
        if !matches!(plan, Plan::Delete(_)) {
            self.tables.0.volume.check_space()?;
        }
        let outcome = if self.transaction.is_some() {
            let written = Box::pin(self.write_in_transaction(plan, types, parameters)).await;
            // Unless all it tells is how many rows are the transaction's own.
            if returning.is_some() || !written.as_ref().is_ok_and(|outcome| outcome.count > 0) {
                self.settled(Position::default()).await?;
            }
            written?
        } else if let Some(outcome) = self.write_by_key(plan, view, parameters).await? {
            outcome
        } else {
            Box::pin(self.write_in_own_transaction(plan, types, parameters)).await?
        };
        self.tables.0.metrics.written_rows.inc_by(outcome.count);
        let tag = match plan {
            Plan::Insert(_) => Tag::Insert(outcome.count),
            Plan::Update(_) => Tag::Update(outcome.count),
            _ => Tag::Delete(outcome.count),
        };
        Ok(match returning {
            None => Answer::Done(tag),
            Some(returning) => {
                let columns = Arc::clone(&returning.columns);
                Answer::Rows { columns, rows: Rows::Ready(outcome.returned), tag }
            }
        })
    }

    /// A statement of which all keys are known before it reads: no transaction, only their locks.
    async fn write_by_key(&mut self, plan: &Plan, view: &View, parameters: &[Value]) -> Result<Option<Outcome>> {
        let tables = Arc::clone(&self.tables.0);
        let context = Context { parameters, now_micros: self.now_micros(), random: &tables.random };
        enum Work {
            Rows(Vec<(Bytes, Row)>),
            Keys(Vec<Bytes>),
        }
        let work = match plan {
            Plan::Insert(Insert { source: Source::Values(values), .. }) => {
                Work::Rows(value_rows(view, values, &tables, &context)?)
            }
            Plan::Update(update) if update.target.is_points() && !update.changes_key() => match &update.target {
                Target::Access(access) => Work::Keys(points(access, view, &context)?),
                Target::Query(_) => return Ok(None),
            },
            Plan::Delete(delete) if delete.target.is_points() => match &delete.target {
                Target::Access(access) => Work::Keys(points(access, view, &context)?),
                Target::Query(_) => return Ok(None),
            },
            _ => return Ok(None),
        };
        let number = |key: &Bytes| tables.locks.number(key);
        let numbers: SmallVec<_> = match &work {
            Work::Rows(rows) => rows.iter().map(|(key, _)| number(key)).collect(),
            Work::Keys(keys) => keys.iter().map(number).collect(),
        };
        let gate = view.table.gate.read().await;
        if !view.table.is_current(&view.schema) {
            return Err(Error::Conflict);
        }
        let guard = tables.locks.lock(numbers).await;
        let writing = Writing { reading: tables.volume.as_ref(), context };
        let mut outcome = Outcome::default();
        let decide = async {
            match (plan, work) {
                (Plan::Insert(insert), Work::Rows(rows)) => {
                    for (key, row) in rows {
                        writing.insert(insert, key, row, &mut outcome).await?;
                    }
                }
                (Plan::Update(update), Work::Keys(keys)) => {
                    for key in keys {
                        writing.update_key(update, key, &mut outcome).await?;
                    }
                }
                (Plan::Delete(delete), Work::Keys(keys)) => {
                    for key in keys {
                        writing.delete_key(delete, key, &mut outcome).await?;
                    }
                }
                _ => {}
            }
            Ok(())
        };
        let decided = decide.await;
        if decided.is_err() || outcome.changes.is_empty() {
            // There is no commit to wait for, but the rows that decided it may be another's that is under way.
            let seen = guard.seen(tables.volume.as_ref());
            drop((guard, gate));
            self.settled(seen).await?;
            return decided.map(|()| Some(outcome));
        }
        let changes = std::mem::take(&mut outcome.changes);
        tables.metrics.written_bytes.inc_by(changes.bytes() as u64);
        let noted = guard.writing(std::iter::once(&view.table.written));
        self.end_begins();
        let position = tables.volume.commit(changes.into_batch()).await?;
        noted.done(position);
        drop((guard, gate));
        self.durable(position).await?;
        Ok(Some(outcome))
    }

    async fn write_in_own_transaction(&mut self, plan: &Plan, types: &[Type], parameters: &[Value]) -> Result<Outcome> {
        // The isolation is serializable whatever the session's default: the statement alone decides nothing less.
        let open = OpenTransaction::begin(&self.tables.0, ballast_store::Isolation::Serializable, false, true).await?;
        self.transaction = Some(open);
        let written = async {
            for view in plan.views() {
                self.enter(view, Right::READ).await?;
            }
            self.write_in_transaction(plan, types, parameters).await
        };
        let written = written.await;
        match written {
            Ok(outcome) => {
                let seen = self.transaction.as_ref().map_or_else(Position::default, OpenTransaction::seen);
                self.commit().await?;
                if outcome.count == 0 {
                    self.settled(seen).await?;
                }
                Ok(outcome)
            }
            Err(error) if error.is_conflict() => {
                self.rollback().await;
                Err(error)
            }
            Err(error) => {
                let settled = self.settled(Position::default()).await;
                self.rollback().await;
                settled.and(Err(error))
            }
        }
    }

    /// The listener knows the end of a transaction that was open before; here it may be the statement's own.
    async fn write_in_transaction(&mut self, plan: &Plan, types: &[Type], parameters: &[Value]) -> Result<Outcome> {
        let Some(end) = self.transaction_deadline() else { return Err(Error::TransactionFailed) };
        let write = self.write_rows(plan, types, parameters);
        tokio::time::timeout_at(end, write).await.unwrap_or(Err(Error::TransactionTimeout))
    }

    async fn write_rows(&mut self, plan: &Plan, types: &[Type], parameters: &[Value]) -> Result<Outcome> {
        let tables = Arc::clone(&self.tables.0);
        let context = Context { parameters, now_micros: self.now_micros(), random: &tables.random };
        let reading = self.present();
        let writing = Writing { reading: reading.as_ref(), context };
        let mut outcome = Outcome::default();
        match plan {
            Plan::Insert(insert) => {
                let rows = match &insert.source {
                    Source::Values(values) => value_rows(&insert.view, values, &tables, &writing.context)?,
                    Source::Query { query, positions, defaults } => {
                        let found = self.query_rows(query, types, parameters).await?;
                        let complete = |mut found: Row| {
                            spell(&mut found, &query.columns, positions, &insert.view);
                            let row = complete(&insert.view, positions, defaults, found, &writing.context)?;
                            keyed(&insert.view, row, &tables)
                        };
                        found.into_iter().map(complete).collect::<Result<Vec<_>>>()?
                    }
                };
                for (key, row) in rows {
                    writing.insert(insert, key, row, &mut outcome).await?;
                }
            }
            Plan::Update(update) => match &update.target {
                Target::Access(access) => {
                    for (key, old) in writing.find(&update.view, access, true).await? {
                        writing.update(update, key, old, None, &mut outcome).await?;
                    }
                }
                Target::Query(query) => {
                    let width = update.view.schema.columns.len();
                    for mut found in self.query_rows(query, types, parameters).await? {
                        let mut new = found.split_off(width);
                        spell(&mut new, &query.columns[width..], &update.positions, &update.view);
                        let old = restore(&update.view, found)?;
                        let key = update.view.key_of_row(&old)?;
                        // A join may find a row twice; the first new values count.
                        if outcome.changes.get(&key).is_none() {
                            writing.update(update, key, old, Some(new), &mut outcome).await?;
                        }
                    }
                }
            },
            Plan::Delete(delete) => match &delete.target {
                Target::Access(access) => {
                    for (key, old) in writing.find(&delete.view, access, delete.returning.is_some()).await? {
                        writing.delete(delete, key, old, &mut outcome)?;
                    }
                }
                Target::Query(query) => {
                    for found in self.query_rows(query, types, parameters).await? {
                        let old = restore(&delete.view, found)?;
                        let key = delete.view.key_of_row(&old)?;
                        if outcome.changes.get(&key).is_none() {
                            writing.delete(delete, key, old, &mut outcome)?;
                        }
                    }
                }
            },
            _ => {}
        }
        let changes = std::mem::take(&mut outcome.changes);
        if let (false, Some(open)) = (changes.is_empty(), &mut self.transaction) {
            open.apply(&tables, changes).await?;
        }
        Ok(outcome)
    }

    /// All rows of a query, within what one transaction may write.
    async fn query_rows(&mut self, query: &Query, types: &[Type], parameters: &[Value]) -> Result<Vec<Row>> {
        let mut stream = self.run_query(query, types, parameters).await?;
        let of: Vec<Type> = query.columns.iter().map(|column| column.column_type).collect();
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = stream.try_next().await? {
            // Batches may be pieces of one that is in memory once: their rows count.
            let found = arrow::rows(&batch, &of)?;
            bytes += found.iter().map(|row| row_bytes(row)).sum::<usize>();
            crate::changes::check_found(rows.len() + found.len(), bytes)?;
            rows.extend(found);
        }
        Ok(rows)
    }
}

impl Update {
    fn changes_key(&self) -> bool {
        self.positions.iter().any(|at| self.view.schema.key.contains(at))
    }
}

/// What a row takes of memory.
fn row_bytes(row: &[Value]) -> usize {
    let beside = row.iter().map(|value| match value {
        Value::Text(text) => text.bytes().len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    });
    std::mem::size_of_val(row) + beside.sum::<usize>()
}

/// Makes texts of what a query found for columns of text: how they are spelled is told by the types that they had.
fn spell(found: &mut [Value], columns: &[OutputColumn], positions: &[usize], view: &View) {
    for ((value, column), at) in found.iter_mut().zip(columns).zip(positions) {
        let to = view.schema.columns[*at].column_type;
        if matches!(to, Type::Text | Type::Varchar(_)) && !column.column_type.is_text() {
            *value = printed(std::mem::replace(value, Value::Null), column.column_type);
        }
    }
}

fn points(access: &Access, view: &View, context: &Context<'_>) -> Result<Vec<Bytes>> {
    match access.find(view, context)? {
        Found::Points(keys) => Ok(keys),
        Found::Range(_) => Err(Error::Corrupt("a plan by key found a range".into())),
    }
}

fn value_rows(
    view: &View,
    values: &[Vec<Expression>],
    tables: &Inner,
    context: &Context<'_>,
) -> Result<Vec<(Bytes, Row)>> {
    let mut rows = Vec::with_capacity(values.len());
    for expressions in values {
        let row = expressions.iter().map(|expression| expression.evaluate(&[], context)).collect::<Result<Row>>()?;
        rows.push(keyed(view, row, tables)?);
    }
    Ok(rows)
}

/// A whole row out of what a query gave.
fn complete(
    view: &View,
    positions: &[usize],
    defaults: &[Expression],
    found: Row,
    context: &Context<'_>,
) -> Result<Row> {
    debug_assert_eq!(defaults.len(), view.schema.columns.len());
    let mut row = Row::with_capacity(defaults.len());
    for (at, default) in defaults.iter().enumerate() {
        row.push(if positions.contains(&at) { Value::Null } else { default.evaluate(&[], context)? });
    }
    for (at, value) in positions.iter().zip(found) {
        row[*at] = value;
    }
    Ok(row)
}

/// Fits a new row to its table and finds its key.
pub(super) fn keyed(view: &View, mut row: Row, tables: &Inner) -> Result<(Bytes, Row)> {
    fit(&view.schema, &mut row)?;
    if view.schema.has_hidden_key() {
        let at = view.schema.key[0];
        if row[at].is_null() {
            row[at] = Value::Uuid(row_id(tables));
        }
    }
    view.check_nulls(&row)?;
    Ok((view.key_of_row(&row)?, row))
}

fn fit(schema: &Schema, row: &mut Row) -> Result<()> {
    for (value, column) in row.iter_mut().zip(&schema.columns) {
        *value = std::mem::replace(value, Value::Null).assign(column.column_type)?;
    }
    Ok(())
}

/// A row as a query gave it, with the columns' own types.
fn restore(view: &View, mut row: Row) -> Result<Row> {
    fit(&view.schema, &mut row)?;
    Ok(row)
}

/// Grows with time, so that rows of a table without a key lie in the order of their insertion: a UUID of version 7.
fn row_id(tables: &Inner) -> [u8; 16] {
    let mut bytes = tables.random.bytes16();
    let millis = (tables.clock.now_nanos() / 1_000_000) as u64;
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6] = bytes[6] & 0x0f | 0x70;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

impl Writing<'_> {
    /// The row's bytes as the statement sees them: its own changes first.
    async fn current(&self, key: &Bytes, outcome: &Outcome) -> Result<Option<Bytes>> {
        match outcome.changes.get(key) {
            Some(own) => Ok(own.clone()),
            None => Ok(self.reading.get(key).await?.map(|value| value.bytes)),
        }
    }

    fn returned(&self, returning: &Option<Returning>, row: &[Value], outcome: &mut Outcome) -> Result<()> {
        if let Some(returning) = returning {
            let values = returning.items.iter().map(|item| item.evaluate(row, &self.context));
            outcome.returned.push(values.collect::<Result<Row>>()?);
        }
        Ok(())
    }

    pub(super) async fn insert(&self, insert: &Insert, key: Bytes, row: Row, outcome: &mut Outcome) -> Result<()> {
        let view = &insert.view;
        let existing = self.current(&key, outcome).await?;
        let Some(existing) = existing else {
            outcome.changes.put(key, view.encode(&row)?)?;
            outcome.count += 1;
            return self.returned(&insert.returning, &row, outcome);
        };
        match &insert.conflict {
            Conflict::Refuse => Err(view.unique_violation(&row)),
            Conflict::Skip => Ok(()),
            Conflict::Update { assignments, filter } => {
                if outcome.changes.get(&key).is_some() {
                    return Err(Error::Cardinality);
                }
                let mut both = view.decode(&key, &existing, &view.all_positions())?;
                both.extend(row);
                if let Some(filter) = filter
                    && filter.truth(&both, &self.context)? != Some(true)
                {
                    return Ok(());
                }
                let mut new = both[..view.schema.columns.len()].to_vec();
                for (at, expression) in assignments {
                    let value = expression.evaluate(&both, &self.context)?;
                    new[*at] = value.assign(view.schema.columns[*at].column_type)?;
                }
                view.check_nulls(&new)?;
                outcome.changes.put(key, view.encode(&new)?)?;
                outcome.count += 1;
                self.returned(&insert.returning, &new, outcome)
            }
        }
    }

    /// The keys that a plan touches, in their order. `whole`: with their rows, which are empty otherwise.
    async fn find(&self, view: &View, access: &Access, whole: bool) -> Result<Vec<(Bytes, Row)>> {
        let all = view.all_positions();
        let (mut found, mut bytes) = (Vec::new(), 0);
        let mut take = |key: Bytes, value: &Bytes| {
            let row = view.decode(&key, value, &all)?;
            let holds = match &access.filter {
                Some(filter) => filter.truth(&row, &self.context)? == Some(true),
                None => true,
            };
            if holds {
                bytes += key.len() + if whole { value.len() } else { 0 };
                found.push((key, if whole { row } else { Row::new() }));
            }
            crate::changes::check_found(found.len(), bytes)
        };
        match access.find(view, &self.context)? {
            Found::Points(keys) => {
                for key in keys {
                    if let Some(value) = self.reading.get(&key).await? {
                        take(key, &value.bytes)?;
                    }
                }
            }
            Found::Range(range) => {
                let mut scan = self.reading.scan(range).await?;
                loop {
                    let (rows, last) = portion(scan.as_mut(), limits::SCAN_ROWS).await?;
                    for row in rows {
                        take(row.key, &row.value.bytes)?;
                    }
                    if last {
                        break;
                    }
                    // A long table in memory must not keep the thread to itself, nor the statement from being stopped.
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(found)
    }

    async fn update_key(&self, update: &Update, key: Bytes, outcome: &mut Outcome) -> Result<()> {
        let Some(old) = self.old(&update.view, &update.target, &key).await? else { return Ok(()) };
        self.update(update, key, old, None, outcome).await
    }

    async fn delete_key(&self, delete: &Delete, key: Bytes, outcome: &mut Outcome) -> Result<()> {
        let Some(old) = self.old(&delete.view, &delete.target, &key).await? else { return Ok(()) };
        self.delete(delete, key, old, outcome)
    }

    /// The row of a key, if it is there and the plan's condition holds of it.
    async fn old(&self, view: &View, target: &Target, key: &Bytes) -> Result<Option<Row>> {
        let Some(value) = self.reading.get(key).await? else { return Ok(None) };
        let row = view.decode(key, &value.bytes, &view.all_positions())?;
        let holds = match target {
            Target::Access(Access { filter: Some(filter), .. }) => filter.truth(&row, &self.context)? == Some(true),
            _ => true,
        };
        Ok(holds.then_some(row))
    }

    /// `values`: the new values if the planner computed them.
    async fn update(
        &self,
        update: &Update,
        key: Bytes,
        old: Row,
        values: Option<Row>,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let view = &update.view;
        let mut new = old.clone();
        let values = match values {
            Some(values) => values,
            None => update.values.iter().map(|value| value.evaluate(&old, &self.context)).collect::<Result<Row>>()?,
        };
        for (at, value) in update.positions.iter().zip(values) {
            new[*at] = value.assign(view.schema.columns[*at].column_type)?;
        }
        view.check_nulls(&new)?;
        if update.changes_key() {
            let new_key = view.key_of_row(&new)?;
            if new_key != key {
                if self.current(&new_key, outcome).await?.is_some() {
                    return Err(view.unique_violation(&new));
                }
                outcome.changes.delete(key)?;
                outcome.changes.put(new_key, view.encode(&new)?)?;
                outcome.count += 1;
                return self.returned(&update.returning, &new, outcome);
            }
        }
        outcome.changes.put(key, view.encode(&new)?)?;
        outcome.count += 1;
        self.returned(&update.returning, &new, outcome)
    }

    fn delete(&self, delete: &Delete, key: Bytes, old: Row, outcome: &mut Outcome) -> Result<()> {
        outcome.changes.delete(key)?;
        outcome.count += 1;
        self.returned(&delete.returning, &old, outcome)
    }
}
