//! `information_schema.columns`.

use super::*;

pub(super) const COLUMNS: [(&str, Type); 14] = [
    ("table_catalog", Type::Text),
    ("table_schema", Type::Text),
    ("table_name", Type::Text),
    ("column_name", Type::Text),
    ("ordinal_position", Type::Int4),
    ("column_default", Type::Text),
    ("is_nullable", Type::Text),
    ("data_type", Type::Text),
    ("character_maximum_length", Type::Int4),
    ("numeric_precision", Type::Int4),
    ("numeric_scale", Type::Int4),
    ("udt_name", Type::Text),
    ("is_identity", Type::Text),
    ("is_generated", Type::Text),
];

pub(super) fn column_row(catalog: &Value, view: &View, number: usize, column: &Column) -> Row {
    let of = column.column_type;
    let (length, precision, scale) = match of {
        Type::Varchar(length) => (Value::Int(length.into()), Value::Null, Value::Null),
        Type::Numeric { precision, scale } => (Value::Null, Value::Int(precision.into()), Value::Int(scale.into())),
        Type::Int2 => (Value::Null, Value::Int(16), Value::Int(0)),
        Type::Int4 => (Value::Null, Value::Int(32), Value::Int(0)),
        Type::Int8 => (Value::Null, Value::Int(64), Value::Int(0)),
        _ => (Value::Null, Value::Null, Value::Null),
    };
    let udt = TYPES.iter().find(|(known, ..)| type_oid(*known) == type_oid(of)).map_or("text", |(_, name, _)| name);
    vec![
        catalog.clone(),
        text(SCHEMA),
        text(&view.name),
        text(&column.name),
        Value::Int(number as i64),
        column.default.as_deref().map_or(Value::Null, text),
        text(if column.nullable { "YES" } else { "NO" }),
        text(of.base_name()),
        length,
        precision,
        scale,
        text(udt),
        text("NO"),
        text("NEVER"),
    ]
}
