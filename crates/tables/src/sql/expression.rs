//! Expressions that we evaluate ourselves: what the direct path and every write need.
//!
//! [`compile`] takes the part of SQL that occurs in key look-ups, INSERT values, SET lists and ON CONFLICT
//! actions, and hands back [`Stop::Fallback`] for anything else, which then goes through DataFusion. An
//! expression is compiled once per prepared statement; evaluation allocates only for new text.

mod compile;
mod evaluate;
mod function;

pub(crate) use compile::{Compiler, Scope, ScopeColumn, Stop, Typed};
pub(crate) use evaluate::Context;
pub(crate) use function::Function;

use crate::{Type, Value};

/// What can be evaluated over a row of values.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Constant(Value),
    /// Number from 0.
    Parameter(usize),
    /// Position in the row that the scope describes.
    Column(usize),
    Not(Box<Expression>),
    Negate(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Compare(Comparison, Box<Expression>, Box<Expression>),
    Arithmetic(Arithmetic, Box<Expression>, Box<Expression>, Type),
    Concatenate(Box<Expression>, Box<Expression>),
    IsNull(Box<Expression>),
    /// True if the first equals any of the others.
    In(Box<Expression>, Vec<Expression>),
    /// True only for true, false for false and null.
    IsTrue(Box<Expression>),
    IsFalse(Box<Expression>),
    /// Equal, where two nulls are equal.
    Same(Box<Expression>, Box<Expression>),
    Case(Vec<(Expression, Expression)>, Box<Expression>),
    Cast(Box<Expression>, Type),
    Call(Function, Vec<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// The comparison that holds of `b, a` where this one holds of `a, b`.
    pub(crate) fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Expression {
    /// True if no column occurs: its value is the same for all rows of one execution.
    pub(crate) fn is_free_of_columns(&self) -> bool {
        match self {
            Self::Constant(_) | Self::Parameter(_) => true,
            Self::Column(_) => false,
            Self::Not(a) | Self::Negate(a) | Self::IsNull(a) | Self::IsTrue(a) | Self::IsFalse(a) => {
                a.is_free_of_columns()
            }
            Self::And(a, b)
            | Self::Or(a, b)
            | Self::Compare(_, a, b)
            | Self::Arithmetic(_, a, b, _)
            | Self::Concatenate(a, b)
            | Self::Same(a, b) => a.is_free_of_columns() && b.is_free_of_columns(),
            Self::In(a, list) => a.is_free_of_columns() && list.iter().all(Self::is_free_of_columns),
            Self::Case(arms, otherwise) => {
                let arms_free = arms.iter().all(|(when, then)| when.is_free_of_columns() && then.is_free_of_columns());
                arms_free && otherwise.is_free_of_columns()
            }
            Self::Cast(a, _) => a.is_free_of_columns(),
            Self::Call(function, arguments) => {
                !function.is_volatile() && arguments.iter().all(Self::is_free_of_columns)
            }
        }
    }
}
