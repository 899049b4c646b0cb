//! The record of a table's schema.
//!
//! `[format 1] version generation next-column-id, columns, positions of the key, layouts`; counts are u16,
//! other numbers u32 unless the code says otherwise. A column: id, name, type (5 bytes), flags, default, missing value.

use super::codec::{Reader, Writer};
use crate::schema::{Column, Schema};
use crate::value::text;
use crate::{Error, Result, Type, Value};
use bytes::Bytes;

const FORMAT: u8 = 1;
const NULLABLE: u8 = 1;
const HIDDEN: u8 = 2;
const HAS_DEFAULT: u8 = 4;
const HAS_MISSING: u8 = 8;

pub fn encode(schema: &Schema) -> Result<Bytes> {
    let mut out = Writer::default();
    let count = |number: usize| u16::try_from(number).expect("columns and layouts are bounded");
    out.u8(FORMAT);
    out.u32(schema.version);
    out.u32(schema.generation);
    out.u16(schema.next_column_id);
    out.u16(count(schema.columns.len()));
    schema.columns.iter().for_each(|column| encode_column(column, &mut out));
    out.u16(count(schema.key.len()));
    schema.key.iter().for_each(|at| out.u16(count(*at)));
    out.u16(count(schema.layouts.len()));
    for layout in &schema.layouts {
        out.u16(count(layout.len()));
        for (id, column_type) in layout {
            out.u16(*id);
            out.array(&column_type.to_bytes());
        }
    }
    if out.0.len() > ballast_store::limits::VALUE_BYTES_MAX {
        return Err(Error::TooLarge("the table has too many columns and layouts: copy it to a new one".into()));
    }
    Ok(Bytes::from(out.0))
}

fn encode_column(column: &Column, out: &mut Writer) {
    out.u16(column.id);
    out.bytes(column.name.as_bytes());
    out.array(&column.column_type.to_bytes());
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    let has_missing = !column.missing.is_null();
    out.u8(flag(column.nullable, NULLABLE)
        | flag(column.hidden, HIDDEN)
        | flag(column.default.is_some(), HAS_DEFAULT)
        | flag(has_missing, HAS_MISSING));
    if let Some(default) = &column.default {
        out.bytes(default.as_bytes());
    }
    if has_missing {
        // As text: it is rare, and its spelling is as stable as SQL's.
        out.bytes(text::print(&column.missing, column.column_type).as_bytes());
    }
}

pub fn decode(bytes: &[u8]) -> Result<Schema> {
    let mut reader = Reader::new(bytes, "a table's schema");
    let format = reader.u8()?;
    if format != FORMAT {
        return Err(Error::Corrupt(format!("a table's schema has the unknown format {format}")));
    }
    let (version, generation, next_column_id) = (reader.u32()?, reader.u32()?, reader.u16()?);
    let columns = (0..reader.u16()?).map(|_| decode_column(&mut reader)).collect::<Result<Vec<_>>>()?;
    let key = (0..reader.u16()?).map(|_| Ok(usize::from(reader.u16()?))).collect::<Result<Vec<_>>>()?;
    let mut layouts = Vec::new();
    for _ in 0..reader.u16()? {
        let columns = reader.u16()?;
        let column = |_| Ok((reader.u16()?, decode_type(&mut reader)?));
        layouts.push((0..columns).map(column).collect::<Result<Vec<_>>>()?);
    }
    if layouts.is_empty() || key.is_empty() || key.iter().any(|at| *at >= columns.len()) {
        return Err(reader.corrupt());
    }
    reader.end()?;
    Ok(Schema::restore(version, generation, next_column_id, columns, key, layouts))
}

fn decode_type(reader: &mut Reader<'_>) -> Result<Type> {
    let bytes = reader.array()?;
    Type::from_bytes(bytes).ok_or_else(|| reader.corrupt())
}

fn decode_column(reader: &mut Reader<'_>) -> Result<Column> {
    let (id, name, column_type) = (reader.u16()?, reader.string()?, decode_type(reader)?);
    let flags = reader.u8()?;
    let default = if flags & HAS_DEFAULT != 0 { Some(reader.string()?) } else { None };
    let missing = match flags & HAS_MISSING {
        0 => Value::Null,
        _ => text::parse(&reader.string()?, column_type).map_err(|_| reader.corrupt())?,
    };
    let (nullable, hidden) = (flags & NULLABLE != 0, flags & HIDDEN != 0);
    Ok(Column { id, name, column_type, nullable, default, missing, hidden })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::NewColumn;

    fn column(name: &str, column_type: Type, default: Option<&str>) -> NewColumn {
        NewColumn { name: name.into(), column_type, nullable: true, default: default.map(Into::into) }
    }

    #[test]
    fn a_schema_reads_back_as_it_was_written() {
        let columns = vec![
            column("id", Type::Int8, None),
            column("price", Type::Numeric { precision: 12, scale: 2 }, Some("0")),
            column("name", Type::Varchar(30), None),
        ];
        let schema = Schema::create(columns, &["id".into()]).unwrap();
        let schema = schema.add_column(column("tag", Type::Text, Some("'x'")), Value::text("x")).unwrap();
        let schema = schema.drop_column("name").unwrap().truncate().unwrap();
        let bytes = encode(&schema).unwrap();
        assert_eq!(decode(&bytes).unwrap(), schema);
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_bytes_of_a_schema_are_what_they_have_always_been() {
        let schema =
            Schema::create(vec![column("id", Type::Int4, None), column("t", Type::Text, None)], &["id".into()]);
        let golden: &[u8] = &[
            1, 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 2, 0, // format, version, generation, next id, columns
            1, 0, 2, 0, 0, 0, b'i', b'd', 3, 0, 0, 0, 0, 0, // id
            2, 0, 1, 0, 0, 0, b't', 8, 0, 0, 0, 0, 1, // t
            1, 0, 0, 0, // key
            1, 0, 1, 0, 2, 0, 8, 0, 0, 0, 0, // one layout of one column
        ];
        assert_eq!(encode(&schema.unwrap()).unwrap().as_ref(), golden);
    }
}
