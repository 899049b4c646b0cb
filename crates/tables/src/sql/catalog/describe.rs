//! The tables of `pg_catalog` and `information_schema`, made from the session's directory when a query names one.

use super::{INFORMATION_SCHEMA, Names, PG_CATALOG};
use crate::schema::Column;
use crate::sql::arrow::Builder;
use crate::sql::engine::SCHEMA;
use crate::table::View;
use crate::{Error, Result, Row, Type, Value};
use datafusion::arrow::datatypes::Schema as ArrowSchema;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use std::collections::BTreeMap;
use std::sync::Arc;

mod columns;

use columns::{COLUMNS, column_row};

const NAMESPACE_CATALOG: i64 = 11;
const NAMESPACE_PUBLIC: i64 = 2200;
const NAMESPACE_INFORMATION: i64 = 13_000;
/// Numbers of tables start behind PostgreSQL's own, those of their indexes and constraints far behind.
const TABLE_OIDS: i64 = 16_384;
const INDEX_OIDS: i64 = 1 << 30;
const CONSTRAINT_OIDS: i64 = 1 << 31;

pub(crate) fn table_oid(view: &View) -> i64 {
    TABLE_OIDS + i64::try_from(view.ino().0 & 0x1fff_ffff).unwrap_or(0)
}

fn index_oid(view: &View) -> i64 {
    INDEX_OIDS + table_oid(view)
}

fn constraint_oid(view: &View) -> i64 {
    CONSTRAINT_OIDS + table_oid(view)
}

/// PostgreSQL's number of a type.
pub fn type_oid(of: Type) -> i64 {
    match of {
        Type::Bool => 16,
        Type::Bytea => 17,
        Type::Int8 => 20,
        Type::Int2 => 21,
        Type::Int4 => 23,
        Type::Text => 25,
        Type::Oid => 26,
        Type::Json => 114,
        Type::Float4 => 700,
        Type::Float8 => 701,
        Type::Varchar(_) => 1043,
        Type::Date => 1082,
        Type::Timestamp => 1114,
        Type::Timestamptz => 1184,
        Type::Numeric { .. } => 1700,
        Type::Uuid => 2950,
        Type::Jsonb => 3802,
    }
}

const TYPES: [(Type, &str, &str); 17] = [
    (Type::Bool, "bool", "B"),
    (Type::Bytea, "bytea", "U"),
    (Type::Int8, "int8", "N"),
    (Type::Int2, "int2", "N"),
    (Type::Int4, "int4", "N"),
    (Type::Text, "text", "S"),
    (Type::Oid, "oid", "N"),
    (Type::Json, "json", "U"),
    (Type::Float4, "float4", "N"),
    (Type::Float8, "float8", "N"),
    (Type::Varchar(0), "varchar", "S"),
    (Type::Date, "date", "D"),
    (Type::Timestamp, "timestamp", "D"),
    (Type::Timestamptz, "timestamptz", "D"),
    (Type::NUMERIC, "numeric", "N"),
    (Type::Uuid, "uuid", "U"),
    (Type::Jsonb, "jsonb", "U"),
];

pub(crate) fn type_by_oid(oid: i64) -> Option<Type> {
    TYPES.iter().map(|(of, ..)| *of).find(|of| type_oid(*of) == oid)
}

/// Length and precision, packed as PostgreSQL packs them; -1 without.
pub fn type_modifier(of: Type) -> i64 {
    match of {
        Type::Varchar(length) => i64::from(length) + 4,
        Type::NUMERIC => -1,
        Type::Numeric { precision, scale } => (i64::from(precision) << 16 | i64::from(scale)) + 4,
        _ => -1,
    }
}

fn type_len(of: Type) -> i64 {
    match of {
        Type::Numeric { .. } => -1,
        of => of.fixed_len().and_then(|length| i64::try_from(length).ok()).unwrap_or(-1),
    }
}

/// What `pg_get_indexdef` and `pg_get_constraintdef` say, by number.
pub(crate) fn definitions(views: &[View]) -> BTreeMap<i64, String> {
    let mut definitions = BTreeMap::new();
    for view in views.iter().filter(|view| !view.schema.has_hidden_key()) {
        let columns: Vec<&str> = view.schema.key.iter().map(|at| view.schema.columns[*at].name.as_str()).collect();
        let columns = columns.join(", ");
        let index = format!("CREATE UNIQUE INDEX {} ON {} USING btree ({columns})", view.constraint(), view.name);
        definitions.insert(index_oid(view), index);
        definitions.insert(constraint_oid(view), format!("PRIMARY KEY ({columns})"));
    }
    definitions
}

fn provider(columns: &[(&str, Type)], rows: Vec<Row>) -> Result<Arc<dyn TableProvider>> {
    let types: Vec<Type> = columns.iter().map(|(_, of)| *of).collect();
    let fields = columns.iter().map(|(name, of)| of.to_field(name, true)).collect::<Vec<_>>();
    let schema = Arc::new(ArrowSchema::new(fields));
    let mut builder = Builder::new(&types, Arc::clone(&schema), rows.len());
    rows.iter().try_for_each(|row| builder.push(row))?;
    let table = MemTable::try_new(schema, vec![vec![builder.finish()?]]).map_err(Error::from)?;
    Ok(Arc::new(table))
}

fn text(text: &str) -> Value {
    Value::text(text)
}

/// A table of one of the two catalogs.
pub(super) async fn table(names: &Names, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    names.note_moment();
    match schema {
        PG_CATALOG => pg_catalog(names, name).await,
        _ => information_schema(names, name).await,
    }
}

async fn pg_catalog(names: &Names, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let (b, i, s, o) = (Type::Bool, Type::Int4, Type::Text, Type::Oid);
    let made = match name {
        "pg_namespace" => {
            let row = |oid, name| vec![Value::Int(oid), text(name), Value::Int(10), Value::Null];
            let rows = vec![
                row(NAMESPACE_CATALOG, PG_CATALOG),
                row(NAMESPACE_PUBLIC, SCHEMA),
                row(NAMESPACE_INFORMATION, INFORMATION_SCHEMA),
            ];
            provider(&[("oid", o), ("nspname", s), ("nspowner", o), ("nspacl", s)], rows)
        }
        "pg_class" => {
            let mut rows = Vec::new();
            for view in names.list().await? {
                let columns = view.schema.visible().count();
                rows.push(class_row(table_oid(&view), &view.name, "r", columns, !view.schema.has_hidden_key()));
                if !view.schema.has_hidden_key() {
                    rows.push(class_row(index_oid(&view), &view.constraint(), "i", view.schema.key.len(), false));
                }
            }
            provider(&CLASS, rows)
        }
        "pg_attribute" => {
            let mut rows = Vec::new();
            for view in names.list().await? {
                for (number, at) in view.schema.visible().enumerate() {
                    rows.push(attribute_row(table_oid(&view), number + 1, &view.schema.columns[at]));
                }
            }
            provider(&ATTRIBUTE, rows)
        }
        "pg_attrdef" => {
            let mut rows = Vec::new();
            for view in names.list().await? {
                for (number, at) in view.schema.visible().enumerate() {
                    if let Some(default) = &view.schema.columns[at].default {
                        let (oid, number) = (table_oid(&view), (number + 1) as i64);
                        rows.push(vec![Value::Int(oid), Value::Int(oid), Value::Int(number), text(default)]);
                    }
                }
            }
            provider(&[("oid", o), ("adrelid", o), ("adnum", Type::Int2), ("adbin", s)], rows)
        }
        "pg_index" => {
            let views = names.list().await?;
            let keyed = views.iter().filter(|view| !view.schema.has_hidden_key());
            provider(&INDEX, keyed.map(index_row).collect())
        }
        "pg_constraint" => {
            let views = names.list().await?;
            let keyed = views.iter().filter(|view| !view.schema.has_hidden_key());
            provider(&CONSTRAINT, keyed.map(constraint_row).collect())
        }
        "pg_type" => provider(&TYPE, TYPES.iter().map(type_row).collect()),
        "pg_am" => {
            let rows =
                vec![vec![Value::Int(2), text("heap"), text("t")], vec![Value::Int(403), text("btree"), text("i")]];
            provider(&[("oid", o), ("amname", s), ("amtype", s)], rows)
        }
        "pg_database" => {
            let database = &names.variables().database;
            let row = vec![
                Value::Int(1),
                text(database),
                Value::Int(10),
                Value::Int(6),
                text("C"),
                text("C"),
                Value::Bool(false),
                Value::Bool(true),
                Value::Null,
                text("c"),
                Value::Null,
            ];
            let columns = [
                ("oid", o),
                ("datname", s),
                ("datdba", o),
                ("encoding", i),
                ("datcollate", s),
                ("datctype", s),
                ("datistemplate", b),
                ("datallowconn", b),
                ("datacl", s),
                ("datlocprovider", s),
                ("daticulocale", s),
            ];
            provider(&columns, vec![row])
        }
        "pg_roles" | "pg_user" | "pg_authid" => {
            let user = &names.variables().user;
            let t = Value::Bool(true);
            let row = vec![Value::Int(10), text(user), t.clone(), t.clone(), t, Value::Int(10), text(user)];
            let columns = [
                ("oid", o),
                ("rolname", s),
                ("rolsuper", b),
                ("rolcanlogin", b),
                ("rolinherit", b),
                ("usesysid", o),
                ("usename", s),
            ];
            provider(&columns, vec![row])
        }
        "pg_settings" => {
            let rows = ["server_version", "timezone", "client_encoding", "standard_conforming_strings"];
            let row = |name: &&str| vec![text(name), text(names.variables().get(name).unwrap_or_default())];
            provider(&[("name", s), ("setting", s)], rows.iter().map(row).collect())
        }
        "pg_tables" => {
            let views = names.list().await?;
            let rows = views.iter().map(|view| vec![text(SCHEMA), text(&view.name), text("owner")]).collect();
            provider(&[("schemaname", s), ("tablename", s), ("tableowner", s)], rows)
        }
        "pg_description" | "pg_shdescription" => {
            provider(&[("objoid", o), ("classoid", o), ("objsubid", i), ("description", s)], Vec::new())
        }
        "pg_collation" => provider(&[("oid", o), ("collname", s), ("collnamespace", o)], Vec::new()),
        "pg_proc" => provider(&[("oid", o), ("proname", s), ("pronamespace", o), ("prorettype", o)], Vec::new()),
        "pg_range" => provider(&[("rngtypid", o), ("rngsubtype", o), ("rngmultitypid", o)], Vec::new()),
        "pg_enum" => {
            provider(&[("oid", o), ("enumtypid", o), ("enumlabel", s), ("enumsortorder", Type::Float4)], Vec::new())
        }
        "pg_inherits" => provider(&[("inhrelid", o), ("inhparent", o), ("inhseqno", i)], Vec::new()),
        "pg_views" | "pg_matviews" => provider(&[("schemaname", s), ("viewname", s), ("matviewname", s)], Vec::new()),
        "pg_tablespace" => provider(&[("oid", o), ("spcname", s)], Vec::new()),
        "pg_sequence" => provider(&[("seqrelid", o)], Vec::new()),
        "pg_depend" => provider(
            &[
                ("classid", o),
                ("objid", o),
                ("objsubid", i),
                ("refclassid", o),
                ("refobjid", o),
                ("refobjsubid", i),
                ("deptype", s),
            ],
            Vec::new(),
        ),
        "pg_stat_user_tables" => provider(&[("relid", o), ("schemaname", s), ("relname", s)], Vec::new()),
        _ => return Ok(None),
    };
    made.map(Some)
}

const CLASS: [(&str, Type); 22] = [
    ("oid", Type::Oid),
    ("relname", Type::Text),
    ("relnamespace", Type::Oid),
    ("reltype", Type::Oid),
    ("reloftype", Type::Oid),
    ("relowner", Type::Oid),
    ("relam", Type::Oid),
    ("reltablespace", Type::Oid),
    ("reltuples", Type::Float4),
    ("reltoastrelid", Type::Oid),
    ("relhasindex", Type::Bool),
    ("relpersistence", Type::Text),
    ("relkind", Type::Text),
    ("relnatts", Type::Int2),
    ("relchecks", Type::Int2),
    ("relhasrules", Type::Bool),
    ("relhastriggers", Type::Bool),
    ("relrowsecurity", Type::Bool),
    ("relforcerowsecurity", Type::Bool),
    ("relreplident", Type::Text),
    ("relispartition", Type::Bool),
    ("relacl", Type::Text),
];

fn class_row(oid: i64, name: &str, kind: &str, columns: usize, has_index: bool) -> Row {
    let (zero, no) = (Value::Int(0), Value::Bool(false));
    vec![
        Value::Int(oid),
        text(name),
        Value::Int(NAMESPACE_PUBLIC),
        zero.clone(),
        zero.clone(),
        Value::Int(10),
        Value::Int(if kind == "i" { 403 } else { 2 }),
        zero.clone(),
        Value::Float(-1.0),
        zero.clone(),
        Value::Bool(has_index),
        text("p"),
        text(kind),
        Value::Int(columns as i64),
        zero,
        no.clone(),
        no.clone(),
        no.clone(),
        no.clone(),
        text("d"),
        no,
        Value::Null,
    ]
}

const ATTRIBUTE: [(&str, Type); 15] = [
    ("attrelid", Type::Oid),
    ("attname", Type::Text),
    ("atttypid", Type::Oid),
    ("attlen", Type::Int2),
    ("attnum", Type::Int2),
    ("atttypmod", Type::Int4),
    ("attnotnull", Type::Bool),
    ("atthasdef", Type::Bool),
    ("attidentity", Type::Text),
    ("attgenerated", Type::Text),
    ("attisdropped", Type::Bool),
    ("attcollation", Type::Oid),
    ("attndims", Type::Int4),
    ("attacl", Type::Text),
    // Ours: see the rewriting of subqueries over `pg_attrdef`.
    ("attdefault", Type::Text),
];

fn attribute_row(table: i64, number: usize, column: &Column) -> Row {
    vec![
        Value::Int(table),
        text(&column.name),
        Value::Int(type_oid(column.column_type)),
        Value::Int(type_len(column.column_type)),
        Value::Int(number as i64),
        Value::Int(type_modifier(column.column_type)),
        Value::Bool(!column.nullable),
        Value::Bool(column.default.is_some()),
        text(""),
        text(""),
        Value::Bool(false),
        Value::Int(0),
        Value::Int(0),
        Value::Null,
        column.default.as_deref().map_or(Value::Null, text),
    ]
}

const INDEX: [(&str, Type); 15] = [
    ("indexrelid", Type::Oid),
    ("indrelid", Type::Oid),
    ("indnatts", Type::Int2),
    ("indnkeyatts", Type::Int2),
    ("indisunique", Type::Bool),
    ("indisprimary", Type::Bool),
    ("indisexclusion", Type::Bool),
    ("indisclustered", Type::Bool),
    ("indisvalid", Type::Bool),
    ("indisreplident", Type::Bool),
    ("indkey", Type::Text),
    ("indoption", Type::Text),
    ("indpred", Type::Text),
    ("indexprs", Type::Text),
    ("indclass", Type::Text),
];

/// Numbers of the key's columns, as `attnum` counts them.
fn key_numbers(view: &View) -> Vec<String> {
    let visible: Vec<usize> = view.schema.visible().collect();
    let number = |at: &usize| visible.iter().position(|visible| visible == at).map_or(0, |number| number + 1);
    view.schema.key.iter().map(|at| number(at).to_string()).collect()
}

fn index_row(view: &View) -> Row {
    let count = Value::Int(view.schema.key.len() as i64);
    let (yes, no) = (Value::Bool(true), Value::Bool(false));
    let zeros = vec!["0"; view.schema.key.len()].join(" ");
    vec![
        Value::Int(index_oid(view)),
        Value::Int(table_oid(view)),
        count.clone(),
        count,
        yes.clone(),
        yes.clone(),
        no.clone(),
        no.clone(),
        yes,
        no,
        text(&key_numbers(view).join(" ")),
        text(&zeros),
        Value::Null,
        Value::Null,
        text(&zeros),
    ]
}

const CONSTRAINT: [(&str, Type); 12] = [
    ("oid", Type::Oid),
    ("conname", Type::Text),
    ("connamespace", Type::Oid),
    ("contype", Type::Text),
    ("condeferrable", Type::Bool),
    ("condeferred", Type::Bool),
    ("convalidated", Type::Bool),
    ("conrelid", Type::Oid),
    ("conindid", Type::Oid),
    ("confrelid", Type::Oid),
    ("conkey", Type::Text),
    ("conparentid", Type::Oid),
];

fn constraint_row(view: &View) -> Row {
    vec![
        Value::Int(constraint_oid(view)),
        text(&view.constraint()),
        Value::Int(NAMESPACE_PUBLIC),
        text("p"),
        Value::Bool(false),
        Value::Bool(false),
        Value::Bool(true),
        Value::Int(table_oid(view)),
        Value::Int(index_oid(view)),
        Value::Int(0),
        text(&format!("{{{}}}", key_numbers(view).join(","))),
        Value::Int(0),
    ]
}

const TYPE: [(&str, Type); 16] = [
    ("oid", Type::Oid),
    ("typname", Type::Text),
    ("typnamespace", Type::Oid),
    ("typowner", Type::Oid),
    ("typlen", Type::Int2),
    ("typbyval", Type::Bool),
    ("typtype", Type::Text),
    ("typcategory", Type::Text),
    ("typdelim", Type::Text),
    ("typrelid", Type::Oid),
    ("typelem", Type::Oid),
    ("typarray", Type::Oid),
    ("typbasetype", Type::Oid),
    ("typtypmod", Type::Int4),
    ("typnotnull", Type::Bool),
    ("typcollation", Type::Oid),
];

fn type_row((of, name, category): &(Type, &str, &str)) -> Row {
    let zero = Value::Int(0);
    vec![
        Value::Int(type_oid(*of)),
        text(name),
        Value::Int(NAMESPACE_CATALOG),
        Value::Int(10),
        Value::Int(type_len(*of)),
        Value::Bool(of.fixed_len().is_some_and(|length| length <= 8)),
        text("b"),
        text(category),
        text(","),
        zero.clone(),
        zero.clone(),
        zero.clone(),
        zero.clone(),
        Value::Int(-1),
        Value::Bool(false),
        zero,
    ]
}

async fn information_schema(names: &Names, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let (s, i) = (Type::Text, Type::Int4);
    let catalog = text(&names.variables().database);
    let schema = text(SCHEMA);
    let made = match name {
        "schemata" => {
            let row = |name: &str| vec![catalog.clone(), text(name), text("owner")];
            let rows = [SCHEMA, PG_CATALOG, INFORMATION_SCHEMA].map(row).to_vec();
            provider(&[("catalog_name", s), ("schema_name", s), ("schema_owner", s)], rows)
        }
        "tables" => {
            let views = names.list().await?;
            let row = |view: &View| {
                let name = text(&view.name);
                vec![catalog.clone(), schema.clone(), name, text("BASE TABLE"), text("YES")]
            };
            let columns = [
                ("table_catalog", s),
                ("table_schema", s),
                ("table_name", s),
                ("table_type", s),
                ("is_insertable_into", s),
            ];
            provider(&columns, views.iter().map(row).collect())
        }
        "columns" => {
            let mut rows = Vec::new();
            for view in names.list().await? {
                for (number, at) in view.schema.visible().enumerate() {
                    rows.push(column_row(&catalog, &view, number + 1, &view.schema.columns[at]));
                }
            }
            provider(&COLUMNS, rows)
        }
        "table_constraints" => {
            let views = names.list().await?;
            let keyed = views.iter().filter(|view| !view.schema.has_hidden_key());
            let row = |view: &View| {
                let constraint = text(&view.constraint());
                vec![catalog.clone(), schema.clone(), constraint, schema.clone(), text(&view.name), text("PRIMARY KEY")]
            };
            let columns = [
                ("constraint_catalog", s),
                ("constraint_schema", s),
                ("constraint_name", s),
                ("table_schema", s),
                ("table_name", s),
                ("constraint_type", s),
            ];
            provider(&columns, keyed.map(row).collect())
        }
        "key_column_usage" => {
            let mut rows = Vec::new();
            for view in names.list().await?.iter().filter(|view| !view.schema.has_hidden_key()) {
                for (number, at) in view.schema.key.iter().enumerate() {
                    let column = text(&view.schema.columns[*at].name);
                    let number = Value::Int((number + 1) as i64);
                    let constraint = text(&view.constraint());
                    rows.push(vec![
                        catalog.clone(),
                        schema.clone(),
                        constraint,
                        schema.clone(),
                        text(&view.name),
                        column,
                        number,
                    ]);
                }
            }
            let columns = [
                ("constraint_catalog", s),
                ("constraint_schema", s),
                ("constraint_name", s),
                ("table_schema", s),
                ("table_name", s),
                ("column_name", s),
                ("ordinal_position", i),
            ];
            provider(&columns, rows)
        }
        "views" => provider(&[("table_catalog", s), ("table_schema", s), ("table_name", s)], Vec::new()),
        _ => return Ok(None),
    };
    made.map(Some)
}
