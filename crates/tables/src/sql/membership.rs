//! Whether a value is among those of a subquery: `IN`, `ANY` and `ALL`, with their nulls.
//!
//! DataFusion finds `IN` by a join. Where it is a condition of its own, null is as good as false; anywhere else, and
//! for NOT IN of a subquery that names columns from outside, it is not. There `IN` becomes `= ANY`, which is true,
//! false or null. That puts the value in front into the subquery, so the subquery's column gets a name of its own: over
//! the same table it would be taken for the value. Where the subquery names columns from outside it cannot, and is
//! refused.

use crate::{Error, Result};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as Planned};
use datafusion::logical_expr::expr::{InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Subquery};
use std::sync::Arc;

/// The plan with PostgreSQL's nulls. Names of columns stay.
pub(crate) fn as_postgresql(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut aliases = 0;
    Ok(plan.transform_up_with_subqueries(|plan| in_node(plan, &mut aliases))?.data)
}

/// What a subquery is looked at from.
struct Around<'a> {
    schema: DFSchema,
    /// How many subqueries have got a name so far.
    aliases: &'a mut usize,
}

fn in_node(plan: LogicalPlan, aliases: &mut usize) -> Planned<Transformed<LogicalPlan>> {
    let around = &mut Around { schema: merge_schema(&plan.inputs()), aliases };
    if let LogicalPlan::Filter(Filter { predicate, input, .. }) = plan {
        let predicate = condition(predicate, around)?;
        return Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, input)?)));
    }
    if let LogicalPlan::Join(mut join) = plan {
        join.filter = join.filter.map(|filter| condition(filter, around)).transpose()?;
        return Ok(Transformed::yes(LogicalPlan::Join(join)));
    }
    let preserver = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = preserver.save(&expr);
        let changed = anywhere(expr, around)?;
        Ok(changed.update_data(|expr| name.restore(expr)))
    })
}

/// Of what must be true: null is as good as false.
fn condition(expr: Expr, around: &mut Around<'_>) -> Planned<Expr> {
    let is_bare = |inside: &InSubquery, negated: bool| !negated || inside.subquery.outer_ref_columns.is_empty();
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let (left, right) = (Box::new(condition(*left, around)?), Box::new(condition(*right, around)?));
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right })
        }
        Expr::InSubquery(inside) if is_bare(&inside, inside.negated) => Expr::InSubquery(inside),
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(inside) if is_bare(&inside, !inside.negated) => {
                Expr::InSubquery(InSubquery { negated: !inside.negated, ..inside })
            }
            other => Expr::Not(Box::new(anywhere(other, around)?.data)),
        },
        other => anywhere(other, around)?.data,
    })
}

fn anywhere(expr: Expr, around: &mut Around<'_>) -> Planned<Transformed<Expr>> {
    expr.transform_up(|expr| {
        Ok(match expr {
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let subquery = named(subquery, around)?;
                let any = Expr::SetComparison(SetComparison::new(expr, subquery, Operator::Eq, SetQuantifier::Any));
                Transformed::yes(if negated { Expr::Not(Box::new(any)) } else { any })
            }
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
                let subquery = named(subquery, around)?;
                Transformed::yes(Expr::SetComparison(SetComparison::new(expr, subquery, op, quantifier)))
            }
            other => Transformed::no(other),
        })
    })
}

fn named(subquery: Subquery, around: &mut Around<'_>) -> Planned<Subquery> {
    if subquery.subquery.schema().fields().is_empty() {
        return Ok(subquery);
    }
    if !subquery.outer_ref_columns.is_empty() {
        let (relation, column) = subquery.subquery.schema().qualified_field(0);
        return match around.schema.has_column(&(relation, column).into()) {
            true => {
                let text = "a subquery that names columns from outside needs an alias for the table that it is over";
                Err(Error::Unsupported(text.into()).into())
            }
            false => Ok(subquery),
        };
    }
    *around.aliases += 1;
    let alias = format!("among {}", around.aliases);
    let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(subquery.subquery)).alias(alias)?;
    Ok(Subquery { subquery: Arc::new(plan.build()?), ..subquery })
}
