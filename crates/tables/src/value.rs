//! Values of columns, parameters and results.
//!
//! A value is kept by how it is stored, not by its type: the three integers share a variant, as do the texts.
//! The [`Type`] travels beside it and decides text, binary form and range.

pub mod calendar;
pub mod decimal;
pub mod text;

use crate::{Error, Result, Type};
use bytes::Bytes;
pub use decimal::Decimal;
use std::cmp::Ordering;

/// Text that is known to be UTF-8 without a NUL. Clones share the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Bytes);

impl Text {
    pub fn new(bytes: Bytes) -> Result<Self> {
        // PostgreSQL has no NUL in text either: clients in C would cut there.
        match std::str::from_utf8(&bytes) {
            Ok(text) if !text.contains('\0') => Ok(Self(bytes)),
            _ => Err(Error::InvalidEncoding),
        }
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked when it was made")
    }

    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

/// Of text that holds no NUL: our own, or made of such. What comes from outside goes through [`Text::new`].
impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Numeric(Decimal),
    Text(Text),
    Bytes(Bytes),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01.
    Timestamp(i64),
    Uuid([u8; 16]),
}

/// One row: a value per column.
pub type Row = Vec<Value>;

impl Value {
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// What stands for the value's type where nothing else says it.
    pub fn natural_type(&self) -> Type {
        match self {
            Self::Null | Self::Text(_) => Type::Text,
            Self::Bool(_) => Type::Bool,
            Self::Int(number) if i32::try_from(*number).is_ok() => Type::Int4,
            Self::Int(_) => Type::Int8,
            Self::Float(_) => Type::Float8,
            Self::Numeric(_) => Type::NUMERIC,
            Self::Bytes(_) => Type::Bytea,
            Self::Date(_) => Type::Date,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Uuid(_) => Type::Uuid,
        }
    }

    /// Fits the value to a column: checks range and length, and converts as an assignment in SQL does. Text
    /// becomes anything, as a literal without a type would.
    pub fn assign(self, to: Type) -> Result<Self> {
        let out_of_range = || Error::OutOfRange(to.base_name().to_owned());
        Ok(match (self, to) {
            (Self::Null, _) => Self::Null,
            (Self::Bool(value), Type::Bool) => Self::Bool(value),
            (Self::Int(value), _) if to.is_integer() => {
                let fits = match to {
                    Type::Int2 => i16::try_from(value).is_ok(),
                    Type::Int4 => i32::try_from(value).is_ok(),
                    Type::Oid => u32::try_from(value).is_ok(),
                    _ => true,
                };
                if fits { Self::Int(value) } else { return Err(out_of_range()) }
            }
            (Self::Float(value), _) if to.is_integer() => {
                let rounded = value.round_ties_even();
                // 2^63 is exact in f64, i64::MAX is not.
                const TWO_TO_63: f64 = (1u64 << 63) as f64;
                if !(-TWO_TO_63..TWO_TO_63).contains(&rounded) {
                    return Err(out_of_range());
                }
                return Self::Int(rounded as i64).assign(to);
            }
            (Self::Numeric(value), _) if to.is_integer() => {
                let whole = value.rescale(0).ok_or_else(out_of_range)?.unscaled;
                return Self::Int(i64::try_from(whole).map_err(|_| out_of_range())?).assign(to);
            }
            (Self::Float(value), Type::Float8) => Self::Float(value),
            (Self::Float(value), Type::Float4) => {
                let narrow = value as f32;
                if narrow.is_infinite() && value.is_finite() {
                    return Err(out_of_range());
                }
                Self::Float(f64::from(narrow))
            }
            (Self::Int(value), Type::Float8) => Self::Float(value as f64),
            (Self::Int(value), Type::Float4) => Self::Float(f64::from(value as f32)),
            (Self::Numeric(value), Type::Float8 | Type::Float4) => return Self::Float(value.to_f64()).assign(to),
            (Self::Numeric(value), Type::NUMERIC) => Self::Numeric(value),
            (Self::Numeric(value), Type::Numeric { precision, scale }) => {
                Self::Numeric(value.fit(precision, scale).ok_or(Error::OutOfRange("numeric field".into()))?)
            }
            (Self::Int(value), Type::Numeric { .. }) => {
                return Self::Numeric(Decimal::new(i128::from(value), 0)).assign(to);
            }
            (Self::Float(value), Type::Numeric { .. }) => {
                let decimal = Decimal::parse(&format!("{value}")).ok_or_else(out_of_range)?;
                return Self::Numeric(decimal).assign(to);
            }
            (Self::Text(value), Type::Varchar(length)) => Self::Text(fit_varchar(value, length)?),
            (Self::Text(value), Type::Text) => Self::Text(value),
            (Self::Text(value), _) => text::parse(value.as_str(), to)?,
            (Self::Bytes(value), Type::Bytea) => Self::Bytes(value),
            (Self::Date(value), Type::Date) => Self::Date(value),
            (Self::Date(value), Type::Timestamp | Type::Timestamptz) => {
                let micros = i64::from(value).checked_mul(calendar::DAY_MICROS);
                Self::Timestamp(micros.ok_or_else(out_of_range)?)
            }
            (Self::Timestamp(value), Type::Timestamp | Type::Timestamptz) => Self::Timestamp(value),
            (Self::Timestamp(value), Type::Date) => {
                let days = value.div_euclid(calendar::DAY_MICROS);
                Self::Date(i32::try_from(days).map_err(|_| out_of_range())?)
            }
            (Self::Uuid(value), Type::Uuid) => Self::Uuid(value),
            (value, Type::Text | Type::Varchar(_)) => {
                return Self::text(text::print(&value, value.natural_type())).assign(to);
            }
            (value, _) => {
                let from = value.natural_type().base_name();
                return Err(Error::TypeMismatch(format!(
                    "column is of type {} but expression is of type {from}",
                    to.base_name()
                )));
            }
        })
    }

    /// The order of SQL, where both are of one type or both are numbers. `None` with a null.
    pub fn compare(&self, other: &Self) -> Result<Option<Ordering>> {
        Ok(Some(match (self, other) {
            (Self::Null, _) | (_, Self::Null) => return Ok(None),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            (Self::Date(a), Self::Timestamp(b)) => midnight(*a).cmp(&i128::from(*b)),
            (Self::Timestamp(a), Self::Date(b)) => i128::from(*a).cmp(&midnight(*b)),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            (Self::Numeric(a), Self::Numeric(b)) => a.compare(*b),
            (Self::Numeric(a), Self::Int(b)) => a.compare(Decimal::new(i128::from(*b), 0)),
            (Self::Int(a), Self::Numeric(b)) => Decimal::new(i128::from(*a), 0).compare(*b),
            (a, b) => match (a.to_f64(), b.to_f64()) {
                (Some(a), Some(b)) => compare_floats(a, b),
                _ => {
                    let (a, b) = (a.natural_type().base_name(), b.natural_type().base_name());
                    return Err(Error::UndefinedFunction(format!("operator does not exist: {a} = {b}")));
                }
            },
        }))
    }

    pub fn to_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Numeric(value) => Some(value.to_f64()),
            _ => None,
        }
    }
}

/// A day's first microsecond. Dates reach further than timestamps.
fn midnight(days: i32) -> i128 {
    i128::from(days) * i128::from(calendar::DAY_MICROS)
}

/// NaN is equal to itself and above everything, as in PostgreSQL.
pub fn compare_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn fit_varchar(value: Text, length: u32) -> Result<Text> {
    let length_max = length as usize;
    let text = value.as_str();
    if text.len() <= length_max {
        return Ok(value);
    }
    match text.char_indices().nth(length_max) {
        None => Ok(value),
        // Spaces that do not fit are cut silently: the standard wants it so.
        Some((at, _)) if text[at..].bytes().all(|byte| byte == b' ') => Ok(Text::from(&text[..at])),
        Some(_) => Err(Error::TextTooLong(length)),
    }
}
