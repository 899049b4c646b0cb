//! Values as text, in PostgreSQL's spelling.

use super::{Decimal, Text, Value, calendar};
use crate::{Error, Result, Type};
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt::Write;

/// The value as text; a null is empty.
pub fn print(value: &Value, as_type: Type) -> String {
    let mut out = BytesMut::new();
    write(value, as_type, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Appends the value as text.
pub fn write(value: &Value, as_type: Type, out: &mut BytesMut) {
    match value {
        Value::Null => {}
        Value::Bool(value) => out.put_u8(if *value { b't' } else { b'f' }),
        Value::Int(value) => write_integer(*value, out),
        Value::Float(value) if as_type == Type::Float4 => write_float(&format!("{:e}", *value as f32), 6, out),
        Value::Float(value) => write_float(&format!("{value:e}"), 15, out),
        Value::Numeric(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Text(value) => out.put_slice(value.bytes()),
        Value::Bytes(value) => {
            out.put_slice(b"\\x");
            value.iter().for_each(|byte| write_hex(*byte, out));
        }
        Value::Date(days) => calendar::write_date(*days, out),
        Value::Timestamp(micros) => calendar::write_timestamp(*micros, as_type == Type::Timestamptz, out),
        Value::Uuid(bytes) => {
            for (at, byte) in bytes.iter().enumerate() {
                if matches!(at, 4 | 6 | 8 | 10) {
                    out.put_u8(b'-');
                }
                write_hex(*byte, out);
            }
        }
    }
}

fn write_hex(byte: u8, out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.put_u8(DIGITS[usize::from(byte >> 4)]);
    out.put_u8(DIGITS[usize::from(byte & 15)]);
}

fn write_integer(value: i64, out: &mut BytesMut) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit is below ten");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.put_u8(b'-');
    }
    out.put_slice(&digits[at..]);
}

/// Lays the shortest digits out as C's `%g` does: an exponent below -4 or from `digits_max` on.
fn write_float(scientific: &str, digits_max: i32, out: &mut BytesMut) {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        let shown = match scientific {
            "inf" => "Infinity",
            "-inf" => "-Infinity",
            other => other,
        };
        out.put_slice(shown.as_bytes());
        return;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
    let digits: String = digits.chars().filter(|c| *c != '.').collect();
    out.put_slice(sign.as_bytes());
    if exponent < -4 || exponent >= digits_max {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{first}{point}{rest}e{sign}{:02}", exponent.abs());
    } else if exponent < 0 {
        let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
        let _ = write!(out, "0.{:0<zeros$}{digits}", "");
    } else {
        let whole = usize::try_from(exponent).unwrap_or(0) + 1;
        match digits.len() > whole {
            true => write!(out, "{}.{}", &digits[..whole], &digits[whole..]),
            false => write!(out, "{digits:0<whole$}"),
        }
        .unwrap_or(());
    }
}

/// Reads text as a value of the type.
pub fn parse(text: &str, as_type: Type) -> Result<Value> {
    let invalid = || Error::InvalidText { expected: as_type.base_name().to_owned(), text: text.to_owned() };
    let trimmed = text.trim();
    Ok(match as_type {
        Type::Bool => Value::Bool(parse_bool(trimmed).ok_or_else(invalid)?),
        Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid => {
            let number = trimmed.parse::<i64>().map_err(|error| match error.kind() {
                std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                    Error::OutOfRange(format!("value \"{trimmed}\" is out of range for type {}", as_type.base_name()))
                }
                _ => invalid(),
            })?;
            Value::Int(number).assign(as_type)?
        }
        Type::Float4 | Type::Float8 => {
            let number = match trimmed.to_ascii_lowercase().as_str() {
                "infinity" | "inf" | "+infinity" => f64::INFINITY,
                "-infinity" | "-inf" => f64::NEG_INFINITY,
                "nan" => f64::NAN,
                other => {
                    let number = other.parse::<f64>().map_err(|_| invalid())?;
                    // Too large is no infinity, and too small no zero.
                    let digits = other.split('e').next().unwrap_or_default();
                    if number.is_infinite() || (number == 0.0 && digits.contains(|c| matches!(c, '1'..='9'))) {
                        return Err(Error::OutOfRange(as_type.base_name().to_owned()));
                    }
                    number
                }
            };
            Value::Float(number).assign(as_type)?
        }
        Type::Numeric { .. } => Value::Numeric(Decimal::parse(trimmed).ok_or_else(invalid)?).assign(as_type)?,
        Type::Text => own(text)?,
        Type::Varchar(_) => own(text)?.assign(as_type)?,
        Type::Bytea => Value::Bytes(parse_bytea(text).ok_or_else(invalid)?),
        Type::Date => Value::Date(calendar::parse_date(text)?),
        Type::Timestamp => Value::Timestamp(calendar::parse_timestamp(text, false)?),
        Type::Timestamptz => Value::Timestamp(calendar::parse_timestamp(text, true)?),
        Type::Uuid => Value::Uuid(uuid::Uuid::try_parse(trimmed).map_err(|_| invalid())?.into_bytes()),
        Type::Json | Type::Jsonb => {
            // Kept as it was written: jsonb is checked, not reordered.
            serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| invalid())?;
            own(text)?
        }
    })
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Text from outside, which may hold what no text may.
fn own(text: &str) -> Result<Value> {
    Ok(Value::Text(Text::new(Bytes::copy_from_slice(text.as_bytes()))?))
}

/// Reads `\x00ff` and the older form with `\000` and `\\`.
fn parse_bytea(text: &str) -> Option<Bytes> {
    let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits = hex.as_bytes();
        let pairs = digits.chunks(2).map(|pair| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        });
        return pairs.collect::<Option<Vec<u8>>>().map(Bytes::from);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                rest = after;
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            (b'\\', _) => return None,
            (byte, after) => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    Some(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_postgresql_prints_them() {
        let shown = |value: f64| print(&Value::Float(value), Type::Float8);
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (100.0, "100"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e15, "1e+15"),
            (123456789012345.0, "123456789012345"),
            (1.2345e20, "1.2345e+20"),
            (f64::INFINITY, "Infinity"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(shown(value), text);
        }
        assert_eq!(print(&Value::Float(f64::from(0.1f32)), Type::Float4), "0.1");
        assert_eq!(print(&Value::Float(1e6), Type::Float4), "1e+06");
    }

    #[test]
    fn text_of_every_type_reads_back_as_it_was_printed() {
        for (text, as_type) in [
            ("t", Type::Bool),
            ("-32768", Type::Int2),
            ("9223372036854775807", Type::Int8),
            ("3.25", Type::Float8),
            ("12.50", Type::Numeric { precision: 6, scale: 2 }),
            ("grüße", Type::Text),
            ("abc", Type::Varchar(3)),
            ("\\x00ff10", Type::Bytea),
            ("2024-02-29", Type::Date),
            ("2024-02-29 23:59:59.000001", Type::Timestamp),
            ("2024-02-29 23:59:59+00", Type::Timestamptz),
            ("6b1f1a52-0000-4000-8000-00000000002a", Type::Uuid),
            ("{\"a\": [1, null]}", Type::Jsonb),
        ] {
            let value = parse(text, as_type).expect("these are values");
            assert_eq!(print(&value, as_type), text);
        }
    }

    #[test]
    fn text_that_does_not_fit_its_type_is_refused() {
        for (text, as_type) in [
            ("x", Type::Int4),
            ("32768", Type::Int2),
            ("abcd", Type::Varchar(3)),
            ("{", Type::Json),
            ("1000", Type::Numeric { precision: 3, scale: 0 }),
            ("\\xf", Type::Bytea),
            ("6b1f", Type::Uuid),
        ] {
            assert!(parse(text, as_type).is_err(), "{text}");
        }
    }
}
