//! Evaluation, with SQL's three truth values.

use super::{Arithmetic, Comparison, Expression};
use crate::value::{Decimal, text};
use crate::{Error, Result, Type, Value};
use ballast_runtime::Random;
use std::cmp::Ordering;

/// What an execution gives to its expressions.
pub(crate) struct Context<'a> {
    pub(crate) parameters: &'a [Value],
    /// Start of the transaction, microseconds since the epoch.
    pub(crate) now_micros: i64,
    pub(crate) random: &'a Random,
}

impl Expression {
    pub(crate) fn evaluate(&self, row: &[Value], context: &Context<'_>) -> Result<Value> {
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Parameter(number) => {
                let value = context.parameters.get(*number);
                let missing = || Error::InvalidParameter(format!("there is no parameter ${}", number + 1));
                value.cloned().ok_or_else(missing)?
            }
            Self::Column(at) => row[*at].clone(),
            Self::Not(a) => match a.truth(row, context)? {
                Some(truth) => Value::Bool(!truth),
                None => Value::Null,
            },
            Self::Negate(a) => negate(a.evaluate(row, context)?)?,
            Self::And(a, b) => match a.truth(row, context)? {
                Some(false) => Value::Bool(false),
                left => match (left, b.truth(row, context)?) {
                    (_, Some(false)) => Value::Bool(false),
                    (Some(true), Some(true)) => Value::Bool(true),
                    _ => Value::Null,
                },
            },
            Self::Or(a, b) => match a.truth(row, context)? {
                Some(true) => Value::Bool(true),
                left => match (left, b.truth(row, context)?) {
                    (_, Some(true)) => Value::Bool(true),
                    (Some(false), Some(false)) => Value::Bool(false),
                    _ => Value::Null,
                },
            },
            Self::Compare(how, a, b) => {
                let order = a.evaluate(row, context)?.compare(&b.evaluate(row, context)?)?;
                order.map_or(Value::Null, |order| Value::Bool(how.holds(order)))
            }
            Self::Arithmetic(how, a, b, of) => {
                arithmetic(*how, a.evaluate(row, context)?, b.evaluate(row, context)?, *of)?
            }
            Self::Concatenate(a, b) => match (a.evaluate(row, context)?, b.evaluate(row, context)?) {
                (Value::Null, _) | (_, Value::Null) => Value::Null,
                (a, b) => {
                    let mut joined = text::print(&a, a.natural_type());
                    joined.push_str(&text::print(&b, b.natural_type()));
                    Value::text(joined)
                }
            },
            Self::IsNull(a) => Value::Bool(a.evaluate(row, context)?.is_null()),
            Self::In(a, list) => {
                let value = a.evaluate(row, context)?;
                let mut unknown = false;
                for candidate in list {
                    match value.compare(&candidate.evaluate(row, context)?)? {
                        Some(Ordering::Equal) => return Ok(Value::Bool(true)),
                        Some(_) => {}
                        None => unknown = true,
                    }
                }
                if unknown { Value::Null } else { Value::Bool(false) }
            }
            Self::IsTrue(a) => Value::Bool(a.truth(row, context)? == Some(true)),
            Self::IsFalse(a) => Value::Bool(a.truth(row, context)? == Some(false)),
            Self::Same(a, b) => match (a.evaluate(row, context)?, b.evaluate(row, context)?) {
                (Value::Null, Value::Null) => Value::Bool(true),
                (a, b) => Value::Bool(a.compare(&b)? == Some(Ordering::Equal)),
            },
            Self::Case(arms, otherwise) => {
                for (when, then) in arms {
                    if when.truth(row, context)? == Some(true) {
                        return then.evaluate(row, context);
                    }
                }
                otherwise.evaluate(row, context)?
            }
            Self::Cast(a, to) => cast(a.evaluate(row, context)?, *to)?,
            Self::Print(a, of) => printed(a.evaluate(row, context)?, *of),
            Self::Call(function, arguments) => {
                let values = arguments.iter().map(|argument| argument.evaluate(row, context));
                function.call(values.collect::<Result<Vec<_>>>()?, context)?
            }
        })
    }

    /// The truth of a condition; `None` is unknown.
    pub(crate) fn truth(&self, row: &[Value], context: &Context<'_>) -> Result<Option<bool>> {
        match self.evaluate(row, context)? {
            Value::Bool(truth) => Ok(Some(truth)),
            Value::Null => Ok(None),
            _ => Err(Error::TypeMismatch("argument of WHERE must be type boolean".into())),
        }
    }
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// The value as the text that a cast makes of it: truth is spelled out, which a client is told with one letter.
pub(crate) fn printed(value: Value, of: Type) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(truth) => Value::text(if truth { "true" } else { "false" }),
        value => Value::text(text::print(&value, of)),
    }
}

/// An explicit cast is an assignment that also cuts text to its length and takes booleans for numbers.
fn cast(value: Value, to: Type) -> Result<Value> {
    match (value, to) {
        (Value::Text(value), Type::Varchar(length)) => {
            let cut: String = value.as_str().chars().take(length as usize).collect();
            Ok(Value::text(cut))
        }
        (Value::Bool(value), Type::Int4) => Ok(Value::Int(i64::from(value))),
        (Value::Int(value), Type::Bool) => Ok(Value::Bool(value != 0)),
        (value, to) => value.assign(to).map_err(|error| match error {
            Error::TypeMismatch(text) => Error::TypeMismatch(text.replace("column is of", "cannot cast: target is of")),
            other => other,
        }),
    }
}

fn negate(value: Value) -> Result<Value> {
    Ok(match value {
        Value::Int(value) => Value::Int(value.checked_neg().ok_or_else(|| Error::OutOfRange("bigint".into()))?),
        Value::Float(value) => Value::Float(-value),
        Value::Numeric(value) => Value::Numeric(value.negate()),
        Value::Null => Value::Null,
        other => {
            let of = other.natural_type().base_name();
            return Err(Error::UndefinedFunction(format!("operator does not exist: - {of}")));
        }
    })
}

fn arithmetic(how: Arithmetic, a: Value, b: Value, of: Type) -> Result<Value> {
    let out_of_range = || Error::OutOfRange(of.base_name().to_owned());
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Ok(Value::Null),
        (Value::Date(days), Value::Int(number)) => {
            let days = i64::from(days);
            let moved = if how == Arithmetic::Add { days.checked_add(number) } else { days.checked_sub(number) };
            let days = moved.and_then(|days| i32::try_from(days).ok());
            Ok(Value::Date(days.ok_or_else(out_of_range)?))
        }
        (Value::Int(a), Value::Int(b)) if of.is_integer() => {
            let result = match how {
                Arithmetic::Add => a.checked_add(b),
                Arithmetic::Subtract => a.checked_sub(b),
                Arithmetic::Multiply => a.checked_mul(b),
                Arithmetic::Divide | Arithmetic::Remainder if b == 0 => return Err(Error::DivisionByZero),
                Arithmetic::Divide => a.checked_div(b),
                Arithmetic::Remainder => Some(a.checked_rem(b).unwrap_or(0)),
            };
            Value::Int(result.ok_or_else(out_of_range)?).assign(of)
        }
        (a, b) if matches!(of, Type::Numeric { .. }) => {
            let (a, b) = (decimal(a)?, decimal(b)?);
            let result = match how {
                Arithmetic::Add => a.plus(b),
                Arithmetic::Subtract => a.plus(b.negate()),
                Arithmetic::Multiply => a.multiply(b),
                Arithmetic::Divide | Arithmetic::Remainder => {
                    return Err(Error::Unsupported("division of numeric is not supported here".into()));
                }
            };
            result.map(Value::Numeric).ok_or_else(out_of_range)
        }
        (a, b) => {
            let (Some(a), Some(b)) = (a.to_f64(), b.to_f64()) else {
                return Err(Error::TypeMismatch("arithmetic needs numbers".into()));
            };
            let result = match how {
                Arithmetic::Add => a + b,
                Arithmetic::Subtract => a - b,
                Arithmetic::Multiply => a * b,
                Arithmetic::Divide | Arithmetic::Remainder if b == 0.0 => return Err(Error::DivisionByZero),
                Arithmetic::Divide => a / b,
                Arithmetic::Remainder => a % b,
            };
            if result.is_infinite() && a.is_finite() && b.is_finite() {
                return Err(out_of_range());
            }
            Ok(Value::Float(result))
        }
    }
}

fn decimal(value: Value) -> Result<Decimal> {
    match value {
        Value::Numeric(value) => Ok(value),
        Value::Int(value) => Ok(Decimal::new(i128::from(value), 0)),
        _ => Err(Error::TypeMismatch("arithmetic needs numbers".into())),
    }
}
