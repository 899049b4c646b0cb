//! `ballast probe`: does a bucket keep its promises?

use crate::bucket::{Bucket, runtime};
use crate::output;
use ballast_runtime::{Random, SystemClock};
use ballast_store::bucket::Environment;
use ballast_store::probe::{self, Depth, Finding, Step};

/// Check that a bucket keeps its promises
///
/// Races creates, reads and lists after writes, presents stale tags and compares clocks. It writes below probe/ in
/// the bucket and removes what it wrote. A server does the short form with every new bucket.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ballast probe /var/lib/ballast\n  ballast probe s3://bucket/prefix")]
pub struct Arguments {
    #[command(flatten)]
    bucket: Bucket,
    /// The short form: seconds instead of a minute
    #[arg(long)]
    quick: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let random = Random::from_system();
    let address = arguments.bucket.address()?;
    let bucket = ballast_store::Bucket::open(&address, &Environment::of_process(), &random)?;
    let depth = if arguments.quick { Depth::Quick } else { Depth::Full };
    runtime()?.block_on(async {
        let show = |step: &Step| {
            // What cannot be printed was asked for by nobody any more.
            let _ = if arguments.json { output::line(&json(step)) } else { output::line(&text(step)) };
        };
        let report = probe::run(&bucket, depth, &SystemClock, &random, show).await?;
        if report.endpoints == 1 && !arguments.json {
            output::note("one endpoint: faults between several servers of the bucket would stay unseen");
        }
        Ok(report.verdict(&bucket)?)
    })
}

fn text(step: &Step) -> String {
    match &step.finding {
        Finding::Passed => format!("passed   {}", step.name),
        Finding::Skipped(why) => format!("skipped  {}: {why}", step.name),
        Finding::Failed { seen, means } => format!("FAILED   {}: {seen}; {means}", step.name),
    }
}

fn json(step: &Step) -> String {
    let (finding, why) = match &step.finding {
        Finding::Passed => ("passed", None),
        Finding::Skipped(why) => ("skipped", Some(why.clone())),
        Finding::Failed { seen, means } => ("failed", Some(format!("{seen}; {means}"))),
    };
    serde_json::json!({ "test": step.name, "finding": finding, "why": why, "requests": step.requests }).to_string()
}
