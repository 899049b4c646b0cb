//! `cargo xtask simulate`: the volume on a disk and a bucket that fail, for many seeds.

use crate::workspace;
use std::time::Duration;

/// Run the simulations of the volume for many seeds
///
/// `cargo test` runs a few hundred seeds. A seed that fails is printed with the command that replays it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many seeds to run
    #[arg(long, env = "BALLAST_SEEDS", default_value_t = 10_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Threads; by default one a core
    #[arg(long)]
    jobs: Option<usize>,
}

/// A hang ends here: ten thousand seeds take minutes.
const LIMIT: Duration = Duration::from_secs(12 * 3600);

pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let Arguments { seeds, first, jobs } = arguments;
    let jobs = jobs.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1);
    let cargo = ["test", "--release", "--package", "ballast-store", "--lib", "--", "simulation::", "--nocapture"];
    let variables = [("SEEDS", seeds.to_string()), ("FIRST", first.to_string()), ("JOBS", jobs.to_string())];
    let program = workspace::cargo(&cargo).limit(LIMIT);
    let program =
        variables.iter().fold(program, |program, (name, value)| program.variable(&format!("BALLAST_{name}"), value));
    Ok(program.run_with_lines(|line| println!("{line}"))?.success())
}
