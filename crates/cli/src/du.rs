//! `ballast du`: the space used below a path.

use crate::client::Server;
use crate::{output, path};
use ballast_api::{Used, routes};
use serde::Serialize;
use std::ffi::OsString;

/// Show the space used below a path
///
/// How many files, streams and tables there are, and the bytes that they hold: of a file what it takes, without its
/// holes; of a stream its record batches; of a table the keys and values of its rows. A file with several names counts
/// in equal shares under each of them. What changes meanwhile may be counted or not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ballast du\n  ballast du /shop\n  ballast du --json /shop | jq .total.bytes")]
pub struct Arguments {
    /// What to measure
    #[arg(default_value = "/")]
    path: OsString,
    /// Print JSON, with sizes in bytes
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// What is below a path.
#[derive(Debug, Default, Serialize)]
struct Summary {
    path: String,
    files: Used,
    streams: Used,
    tables: Used,
    total: Used,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let path = path::parse(&arguments.path)?;
    let all = arguments.server.ask(async |client| {
        let mut all = Summary { path: routes::encode_path(&path), ..Summary::default() };
        let mut after: Option<String> = None;
        loop {
            let part = client.usage(&path, after.as_deref()).await?;
            all.files.add(part.files);
            all.streams.add(part.streams);
            all.tables.add(part.tables);
            after = part.after;
            if after.is_none() {
                return Ok(all);
            }
        }
    });
    let mut all = all?;
    [all.files, all.streams, all.tables].into_iter().for_each(|used| all.total.add(used));
    if arguments.json {
        return output::json(&all);
    }
    let row = |kind: &str, used: Used| vec![kind.to_owned(), used.count.to_string(), output::bytes(used.bytes)];
    let rows =
        [row("files", all.files), row("streams", all.streams), row("tables", all.tables), row("total", all.total)];
    output::columns(&rows, &[1, 2])
}
