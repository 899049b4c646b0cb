//! INSERT, UPDATE and DELETE, planned.
//!
//! Whatever finds the rows, the writing is ours: DataFusion only ever reads. An UPDATE or DELETE that we cannot
//! evaluate becomes a SELECT of the whole old rows and the new values ([`Target::Query`]).

use super::OutputColumn;
use super::access::Access;
use super::select::{output, scope_of, single_table, table_factor};
use crate::sql::expression::{Compiler, Expression, Scope, ScopeColumn, Stop};
use crate::sql::fold;
use crate::sql::query::Query;
use crate::table::View;
use crate::{Error, Result, Type, Value};
use datafusion::sql::sqlparser::ast;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Returning {
    pub(crate) columns: Arc<[OutputColumn]>,
    /// Over the whole row.
    pub(crate) items: Vec<Expression>,
}

#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) view: View,
    pub(crate) source: Source,
    pub(crate) conflict: Conflict,
    pub(crate) returning: Option<Returning>,
}

#[derive(Debug)]
pub(crate) enum Source {
    /// One expression per column of the table.
    Values(Vec<Vec<Expression>>),
    /// Its columns go to `positions`; the other columns take their defaults.
    Query { query: Box<Query>, positions: Vec<usize>, defaults: Vec<Expression> },
}

#[derive(Debug)]
pub(crate) enum Conflict {
    Refuse,
    Skip,
    /// Assignments and condition over the old row followed by the row that was to be inserted.
    Update {
        assignments: Vec<(usize, Expression)>,
        filter: Option<Expression>,
    },
}

#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) view: View,
    pub(crate) target: Target,
    /// Positions to assign. The new values are expressions over the old row, or come behind it from the query.
    pub(crate) positions: Vec<usize>,
    pub(crate) values: Vec<Expression>,
    pub(crate) returning: Option<Returning>,
}

#[derive(Debug)]
pub(crate) struct Delete {
    pub(crate) view: View,
    pub(crate) target: Target,
    pub(crate) returning: Option<Returning>,
}

/// How the rows are found.
#[derive(Debug)]
pub(crate) enum Target {
    Access(Access),
    /// A query that gives whole rows of the table, and behind them the new values.
    Query(Box<Query>),
}

impl Target {
    pub(crate) fn views<'a>(&'a self, own: &'a View) -> Vec<&'a View> {
        let mut views = vec![own];
        if let Self::Query(query) = self {
            views.extend(query.views());
        }
        views
    }

    /// True if the keys are known without reading: then key locks suffice, and no transaction is needed.
    pub(crate) fn is_points(&self) -> bool {
        matches!(self, Self::Access(access) if matches!(access.keys, super::access::Keys::Points(_)))
    }
}

/// The table that a statement writes: name and alias.
pub(crate) fn insert_target(insert: &ast::Insert) -> Result<&ast::ObjectName> {
    let exotic = insert.or.is_some()
        || insert.ignore
        || insert.overwrite
        || !insert.assignments.is_empty()
        || insert.partitioned.is_some()
        || insert.replace_into
        || insert.output.is_some();
    match &insert.table {
        ast::TableObject::TableName(name) if !exotic => Ok(name),
        _ => Err(Error::Unsupported("this form of INSERT is not supported".into())),
    }
}

pub(crate) fn update_target(update: &ast::Update) -> Result<(&ast::ObjectName, Option<&ast::Ident>)> {
    let exotic = update.or.is_some() || update.output.is_some() || !update.table.joins.is_empty();
    if exotic || update.limit.is_some() || !update.order_by.is_empty() {
        return Err(Error::Unsupported(
            "UPDATE with LIMIT, ORDER BY or OR is not supported: name the keys in a subquery".into(),
        ));
    }
    table_factor(&update.table.relation)
        .ok_or_else(|| Error::Unsupported("UPDATE of anything but one table is not supported".into()))
}

pub(crate) fn delete_target(delete: &ast::Delete) -> Result<(&ast::ObjectName, Option<&ast::Ident>)> {
    if delete.limit.is_some() || !delete.order_by.is_empty() || delete.output.is_some() || !delete.tables.is_empty() {
        return Err(Error::Unsupported(
            "DELETE with LIMIT or ORDER BY is not supported: name the keys in a subquery".into(),
        ));
    }
    let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
    single_table(from).ok_or_else(|| Error::Unsupported("DELETE of anything but one table is not supported".into()))
}

/// Positions of the columns that an INSERT lists, or of all.
pub(crate) fn insert_columns(view: &View, listed: &[ast::ObjectName]) -> Result<Vec<usize>> {
    if listed.is_empty() {
        return Ok(view.schema.visible().collect());
    }
    let mut positions = Vec::with_capacity(listed.len());
    for name in listed {
        let at = column_position(view, name)?;
        if positions.contains(&at) {
            return Err(Error::DuplicateColumn(view.schema.columns[at].name.clone()));
        }
        positions.push(at);
    }
    Ok(positions)
}

fn column_position(view: &View, name: &ast::ObjectName) -> Result<usize> {
    match name.0.last() {
        Some(ast::ObjectNamePart::Identifier(ident)) => {
            let name = fold(ident);
            let at = view.schema.find(&name).filter(|at| !view.schema.columns[*at].hidden);
            at.ok_or_else(|| Error::UndefinedColumn(name))
        }
        _ => Err(Error::UndefinedColumn(name.to_string())),
    }
}

/// The default of each column, as an expression; the hidden row id is made by the writer.
pub(crate) fn defaults(view: &View) -> Result<Vec<Expression>> {
    view.schema.columns.iter().map(default_of).collect()
}

fn default_of(column: &crate::schema::Column) -> Result<Expression> {
    let Some(sql) = &column.default else { return Ok(Expression::Constant(Value::Null)) };
    compile_default(sql, column.column_type)
}

/// Compiles the SQL of a default; it names no columns.
pub(crate) fn compile_default(sql: &str, of: Type) -> Result<Expression> {
    let expr = crate::sql::parse_expression(sql)?;
    let mut compiler = Compiler::default();
    match compiler.assignment(&expr, &Scope::default(), of) {
        Ok(expression) if compiler.parameters.is_empty() => {
            let fitted = matches!(&expression, Expression::Constant(_));
            // A constant is fitted now, so that a wrong default is refused when it is made.
            if let (true, Expression::Constant(value)) = (fitted, &expression) {
                return Ok(Expression::Constant(value.clone().assign(of)?));
            }
            Ok(expression)
        }
        Ok(_) => Err(Error::InvalidDefinition("a default cannot have parameters".into())),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Fallback) => Err(Error::Unsupported(format!("the default {sql} is not supported"))),
    }
}

/// The rows of VALUES, one expression per column of the table.
pub(crate) fn insert_values(
    view: &View,
    positions: &[usize],
    rows: &[ast::Parens<Vec<ast::Expr>>],
    compiler: &mut Compiler,
) -> Result<Vec<Vec<Expression>>, Stop> {
    let defaults = defaults(view)?;
    let mut compiled = Vec::with_capacity(rows.len());
    for row in rows {
        let exprs: &Vec<ast::Expr> = &row.content;
        if exprs.len() > positions.len() {
            return Err(Error::Syntax("INSERT has more expressions than target columns".into()).into());
        }
        if exprs.len() < positions.len() && exprs.len() != view.schema.visible().count() {
            let listed_all = positions.len() == view.schema.visible().count();
            if !listed_all {
                return Err(Error::Syntax("INSERT has more target columns than expressions".into()).into());
            }
        }
        let mut whole = defaults.clone();
        for (expr, at) in exprs.iter().zip(positions) {
            if is_default(expr) {
                continue;
            }
            whole[*at] = compiler.assignment(expr, &Scope::default(), view.schema.columns[*at].column_type)?;
        }
        compiled.push(whole);
    }
    Ok(compiled)
}

fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

pub(crate) fn conflict(
    on: Option<&ast::OnInsert>,
    view: &View,
    name: &str,
    compiler: &mut Compiler,
) -> Result<Conflict, Stop> {
    let on = match on {
        None => return Ok(Conflict::Refuse),
        Some(ast::OnInsert::OnConflict(on)) => on,
        Some(_) => return Err(Error::Unsupported("ON DUPLICATE KEY is not supported: use ON CONFLICT".into()).into()),
    };
    check_conflict_target(on.conflict_target.as_ref(), view)?;
    let update = match &on.action {
        ast::OnConflictAction::DoNothing => return Ok(Conflict::Skip),
        ast::OnConflictAction::DoUpdate(update) => update,
    };
    if on.conflict_target.is_none() {
        let text = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
        return Err(Error::Syntax(text.into()).into());
    }
    let mut scope = scope_of(view, name);
    let excluded: Vec<ScopeColumn> =
        scope.0.iter().map(|column| ScopeColumn { table: "excluded".into(), bare: false, ..column.clone() }).collect();
    scope.0.extend(excluded);
    let (positions, values) = assignments(&update.assignments, view, &scope, compiler)?;
    if positions.iter().any(|at| view.schema.key.contains(at)) {
        let same_key = |(at, value): (&usize, &Expression)| {
            !view.schema.key.contains(at)
                || matches!(value, Expression::Column(from) if *from == *at + view.schema.columns.len())
        };
        if !positions.iter().zip(&values).all(same_key) {
            return Err(Error::Unsupported("ON CONFLICT DO UPDATE cannot change the primary key".into()).into());
        }
    }
    let filter = update.selection.as_ref().map(|condition| compiler.condition(condition, &scope)).transpose()?;
    Ok(Conflict::Update { assignments: positions.into_iter().zip(values).collect(), filter })
}

fn check_conflict_target(target: Option<&ast::ConflictTarget>, view: &View) -> Result<()> {
    let fits = match target {
        None => true,
        Some(ast::ConflictTarget::Columns(columns)) => {
            let named: Vec<Option<usize>> = columns.iter().map(|column| view.schema.find(&fold(column))).collect();
            if let Some(at) = named.iter().position(Option::is_none) {
                return Err(Error::UndefinedColumn(fold(&columns[at])));
            }
            named.len() == view.schema.key.len() && view.schema.key.iter().all(|at| named.contains(&Some(*at)))
        }
        Some(ast::ConflictTarget::OnConstraint(name)) => {
            let name = name.to_string();
            name.trim_matches('"') == view.constraint()
        }
    };
    let text = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
    if fits { Ok(()) } else { Err(Error::InvalidDefinition(text.into())) }
}

/// Positions and new values of a SET list.
pub(crate) fn assignments(
    list: &[ast::Assignment],
    view: &View,
    scope: &Scope,
    compiler: &mut Compiler,
) -> Result<(Vec<usize>, Vec<Expression>), Stop> {
    let (mut positions, mut values) = (Vec::new(), Vec::new());
    for (at, expr) in flatten_assignments(list, view)? {
        let column = &view.schema.columns[at];
        values.push(if is_default(expr) {
            default_of(column)?
        } else {
            compiler.assignment(expr, scope, column.column_type)?
        });
        positions.push(at);
    }
    Ok((positions, values))
}

/// Each assigned column with its expression; `(a, b) = (1, 2)` is two.
pub(crate) fn flatten_assignments<'a>(list: &'a [ast::Assignment], view: &View) -> Result<Vec<(usize, &'a ast::Expr)>> {
    let mut flat: Vec<(usize, &ast::Expr)> = Vec::new();
    for assignment in list {
        match (&assignment.target, &assignment.value) {
            (ast::AssignmentTarget::ColumnName(name), value) => flat.push((column_position(view, name)?, value)),
            (ast::AssignmentTarget::Tuple(names), ast::Expr::Tuple(values)) if names.len() == values.len() => {
                for (name, value) in names.iter().zip(values) {
                    flat.push((column_position(view, name)?, value));
                }
            }
            (ast::AssignmentTarget::Tuple(_), _) => {
                return Err(Error::Unsupported("SET (columns) = needs as many values in parentheses".into()));
            }
        }
    }
    for (number, (at, _)) in flat.iter().enumerate() {
        if flat[..number].iter().any(|(other, _)| other == at) {
            return Err(Error::Syntax(format!("multiple assignments to column \"{}\"", view.schema.columns[*at].name)));
        }
    }
    Ok(flat)
}

/// What an assignment assigns, where the planner computes it.
pub(crate) fn assigned_expression(view: &View, at: usize, expr: &ast::Expr) -> Result<ast::Expr> {
    if !is_default(expr) {
        return Ok(expr.clone());
    }
    match &view.schema.columns[at].default {
        Some(sql) => crate::sql::parse_expression(sql),
        None => Ok(ast::Expr::Value(ast::Value::Null.into())),
    }
}

pub(crate) fn returning(
    items: Option<&Vec<ast::SelectItem>>,
    view: &View,
    name: &str,
    compiler: &mut Compiler,
) -> Result<Option<Returning>> {
    let Some(list) = items else { return Ok(None) };
    let scope = scope_of(view, name);
    let (mut columns, mut items) = (Vec::new(), Vec::new());
    for item in list {
        output(item, view, name, &scope, compiler, &mut columns, &mut items).map_err(|stop| match stop {
            Stop::Error(error) => error,
            Stop::Fallback => Error::Unsupported(format!("RETURNING {item} is not supported")),
        })?;
    }
    Ok(Some(Returning { columns: columns.into(), items }))
}
