use super::*;
use crate::schema::NewColumn;
use proptest::prelude::*;

const NUMERIC: Type = Type::Numeric { precision: 20, scale: 2 };
const TYPES: [Type; 13] = [
    Type::Int8,
    Type::Bool,
    Type::Int2,
    Type::Int4,
    Type::Float4,
    Type::Float8,
    NUMERIC,
    Type::Text,
    Type::Bytea,
    Type::Date,
    Type::Timestamptz,
    Type::Uuid,
    Type::Jsonb,
];

fn column(number: usize, column_type: Type) -> NewColumn {
    NewColumn { name: format!("c{number}"), column_type, nullable: true, default: None }
}

fn schema() -> Schema {
    let columns = TYPES.iter().enumerate().map(|(at, of)| column(at, *of)).collect();
    Schema::create(columns, &["c0".into()]).expect("a good schema")
}

fn key_of(schema: &Schema, row: &[Value]) -> Vec<u8> {
    let mut key = Vec::new();
    schema.key.iter().for_each(|at| primary::encode(&row[*at], schema.columns[*at].column_type, &mut key).unwrap());
    key
}

fn nullable(value: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 4 => value]
}

fn row() -> impl Strategy<Value = Row> {
    let first = (
        any::<i64>().prop_map(Value::Int),
        nullable(any::<bool>().prop_map(Value::Bool)),
        nullable(any::<i16>().prop_map(|v| Value::Int(v.into()))),
        nullable(any::<i32>().prop_map(|v| Value::Int(v.into()))),
        nullable((-1e9f32..1e9).prop_map(|v| Value::Float(v.into()))),
        nullable((-1e9f64..1e9).prop_map(Value::Float)),
        nullable(any::<i64>().prop_map(|v| Value::Numeric(Decimal::new(v.into(), 2)))),
    );
    let second = (
        nullable("[a-zü]{0,20}".prop_map(Value::text)),
        nullable(proptest::collection::vec(any::<u8>(), 0..20).prop_map(|v| Value::Bytes(v.into()))),
        nullable(any::<i32>().prop_map(Value::Date)),
        nullable(any::<i64>().prop_map(Value::Timestamp)),
        nullable(any::<[u8; 16]>().prop_map(Value::Uuid)),
        nullable(Just(Value::text("{\"a\":1}"))),
    );
    (first, second).prop_map(|((a, b, c, d, e, f, g), (h, i, j, k, l, m))| vec![a, b, c, d, e, f, g, h, i, j, k, l, m])
}

proptest! {
    #[test]
    fn a_row_reads_back_as_it_was_written(row in row()) {
        let schema = schema();
        let (key, value) = (key_of(&schema, &row), encode(&schema, &row).unwrap());
        let all: Vec<usize> = (0..TYPES.len()).collect();
        prop_assert_eq!(decode(&schema, &key, &value, &all).unwrap(), row.clone());
        prop_assert_eq!(decode(&schema, &key, &value, &[7, 0, 7]).unwrap(), vec![row[7].clone(), row[0].clone(), row[7].clone()]);
    }

    #[test]
    fn a_damaged_row_never_panics(row in row(), at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<bool>()) {
        let schema = schema();
        let key = key_of(&schema, &row);
        let mut bytes = encode(&schema, &row).unwrap().to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = to }
        let all: Vec<usize> = (0..TYPES.len()).collect();
        let _ = decode(&schema, &key, &Bytes::from(bytes), &all);
    }
}

#[test]
fn the_bytes_of_a_row_are_what_they_have_always_been() {
    let columns = vec![column(0, Type::Int4), column(1, Type::Text), column(2, Type::Int2), column(3, Type::Bool)];
    let schema = Schema::create(columns, &["c0".into()]).expect("a good schema");
    let row = vec![Value::Int(7), Value::text("hi"), Value::Int(258), Value::Null];
    let value = encode(&schema, &row).unwrap();
    let golden: &[u8] = &[1, 0, 0, 0b100, 2, 1, 0, 2, 0, 0, 0, b'h', b'i'];
    assert_eq!(value.as_ref(), golden);
    assert_eq!(key_of(&schema, &row), [0x80, 0, 0, 7]);
}

#[test]
fn rows_survive_added_dropped_and_renamed_columns() {
    let columns = vec![column(0, Type::Int4), column(1, Type::Text), column(2, Type::Int2)];
    let old = Schema::create(columns, &["c0".into()]).expect("a good schema");
    let row = vec![Value::Int(7), Value::text("hi"), Value::Int(2)];
    let (key, value) = (key_of(&old, &row), encode(&old, &row).unwrap());

    let new = old.drop_column("c1").unwrap().rename_column("c2", "two").unwrap();
    let new = new.add_column(column(9, Type::Text), Value::text("later")).unwrap();
    assert_eq!(
        decode(&new, &key, &value, &[0, 1, 2]).unwrap(),
        vec![Value::Int(7), Value::Int(2), Value::text("later")]
    );
    assert_eq!(new.find("two"), Some(1));

    // The name of a dropped column may come back; its old bytes do not.
    let again = new.add_column(column(1, Type::Text), Value::Null).unwrap();
    assert_eq!(decode(&again, &key, &value, &[3]).unwrap(), vec![Value::Null]);
}
