//! What DataFusion answers in another way than PostgreSQL, without an error: refused.

use crate::{Error, Result};
use datafusion::sql::sqlparser::ast;

pub(super) fn query(query: &ast::Query) -> Result<()> {
    body(&query.body)
}

fn body(of: &ast::SetExpr) -> Result<()> {
    match of {
        ast::SetExpr::SetOperation { left, op, set_quantifier, right } => {
            let counts = matches!(op, ast::SetOperator::Intersect | ast::SetOperator::Except | ast::SetOperator::Minus)
                && *set_quantifier == ast::SetQuantifier::All;
            if counts {
                return Err(Error::Unsupported(format!("{op} ALL is not supported")));
            }
            body(left)?;
            body(right)
        }
        ast::SetExpr::Select(select) => {
            let nested = select.from.iter().flat_map(|table| &table.joins);
            nested.into_iter().try_for_each(|join| joins(&join.join_operator))
        }
        _ => Ok(()),
    }
}

/// Of a table in FROM: joins inside parentheses.
pub(super) fn table(factor: &ast::TableFactor) -> Result<()> {
    match factor {
        ast::TableFactor::NestedJoin { table_with_joins, .. } => {
            table_with_joins.joins.iter().try_for_each(|join| joins(&join.join_operator))
        }
        _ => Ok(()),
    }
}

/// The column that both sides share would be the left one's.
fn joins(operator: &ast::JoinOperator) -> Result<()> {
    use ast::{JoinConstraint, JoinOperator};
    match operator {
        JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
            if matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural) =>
        {
            let text = "USING and NATURAL with RIGHT or FULL JOIN are not supported: write ON, and coalesce(a.x, b.x)";
            Err(Error::Unsupported(text.into()))
        }
        _ => Ok(()),
    }
}

pub(super) fn expression(expr: &ast::Expr) -> Result<()> {
    match expr {
        ast::Expr::SimilarTo { .. } => Err(Error::Unsupported("SIMILAR TO is not supported: use LIKE or ~".into())),
        ast::Expr::AtTimeZone { time_zone, .. } if !is_utc(time_zone) => {
            Err(Error::Unsupported(format!("AT TIME ZONE {time_zone} is not supported: times are in UTC")))
        }
        ast::Expr::TypedString(ast::TypedString { data_type: ast::DataType::Timestamp(Some(digits), _), .. })
            if *digits < 6 =>
        {
            Err(Error::Unsupported(format!("timestamp({digits}) is not supported: times have microseconds")))
        }
        ast::Expr::Function(function) => called(function),
        _ => Ok(()),
    }
}

fn is_utc(zone: &ast::Expr) -> bool {
    let ast::Expr::Value(value) = zone else { return false };
    matches!(&value.value, ast::Value::SingleQuotedString(name) if crate::session::is_utc(name))
}

fn called(function: &ast::Function) -> Result<()> {
    let name = function.name.to_string().to_lowercase();
    let ordered_down = |list: &ast::FunctionArgumentList| {
        let down = |by: &ast::OrderByExpr| by.options.asc == Some(false);
        list.clauses.iter().any(|clause| match clause {
            ast::FunctionArgumentClause::OrderBy(by) => by.iter().any(down),
            _ => false,
        })
    };
    match (name.as_str(), &function.args) {
        ("to_char", _) => Err(Error::Unsupported("function to_char is not supported".into())),
        ("generate_series", _) => {
            Err(Error::Unsupported("generate_series is supported in FROM only, not as an expression".into()))
        }
        ("string_agg", ast::FunctionArguments::List(list))
            if list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct) && ordered_down(list) =>
        {
            Err(Error::Unsupported("string_agg of distinct values cannot be in descending order".into()))
        }
        _ => Ok(()),
    }
}
