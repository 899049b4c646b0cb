//! `ballast stat`: everything about one name.

use crate::client::Server;
use crate::{output, path};
use ballast_api::Entry;
use std::ffi::OsString;

/// Show what a path is
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ballast stat /shop/orders\n  ballast stat --json /shop/clicks | jq -r .kind")]
pub struct Arguments {
    /// What to look at
    path: OsString,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let path = path::parse(&arguments.path)?;
    let entry: Entry = arguments.server.ask(async |client| Ok(client.stat(&path).await?))?;
    if arguments.json {
        return output::json(&entry);
    }
    let mut rows = vec![
        ("path", entry.path.clone()),
        ("kind", entry.kind.clone()),
        ("size", output::size(&entry, entry.size.to_string())),
        ("inode", entry.inode.to_string()),
        ("mode", entry.mode),
        ("owner", entry.uid.to_string()),
        ("group", entry.gid.to_string()),
        ("links", entry.links.to_string()),
        ("accessed", entry.accessed),
        ("modified", entry.modified),
        ("changed", entry.changed),
        ("created", entry.created),
    ];
    rows.extend(entry.details.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output::columns(&rows, &[])
}
