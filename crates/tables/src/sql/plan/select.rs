//! SELECT of one table without DataFusion: by key, by key range, or all of it, with a condition and a limit.

use super::OutputColumn;
use super::access::Access;
use crate::sql::expression::{Compiler, Expression, Scope, ScopeColumn, Stop};
use crate::table::View;
use crate::{Error, Type};
use datafusion::sql::sqlparser::ast;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Select {
    pub(crate) view: View,
    pub(crate) access: Access,
    pub(crate) columns: Arc<[OutputColumn]>,
    /// Positions of the schema's columns to decode; expressions count within these.
    pub(crate) decoded: Vec<usize>,
    /// Over the decoded columns; `None` if the decoded row is the result.
    pub(crate) items: Option<Vec<Expression>>,
    pub(crate) filter: Option<Expression>,
    pub(crate) limit: Option<Expression>,
    pub(crate) offset: Option<Expression>,
}

/// The one table of a FROM clause: name, alias.
pub(crate) fn single_table(from: &[ast::TableWithJoins]) -> Option<(&ast::ObjectName, Option<&ast::Ident>)> {
    let [ast::TableWithJoins { relation, joins }] = from else { return None };
    table_factor(relation).filter(|_| joins.is_empty())
}

pub(crate) fn table_factor(relation: &ast::TableFactor) -> Option<(&ast::ObjectName, Option<&ast::Ident>)> {
    match relation {
        ast::TableFactor::Table { name, alias, args: None, with_hints, version: None, sample: None, .. }
            if with_hints.is_empty() =>
        {
            match alias {
                Some(alias) if !alias.columns.is_empty() => None,
                alias => Some((name, alias.as_ref().map(|alias| &alias.name))),
            }
        }
        _ => None,
    }
}

/// The columns of a table, as a scope under the given name.
pub(crate) fn scope_of(view: &View, name: &str) -> Scope {
    let column = |column: &crate::schema::Column| ScopeColumn {
        table: name.to_owned(),
        name: column.name.clone(),
        column_type: column.column_type,
        bare: true,
    };
    Scope(view.schema.columns.iter().map(column).collect())
}

/// The SELECT if it is of the plain kind: no grouping, no DISTINCT, no window, nothing exotic.
pub(crate) fn plain(query: &ast::Query) -> Option<&ast::Select> {
    let ast::SetExpr::Select(select) = query.body.as_ref() else { return None };
    let grouped =
        !matches!(&select.group_by, ast::GroupByExpr::Expressions(by, with) if by.is_empty() && with.is_empty());
    let exotic = query.with.is_some()
        || query.fetch.is_some()
        || !query.locks.is_empty()
        || query.for_clause.is_some()
        || !query.pipe_operators.is_empty()
        || select.distinct.is_some()
        || select.top.is_some()
        || select.into.is_some()
        || select.having.is_some()
        || select.qualify.is_some()
        || select.prewhere.is_some()
        || !select.lateral_views.is_empty()
        || !select.named_window.is_empty()
        || !select.connect_by.is_empty()
        || select.exclude.is_some();
    (!grouped && !exotic).then_some(select)
}

/// Plans a SELECT over the table that its FROM names; `name` is how its columns are qualified.
pub(crate) fn plan(
    query: &ast::Query,
    select: &ast::Select,
    view: View,
    name: &str,
    compiler: &mut Compiler,
) -> Result<Select, Stop> {
    let scope = scope_of(&view, name);
    let (mut columns, mut items) = (Vec::new(), Vec::new());
    for item in &select.projection {
        output(item, &view, name, &scope, compiler, &mut columns, &mut items)?;
    }
    let condition = select.selection.as_ref().map(|condition| compiler.condition(condition, &scope)).transpose()?;
    let access = Access::new(&view, condition);
    let output = Output { columns: &columns, items: &items };
    check_order(query.order_by.as_ref(), &view, &scope, &access, &output)?;
    let (limit, offset) = limits(query.limit_clause.as_ref(), compiler)?;

    let mut decoded = Vec::new();
    items.iter().for_each(|item| item.add_columns(&mut decoded));
    let whole = items.len() == decoded.len() && access.filter.is_none();
    let plain_columns = items.iter().all(|item| matches!(item, Expression::Column(_)));
    let mut filter = access.filter.clone();
    if let Some(filter) = &filter {
        filter.add_columns(&mut decoded);
    }
    items.iter_mut().for_each(|item| item.remap(&decoded));
    filter.iter_mut().for_each(|filter| filter.remap(&decoded));
    let items = (!(whole && plain_columns)).then_some(items);
    Ok(Select { view, access, columns: columns.into(), decoded, items, filter, limit, offset })
}

/// Adds what one item of a select list or RETURNING list stands for.
pub(crate) fn output(
    item: &ast::SelectItem,
    view: &View,
    name: &str,
    scope: &Scope,
    compiler: &mut Compiler,
    columns: &mut Vec<OutputColumn>,
    items: &mut Vec<Expression>,
) -> Result<(), Stop> {
    let (expr, alias) = match item {
        ast::SelectItem::UnnamedExpr(expr) => (expr, None),
        ast::SelectItem::ExprWithAlias { expr, alias } => (expr, Some(fold(alias))),
        ast::SelectItem::Wildcard(options) if *options == ast::WildcardAdditionalOptions::default() => {
            for at in view.schema.visible() {
                columns.push(own_column(view, at, None));
                items.push(Expression::Column(at));
            }
            return Ok(());
        }
        ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(of), _) if matches!(of.0.as_slice(), [ast::ObjectNamePart::Identifier(of)] if fold(of) == name) =>
        {
            for at in view.schema.visible() {
                columns.push(own_column(view, at, None));
                items.push(Expression::Column(at));
            }
            return Ok(());
        }
        _ => return Err(Stop::Fallback),
    };
    let typed = compiler.compile(expr, scope)?;
    let of = typed.of.unwrap_or(Type::Text);
    let expression = compiler.decide(typed, of)?;
    columns.push(match &expression {
        Expression::Column(at) => own_column(view, *at, alias),
        _ => OutputColumn::new(alias.unwrap_or_else(|| name_of(expr)), of),
    });
    items.push(expression);
    Ok(())
}

fn own_column(view: &View, at: usize, alias: Option<String>) -> OutputColumn {
    let column = &view.schema.columns[at];
    let name = alias.unwrap_or_else(|| column.name.clone());
    OutputColumn { name, column_type: column.column_type, source: Some((view.ino().0, column.id)) }
}

/// PostgreSQL's names of a select list, as far as it tells them: those in front of the first `*`, and those behind
/// the last.
pub(crate) fn names_of(items: &[ast::SelectItem]) -> (Vec<String>, Vec<String>) {
    let name = |item: &ast::SelectItem| match item {
        ast::SelectItem::UnnamedExpr(expr) => Some(name_of(expr)),
        ast::SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    };
    let front: Vec<String> = items.iter().map_while(name).collect();
    if front.len() == items.len() {
        return (front, Vec::new());
    }
    let mut back: Vec<String> = items.iter().rev().map_while(name).collect();
    back.reverse();
    (front, back)
}

/// PostgreSQL's name of an unnamed expression.
fn name_of(expr: &ast::Expr) -> String {
    match expr {
        ast::Expr::Function(function) => {
            let name = function.name.to_string().to_lowercase();
            name.rsplit('.').next().unwrap_or(&name).to_owned()
        }
        ast::Expr::Cast { expr, .. } if matches!(expr.as_ref(), ast::Expr::Identifier(_)) => name_of(expr),
        ast::Expr::Identifier(name) => fold(name),
        ast::Expr::CompoundIdentifier(parts) => parts.last().map(fold).unwrap_or_default(),
        ast::Expr::Nested(inner) => name_of(inner),
        ast::Expr::Exists { .. } => "exists".into(),
        ast::Expr::Case { .. } => "case".into(),
        _ => "?column?".into(),
    }
}

fn fold(ident: &ast::Ident) -> String {
    crate::sql::fold(ident)
}

struct Output<'a> {
    columns: &'a [OutputColumn],
    /// Over the table's columns.
    items: &'a [Expression],
}

impl Output<'_> {
    /// Whether a bare name means something else than this column: in ORDER BY, names of the output come first.
    fn hides(&self, name: &str, at: usize) -> bool {
        let is_column = |item: &Expression| matches!(item, Expression::Column(own) if *own == at);
        self.columns.iter().zip(self.items).any(|(column, item)| column.name == name && !is_column(item))
    }
}

/// Lets an ORDER BY pass that the key order gives anyway.
fn check_order(
    order: Option<&ast::OrderBy>,
    view: &View,
    scope: &Scope,
    access: &Access,
    output: &Output<'_>,
) -> Result<(), Stop> {
    let Some(order) = order else { return Ok(()) };
    let ast::OrderByKind::Expressions(by) = &order.kind else { return Err(Stop::Fallback) };
    let fixed = access.fixed();
    let key = &view.schema.key;
    let mut next = fixed;
    for expr in by {
        let column = match &expr.expr {
            ast::Expr::Identifier(name) => {
                let name = fold(name);
                let at = scope.find(None, &name).map_err(|_| Stop::Fallback)?;
                if output.hides(&name, at) {
                    return Err(Stop::Fallback);
                }
                at
            }
            ast::Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, name] => scope.find(Some(&fold(table)), &fold(name)).map_err(|_| Stop::Fallback)?,
                _ => return Err(Stop::Fallback),
            },
            _ => return Err(Stop::Fallback),
        };
        // A column that is fixed to one value orders nothing; behind the whole key nothing is left to order.
        if key[..fixed].contains(&column) || next >= key.len() {
            continue;
        }
        let ascending = expr.options.asc != Some(false) && expr.options.nulls_first.is_none();
        if !ascending || key[next] != column {
            return Err(Stop::Fallback);
        }
        next += 1;
    }
    Ok(())
}

type Limits = (Option<Expression>, Option<Expression>);

fn limits(clause: Option<&ast::LimitClause>, compiler: &mut Compiler) -> Result<Limits, Stop> {
    let (limit, offset) = match clause {
        None => return Ok((None, None)),
        Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
            (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
        }
        Some(_) => return Err(Stop::Fallback),
    };
    let mut number = |expr: Option<&ast::Expr>| {
        let Some(expr) = expr else { return Ok(None) };
        // LIMIT ALL has no number; whatever else is not one goes to the planner.
        compiler.assignment(expr, &Scope::default(), Type::Int8).map(Some)
    };
    Ok((number(limit)?, number(offset)?))
}

/// The value of a LIMIT or OFFSET.
pub(crate) fn count(value: crate::Value, what: &str) -> Result<Option<usize>, Error> {
    match value {
        crate::Value::Null => Ok(None),
        crate::Value::Int(number) => match usize::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Error::InvalidParameter(format!("{what} must not be negative"))),
        },
        _ => Err(Error::TypeMismatch(format!("argument of {what} must be type bigint"))),
    }
}
