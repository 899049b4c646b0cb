//! Numbers of two types beside each other, where DataFusion's rules are not PostgreSQL's.
//!
//! A literal with a point is a decimal. Beside a float DataFusion makes the float a decimal, which fails for large ones,
//! for infinity and NaN; in PostgreSQL the decimal becomes a float.

use crate::Result;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as Planned};
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, cast};

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
        other => Transformed::no(other),
    }
}
