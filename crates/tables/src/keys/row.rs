//! The value of a row: the columns outside the key.
//!
//! `[format 1] [layout u16] [null bitmap] [fixed columns] [end of each variable column u32] [variable bytes]`,
//! numbers little-endian. A null takes its place in the fixed part too (zeros), so that every fixed column
//! lies at one offset for all rows of a layout. Cost: decoding shares the row's bytes, texts included.

use super::codec::Reader;
use super::primary;
use crate::schema::{Column, Schema};
use crate::value::{Decimal, Text};
use crate::{Error, Result, Row, Type, Value};
use bytes::Bytes;

const FORMAT: u8 = 1;
const HEADER_LEN: usize = 3;

/// Where a layout keeps one stored column.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Offset in the fixed part.
    Fixed(usize),
    /// Number among the variable columns.
    Variable(usize),
}

#[derive(Clone, Debug, PartialEq)]
struct Stored {
    column_type: Type,
    place: Place,
    /// Bit in the null bitmap.
    bit: usize,
    /// Position in the schema's columns; `None` if the column was dropped.
    position: Option<usize>,
}

/// Where a column of the current schema comes from in a row of this layout.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// Number among the key's columns.
    Key(usize),
    Stored(usize),
    Missing(Value),
}

/// A layout, worked out against the current columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    stored: Vec<Stored>,
    sources: Vec<Source>,
    bitmap_len: usize,
    fixed_len: usize,
    variable: usize,
}

impl Layout {
    pub fn new(layout: &[(u16, Type)], columns: &[Column], key: &[usize]) -> Self {
        let (mut fixed_len, mut variable) = (0, 0);
        let mut stored = Vec::with_capacity(layout.len());
        for (bit, (id, column_type)) in layout.iter().enumerate() {
            let place = match column_type.fixed_len() {
                Some(length) => {
                    fixed_len += length;
                    Place::Fixed(fixed_len - length)
                }
                None => {
                    variable += 1;
                    Place::Variable(variable - 1)
                }
            };
            let position = columns.iter().position(|column| column.id == *id);
            stored.push(Stored { column_type: *column_type, place, bit, position });
        }
        let source = |(at, column): (usize, &Column)| match key.iter().position(|of_key| *of_key == at) {
            Some(number) => Source::Key(number),
            None => match stored.iter().position(|stored| stored.position == Some(at)) {
                Some(number) => Source::Stored(number),
                None => Source::Missing(column.missing.clone()),
            },
        };
        let sources = columns.iter().enumerate().map(source).collect();
        Self { bitmap_len: layout.len().div_ceil(8), sources, stored, fixed_len, variable }
    }
}

/// The value bytes of a row, its values in the order of the schema's columns and of their types.
pub fn encode(schema: &Schema, row: &[Value]) -> Result<Bytes> {
    let (number, layout) = schema.current_layout();
    let fixed_at = HEADER_LEN + layout.bitmap_len;
    let ends_at = fixed_at + layout.fixed_len;
    let variable_at = ends_at + 4 * layout.variable;
    let mut out = Vec::with_capacity(variable_at + 32 * layout.variable);
    out.resize(variable_at, 0);
    out[0] = FORMAT;
    out[1..HEADER_LEN].copy_from_slice(&number.to_le_bytes());
    for stored in &layout.stored {
        let position = stored.position.expect("the current layout has no dropped columns");
        let value = &row[position];
        if value.is_null() {
            out[HEADER_LEN + stored.bit / 8] |= 1 << (stored.bit % 8);
        }
        match stored.place {
            Place::Fixed(offset) => encode_fixed(value, stored.column_type, &mut out[fixed_at + offset..])?,
            Place::Variable(at) => {
                match value {
                    Value::Text(text) => out.extend_from_slice(text.bytes()),
                    Value::Bytes(bytes) => out.extend_from_slice(bytes),
                    Value::Null => {}
                    _ => return Err(mismatch(stored.column_type)),
                }
                let end = u32::try_from(out.len() - variable_at)
                    .map_err(|_| Error::TooLarge("the row is larger than 4 GiB".into()))?;
                out[ends_at + 4 * at..ends_at + 4 * at + 4].copy_from_slice(&end.to_le_bytes());
            }
        }
    }
    if out.len() > crate::limits::ROW_BYTES_MAX {
        let bytes = out.len();
        return Err(Error::TooLarge(format!(
            "row is too big: {bytes} bytes, at most {}",
            crate::limits::ROW_BYTES_MAX
        )));
    }
    Ok(Bytes::from(out))
}

fn mismatch(column_type: Type) -> Error {
    Error::TypeMismatch(format!("a column of type {} got another value", column_type.base_name()))
}

fn encode_fixed(value: &Value, column_type: Type, out: &mut [u8]) -> Result<()> {
    let mut put = |bytes: &[u8]| out[..bytes.len()].copy_from_slice(bytes);
    match (value, column_type) {
        (Value::Null, _) => {}
        (Value::Bool(value), Type::Bool) => put(&[u8::from(*value)]),
        (Value::Int(value), Type::Int2) => {
            put(&i16::try_from(*value).map_err(|_| mismatch(column_type))?.to_le_bytes())
        }
        (Value::Int(value), Type::Int4) => {
            put(&i32::try_from(*value).map_err(|_| mismatch(column_type))?.to_le_bytes())
        }
        (Value::Int(value), Type::Int8) => put(&value.to_le_bytes()),
        (Value::Float(value), Type::Float4) => put(&(*value as f32).to_le_bytes()),
        (Value::Float(value), Type::Float8) => put(&value.to_le_bytes()),
        (Value::Numeric(value), Type::Numeric { scale, .. }) if value.scale == scale => {
            put(&value.unscaled.to_le_bytes());
        }
        (Value::Date(value), Type::Date) => put(&value.to_le_bytes()),
        (Value::Timestamp(value), Type::Timestamp | Type::Timestamptz) => put(&value.to_le_bytes()),
        (Value::Uuid(value), Type::Uuid) => put(value),
        _ => return Err(mismatch(column_type)),
    }
    Ok(())
}

/// The columns at `positions` of a row, from its primary key (without the table's prefix) and its value.
pub fn decode(schema: &Schema, key: &[u8], value: &Bytes, positions: &[usize]) -> Result<Row> {
    let corrupt = || Error::Corrupt("a row cannot be read".into());
    let header = value.get(..HEADER_LEN).ok_or_else(corrupt)?;
    if header[0] != FORMAT {
        return Err(Error::Corrupt(format!("a row has the unknown format {}", header[0])));
    }
    let layout = schema.layout(u16::from_le_bytes([header[1], header[2]])).ok_or_else(corrupt)?;
    let fixed_at = HEADER_LEN + layout.bitmap_len;
    let ends_at = fixed_at + layout.fixed_len;
    let variable_at = ends_at + 4 * layout.variable;
    if value.len() < variable_at {
        return Err(corrupt());
    }
    let wants_key = positions.iter().any(|at| matches!(layout.sources[*at], Source::Key(_)));
    let key_values = if wants_key { decode_key(schema, key)? } else { Row::new() };
    let end_of = |at: usize| {
        let at = ends_at + 4 * at;
        u32::from_le_bytes(value[at..at + 4].try_into().expect("four bytes")) as usize
    };
    let decode_stored = |stored: &Stored| {
        if value[HEADER_LEN + stored.bit / 8] & (1 << (stored.bit % 8)) != 0 {
            return Ok(Value::Null);
        }
        match stored.place {
            Place::Fixed(offset) => decode_fixed(&value[fixed_at + offset..], stored.column_type),
            Place::Variable(at) => {
                let start = if at == 0 { 0 } else { end_of(at - 1) };
                let range = variable_at + start..variable_at + end_of(at);
                if range.start > range.end || range.end > value.len() {
                    return Err(corrupt());
                }
                let bytes = value.slice(range);
                match stored.column_type {
                    Type::Bytea => Ok(Value::Bytes(bytes)),
                    _ => Ok(Value::Text(Text::new(bytes).map_err(|_| corrupt())?)),
                }
            }
        }
    };
    let pick = |at: &usize| match &layout.sources[*at] {
        Source::Key(number) => Ok(key_values[*number].clone()),
        Source::Stored(number) => decode_stored(&layout.stored[*number]),
        Source::Missing(missing) => Ok(missing.clone()),
    };
    positions.iter().map(pick).collect()
}

/// The values of the key's columns, in key order.
pub fn decode_key(schema: &Schema, key: &[u8]) -> Result<Row> {
    let mut reader = Reader::new(key, "a primary key");
    let values = schema.key_types().map(|column_type| primary::decode(&mut reader, column_type));
    let values = values.collect::<Result<Row>>()?;
    reader.end()?;
    Ok(values)
}

fn decode_fixed(bytes: &[u8], column_type: Type) -> Result<Value> {
    let mut reader = Reader::new(bytes, "a row");
    Ok(match column_type {
        Type::Bool => Value::Bool(reader.u8()? != 0),
        Type::Int2 => Value::Int(i16::from_le_bytes(reader.array()?).into()),
        Type::Int4 => Value::Int(i32::from_le_bytes(reader.array()?).into()),
        Type::Int8 | Type::Oid => Value::Int(i64::from_le_bytes(reader.array()?)),
        Type::Float4 => Value::Float(f32::from_le_bytes(reader.array()?).into()),
        Type::Float8 => Value::Float(f64::from_le_bytes(reader.array()?)),
        Type::Numeric { scale, .. } => Value::Numeric(Decimal::new(i128::from_le_bytes(reader.array()?), scale)),
        Type::Date => Value::Date(i32::from_le_bytes(reader.array()?)),
        Type::Timestamp | Type::Timestamptz => Value::Timestamp(i64::from_le_bytes(reader.array()?)),
        Type::Uuid => Value::Uuid(reader.array()?),
        Type::Text | Type::Varchar(_) | Type::Bytea | Type::Json | Type::Jsonb => {
            return Err(Error::Corrupt("a text lies among the fixed columns".into()));
        }
    })
}

#[cfg(test)]
mod tests;
