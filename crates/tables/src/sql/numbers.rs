//! Numbers of two types beside each other, where DataFusion's rules are not PostgreSQL's.
//!
//! A literal with a point is a decimal. Beside a float DataFusion makes the float a decimal, which fails for large
//! ones, for infinity and NaN; in PostgreSQL the decimal becomes a float. So it is in CASE, in the functions that
//! choose one of their arguments, and in a UNION.
//!
//! A uuid is text here: a literal beside one is spelled as all uuids are.

use crate::value::text;
use crate::{Result, Type};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result as Planned, ScalarValue};
use datafusion::logical_expr::expr::{Between, Case, InList, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Union, cast};
use std::sync::Arc;

/// The plan with PostgreSQL's types. Names of columns stay.
pub(crate) fn as_postgresql(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(in_node)?.data)
}

fn in_node(plan: LogicalPlan) -> Planned<Transformed<LogicalPlan>> {
    super::rules::in_node(in_union(plan)?, |expr, schema| {
        expr.transform_up(|expr| in_expression(expr, schema)?.transform_data(|expr| uuids(expr, schema)))
    })
}

fn in_expression(expr: Expr, schema: &DFSchema) -> Planned<Transformed<Expr>> {
    let is_float = |expr: &Expr| expr.get_type(schema).is_ok_and(|of| of.is_floating());
    let is_decimal = |expr: &Expr| expr.get_type(schema).is_ok_and(|of| of.is_decimal());
    let to_float = |expr: Expr| if is_decimal(&expr) { cast(expr, DataType::Float64) } else { expr };
    let are_mixed = |all: &mut dyn Iterator<Item = &Expr>| {
        let (mut floats, mut decimals) = (false, false);
        all.for_each(|expr| (floats, decimals) = (floats || is_float(expr), decimals || is_decimal(expr)));
        floats && decimals
    };
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if (is_float(&left) && is_decimal(&right)) || (is_decimal(&left) && is_float(&right)) =>
        {
            let (left, right) = (Box::new(to_float(*left)), Box::new(to_float(*right)));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        Expr::Between(Between { expr, negated, low, high }) if is_float(&expr) => {
            let (low, high) = (Box::new(to_float(*low)), Box::new(to_float(*high)));
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        Expr::InList(InList { expr, list, negated }) if is_float(&expr) => {
            let list = list.into_iter().map(to_float).collect();
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        Expr::Case(mut case) if are_mixed(&mut results(&case)) => {
            case.when_then_expr.iter_mut().for_each(|(_, then)| change(then, to_float));
            case.else_expr.iter_mut().for_each(|otherwise| change(otherwise, to_float));
            Transformed::yes(Expr::Case(case))
        }
        Expr::ScalarFunction(ScalarFunction { func, args })
            if ["coalesce", "greatest", "least", "nullif"].contains(&func.name()) && are_mixed(&mut args.iter()) =>
        {
            let args = args.into_iter().map(to_float).collect();
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
        }
        other => Transformed::no(other),
    })
}

fn results(case: &Case) -> impl Iterator<Item = &Expr> {
    case.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(case.else_expr.as_deref())
}

fn change(expr: &mut Box<Expr>, how: impl Fn(Expr) -> Expr) {
    **expr = how(std::mem::take(&mut **expr));
}

/// The inputs of a UNION with floats in the columns in which another has floats.
fn in_union(plan: LogicalPlan) -> Planned<LogicalPlan> {
    let LogicalPlan::Union(union) = plan else { return Ok(plan) };
    let of = |input: &LogicalPlan, at: usize| input.schema().fields().get(at).map(|field| field.data_type().clone());
    let columns = union.schema.fields().len();
    let is_float = |at| union.inputs.iter().any(|input| of(input, at).is_some_and(|of| of.is_floating()));
    let floats: Vec<bool> = (0..columns).map(is_float).collect();
    let is_changed = |input: &LogicalPlan, at: usize| floats[at] && of(input, at).is_some_and(|of| of.is_decimal());
    if !union.inputs.iter().any(|input| (0..columns).any(|at| is_changed(input, at))) {
        return Ok(LogicalPlan::Union(union));
    }
    let converted = |input: &Arc<LogicalPlan>| {
        let column = |(at, column): (usize, Column)| match is_changed(input, at) {
            true => cast(Expr::Column(column.clone()), DataType::Float64).alias_qualified(column.relation, column.name),
            false => Expr::Column(column),
        };
        let exprs: Vec<Expr> = input.schema().columns().into_iter().enumerate().map(column).collect();
        Ok(Arc::new(LogicalPlanBuilder::from(input.as_ref().clone()).project(exprs)?.build()?))
    };
    let inputs = union.inputs.iter().map(converted).collect::<Planned<Vec<_>>>()?;
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
}

/// Spells the literals beside a uuid as all uuids are spelled.
fn uuids(expr: Expr, schema: &DFSchema) -> Planned<Transformed<Expr>> {
    let is_uuid = |expr: &Expr| {
        matches!(expr, Expr::Column(_))
            && expr.to_field(schema).is_ok_and(|(_, field)| Type::from_field(&field) == Type::Uuid)
    };
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if op.supports_propagation() && (is_uuid(&left) || is_uuid(&right)) =>
        {
            let (left, right) = (Box::new(uuid(*left)?), Box::new(uuid(*right)?));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        Expr::Between(Between { expr, negated, low, high }) if is_uuid(&expr) => {
            let (low, high) = (Box::new(uuid(*low)?), Box::new(uuid(*high)?));
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        Expr::InList(InList { expr, list, negated }) if is_uuid(&expr) => {
            let list = list.into_iter().map(uuid).collect::<Planned<_>>()?;
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        other => Transformed::no(other),
    })
}

fn uuid(expr: Expr) -> Planned<Expr> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(literal)), metadata) => {
            let value = text::parse(&literal, Type::Uuid)?;
            Ok(Expr::Literal(ScalarValue::Utf8(Some(text::print(&value, Type::Uuid))), metadata))
        }
        other => Ok(other),
    }
}
