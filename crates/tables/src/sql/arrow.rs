//! Between our values and Arrow's columns.

use crate::value::{Decimal, Text};
use crate::{Error, Result, Row, Type, Value};
use bytes::Bytes;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, RecordBatch, RecordBatchOptions, StringBuilder,
    TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;
use std::sync::Arc;

/// Collects the values of one column.
enum Column {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Numeric(Decimal128Builder, u8),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

/// Collects rows into record batches.
pub(crate) struct Builder {
    columns: Vec<Column>,
    schema: SchemaRef,
    rows: usize,
}

impl Builder {
    /// `types` are the columns' own; `schema` is what the batches say.
    pub(crate) fn new(types: &[Type], schema: SchemaRef, rows: usize) -> Self {
        let column = |of: &Type| match *of {
            Type::Bool => Column::Bool(BooleanBuilder::with_capacity(rows)),
            Type::Int2 => Column::Int2(Int16Builder::with_capacity(rows)),
            Type::Int4 => Column::Int4(Int32Builder::with_capacity(rows)),
            Type::Int8 | Type::Oid => Column::Int8(Int64Builder::with_capacity(rows)),
            Type::Float4 => Column::Float4(Float32Builder::with_capacity(rows)),
            Type::Float8 => Column::Float8(Float64Builder::with_capacity(rows)),
            Type::Numeric { scale, .. } => {
                Column::Numeric(Decimal128Builder::with_capacity(rows).with_data_type(of.to_arrow()), scale)
            }
            Type::Text | Type::Varchar(_) | Type::Json | Type::Jsonb | Type::Uuid => {
                Column::Text(StringBuilder::with_capacity(rows, 16 * rows))
            }
            Type::Bytea => Column::Bytes(BinaryBuilder::with_capacity(rows, 16 * rows)),
            Type::Date => Column::Date(Date32Builder::with_capacity(rows)),
            Type::Timestamp | Type::Timestamptz => {
                Column::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(of.to_arrow()))
            }
        };
        Self { columns: types.iter().map(column).collect(), schema, rows: 0 }
    }

    pub(crate) fn push(&mut self, row: &[Value]) -> Result<()> {
        self.rows += 1;
        self.columns.iter_mut().zip(row).try_for_each(|(column, value)| column.push(value))
    }

    pub(crate) fn finish(self) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let arrays = self.columns.into_iter().map(Column::finish).collect();
        RecordBatch::try_new_with_options(self.schema, arrays, &options)
            .map_err(|error| Error::Query(error.to_string()))
    }
}

impl Column {
    fn push(&mut self, value: &Value) -> Result<()> {
        match (self, value) {
            (Self::Bool(column), Value::Bool(value)) => column.append_value(*value),
            (Self::Bool(column), Value::Null) => column.append_null(),
            (Self::Int2(column), Value::Int(value)) => column.append_value(narrow(*value)?),
            (Self::Int2(column), Value::Null) => column.append_null(),
            (Self::Int4(column), Value::Int(value)) => column.append_value(narrow(*value)?),
            (Self::Int4(column), Value::Null) => column.append_null(),
            (Self::Int8(column), Value::Int(value)) => column.append_value(*value),
            (Self::Int8(column), Value::Null) => column.append_null(),
            (Self::Float4(column), Value::Float(value)) => column.append_value(one_zero(*value) as f32),
            (Self::Float4(column), Value::Null) => column.append_null(),
            (Self::Float8(column), Value::Float(value)) => column.append_value(one_zero(*value)),
            (Self::Float8(column), Value::Null) => column.append_null(),
            (Self::Numeric(column, scale), Value::Numeric(value)) => {
                let fitted = value.rescale(*scale).ok_or_else(|| Error::OutOfRange("numeric field".into()))?;
                column.append_value(fitted.unscaled);
            }
            (Self::Numeric(column, _), Value::Null) => column.append_null(),
            (Self::Text(column), Value::Text(value)) => column.append_value(value.as_str()),
            (Self::Text(column), Value::Uuid(value)) => {
                let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
                column.append_value(uuid::Uuid::from_bytes(*value).hyphenated().encode_lower(&mut buffer));
            }
            (Self::Text(column), Value::Null) => column.append_null(),
            (Self::Bytes(column), Value::Bytes(value)) => column.append_value(value),
            (Self::Bytes(column), Value::Null) => column.append_null(),
            (Self::Date(column), Value::Date(value)) => column.append_value(*value),
            (Self::Date(column), Value::Null) => column.append_null(),
            (Self::Timestamp(column), Value::Timestamp(value)) => column.append_value(*value),
            (Self::Timestamp(column), Value::Null) => column.append_null(),
            (_, value) => return Err(Error::Corrupt(format!("a column got the value {value:?}"))),
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Bool(mut column) => Arc::new(column.finish()),
            Self::Int2(mut column) => Arc::new(column.finish()),
            Self::Int4(mut column) => Arc::new(column.finish()),
            Self::Int8(mut column) => Arc::new(column.finish()),
            Self::Float4(mut column) => Arc::new(column.finish()),
            Self::Float8(mut column) => Arc::new(column.finish()),
            Self::Numeric(mut column, _) => Arc::new(column.finish()),
            Self::Text(mut column) => Arc::new(column.finish()),
            Self::Bytes(mut column) => Arc::new(column.finish()),
            Self::Date(mut column) => Arc::new(column.finish()),
            Self::Timestamp(mut column) => Arc::new(column.finish()),
        }
    }
}

fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T> {
    T::try_from(value).map_err(|_| Error::OutOfRange("integer".into()))
}

/// The rows of a batch, its columns read as the given types.
pub(crate) fn rows(batch: &RecordBatch, types: &[Type]) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = (0..batch.num_rows()).map(|_| Row::with_capacity(types.len())).collect();
    for (array, of) in batch.columns().iter().zip(types) {
        push_column(array, *of, &mut rows)?;
    }
    Ok(rows)
}

/// The values of one column, each as a row.
pub(crate) fn column(array: &ArrayRef, of: Type) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = (0..array.len()).map(|_| Row::with_capacity(1)).collect();
    push_column(array, of, &mut rows)?;
    Ok(rows)
}

fn push_column(array: &ArrayRef, of: Type, rows: &mut [Row]) -> Result<()> {
    let mut fill = |value: &dyn Fn(usize) -> Result<Value>| {
        for (at, row) in rows.iter_mut().enumerate() {
            row.push(if array.is_null(at) { Value::Null } else { value(at)? });
        }
        Ok::<_, Error>(())
    };
    macro_rules! numbers {
        ($arrow:ty, $convert:expr) => {{
            let column = array.as_primitive::<$arrow>();
            fill(&|at| Ok($convert(column.value(at))))
        }};
    }
    match array.data_type() {
        DataType::Boolean => {
            let column = array.as_boolean();
            fill(&|at| Ok(Value::Bool(column.value(at))))
        }
        DataType::Int8 => numbers!(Int8Type, |value: i8| Value::Int(value.into())),
        DataType::Int16 => numbers!(Int16Type, |value: i16| Value::Int(value.into())),
        DataType::Int32 => numbers!(Int32Type, |value: i32| Value::Int(value.into())),
        DataType::Int64 => numbers!(Int64Type, Value::Int),
        DataType::UInt8 => numbers!(UInt8Type, |value: u8| Value::Int(value.into())),
        DataType::UInt16 => numbers!(UInt16Type, |value: u16| Value::Int(value.into())),
        DataType::UInt32 => numbers!(UInt32Type, |value: u32| Value::Int(value.into())),
        DataType::UInt64 => {
            let column = array.as_primitive::<UInt64Type>();
            fill(&|at| Ok(Value::Int(i64::try_from(column.value(at)).map_err(|_| Error::OutOfRange("bigint".into()))?)))
        }
        DataType::Float32 => numbers!(Float32Type, |value: f32| Value::Float(value.into())),
        DataType::Float64 => numbers!(Float64Type, Value::Float),
        DataType::Decimal128(_, scale) => {
            let column = array.as_primitive::<Decimal128Type>();
            fill(&|at| decimal(Some(column.value(at)), *scale))
        }
        DataType::Decimal256(_, scale) => {
            let column = array.as_primitive::<Decimal256Type>();
            fill(&|at| decimal(column.value(at).to_i128(), *scale))
        }
        DataType::Date32 => numbers!(Date32Type, Value::Date),
        DataType::Date64 => {
            numbers!(Date64Type, |value: i64| Value::Date(i32::try_from(value / 86_400_000).unwrap_or(i32::MAX)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => numbers!(TimestampMicrosecondType, Value::Timestamp),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            numbers!(TimestampNanosecondType, |value: i64| Value::Timestamp(value.div_euclid(1000)))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            numbers!(TimestampMillisecondType, |value: i64| Value::Timestamp(value.saturating_mul(1000)))
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            numbers!(TimestampSecondType, |value: i64| Value::Timestamp(value.saturating_mul(1_000_000)))
        }
        DataType::Utf8 => {
            let column = array.as_string::<i32>();
            // All texts of the batch share its buffer.
            let bytes = Bytes::from_owner(Shared(column.values().clone()));
            let text = |at: usize| {
                let offsets = column.value_offsets();
                text_value(bytes.slice(offsets[at] as usize..offsets[at + 1] as usize), of)
            };
            fill(&text)
        }
        DataType::LargeUtf8 => {
            let column = array.as_string::<i64>();
            fill(&|at| text_value(Bytes::copy_from_slice(column.value(at).as_bytes()), of))
        }
        DataType::Utf8View => {
            let column = array.as_string_view();
            fill(&|at| text_value(Bytes::copy_from_slice(column.value(at).as_bytes()), of))
        }
        DataType::Binary => {
            let column = array.as_binary::<i32>();
            fill(&|at| Ok(Value::Bytes(Bytes::copy_from_slice(column.value(at)))))
        }
        DataType::LargeBinary => {
            let column = array.as_binary::<i64>();
            fill(&|at| Ok(Value::Bytes(Bytes::copy_from_slice(column.value(at)))))
        }
        DataType::BinaryView => {
            let column = array.as_binary_view();
            fill(&|at| Ok(Value::Bytes(Bytes::copy_from_slice(column.value(at)))))
        }
        DataType::FixedSizeBinary(_) => {
            let column = array.as_fixed_size_binary();
            fill(&|at| Ok(Value::Bytes(Bytes::copy_from_slice(column.value(at)))))
        }
        DataType::Null => fill(&|_| Ok(Value::Null)),
        // Intervals, lists and the like have no value of ours: they are shown as text.
        _ => {
            let options = FormatOptions::default();
            let format = ArrayFormatter::try_new(array.as_ref(), &options);
            let format = format.map_err(|error| Error::Query(error.to_string()))?;
            fill(&|at| text_value(format.value(at).to_string().into(), Type::Text))
        }
    }
}

/// `None` is a number with more digits than ours.
fn decimal(unscaled: Option<i128>, scale: i8) -> Result<Value> {
    let decimal = unscaled.and_then(|unscaled| Decimal::of_scale(unscaled, scale));
    decimal.map(Value::Numeric).ok_or_else(|| Error::OutOfRange("numeric".into()))
}

/// A buffer of Arrow, for texts to share.
struct Shared(datafusion::arrow::buffer::Buffer);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

fn text_value(bytes: Bytes, of: Type) -> Result<Value> {
    let text = Text::new(bytes)?;
    if of == Type::Uuid {
        return Value::Text(text).assign(Type::Uuid);
    }
    Ok(Value::Text(text))
}

/// Zero for either zero: Arrow holds them to be different, SQL does not.
fn one_zero(value: f64) -> f64 {
    value + 0.0
}

/// A parameter's value for DataFusion.
pub(crate) fn scalar(value: &Value, of: Type) -> Result<ScalarValue> {
    let null = || ScalarValue::try_from(&of.to_arrow()).map_err(Error::from);
    Ok(match (value, of) {
        (Value::Null, _) => null()?,
        (Value::Bool(value), _) => ScalarValue::Boolean(Some(*value)),
        (Value::Int(value), Type::Int2) => ScalarValue::Int16(Some(narrow(*value)?)),
        (Value::Int(value), Type::Int4) => ScalarValue::Int32(Some(narrow(*value)?)),
        (Value::Int(value), _) => ScalarValue::Int64(Some(*value)),
        (Value::Float(value), Type::Float4) => ScalarValue::Float32(Some(one_zero(*value) as f32)),
        (Value::Float(value), _) => ScalarValue::Float64(Some(one_zero(*value))),
        (Value::Numeric(value), _) => {
            let scale = i8::try_from(value.scale).unwrap_or(0);
            ScalarValue::Decimal128(Some(value.unscaled), Decimal::DIGITS_MAX, scale)
        }
        (Value::Text(value), _) => ScalarValue::Utf8(Some(value.as_str().to_owned())),
        (Value::Bytes(value), _) => ScalarValue::Binary(Some(value.to_vec())),
        (Value::Date(value), _) => ScalarValue::Date32(Some(*value)),
        (Value::Timestamp(value), Type::Timestamptz) => {
            ScalarValue::TimestampMicrosecond(Some(*value), Some("+00:00".into()))
        }
        (Value::Timestamp(value), _) => ScalarValue::TimestampMicrosecond(Some(*value), None),
        (Value::Uuid(value), _) => ScalarValue::Utf8(Some(uuid::Uuid::from_bytes(*value).to_string())),
    })
}

/// A literal of a plan as one of our values; `None` for types that we have no value for.
pub(crate) fn value_of(scalar: &ScalarValue) -> Option<Value> {
    Some(match scalar {
        ScalarValue::Boolean(Some(value)) => Value::Bool(*value),
        ScalarValue::Int8(Some(value)) => Value::Int((*value).into()),
        ScalarValue::Int16(Some(value)) => Value::Int((*value).into()),
        ScalarValue::Int32(Some(value)) => Value::Int((*value).into()),
        ScalarValue::Int64(Some(value)) => Value::Int(*value),
        ScalarValue::Float32(Some(value)) => Value::Float((*value).into()),
        ScalarValue::Float64(Some(value)) => Value::Float(*value),
        ScalarValue::Decimal128(Some(value), _, scale) => Value::Numeric(Decimal::of_scale(*value, *scale)?),
        ScalarValue::Utf8(Some(value)) | ScalarValue::Utf8View(Some(value)) | ScalarValue::LargeUtf8(Some(value)) => {
            Value::text(value.as_str())
        }
        ScalarValue::Date32(Some(value)) => Value::Date(*value),
        ScalarValue::TimestampMicrosecond(Some(value), _) => Value::Timestamp(*value),
        _ => return None,
    })
}
