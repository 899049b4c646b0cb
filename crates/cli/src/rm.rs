//! `ballast rm`: removes names of every kind.

use crate::client::Server;
use crate::failure::advised;
use crate::path;
use ballast_api::Remove;
use ballast_api::routes::encode_path;
use std::ffi::OsString;

/// Remove a file, a stream, a table or a directory
///
/// A stream or a table named by its own path is dropped with all it holds. Below a directory they are only
/// dropped with --drop: without it, finding one refuses the removal before anything is removed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ballast rm /shop/clicks
  ballast rm -r /shop/archive
  ballast rm -r --drop /shop")]
pub struct Arguments {
    #[arg(required = true)]
    paths: Vec<OsString>,
    /// Also what a directory holds
    #[arg(short, long)]
    recursive: bool,
    /// Also streams and tables below a directory
    #[arg(long, requires = "recursive")]
    drop: bool,
    #[command(flatten)]
    server: Server,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let paths = arguments.paths.iter().map(path::parse).collect::<Result<Vec<_>, _>>()?;
    arguments.server.ask(async |client| {
        for path in &paths {
            let path = encode_path(path);
            let remove = Remove { path, recursive: arguments.recursive, drop: arguments.drop };
            let removed = client.remove(&remove).await;
            removed.map_err(|error| explain(error, arguments))?;
        }
        Ok(())
    })
}

/// A directory that is not empty needs another option.
fn explain(error: ballast_api::Error, arguments: &Arguments) -> anyhow::Error {
    let directory = !arguments.recursive && error.to_string().contains("is not empty");
    match directory {
        true => advised(error.to_string(), "ballast rm -r, which also removes what it holds"),
        false => error.into(),
    }
}
