//! A SELECT that DataFusion plans and runs.

use super::arrow;
use super::catalog::Names;
use super::engine::CATALOG;
use super::plan::OutputColumn;
use super::provider::Reading;
use super::stopping::stoppable;
use crate::table::View;
use crate::tables::Inner;
use crate::{Error, Result, Type, Value};
use ballast_store::Read;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::{DFSchemaRef, ParamValues};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::sql::sqlparser::ast;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Planned, with parameters still open.
pub(crate) struct Query {
    pub(crate) columns: Arc<[OutputColumn]>,
    plan: LogicalPlan,
    state: SessionState,
    views: Vec<View>,
    /// What it answers is in the plan: the catalog, or settings, as they were when it was planned.
    pub(crate) momentary: bool,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl Query {
    /// Plans a statement that only reads. Adds to `parameters` the types that it learns.
    pub(crate) async fn plan(
        tables: &Inner,
        names: Arc<Names>,
        mut statement: ast::Statement,
        parameters: &mut Vec<Option<Type>>,
    ) -> Result<Self> {
        let (front, back) = shown_names(&statement);
        super::rewrite::learn_parameters(&statement, parameters);
        tell_apart(&mut statement);
        let definitions = super::rewrite::rewrite(&mut statement, &names).await?;
        let mut state = tables.engine.state();
        if let Some(definitions) = definitions {
            super::catalog::functions::register_definitions(&mut state, definitions)?;
        }
        state.register_catalog_list(Arc::new(super::catalog::Catalogs(Arc::clone(&names))));
        let statement = datafusion::sql::parser::Statement::Statement(Box::new(statement));
        let plan = super::numbers::as_postgresql(state.statement_to_plan(statement).await?)?;
        let plan = super::membership::as_postgresql(plan)?;
        if !reads_only(&plan) {
            return Err(Error::Unsupported("this statement is not supported".into()));
        }
        for (name, of) in plan.get_parameter_types()? {
            let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
            let Some(number) = number.filter(|number| (1..=crate::limits::PARAMETERS_MAX).contains(number)) else {
                return Err(Error::Syntax(format!("at or near \"{name}\"")));
            };
            if parameters.len() < number {
                parameters.resize(number, None);
            }
            parameters[number - 1].get_or_insert(of.as_ref().map_or(Type::Text, Type::of_parameter));
        }
        let schema = schema_of_answer(&plan, parameters, &state);
        let fields = schema.as_ref().unwrap_or(plan.schema()).fields();
        let column = |field: &Arc<datafusion::arrow::datatypes::Field>| {
            OutputColumn::new(field.name().clone(), Type::from_field(field))
        };
        let mut columns: Vec<OutputColumn> = fields.iter().map(column).collect();
        columns.iter_mut().zip(front).for_each(|(column, name)| column.name = name);
        columns.iter_mut().rev().zip(back.into_iter().rev()).for_each(|(column, name)| column.name = name);
        let views = names.take_views();
        Ok(Self { columns: columns.into(), plan, state, views, momentary: names.is_momentary() })
    }

    pub(crate) fn views(&self) -> impl Iterator<Item = &View> {
        self.views.iter()
    }

    /// Runs the query over one cut until it is stopped. Rows come as they are computed.
    pub(crate) async fn run(
        &self,
        reading: Arc<dyn Read>,
        parameters: &[Value],
        types: &[Type],
        stop: &CancellationToken,
    ) -> Result<SendableRecordBatchStream> {
        let mut values = HashMap::with_capacity(parameters.len());
        for (number, (value, of)) in parameters.iter().zip(types).enumerate() {
            let scalar = ScalarAndMetadata::from(arrow::scalar(value, *of)?);
            values.insert((number + 1).to_string(), scalar);
        }
        let plan = match values.is_empty() {
            true => self.plan.clone(),
            false => self.plan.clone().replace_params_with_values(&ParamValues::Map(values))?,
        };
        let mut state = self.state.clone();
        state.mark_start_execution();
        state.config_mut().set_extension(Arc::new(Reading(reading)));
        let physical = stoppable(state.create_physical_plan(&plan).await?, stop)?;
        Ok(datafusion::physical_plan::execute_stream(physical, state.task_ctx())?)
    }
}

/// What the plan answers with once types are made equal, which is when it runs; `None` if that is not known yet.
fn schema_of_answer(plan: &LogicalPlan, parameters: &[Option<Type>], state: &SessionState) -> Option<DFSchemaRef> {
    let null = |(at, of): (usize, &Option<Type>)| {
        let null = arrow::scalar(&Value::Null, of.unwrap_or(Type::Text)).ok()?;
        Some(((at + 1).to_string(), ScalarAndMetadata::from(null)))
    };
    let values: HashMap<_, _> = parameters.iter().enumerate().map(null).collect::<Option<_>>()?;
    let plan = match values.is_empty() {
        true => plan.clone(),
        false => plan.clone().replace_params_with_values(&ParamValues::Map(values)).ok()?,
    };
    let analyzed = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).ok()?;
    Some(Arc::clone(analyzed.schema()))
}

/// True if no node of the plan writes. The parser lets other statements through only by name; this is the proof.
fn reads_only(plan: &LogicalPlan) -> bool {
    let own =
        !matches!(plan, LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_));
    own && plan.inputs().into_iter().all(reads_only)
}

fn outer_select(body: &ast::SetExpr) -> Option<&ast::Select> {
    match body {
        ast::SetExpr::Select(select) => Some(select),
        ast::SetExpr::Query(query) => outer_select(&query.body),
        ast::SetExpr::SetOperation { left, .. } => outer_select(left),
        _ => None,
    }
}

/// What PostgreSQL calls the columns, from the front and from the back.
fn shown_names(statement: &ast::Statement) -> (Vec<String>, Vec<String>) {
    match statement {
        ast::Statement::Query(query) => match outer_select(&query.body) {
            Some(select) => super::plan::select::names_of(&select.projection),
            None => (Vec::new(), Vec::new()),
        },
        _ => (Vec::new(), Vec::new()),
    }
}

/// Gives equal items of a select list names of their own: DataFusion wants them apart.
fn tell_apart(statement: &mut ast::Statement) {
    let ast::Statement::Query(query) = statement else { return };
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return };
    let mut seen: Vec<String> = Vec::new();
    for (at, item) in select.projection.iter_mut().enumerate() {
        let name = match item {
            ast::SelectItem::UnnamedExpr(expr) => expr.to_string().to_lowercase(),
            ast::SelectItem::ExprWithAlias { alias, .. } => super::fold(alias),
            _ => continue,
        };
        if seen.contains(&name) {
            let alias = ast::Ident::with_quote('"', format!("{name}:{at}"));
            if let ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } = item {
                *item = ast::SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        } else {
            seen.push(name);
        }
    }
}

/// How a table function's or a table's name is spelled towards DataFusion.
pub(crate) fn catalog_name() -> &'static str {
    CATALOG
}
