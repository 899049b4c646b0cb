//! `ballast probe`, `fsck` and `inspect`: looking at a bucket without a server.

use crate::failure::advised;

/// Check that a bucket keeps its promises
///
/// Races creates, reads and lists after writes, presents stale tags and compares clocks.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ballast probe file:///var/lib/ballast\n  ballast probe s3://bucket/prefix")]
pub struct Probe {
    bucket: String,
}

/// Check every byte of a bucket
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ballast fsck\n  ballast fsck s3://bucket/prefix")]
pub struct Fsck {
    bucket: Option<String>,
}

/// Print the log, the rows and the segments of a bucket
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ballast inspect\n  ballast inspect file:///var/lib/ballast")]
pub struct Inspect {
    bucket: Option<String>,
}

pub fn probe(arguments: &Probe) -> anyhow::Result<()> {
    Err(not_built(&arguments.bucket))
}

pub fn fsck(arguments: &Fsck) -> anyhow::Result<()> {
    Err(not_built(arguments.bucket.as_deref().unwrap_or("the default bucket")))
}

pub fn inspect(arguments: &Inspect) -> anyhow::Result<()> {
    Err(not_built(arguments.bucket.as_deref().unwrap_or("the default bucket")))
}

fn not_built(bucket: &str) -> anyhow::Error {
    advised(format!("looking into {bucket} is not built yet"), "ballast status, which asks a running server")
}
