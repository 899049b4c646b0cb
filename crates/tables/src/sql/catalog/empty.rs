//! Catalog tables that never hold anything here: policies, publications, triggers and their like.
//!
//! A query that needs a row of one of them has no rows, whatever else it says; it is answered without being
//! planned, since the expressions around such tables are often beyond DataFusion.

use crate::Type;
use crate::sql::plan::OutputColumn;
use crate::sql::{fold, name_parts};
use datafusion::sql::sqlparser::ast;

const EMPTY: [&str; 28] = [
    "pg_amop",
    "pg_cast",
    "pg_collation",
    "pg_conversion",
    "pg_db_role_setting",
    "pg_default_acl",
    "pg_depend",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_inherits",
    "pg_language",
    "pg_largeobject_metadata",
    "pg_opfamily",
    "pg_partitioned_table",
    "pg_policy",
    "pg_publication",
    "pg_publication_rel",
    "pg_rewrite",
    "pg_seclabels",
    "pg_sequence",
    "pg_statistic_ext",
    "pg_subscription",
    "pg_trigger",
    "pg_user_mappings",
];

/// The columns of a query that surely gives no rows; `None` if it may give some.
pub(crate) fn columns(query: &ast::Query) -> Option<Vec<OutputColumn>> {
    if !is_empty(&query.body) {
        return None;
    }
    first_select(&query.body).map(|select| select.projection.iter().map(column).collect())
}

fn is_empty(body: &ast::SetExpr) -> bool {
    match body {
        ast::SetExpr::Select(select) => {
            let aggregates = select.projection.iter().any(|item| {
                let text = item.to_string().to_lowercase();
                ["count(", "sum(", "max(", "min(", "_agg("].iter().any(|name| text.starts_with(name))
            });
            !aggregates && select.from.iter().any(needs_empty)
        }
        ast::SetExpr::SetOperation { op: ast::SetOperator::Union, left, right, .. } => {
            is_empty(left) && is_empty(right)
        }
        ast::SetExpr::Query(inner) => is_empty(&inner.body),
        _ => false,
    }
}

fn first_select(body: &ast::SetExpr) -> Option<&ast::Select> {
    match body {
        ast::SetExpr::Select(select) => Some(select),
        ast::SetExpr::SetOperation { left, .. } => first_select(left),
        ast::SetExpr::Query(inner) => first_select(&inner.body),
        _ => None,
    }
}

/// True if no row can come of these tables.
fn needs_empty(tables: &ast::TableWithJoins) -> bool {
    use ast::JoinOperator as Join;
    let outer = tables
        .joins
        .iter()
        .any(|join| matches!(join.join_operator, Join::Right(_) | Join::RightOuter(_) | Join::FullOuter(_)));
    let inner = |join: &&ast::Join| matches!(join.join_operator, Join::Join(_) | Join::Inner(_) | Join::CrossJoin(_));
    !outer
        && (is_empty_table(&tables.relation)
            || tables.joins.iter().filter(inner).any(|join| is_empty_table(&join.relation)))
}

fn is_empty_table(relation: &ast::TableFactor) -> bool {
    let ast::TableFactor::Table { name, .. } = relation else { return false };
    let parts = name_parts(name).unwrap_or_default();
    let in_catalog = parts.len() == 1 || parts.iter().rev().nth(1).is_some_and(|schema| schema == super::PG_CATALOG);
    in_catalog && parts.last().is_some_and(|name| EMPTY.contains(&name.as_str()))
}

fn column(item: &ast::SelectItem) -> OutputColumn {
    let name = match item {
        ast::SelectItem::ExprWithAlias { alias, .. } => fold(alias),
        ast::SelectItem::UnnamedExpr(ast::Expr::Identifier(name)) => fold(name),
        ast::SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(parts)) => {
            parts.last().map(fold).unwrap_or_default()
        }
        _ => "?column?".to_owned(),
    };
    OutputColumn::new(name, Type::Text)
}
