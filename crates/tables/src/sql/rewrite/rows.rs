//! Comparisons of whole rows, as PostgreSQL defines them: column by column, and null where a null decides.

use crate::{Error, Result};
use datafusion::sql::sqlparser::ast::{self, BinaryOperator as Op};

/// Puts what it means in place of a comparison of rows.
pub(super) fn rewrite(expr: &mut ast::Expr) -> Result<()> {
    let replacement = match expr {
        ast::Expr::BinaryOp { left, op, right } => match (row(left), row(right)) {
            (Some(left), Some(right)) => compare(&left, op, &right)?,
            (None, None) => return Ok(()),
            _ => return Err(unsupported(expr)),
        },
        ast::Expr::IsDistinctFrom(left, right) => match (row(left), row(right)) {
            (Some(left), Some(right)) => by_column(&left, &right, Op::Or, ast::Expr::IsDistinctFrom)?,
            (None, None) => return Ok(()),
            _ => return Err(unsupported(expr)),
        },
        ast::Expr::IsNotDistinctFrom(left, right) => match (row(left), row(right)) {
            (Some(left), Some(right)) => by_column(&left, &right, Op::And, ast::Expr::IsNotDistinctFrom)?,
            (None, None) => return Ok(()),
            _ => return Err(unsupported(expr)),
        },
        ast::Expr::InList { expr: first, list, negated } => match row(first) {
            Some(first) => {
                let equal = |item: &ast::Expr| match row(item) {
                    Some(item) => compare(&first, &Op::Eq, &item),
                    None => Err(unsupported(item)),
                };
                let any = joined(list.iter().map(equal).collect::<Result<_>>()?, &Op::Or);
                match negated {
                    true => ast::Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: Box::new(nested(any)) },
                    false => any,
                }
            }
            None if list.iter().any(|item| row(item).is_some()) => return Err(unsupported(expr)),
            None => return Ok(()),
        },
        ast::Expr::IsNull(inner) => match row(inner) {
            Some(items) => joined(items.into_iter().map(|item| ast::Expr::IsNull(Box::new(item))).collect(), &Op::And),
            None => return Ok(()),
        },
        ast::Expr::IsNotNull(inner) => match row(inner) {
            Some(items) => {
                joined(items.into_iter().map(|item| ast::Expr::IsNotNull(Box::new(item))).collect(), &Op::And)
            }
            None => return Ok(()),
        },
        ast::Expr::Between { expr: inner, low, high, .. }
            if [&*inner, &*low, &*high].into_iter().any(|of| row(of).is_some()) =>
        {
            return Err(unsupported(expr));
        }
        _ => return Ok(()),
    };
    *expr = nested(replacement);
    Ok(())
}

fn unsupported(expr: &ast::Expr) -> Error {
    Error::Unsupported(format!("comparing a row in {expr} is not supported: compare its columns"))
}

/// The columns of `(a, b)` or `ROW(a, b)`.
fn row(expr: &ast::Expr) -> Option<Vec<ast::Expr>> {
    match expr {
        ast::Expr::Tuple(items) => Some(items.clone()),
        ast::Expr::Nested(inner) => row(inner),
        ast::Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("row") => {
            let ast::FunctionArguments::List(list) = &function.args else { return None };
            let item = |argument: &ast::FunctionArg| match argument {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            };
            list.args.iter().map(item).collect()
        }
        _ => None,
    }
}

fn nested(expr: ast::Expr) -> ast::Expr {
    ast::Expr::Nested(Box::new(expr))
}

fn binary(left: &ast::Expr, op: &Op, right: &ast::Expr) -> ast::Expr {
    ast::Expr::BinaryOp { left: Box::new(left.clone()), op: op.clone(), right: Box::new(right.clone()) }
}

/// All of them with the operator between, as a tree that is as flat as can be.
fn joined(mut items: Vec<ast::Expr>, op: &Op) -> ast::Expr {
    while items.len() > 1 {
        let mut pairs = Vec::with_capacity(items.len().div_ceil(2));
        let mut rest = items.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => nested(binary(&left, op, &right)),
                None => left,
            });
        }
        items = pairs;
    }
    // A row without columns is not read as one.
    items.pop().unwrap_or(ast::Expr::Value(ast::Value::Boolean(true).into()))
}

fn check_lengths(left: &[ast::Expr], right: &[ast::Expr]) -> Result<()> {
    match left.len() == right.len() {
        true => Ok(()),
        false => Err(Error::Syntax("unequal number of entries in row expressions".into())),
    }
}

fn by_column(
    left: &[ast::Expr],
    right: &[ast::Expr],
    between: Op,
    make: impl Fn(Box<ast::Expr>, Box<ast::Expr>) -> ast::Expr,
) -> Result<ast::Expr> {
    check_lengths(left, right)?;
    let pairs = left.iter().zip(right).map(|(a, b)| nested(make(Box::new(a.clone()), Box::new(b.clone()))));
    Ok(joined(pairs.collect(), &between))
}

fn compare(left: &[ast::Expr], op: &Op, right: &[ast::Expr]) -> Result<ast::Expr> {
    check_lengths(left, right)?;
    let strict = match op {
        Op::Eq => return Ok(joined(left.iter().zip(right).map(|(a, b)| binary(a, op, b)).collect(), &Op::And)),
        Op::NotEq => return Ok(joined(left.iter().zip(right).map(|(a, b)| binary(a, op, b)).collect(), &Op::Or)),
        Op::Lt | Op::LtEq => Op::Lt,
        Op::Gt | Op::GtEq => Op::Gt,
        other => return Err(Error::Unsupported(format!("operator {other} between rows is not supported"))),
    };
    // a < x OR (a = x AND (b < y OR …)): what comes first decides.
    let mut columns = left.iter().zip(right).rev();
    let Some((a, b)) = columns.next() else { return Ok(joined(Vec::new(), &Op::And)) };
    let mut whole = binary(a, op, b);
    for (a, b) in columns {
        let same = nested(binary(&binary(a, &Op::Eq, b), &Op::And, &nested(whole)));
        whole = binary(&binary(a, &strict, b), &Op::Or, &same);
    }
    Ok(whole)
}
