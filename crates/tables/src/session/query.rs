//! Running what only reads.

use super::{Answer, Rows, Session, Tag};
use crate::portion::portion;
use crate::sql::arrow;
use crate::sql::expression::Context;
use crate::sql::plan::access::Found;
use crate::sql::plan::select::{Select, count};
use crate::sql::query::Query;
use crate::table::View;
use crate::{Result, Row, Type, Value, limits};
use ballast_store::{KeyRange, Position, Read, Scan};
use ballast_tree::access::Access;
use datafusion::arrow::array::RecordBatch;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

impl Session {
    pub(super) fn now_micros(&self) -> i64 {
        self.transaction.as_ref().map_or_else(|| self.tables.0.clock.now_nanos() / 1000, |open| open.now_micros)
    }

    /// What a statement reads: the open transaction, or the present.
    pub(super) fn present(&self) -> Arc<dyn Read> {
        match &self.transaction {
            Some(open) => open.reading(),
            None => Arc::clone(&self.tables.0.volume) as Arc<dyn Read>,
        }
    }

    /// Checks the caller's right again, and that a transaction depends on the schema.
    pub(super) async fn enter(&mut self, view: &View, wanted: Access) -> Result<()> {
        self.tables.0.check(&self.call, view.ino(), wanted, &view.name).await?;
        if let Some(open) = &mut self.transaction {
            open.touch(view);
        }
        Ok(())
    }

    /// An answer may go out once what it was read from is durable.
    pub(super) async fn settled(&self, seen: Position) -> Result<()> {
        let position = self.transaction.as_ref().map_or(seen, |open| open.seen());
        Ok(self.tables.0.volume.durable(position).await?)
    }

    pub(super) async fn select(&mut self, select: &Select, parameters: &[Value]) -> Result<Answer> {
        let view = &select.view;
        self.enter(view, Access::READ).await?;
        let tables = Arc::clone(&self.tables.0);
        let context = Context { parameters, now_micros: self.now_micros(), random: &tables.random };
        let number = |expression: &Option<crate::sql::expression::Expression>, what| match expression {
            Some(expression) => count(expression.evaluate(&[], &context)?, what),
            None => Ok(None),
        };
        let limit = number(&select.limit, "LIMIT")?.unwrap_or(usize::MAX);
        let mut skip = number(&select.offset, "OFFSET")?.unwrap_or(0);
        let found = select.access.find(view, &context)?;
        let several = matches!(&found, Found::Points(keys) if keys.len() > 1);
        let reading = match self.transaction {
            // All of them as of one instant.
            None if several => tables.volume.cut().await?,
            _ => self.present(),
        };
        let rows = match found {
            Found::Points(keys) => {
                let mut rows = Vec::with_capacity(keys.len());
                let mut seen = Position::default();
                for key in &keys {
                    if rows.len() >= limit {
                        break;
                    }
                    let value = reading.get(key).await?;
                    seen = seen.max(tables.locks.seen(key, tables.volume.as_ref()));
                    let Some(value) = value else { continue };
                    let decoded = view.decode(key, &value.bytes, &select.decoded)?;
                    if let Some(row) = project(select, decoded, &context)? {
                        match skip {
                            0 => rows.push(row),
                            _ => skip -= 1,
                        }
                    }
                }
                self.settled(seen).await?;
                Rows::Ready(rows)
            }
            Found::Range(range) => {
                let mut scan = Scanning { scan: self.scan(&reading, view, range).await?, limit, skip };
                // Most ranges are short: those are answered at once.
                let first = scan.next(select, &context).await?;
                match first {
                    Some((rows, true)) => Rows::Ready(rows),
                    None => Rows::Ready(Vec::new()),
                    Some((rows, false)) => self.stream(scan, select, rows, parameters),
                }
            }
        };
        Ok(Answer::Rows { columns: Arc::clone(&select.columns), rows, tag: Tag::Select })
    }

    async fn scan(&self, reading: &Arc<dyn Read>, view: &View, range: KeyRange) -> Result<Box<dyn Scan>> {
        let scan = reading.scan(range).await?;
        self.settled(view.table.written.seen(self.tables.0.volume.as_ref())).await?;
        Ok(scan)
    }

    /// The rest of a long range, in portions.
    fn stream(&self, scan: Scanning, select: &Select, first: Vec<Row>, parameters: &[Value]) -> Rows {
        let parts = Select {
            view: select.view.clone(),
            access: crate::sql::plan::access::Access::all(),
            columns: Arc::clone(&select.columns),
            decoded: select.decoded.clone(),
            items: select.items.clone(),
            filter: select.filter.clone(),
            limit: None,
            offset: None,
        };
        let state = (scan, parts, parameters.to_vec(), self.now_micros(), Arc::clone(&self.tables.0));
        let rest =
            futures::stream::try_unfold(state, |(mut scan, select, parameters, now_micros, tables)| async move {
                let context = Context { parameters: &parameters, now_micros, random: &tables.random };
                let next = scan.next(&select, &context).await?;
                Ok(next.map(|(rows, _)| (rows, (scan, select, parameters, now_micros, tables))))
            });
        Rows::Stream(futures::stream::once(std::future::ready(Ok(first))).chain(rest).boxed())
    }

    pub(super) async fn query(&mut self, query: &Query, types: &[Type], parameters: &[Value]) -> Result<Answer> {
        let stream = self.run_query(query, types, parameters).await?;
        let columns = Arc::clone(&query.columns);
        let of: Vec<Type> = columns.iter().map(|column| column.column_type).collect();
        let rows = stream.and_then(move |batch| std::future::ready(arrow::rows(&batch, &of)));
        Ok(Answer::Rows { columns, rows: Rows::Stream(rows.boxed()), tag: Tag::Select })
    }

    /// Starts a query over the open transaction or over a cut of the present.
    pub(super) async fn run_query(
        &mut self,
        query: &Query,
        types: &[Type],
        parameters: &[Value],
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        for view in query.views() {
            self.enter(view, Access::READ).await?;
        }
        let reading = match &self.transaction {
            Some(open) => open.reading(),
            None => self.tables.0.volume.cut().await?,
        };
        let volume = self.tables.0.volume.as_ref();
        let seen = query.views().map(|view| view.table.written.seen(volume)).max().unwrap_or_default();
        self.settled(seen).await?;
        let stop = CancellationToken::new();
        let stream = query.run(reading, parameters, types, &stop).await?;
        Ok(self.tables.0.engine.computing.elsewhere(stream, stop))
    }
}

/// A range being read, with what LIMIT and OFFSET leave.
struct Scanning {
    scan: Box<dyn Scan>,
    limit: usize,
    skip: usize,
}

impl Scanning {
    /// Further rows, and whether they are the last; `None` at the end.
    async fn next(&mut self, select: &Select, context: &Context<'_>) -> Result<Option<(Vec<Row>, bool)>> {
        loop {
            if self.limit == 0 {
                return Ok(None);
            }
            let filtered = select.filter.is_some();
            let wanted =
                if filtered { limits::SCAN_ROWS } else { self.limit.saturating_add(self.skip).min(limits::SCAN_ROWS) };
            let (found, last) = portion(self.scan.as_mut(), wanted).await?;
            if found.is_empty() {
                return Ok(None);
            }
            let mut rows = Vec::with_capacity(found.len());
            for row in found {
                let decoded = select.view.decode(&row.key, &row.value.bytes, &select.decoded)?;
                let Some(row) = project(select, decoded, context)? else { continue };
                match self.skip {
                    0 => rows.push(row),
                    _ => self.skip -= 1,
                }
                if rows.len() == self.limit {
                    break;
                }
            }
            self.limit -= rows.len();
            // A long table in memory must not keep the thread to itself.
            tokio::task::yield_now().await;
            if !rows.is_empty() || last {
                return Ok(Some((rows, last || self.limit == 0)));
            }
        }
    }
}

/// The result row of a decoded row; `None` if the condition does not hold.
fn project(select: &Select, decoded: Row, context: &Context<'_>) -> Result<Option<Row>> {
    if let Some(filter) = &select.filter
        && filter.truth(&decoded, context)? != Some(true)
    {
        return Ok(None);
    }
    match &select.items {
        None => Ok(Some(decoded)),
        Some(items) => items.iter().map(|item| item.evaluate(&decoded, context)).collect::<Result<Row>>().map(Some),
    }
}
