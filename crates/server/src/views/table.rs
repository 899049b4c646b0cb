//! A table as text: its schema as SQL, and its rows as JSON.

use ballast_api::time;
use ballast_tables::{Answer, Rows, Session, Tables, Type, Value};
use ballast_tree::Tree;
use ballast_types::{Call, ErrorKind, Ino, Timestamp, TreePath};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Map, Value as Json, json};

/// The statement that makes such a table.
pub const SCHEMA: &str = ".schema.sql";
/// The rows in the order of the primary key, one JSON object a line.
pub const DATA: &str = "data.ndjson";

/// Rows that `data.ndjson` shows: a look at a table, not an export; for that there is COPY.
const ROWS_MAX: usize = 10_000;

/// Bytes that `data.ndjson` shows.
const DATA_BYTES_MAX: usize = 8 << 20;

type Result<T> = std::result::Result<T, ErrorKind>;

/// `CREATE TABLE` with all columns.
pub async fn schema(tables: &Tables, call: &Call, ino: Ino) -> Result<Bytes> {
    let path = path_of(tables.tree(), ino).await?;
    let schema = tables.schema(call, ino).await.map_err(|error| error.kind())?;
    let mut lines = Vec::new();
    for position in schema.visible() {
        let column = &schema.columns[position];
        let null = if column.nullable { "" } else { " not null" };
        let default = column.default.as_ref().map_or(String::new(), |default| format!(" default {default}"));
        lines.push(format!("    {} {}{null}{default}", quoted(&column.name), column.column_type.name()));
    }
    if !schema.has_hidden_key() {
        let key: Vec<String> = schema.key.iter().map(|position| quoted(&schema.columns[*position].name)).collect();
        lines.push(format!("    primary key ({})", key.join(", ")));
    }
    Ok(format!("create table {} (\n{}\n);\n", quoted(&path), lines.join(",\n")).into())
}

/// The first rows.
pub async fn data(tables: &Tables, call: &Call, ino: Ino) -> Result<Bytes> {
    let path = path_of(tables.tree(), ino).await?;
    let mut session = Session::new(tables.clone(), call.clone(), TreePath::root());
    let select = format!("select * from {} limit {ROWS_MAX}", quoted(&path));
    let kind = |error: ballast_tables::Error| error.kind();
    let prepared = session.prepare(&select, &[]).await.map_err(kind)?;
    let Answer::Rows { columns, rows, .. } = session.execute(&prepared, &[], false).await.map_err(kind)? else {
        return Err(ErrorKind::Unsupported);
    };
    let mut text = String::new();
    let mut show = |rows: Vec<Vec<Value>>| {
        for row in rows {
            let cells =
                columns.iter().zip(row).map(|(column, value)| (column.name.clone(), shown(value, column.column_type)));
            text.push_str(&Json::Object(cells.collect::<Map<String, Json>>()).to_string());
            text.push('\n');
        }
        text.len() < DATA_BYTES_MAX
    };
    match rows {
        Rows::Ready(rows) => {
            show(rows);
        }
        Rows::Stream(mut portions) => {
            while let Some(portion) = portions.next().await {
                if !show(portion.map_err(kind)?) {
                    break;
                }
            }
        }
    }
    session.close().await;
    Ok(text.into())
}

async fn path_of(tree: &Tree, ino: Ino) -> Result<String> {
    Ok(tree.path_of(ino).await.map_err(|error| error.kind())?.to_string())
}

/// A name in SQL's quotes.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value as JSON: numbers where JSON has them, else text as `psql` shows it.
fn shown(value: Value, of: Type) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => value.into(),
        Value::Int(value) => value.into(),
        Value::Float(value) => json!(value),
        Value::Text(text) => text.as_str().into(),
        Value::Timestamp(micros) => time::format(Timestamp(micros.saturating_mul(1000))).into(),
        other => ballast_tables::value::text::print(&other, of).into(),
    }
}
