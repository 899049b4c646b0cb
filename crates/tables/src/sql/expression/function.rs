//! The functions that we evaluate ourselves.

use super::evaluate::Context;
use crate::value::{calendar, text};
use crate::{Error, Result, Type, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Now,
    CurrentDate,
    RandomUuid,
    Coalesce,
    NullIf,
    Greatest,
    Least,
    Lower,
    Upper,
    Length,
    Abs,
    Concat,
}

impl Function {
    /// By its lower-case name, with the number of arguments checked.
    pub(crate) fn find(name: &str, arguments: usize) -> Option<Self> {
        let (function, wanted) = match name {
            "now" | "current_timestamp" | "transaction_timestamp" | "statement_timestamp" | "clock_timestamp" => {
                (Self::Now, 0..=0)
            }
            "current_date" => (Self::CurrentDate, 0..=0),
            "gen_random_uuid" => (Self::RandomUuid, 0..=0),
            "coalesce" => (Self::Coalesce, 1..=usize::MAX),
            "nullif" => (Self::NullIf, 2..=2),
            "greatest" => (Self::Greatest, 1..=usize::MAX),
            "least" => (Self::Least, 1..=usize::MAX),
            "lower" => (Self::Lower, 1..=1),
            "upper" => (Self::Upper, 1..=1),
            "length" | "char_length" | "character_length" => (Self::Length, 1..=1),
            "abs" => (Self::Abs, 1..=1),
            "concat" => (Self::Concat, 1..=usize::MAX),
            _ => return None,
        };
        wanted.contains(&arguments).then_some(function)
    }

    pub(crate) fn is_volatile(self) -> bool {
        self == Self::RandomUuid
    }

    /// True if the result is of its arguments' common type.
    pub(crate) fn keeps_type(self) -> bool {
        matches!(self, Self::Coalesce | Self::NullIf | Self::Greatest | Self::Least | Self::Abs)
    }

    /// The type of arguments and of the result, where they are not common.
    pub(crate) fn signature(self) -> (Option<Type>, Type) {
        match self {
            Self::Now => (None, Type::Timestamptz),
            Self::CurrentDate => (None, Type::Date),
            Self::RandomUuid => (None, Type::Uuid),
            Self::Length => (Some(Type::Text), Type::Int4),
            Self::Concat => (None, Type::Text),
            _ => (Some(Type::Text), Type::Text),
        }
    }

    pub(crate) fn call(self, arguments: Vec<Value>, context: &Context<'_>) -> Result<Value> {
        Ok(match self {
            Self::Now => Value::Timestamp(context.now_micros),
            Self::CurrentDate => {
                let days = context.now_micros.div_euclid(calendar::DAY_MICROS);
                Value::Date(i32::try_from(days).map_err(|_| Error::OutOfRange("date".into()))?)
            }
            Self::RandomUuid => {
                let mut bytes = context.random.bytes16();
                bytes[6] = bytes[6] & 0x0f | 0x40;
                bytes[8] = bytes[8] & 0x3f | 0x80;
                Value::Uuid(bytes)
            }
            Self::Coalesce => arguments.into_iter().find(|value| !value.is_null()).unwrap_or(Value::Null),
            Self::NullIf => match arguments[0].compare(&arguments[1])? {
                Some(std::cmp::Ordering::Equal) => Value::Null,
                _ => arguments.into_iter().next().unwrap_or(Value::Null),
            },
            Self::Greatest => extreme(arguments, std::cmp::Ordering::Greater)?,
            Self::Least => extreme(arguments, std::cmp::Ordering::Less)?,
            Self::Lower => map_text(arguments, |text| Value::text(text.to_lowercase())),
            Self::Upper => map_text(arguments, |text| Value::text(text.to_uppercase())),
            Self::Length => map_text(arguments, |text| Value::Int(text.chars().count() as i64)),
            Self::Abs => match arguments.into_iter().next() {
                Some(Value::Int(value)) => {
                    Value::Int(value.checked_abs().ok_or_else(|| Error::OutOfRange("bigint".into()))?)
                }
                Some(Value::Float(value)) => Value::Float(value.abs()),
                Some(Value::Numeric(value)) if value.unscaled < 0 => Value::Numeric(value.negate()),
                Some(other) => other,
                None => Value::Null,
            },
            Self::Concat => {
                let parts = arguments.iter().map(|value| text::print(value, value.natural_type()));
                Value::text(parts.collect::<String>())
            }
        })
    }
}

fn map_text(arguments: Vec<Value>, map: impl Fn(&str) -> Value) -> Value {
    match arguments.first() {
        Some(Value::Text(text)) => map(text.as_str()),
        _ => Value::Null,
    }
}

fn extreme(arguments: Vec<Value>, wanted: std::cmp::Ordering) -> Result<Value> {
    let mut best = Value::Null;
    for value in arguments {
        if value.is_null() {
            continue;
        }
        if best.is_null() || value.compare(&best)? == Some(wanted) {
            best = value;
        }
    }
    Ok(best)
}
