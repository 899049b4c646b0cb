//! Primary keys as bytes that sort as the values do.
//!
//! | type | bytes |
//! |---|---|
//! | bool | 0 or 1 |
//! | integers, date, timestamps | big endian, sign bit flipped; as wide as the type |
//! | real, double | big endian; negative: all bits flipped, else the sign bit; -0 is 0, one NaN above all |
//! | numeric | the number without its point, 16 bytes, as an integer: all rows of a column share a scale |
//! | text, bytea | the bytes with 00 as 00 FF, then 00 01 |
//! | uuid | its 16 bytes |
//!
//! Keys hold no nulls. Columns follow each other without separators; every encoding ends by itself.

use super::codec::Reader;
use crate::value::{Decimal, Text};
use crate::{Error, Result, Type, Value};
use bytes::Bytes;

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xff;
const END: u8 = 0x01;

/// Appends one column. The value must already be assigned to the type.
pub fn encode(value: &Value, column_type: Type, out: &mut Vec<u8>) -> Result<()> {
    match (value, column_type) {
        (Value::Bool(value), _) => out.push(u8::from(*value)),
        (Value::Int(value), Type::Int2) => {
            let narrow = i16::try_from(*value).map_err(|_| mismatch(column_type))?;
            out.extend_from_slice(&(narrow as u16 ^ 1 << 15).to_be_bytes());
        }
        (Value::Int(value), Type::Int4) => {
            let narrow = i32::try_from(*value).map_err(|_| mismatch(column_type))?;
            out.extend_from_slice(&flip32(narrow));
        }
        (Value::Int(value), _) => out.extend_from_slice(&flip64(*value)),
        (Value::Float(value), Type::Float4) => {
            let narrow = normal(*value) as f32;
            let bits = if narrow.is_nan() { 0x7fc0_0000 } else { narrow.to_bits() };
            let sorted = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
            out.extend_from_slice(&sorted.to_be_bytes());
        }
        (Value::Float(value), _) => {
            let bits = normal(*value).to_bits();
            let sorted = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
            out.extend_from_slice(&sorted.to_be_bytes());
        }
        (Value::Numeric(value), _) => {
            out.extend_from_slice(&(value.unscaled as u128 ^ 1 << 127).to_be_bytes());
        }
        (Value::Text(value), _) => encode_bytes(value.bytes(), out),
        (Value::Bytes(value), _) => encode_bytes(value, out),
        (Value::Date(value), _) => out.extend_from_slice(&flip32(*value)),
        (Value::Timestamp(value), _) => out.extend_from_slice(&flip64(*value)),
        (Value::Uuid(value), _) => out.extend_from_slice(value),
        (Value::Null, _) => return Err(mismatch(column_type)),
    }
    Ok(())
}

fn mismatch(column_type: Type) -> Error {
    Error::TypeMismatch(format!("a key column of type {} got another value", column_type.base_name()))
}

fn normal(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { value + 0.0 }
}

fn flip32(value: i32) -> [u8; 4] {
    (value as u32 ^ 1 << 31).to_be_bytes()
}

fn flip64(value: i64) -> [u8; 8] {
    (value as u64 ^ 1 << 63).to_be_bytes()
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == ESCAPE) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[ESCAPE, ESCAPED_ZERO]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&[ESCAPE, END]);
}

/// Takes one column from the front.
pub fn decode(reader: &mut Reader<'_>, column_type: Type) -> Result<Value> {
    Ok(match column_type {
        Type::Bool => Value::Bool(reader.u8()? != 0),
        Type::Int2 => Value::Int(i64::from((u16::from_be_bytes(reader.array()?) ^ 1 << 15) as i16)),
        Type::Int4 => Value::Int(i64::from(unflip32(reader.array()?))),
        Type::Int8 | Type::Oid => Value::Int(unflip64(reader.array()?)),
        Type::Float4 => {
            let sorted = u32::from_be_bytes(reader.array()?);
            let bits = if sorted >> 31 == 1 { sorted ^ 1 << 31 } else { !sorted };
            Value::Float(f64::from(f32::from_bits(bits)))
        }
        Type::Float8 => {
            let sorted = u64::from_be_bytes(reader.array()?);
            Value::Float(f64::from_bits(if sorted >> 63 == 1 { sorted ^ 1 << 63 } else { !sorted }))
        }
        Type::Numeric { scale, .. } => {
            let unscaled = (u128::from_be_bytes(reader.array()?) ^ 1 << 127) as i128;
            Value::Numeric(Decimal::new(unscaled, scale))
        }
        Type::Text | Type::Varchar(_) | Type::Json | Type::Jsonb => {
            let text = Text::new(decode_bytes(reader)?);
            Value::Text(text.map_err(|_| reader.corrupt())?)
        }
        Type::Bytea => Value::Bytes(decode_bytes(reader)?),
        Type::Date => Value::Date(unflip32(reader.array()?)),
        Type::Timestamp | Type::Timestamptz => Value::Timestamp(unflip64(reader.array()?)),
        Type::Uuid => Value::Uuid(reader.array()?),
    })
}

fn unflip32(bytes: [u8; 4]) -> i32 {
    (u32::from_be_bytes(bytes) ^ 1 << 31) as i32
}

fn unflip64(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ 1 << 63) as i64
}

fn decode_bytes(reader: &mut Reader<'_>) -> Result<Bytes> {
    let mut bytes = Vec::new();
    loop {
        match reader.u8()? {
            ESCAPE => match reader.u8()? {
                END => return Ok(Bytes::from(bytes)),
                ESCAPED_ZERO => bytes.push(0),
                _ => return Err(reader.corrupt()),
            },
            byte => bytes.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(values: &[(Value, Type)]) -> Vec<u8> {
        let mut out = Vec::new();
        values.iter().for_each(|(value, of)| encode(value, *of, &mut out).expect("the value is of its type"));
        out
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_keys_are_what_they_have_always_been() {
        let numeric = Type::Numeric { precision: 10, scale: 2 };
        for (value, of, golden) in [
            (Value::Bool(true), Type::Bool, "01"),
            (Value::Int(-2), Type::Int2, "7ffe"),
            (Value::Int(1), Type::Int4, "80000001"),
            (Value::Int(i64::MIN), Type::Int8, "0000000000000000"),
            (Value::Float(1.0), Type::Float8, "bff0000000000000"),
            (Value::Float(-1.0), Type::Float8, "400fffffffffffff"),
            (Value::Float(-0.0), Type::Float4, "80000000"),
            (Value::Numeric(Decimal::new(-100, 2)), numeric, "7fffffffffffffffffffffffffffff9c"),
            (Value::text("a\u{1}"), Type::Text, "61010001"),
            (Value::Bytes(Bytes::from_static(b"a\0b")), Type::Bytea, "6100ff620001"),
            (Value::Date(1), Type::Date, "80000001"),
            (Value::Timestamp(-1), Type::Timestamptz, "7fffffffffffffff"),
            (Value::Uuid([7; 16]), Type::Uuid, "07070707070707070707070707070707"),
        ] {
            assert_eq!(hex(&encoded(&[(value, of)])), golden);
        }
    }

    fn value_of(of: Type) -> BoxedStrategy<Value> {
        match of {
            Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            Type::Int2 => any::<i16>().prop_map(|v| Value::Int(v.into())).boxed(),
            Type::Int4 => any::<i32>().prop_map(|v| Value::Int(v.into())).boxed(),
            Type::Int8 => any::<i64>().prop_map(Value::Int).boxed(),
            Type::Float4 => any::<f32>().prop_map(|v| Value::Float(v.into())).boxed(),
            Type::Float8 => prop_oneof![any::<f64>(), Just(f64::NAN), Just(-0.0)].prop_map(Value::Float).boxed(),
            Type::Numeric { scale, .. } => {
                any::<i64>().prop_map(move |v| Value::Numeric(Decimal::new(i128::from(v) * 1_000_003, scale))).boxed()
            }
            Type::Bytea => {
                let few = proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..6);
                few.prop_map(|v| Value::Bytes(v.into())).boxed()
            }
            Type::Date => any::<i32>().prop_map(Value::Date).boxed(),
            Type::Timestamp | Type::Timestamptz => any::<i64>().prop_map(Value::Timestamp).boxed(),
            Type::Uuid => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
            _ => {
                let letters = proptest::collection::vec(prop_oneof![Just('a'), Just('\u{1}'), Just('ÿ')], 0..5);
                letters.prop_map(|v| Value::text(v.into_iter().collect::<String>())).boxed()
            }
        }
    }

    fn type_of_key() -> impl Strategy<Value = Type> {
        prop_oneof![
            Just(Type::Bool),
            Just(Type::Int2),
            Just(Type::Int4),
            Just(Type::Int8),
            Just(Type::Float4),
            Just(Type::Float8),
            Just(Type::Numeric { precision: 38, scale: 3 }),
            Just(Type::Text),
            Just(Type::Bytea),
            Just(Type::Date),
            Just(Type::Timestamp),
            Just(Type::Uuid),
        ]
    }

    fn pair() -> impl Strategy<Value = (Type, Value, Value)> {
        type_of_key().prop_flat_map(|of| (Just(of), value_of(of), value_of(of)))
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_values_do(columns in proptest::collection::vec(pair(), 1..4)) {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            let mut order = std::cmp::Ordering::Equal;
            for (of, left, right) in columns {
                order = order.then(left.compare(&right).expect("one type").expect("no nulls"));
                a.push((left, of));
                b.push((right, of));
            }
            prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), order);
        }

        #[test]
        fn a_key_reads_back_as_it_was_written(columns in proptest::collection::vec(pair(), 1..4)) {
            let values: Vec<(Value, Type)> = columns.into_iter().map(|(of, value, _)| (value, of)).collect();
            let bytes = encoded(&values);
            let mut reader = Reader::new(&bytes, "key");
            for (value, of) in &values {
                let back = decode(&mut reader, *of).expect("it was written");
                prop_assert_eq!(back.compare(value).expect("one type"), Some(std::cmp::Ordering::Equal));
            }
            prop_assert!(reader.end().is_ok());
        }

        #[test]
        fn garbage_is_refused_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40), of in type_of_key()) {
            let _ = decode(&mut Reader::new(&bytes, "key"), of);
        }
    }
}
