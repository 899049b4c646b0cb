//! Expressions that we evaluate ourselves: what the direct path and every write need.
//!
//! [`compile`] takes the part of SQL that occurs in key look-ups, INSERT values, SET lists and ON CONFLICT
//! actions, and hands back [`Stop::Fallback`] for anything else, which then goes through DataFusion. An
//! expression is compiled once per prepared statement; evaluation allocates only for new text.

mod compile;
mod evaluate;
mod function;

pub(crate) use compile::{Compiler, Scope, ScopeColumn, Stop};
pub(crate) use evaluate::{Context, printed};
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
    /// As text, of a value of this type.
    Print(Box<Expression>, Type),
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
    /// True if no column occurs and nothing is volatile: its value is the same for all rows of one execution.
    pub(crate) fn is_free_of_columns(&self) -> bool {
        let mut free = true;
        self.visit(&mut |part| {
            free &= !matches!(part, Self::Column(_));
            free &= !matches!(part, Self::Call(function, _) if function.is_volatile());
        });
        free
    }

    /// Adds the positions of all columns that occur.
    pub(crate) fn add_columns(&self, positions: &mut Vec<usize>) {
        self.visit(&mut |part| {
            if let Self::Column(at) = part
                && !positions.contains(at)
            {
                positions.push(*at);
            }
        });
    }

    /// Points every column at its place in `positions`, which must hold it.
    pub(crate) fn remap(&mut self, positions: &[usize]) {
        if let Self::Column(at) = self {
            *at = positions.iter().position(|position| position == at).expect("all columns were collected");
        }
        self.for_each_child(&mut |child| child.remap(positions));
    }

    fn visit(&self, see: &mut impl FnMut(&Self)) {
        see(self);
        match self {
            Self::Constant(_) | Self::Parameter(_) | Self::Column(_) => {}
            Self::Not(a)
            | Self::Negate(a)
            | Self::IsNull(a)
            | Self::IsTrue(a)
            | Self::IsFalse(a)
            | Self::Cast(a, _)
            | Self::Print(a, _) => {
                a.visit(see);
            }
            Self::And(a, b)
            | Self::Or(a, b)
            | Self::Compare(_, a, b)
            | Self::Arithmetic(_, a, b, _)
            | Self::Concatenate(a, b)
            | Self::Same(a, b) => {
                a.visit(see);
                b.visit(see);
            }
            Self::In(a, list) => {
                a.visit(see);
                list.iter().for_each(|item| item.visit(see));
            }
            Self::Case(arms, otherwise) => {
                arms.iter().for_each(|(when, then)| {
                    when.visit(see);
                    then.visit(see);
                });
                otherwise.visit(see);
            }
            Self::Call(_, arguments) => arguments.iter().for_each(|argument| argument.visit(see)),
        }
    }

    fn for_each_child(&mut self, change: &mut dyn FnMut(&mut Self)) {
        match self {
            Self::Constant(_) | Self::Parameter(_) | Self::Column(_) => {}
            Self::Not(a)
            | Self::Negate(a)
            | Self::IsNull(a)
            | Self::IsTrue(a)
            | Self::IsFalse(a)
            | Self::Cast(a, _)
            | Self::Print(a, _) => {
                change(a);
            }
            Self::And(a, b)
            | Self::Or(a, b)
            | Self::Compare(_, a, b)
            | Self::Arithmetic(_, a, b, _)
            | Self::Concatenate(a, b)
            | Self::Same(a, b) => {
                change(a);
                change(b);
            }
            Self::In(a, list) => {
                change(a);
                list.iter_mut().for_each(change);
            }
            Self::Case(arms, otherwise) => {
                for (when, then) in arms {
                    change(when);
                    change(then);
                }
                change(otherwise);
            }
            Self::Call(_, arguments) => arguments.iter_mut().for_each(change),
        }
    }
}
