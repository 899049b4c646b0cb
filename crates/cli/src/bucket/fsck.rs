//! `ballast fsck`: is every byte of a bucket what was written?

use crate::bucket::{Bucket, runtime};
use crate::failure::advised;
use crate::output;
use ballast_store::index::{FsckProgress, FsckReport};
use indicatif::{ProgressBar, ProgressStyle};

/// Check every byte of a bucket
///
/// Reads every object of the index, every row, every payload, every segment, every file of the log and every snapshot,
/// and compares checksums.
/// It changes nothing. Stop the server first: the bucket must hold still.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ballast fsck\n  ballast fsck ./data\n  ballast fsck --json s3://bucket/prefix")]
pub struct Arguments {
    #[command(flatten)]
    bucket: Bucket,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let report = runtime()?.block_on(async {
        let opened = arguments.bucket.open().await?;
        let Some(volume) = &opened.indexed else {
            return Err(advised("memory: keeps nothing to check", "ballast fsck DIR"));
        };
        // Drawn on standard error, and only where that is a terminal.
        let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
            "{bar:40} {bytes}/{total_bytes} of payload, {msg} rows, {eta} left",
        )?);
        let mut progress = |done: FsckProgress| {
            bar.set_length(done.payload_bytes_total);
            bar.set_position(done.payload_bytes);
            bar.set_message(done.rows.to_string());
        };
        let report = volume.fsck(&mut progress).await;
        bar.finish_and_clear();
        opened.close().await?;
        Ok(report?)
    })?;
    if arguments.json {
        output::json(&json(&report))?;
    } else {
        show(&report)?;
    }
    match report.problems.len() {
        0 => Ok(()),
        1 => anyhow::bail!("the bucket is damaged: 1 problem"),
        problems => anyhow::bail!("the bucket is damaged: {problems} problems"),
    }
}

fn show(report: &FsckReport) -> anyhow::Result<()> {
    for problem in &report.problems {
        output::line(&format!("problem: {problem}"))?;
    }
    let payload = output::bytes(report.payload_bytes);
    output::line(&format!(
        "checked {} rows in {} index objects, {} payloads of {payload}, {} segments, {} log files with {} records, \
         {} snapshots",
        report.rows,
        report.index_objects,
        report.payloads,
        report.segments,
        report.log_files,
        report.log_records,
        report.snapshots
    ))?;
    if report.segments_unused > 0 {
        output::line(&format!("{} segments are garbage that the next server removes", report.segments_unused))?;
    }
    if report.problems.is_empty() { output::line("clean") } else { Ok(()) }
}

fn json(report: &FsckReport) -> serde_json::Value {
    serde_json::json!({
        "rows": report.rows,
        "index_objects": report.index_objects,
        "payloads": report.payloads,
        "payload_bytes": report.payload_bytes,
        "segments": report.segments,
        "segments_unused": report.segments_unused,
        "log_files": report.log_files,
        "log_records": report.log_records,
        "snapshots": report.snapshots,
        "problems": report.problems,
    })
}
