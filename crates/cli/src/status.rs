//! `ballast status`: how a server does.

use crate::client::Server;
use crate::output;
use ballast_api::Status;

/// Show how the server does
///
/// Exits with 1 when no server answers, so that a script can wait for one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ballast status\n  ballast status --json | jq .volume.log_bytes")]
pub struct Arguments {
    #[command(flatten)]
    server: Server,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let status = arguments.server.ask(async |client| Ok(client.status().await?))?;
    if arguments.json {
        return output::json(&status);
    }
    show(&status)
}

fn show(status: &Status) -> anyhow::Result<()> {
    let off = || "off".to_owned();
    let volume = &status.volume;
    let log = format!("{} in {} files", output::bytes(volume.log_bytes), volume.log_files);
    let segments = format!("{} in {}", output::bytes(volume.segment_bytes), volume.segments);
    let behind = volume.position.saturating_sub(volume.durable_position);
    let mut rows = vec![
        ("server", format!("ballast {}, process {}", status.version, status.process)),
        ("serving for", output::seconds(status.uptime_seconds)),
        ("bucket", status.bucket.clone()),
        ("mount", status.mount.clone().unwrap_or_else(off)),
        ("kafka", status.listeners.kafka.clone().unwrap_or_else(off)),
        ("postgres", status.listeners.postgres.clone().unwrap_or_else(off)),
        ("http", status.listeners.http.clone()),
        ("log", log),
        ("segments", segments),
        ("index", output::bytes(volume.index_bytes)),
        ("to replay", output::bytes(volume.tail_bytes)),
        ("not yet durable", output::bytes(behind)),
        ("memory", output::bytes(status.resident_bytes)),
    ];
    for (kind, activity) in &status.activity {
        let done = format!("{} operations, {}", activity.operations, output::bytes(activity.bytes));
        rows.push((kind, done));
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output::columns(&rows, &[])
}
