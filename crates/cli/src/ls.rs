//! `ballast ls`: what a directory holds.

use crate::client::Server;
use crate::{output, path};
use ballast_api::{Entry, routes};
use std::ffi::OsString;

/// List a directory
///
/// Streams and tables are shown as what they are; in the mount they look like directories.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ballast ls\n  ballast ls -l /shop\n  ballast ls --json /shop | jq -r .name")]
pub struct Arguments {
    /// What to list
    #[arg(default_value = "/")]
    path: OsString,
    /// Also kind, mode, owner, size and time
    #[arg(short, long)]
    long: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let path = path::parse(&arguments.path)?;
    arguments.server.ask(async |client| {
        let mut after: Option<String> = None;
        loop {
            let page = client.list(&path, after.as_deref()).await?;
            show(arguments, &page.entries)?;
            after = page.after;
            if after.is_none() {
                return Ok(());
            }
        }
    })
}

/// Prints one page, so that a huge directory needs no memory.
fn show(arguments: &Arguments, entries: &[Entry]) -> anyhow::Result<()> {
    if arguments.json {
        return entries.iter().try_for_each(|entry| output::line(&serde_json::to_string(entry)?));
    }
    if !arguments.long {
        return entries.iter().try_for_each(|entry| output::line(&printable(entry)));
    }
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    output::columns(&rows, &[2, 3, 4])
}

fn row(entry: &Entry) -> Vec<String> {
    // To the minute: the rest is in `ballast stat`.
    let modified = entry.modified.get(..16).unwrap_or(&entry.modified).replace('T', " ");
    let details: Vec<String> = entry.details.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let size = match entry.kind.as_str() {
        "directory" => "-".to_owned(),
        _ => output::size(entry, output::bytes(entry.size)),
    };
    let (uid, gid) = (entry.uid.to_string(), entry.gid.to_string());
    let mut row = vec![entry.kind.clone(), entry.mode.clone(), uid, gid, size, modified, printable(entry)];
    row.extend((!details.is_empty()).then(|| details.join(" ")));
    row
}

/// A name may hold any byte; a terminal must not be driven by one.
fn printable(entry: &Entry) -> String {
    if !entry.name.chars().any(char::is_control) {
        return entry.name.clone();
    }
    let mut text = String::new();
    routes::encode(entry.name.as_bytes(), &mut text);
    text
}
