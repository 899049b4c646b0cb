//! A table, as DataFusion reads it.
//!
//! The provider only ever reads: DataFusion's own hooks for INSERT, UPDATE and DELETE stay unimplemented, since
//! in 55 they lose the condition of `WHERE … IN (subquery)` and would change every row. What it reads from, a
//! cut or a transaction, comes with each execution, so that plans can be kept.

use super::arrow::{self, Builder};
use super::expression::{Comparison, Context, Expression};
use super::plan::access::{Access, Found};
use crate::portion::portion;
use crate::table::View;
use crate::{Error, Result, Type, limits};
use async_trait::async_trait;
use ballast_runtime::Random;
use ballast_store::{KeyRange, Read};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;

/// What one execution reads: an extension of its session's configuration.
pub(crate) struct Reading(pub(crate) Arc<dyn Read>);

/// A table of ours under the columns that it had when the query was planned.
#[derive(Debug)]
pub(crate) struct TableSource {
    view: View,
    /// Positions in the table's schema of the columns shown, hidden ones last.
    positions: Vec<usize>,
    schema: SchemaRef,
}

impl TableSource {
    /// `hidden`: show the hidden row id as well.
    pub(crate) fn new(view: View, hidden: bool) -> Self {
        let positions: Vec<usize> = if hidden { view.all_positions() } else { view.schema.visible().collect() };
        let field = |at: &usize| {
            let column = &view.schema.columns[*at];
            column.column_type.to_field(&column.name, column.nullable)
        };
        let schema = Arc::new(Schema::new(positions.iter().map(field).collect::<Vec<_>>()));
        Self { view, positions, schema }
    }

    /// The part of a filter that keys can tell, as one of our expressions.
    fn translate(&self, filter: &Expr) -> Option<Expression> {
        let column = |expr: &Expr| match expr {
            Expr::Column(column) => {
                let at = self.view.schema.find(&column.name)?;
                self.view.schema.key.contains(&at).then_some(Expression::Column(at))
            }
            _ => None,
        };
        let constant = |expr: &Expr| match expr {
            Expr::Literal(scalar, _) => arrow::value_of(scalar).map(Expression::Constant),
            _ => None,
        };
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                match (self.translate(left), self.translate(right)) {
                    (Some(a), Some(b)) => Some(Expression::And(Box::new(a), Box::new(b))),
                    (one, other) => one.or(other),
                }
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let how = match op {
                    Operator::Eq => Comparison::Equal,
                    Operator::Lt => Comparison::Less,
                    Operator::LtEq => Comparison::LessOrEqual,
                    Operator::Gt => Comparison::Greater,
                    Operator::GtEq => Comparison::GreaterOrEqual,
                    _ => return None,
                };
                if let (Some(a), Some(b)) = (column(left), constant(right)) {
                    return Some(Expression::Compare(how, Box::new(a), Box::new(b)));
                }
                let (a, b) = (constant(left)?, column(right)?);
                Some(Expression::Compare(how, Box::new(a), Box::new(b)))
            }
            Expr::InList(list) if !list.negated => {
                let candidates = list.list.iter().map(constant).collect::<Option<Vec<_>>>()?;
                Some(Expression::In(Box::new(column(&list.expr)?), candidates))
            }
            _ => None,
        }
    }

    fn find(&self, filters: &[Expr]) -> Result<Found> {
        let parts = filters.iter().filter_map(|filter| self.translate(filter));
        let condition = parts.reduce(|a, b| Expression::And(Box::new(a), Box::new(b)));
        let random = Random::from_seed(0);
        let context = Context { parameters: &[], now_micros: 0, random: &random };
        let found = Access::new(&self.view, condition).find(&self.view, &context);
        // The filter is checked again above: whatever cannot be compared here only means a wider scan.
        found.or_else(|_| Access::all().find(&self.view, &context))
    }
}

#[async_trait]
impl TableProvider for TableSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        let how = |filter: &&Expr| match self.translate(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(how).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let reading = state.config().get_extension::<Reading>();
        let reading = reading.ok_or_else(|| DataFusionError::Internal("a query has nothing to read from".into()))?;
        let shown: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.positions.len()).collect());
        let scan = TableScan {
            view: self.view.clone(),
            positions: shown.iter().map(|at| self.positions[*at]).collect(),
            schema: Arc::new(self.schema.project(&shown)?),
            found: Arc::new(self.find(filters)?),
            reading: Arc::clone(&reading.0),
            limit,
        };
        let schema = Arc::clone(&scan.schema);
        let plan = StreamingTableExec::try_new(schema, vec![Arc::new(scan)], None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// One scan of a table.
#[derive(Clone)]
struct TableScan {
    view: View,
    positions: Vec<usize>,
    schema: SchemaRef,
    found: Arc<Found>,
    reading: Arc<dyn Read>,
    limit: Option<usize>,
}

impl std::fmt::Debug for TableScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TableScan {:?} {:?}", self.view.name, self.found)
    }
}

impl PartitionStream for TableScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let scan = self.clone();
        let batches = match self.found.as_ref() {
            Found::Points(_) => scan.points().boxed(),
            Found::Range(range) => {
                let range = range.clone();
                futures::stream::once(async move { scan.range(range).await }).try_flatten().boxed()
            }
        };
        let batches = batches.map_err(DataFusionError::from);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

impl TableScan {
    fn builder(&self, rows: usize) -> Builder {
        let types: Vec<Type> = self.positions.iter().map(|at| self.view.schema.columns[*at].column_type).collect();
        Builder::new(&types, Arc::clone(&self.schema), rows)
    }

    fn points(self) -> impl futures::Stream<Item = Result<RecordBatch>> + Send {
        futures::stream::try_unfold((self, 0), |(own, mut at)| async move {
            let Found::Points(keys) = own.found.as_ref() else {
                return Err(Error::Corrupt("a scan of points has none".into()));
            };
            if at == keys.len() {
                return Ok(None);
            }
            let (mut builder, mut bytes) = (own.builder(keys.len() - at), 0);
            while let Some(key) = keys.get(at).filter(|_| bytes < limits::SCAN_BYTES) {
                at += 1;
                if let Some(value) = own.reading.get(key).await? {
                    bytes += value.bytes.len();
                    builder.push(&own.view.decode(key, &value.bytes, &own.positions)?)?;
                }
            }
            Ok(Some((builder.finish()?, (own, at))))
        })
    }

    async fn range(self, range: KeyRange) -> Result<impl futures::Stream<Item = Result<RecordBatch>> + Send> {
        let scan = self.reading.scan(range).await?;
        let rows_left = self.limit.unwrap_or(usize::MAX);
        Ok(futures::stream::try_unfold((self, scan, rows_left), |(own, mut scan, rows_left)| async move {
            let (rows, _) = portion(scan.as_mut(), rows_left.min(limits::SCAN_ROWS)).await?;
            if rows.is_empty() {
                return Ok(None);
            }
            let mut builder = own.builder(rows.len());
            for row in &rows {
                builder.push(&own.view.decode(&row.key, &row.value.bytes, &own.positions)?)?;
            }
            let left = rows_left - rows.len();
            Ok(Some((builder.finish()?, (own, scan, left))))
        }))
    }
}
