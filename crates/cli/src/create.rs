//! `ballast create`: a directory, a stream or a table.

use crate::client::Server;
use crate::{output, path};
use ballast_api::routes::encode_path;
use ballast_api::{Create, Entry};
use std::ffi::OsString;

/// Make a directory, a stream or a table
///
/// Durable on return. Files need no such command: write them below the mount.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ballast create stream /shop/clicks --partitions 4
  ballast create table /shop/orders 'id bigint primary key, item text, price double precision'
  ballast create directory /shop/archive --parents")]
pub struct Arguments {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, clap::Subcommand)]
enum Kind {
    /// Make a stream
    Stream {
        #[command(flatten)]
        at: At,
        /// Number of partitions
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        partitions: u32,
    },
    /// Make a table
    Table {
        #[command(flatten)]
        at: At,
        /// The columns, as between the parentheses of CREATE TABLE; one is the primary key
        columns: String,
    },
    /// Make a directory
    Directory {
        #[command(flatten)]
        at: At,
    },
}

#[derive(Debug, clap::Args)]
struct At {
    /// Where, from the root of the tree
    path: OsString,
    /// Make missing directories on the way
    #[arg(short, long)]
    parents: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (kind, at, partitions, columns) = match &arguments.kind {
        Kind::Stream { at, partitions } => ("stream", at, Some(*partitions), None),
        Kind::Table { at, columns } => ("table", at, None, Some(columns.clone())),
        Kind::Directory { at } => ("directory", at, None, None),
    };
    let path = encode_path(&path::parse(&at.path)?);
    let create = Create { path, kind: kind.to_owned(), parents: at.parents, partitions, columns };
    let made: Entry = at.server.ask(async |client| Ok(client.create(&create).await?))?;
    if at.json {
        return output::json(&made);
    }
    output::note(&format!("made {} {}", made.kind, made.path));
    Ok(())
}
