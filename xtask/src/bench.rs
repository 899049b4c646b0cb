//! `cargo xtask bench`: how fast it is, as ratios to peers measured in the same run.

/// Measure, and write docs/benchmarks.md
#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub fn run(_arguments: &Arguments) -> anyhow::Result<bool> {
    anyhow::bail!("the benchmarks are not built yet");
}
