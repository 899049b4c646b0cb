//! Values on the wire, as text and in PostgreSQL's binary form.

use super::message::Wire;
use ballast_tables::value::{Decimal, Text, text};
use ballast_tables::{Error, OutputColumn, Result, Row, Type, Value, type_modifier, type_oid};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Days and microseconds from 1970 to 2000, where PostgreSQL's binary dates start.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

pub const TEXT: i16 = 0;
pub const BINARY: i16 = 1;

/// Which format each column has: none given is text, one given holds for all.
pub fn format_of(formats: &[i16], column: usize) -> i16 {
    match formats {
        [] => TEXT,
        [all] => *all,
        each => each.get(column).copied().unwrap_or(TEXT),
    }
}

/// The type of a number that a client declares; `None` where the statement decides.
pub fn type_of(oid: u32) -> Option<Type> {
    Some(match oid {
        16 => Type::Bool,
        17 => Type::Bytea,
        20 => Type::Int8,
        21 => Type::Int2,
        23 => Type::Int4,
        18 | 19 | 25 | 1042 | 1043 => Type::Text,
        26 => Type::Oid,
        114 => Type::Json,
        700 => Type::Float4,
        701 => Type::Float8,
        1082 => Type::Date,
        1114 => Type::Timestamp,
        1184 => Type::Timestamptz,
        1700 => Type::NUMERIC,
        2950 => Type::Uuid,
        3802 => Type::Jsonb,
        _ => return None,
    })
}

pub fn oid_of(of: Type) -> u32 {
    u32::try_from(type_oid(of)).unwrap_or(25)
}

impl Wire {
    pub fn row_description(&mut self, columns: &[OutputColumn], formats: &[i16]) {
        self.message(b'T', |out| {
            out.put_u16(u16::try_from(columns.len()).unwrap_or(u16::MAX));
            for (at, column) in columns.iter().enumerate() {
                super::message::put_text(out, &column.name);
                let (table, number) = column.source.unwrap_or((0, 0));
                out.put_u32(u32::try_from(table + 16_384).unwrap_or(0) * u32::from(number != 0));
                out.put_u16(number);
                out.put_u32(oid_of(column.column_type));
                out.put_i16(wire_len(column.column_type));
                out.put_i32(i32::try_from(type_modifier(column.column_type)).unwrap_or(-1));
                out.put_i16(format_of(formats, at));
            }
        });
    }

    pub fn data_row(&mut self, columns: &[OutputColumn], formats: &[i16], row: &Row) {
        self.message(b'D', |out| {
            out.put_u16(u16::try_from(row.len()).unwrap_or(u16::MAX));
            for (at, (value, column)) in row.iter().zip(columns).enumerate() {
                if value.is_null() {
                    out.put_i32(-1);
                    continue;
                }
                let start = out.len();
                out.put_i32(0);
                match format_of(formats, at) {
                    BINARY => write_binary(value, column.column_type, out),
                    _ => text::write(value, column.column_type, out),
                }
                let length = i32::try_from(out.len() - start - 4).unwrap_or(i32::MAX);
                out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            }
        });
    }
}

fn wire_len(of: Type) -> i16 {
    match of {
        Type::Oid => 4,
        Type::Numeric { .. } => -1,
        of => of.fixed_len().and_then(|length| i16::try_from(length).ok()).unwrap_or(-1),
    }
}

pub fn write_binary(value: &Value, of: Type, out: &mut BytesMut) {
    match (value, of) {
        (Value::Null, _) => {}
        (Value::Bool(value), _) => out.put_u8(u8::from(*value)),
        // A value always fits the type that its column was declared with; a result of another type is an integer.
        (Value::Int(value), Type::Int2) => out.put_i16(i16::try_from(*value).unwrap_or_default()),
        (Value::Int(value), Type::Int4) => out.put_i32(i32::try_from(*value).unwrap_or_default()),
        (Value::Int(value), Type::Oid) => out.put_u32(u32::try_from(*value).unwrap_or_default()),
        (Value::Int(value), _) => out.put_i64(*value),
        (Value::Float(value), Type::Float4) => out.put_f32(*value as f32),
        (Value::Float(value), _) => out.put_f64(*value),
        (Value::Numeric(value), _) => write_numeric(*value, out),
        (Value::Text(value), Type::Jsonb) => {
            out.put_u8(1);
            out.put_slice(value.bytes());
        }
        (Value::Text(value), _) => out.put_slice(value.bytes()),
        (Value::Bytes(value), _) => out.put_slice(value),
        (Value::Date(days), _) => out.put_i32(days.saturating_sub(EPOCH_DAYS)),
        (Value::Timestamp(micros), _) => out.put_i64(micros.saturating_sub(EPOCH_MICROS)),
        (Value::Uuid(value), _) => out.put_slice(value),
    }
}

/// Digits of base 10,000 around the point.
fn write_numeric(value: Decimal, out: &mut BytesMut) {
    let scale = u32::from(value.scale);
    let magnitude = value.unscaled.unsigned_abs();
    let unit = 10u128.pow(scale);
    let (mut whole, mut fraction) = (magnitude / unit, magnitude % unit);
    let mut digits: Vec<i16> = Vec::new();
    while whole > 0 {
        digits.push(i16::try_from(whole % 10_000).unwrap_or(0));
        whole /= 10_000;
    }
    digits.reverse();
    let weight = i16::try_from(digits.len()).unwrap_or(0) - 1;
    let mut left = scale;
    while left > 0 {
        // The next four digits behind the point; the last group is filled with zeros.
        let digit = if left >= 4 { fraction / 10u128.pow(left - 4) } else { fraction * 10u128.pow(4 - left) };
        digits.push(i16::try_from(digit).unwrap_or(0));
        fraction = if left >= 4 { fraction % 10u128.pow(left - 4) } else { 0 };
        left = left.saturating_sub(4);
    }
    while digits.last() == Some(&0) {
        digits.pop();
    }
    out.put_i16(i16::try_from(digits.len()).unwrap_or(0));
    out.put_i16(weight);
    out.put_u16(if value.unscaled < 0 { 0x4000 } else { 0 });
    out.put_i16(i16::from(value.scale));
    digits.into_iter().for_each(|digit| out.put_i16(digit));
}

fn read_numeric(mut bytes: Bytes) -> Option<Value> {
    if bytes.remaining() < 8 {
        return None;
    }
    let (count, weight, sign, scale) = (bytes.get_i16(), bytes.get_i16(), bytes.get_u16(), bytes.get_i16());
    if bytes.remaining() != usize::try_from(count).ok()? * 2 || !matches!(sign, 0 | 0x4000) {
        return None;
    }
    let mut number = String::from(if sign == 0 { "" } else { "-" });
    let digits: Vec<i16> = (0..count).map(|_| bytes.get_i16()).collect();
    let digit = |at: i32| usize::try_from(at).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
    let weight = i32::from(weight);
    number.push('0');
    (0..=weight).for_each(|at| number.push_str(&format!("{:04}", digit(at))));
    let scale = usize::try_from(scale).ok()?;
    let mut fraction = String::new();
    let mut at = weight + 1;
    while fraction.len() < scale {
        let next = if at < 0 { 0 } else { digit(at) };
        fraction.push_str(&format!("{next:04}"));
        at += 1;
    }
    fraction.truncate(scale);
    if !fraction.is_empty() {
        number.push('.');
        number.push_str(&fraction);
    }
    // Zeros in front are no digits.
    let (sign, rest) = number.strip_prefix('-').map_or(("", number.as_str()), |rest| ("-", rest));
    let trimmed = rest.trim_start_matches('0');
    Decimal::parse(&format!("{sign}0{trimmed}")).map(Value::Numeric)
}

/// A parameter as the client sent it.
pub fn read(bytes: Bytes, of: Type, format: i16) -> Result<Value> {
    if format == TEXT {
        let text = Text::new(bytes)?;
        return match of {
            Type::Text | Type::Varchar(_) => Ok(Value::Text(text)),
            _ => text::parse(text.as_str(), of),
        };
    }
    read_binary(bytes, of)?
        .ok_or_else(|| Error::InvalidText { expected: of.base_name().to_owned(), text: "(binary)".into() })
}

fn read_binary(mut bytes: Bytes, of: Type) -> Result<Option<Value>> {
    let wide = match of {
        Type::Bool => 1,
        Type::Int2 => 2,
        Type::Int4 | Type::Float4 | Type::Date | Type::Oid => 4,
        Type::Int8 | Type::Float8 | Type::Timestamp | Type::Timestamptz => 8,
        Type::Uuid => 16,
        _ => bytes.len(),
    };
    if bytes.len() != wide {
        return Ok(None);
    }
    Ok(Some(match of {
        Type::Bool => Value::Bool(bytes.get_u8() != 0),
        Type::Int2 => Value::Int(bytes.get_i16().into()),
        Type::Int4 => Value::Int(bytes.get_i32().into()),
        Type::Oid => Value::Int(bytes.get_u32().into()),
        Type::Int8 => Value::Int(bytes.get_i64()),
        Type::Float4 => Value::Float(bytes.get_f32().into()),
        Type::Float8 => Value::Float(bytes.get_f64()),
        Type::Date => Value::Date(bytes.get_i32().saturating_add(EPOCH_DAYS)),
        Type::Timestamp | Type::Timestamptz => Value::Timestamp(bytes.get_i64().saturating_add(EPOCH_MICROS)),
        Type::Uuid => Value::Uuid(bytes.as_ref().try_into().unwrap_or_default()),
        Type::Numeric { .. } => return Ok(read_numeric(bytes)),
        Type::Bytea => Value::Bytes(bytes),
        Type::Jsonb => {
            if bytes.first() != Some(&1) {
                return Ok(None);
            }
            text::parse(Text::new(bytes.slice(1..))?.as_str(), of)?
        }
        Type::Json => text::parse(Text::new(bytes)?.as_str(), of)?,
        Type::Text | Type::Varchar(_) => Value::Text(Text::new(bytes)?),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_values_read_back_as_they_were_written() {
        let decimal = |text: &str| Value::Numeric(Decimal::parse(text).expect("these are decimals"));
        for (value, of) in [
            (Value::Bool(true), Type::Bool),
            (Value::Int(-2), Type::Int2),
            (Value::Int(70_000), Type::Int4),
            (Value::Int(i64::MIN), Type::Int8),
            (Value::Float(1.5), Type::Float4),
            (Value::Float(-0.25), Type::Float8),
            (Value::text("grüße"), Type::Text),
            (Value::text("{}"), Type::Jsonb),
            (Value::Bytes(Bytes::from_static(b"\0\xff")), Type::Bytea),
            (Value::Date(-1), Type::Date),
            (Value::Timestamp(1), Type::Timestamptz),
            (Value::Uuid([9; 16]), Type::Uuid),
            (decimal("0"), Type::NUMERIC),
            (decimal("0.0001"), Type::NUMERIC),
            (decimal("-12345.6789"), Type::NUMERIC),
            (decimal("100000000"), Type::NUMERIC),
            (decimal("0.00000001"), Type::NUMERIC),
            (decimal("1234567890123456789012345678.0123456789"), Type::NUMERIC),
        ] {
            let mut out = BytesMut::new();
            write_binary(&value, of, &mut out);
            assert_eq!(read(out.freeze(), of, BINARY).expect("it was written"), value);
        }
    }

    #[test]
    fn numerics_have_the_digits_that_postgresql_sends() {
        let mut out = BytesMut::new();
        write_numeric(Decimal::parse("12345.678").expect("a decimal"), &mut out);
        assert_eq!(out.as_ref(), [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 9, 41, 26, 124]);
    }
}
