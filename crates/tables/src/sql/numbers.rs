//! Numbers of two types beside each other, where DataFusion's rules are not PostgreSQL's.
//!
//! A literal with a point is a decimal. Beside a float DataFusion makes the float a decimal, which fails for large ones,
//! for infinity and NaN; in PostgreSQL the decimal becomes a float. And the sum of bigints is a numeric there, while
//! DataFusion's is a bigint that starts again from the other end.

use crate::Result;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as Planned};
use datafusion::logical_expr::expr::{AggregateFunction, Between, InList, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, cast};

/// Of so many digits is a bigint; its sum has ten more.
const BIGINT: DataType = DataType::Decimal128(20, 0);

/// The plan with PostgreSQL's types. Names of columns stay.
pub(crate) fn as_postgresql(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(in_node)?.data)
}

fn in_node(plan: LogicalPlan) -> Planned<Transformed<LogicalPlan>> {
    let (schema, names) = (merge_schema(&plan.inputs()), NamePreserver::new(&plan));
    let changed = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let changed = expr.transform_up(|expr| Ok(in_expression(expr, &schema)))?;
        Ok(changed.update_data(|expr| name.restore(expr)))
    })?;
    changed.map_data(LogicalPlan::recompute_schema)
}

fn in_expression(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_float = |expr: &Expr| expr.get_type(schema).is_ok_and(|of| of.is_floating());
    let is_decimal = |expr: &Expr| expr.get_type(schema).is_ok_and(|of| of.is_decimal());
    let to_float = |expr: Expr| if is_decimal(&expr) { cast(expr, DataType::Float64) } else { expr };
    match expr {
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
        Expr::AggregateFunction(AggregateFunction { func, mut params }) if func.name() == "sum" => {
            let changed = widen(&mut params.args, schema);
            Transformed::new_transformed(Expr::AggregateFunction(AggregateFunction { func, params }), changed)
        }
        Expr::WindowFunction(mut window) if window.fun.name() == "sum" => {
            let WindowFunction { params, .. } = window.as_mut();
            let changed = widen(&mut params.args, schema);
            Transformed::new_transformed(Expr::WindowFunction(window), changed)
        }
        other => Transformed::no(other),
    }
}

/// Makes decimals of what is summed up, if it is of bigints.
fn widen(arguments: &mut [Expr], schema: &DFSchema) -> bool {
    let mut changed = false;
    for argument in arguments {
        if argument.get_type(schema).is_ok_and(|of| of == DataType::Int64) {
            *argument = cast(argument.clone(), BIGINT);
            changed = true;
        }
    }
    changed
}
