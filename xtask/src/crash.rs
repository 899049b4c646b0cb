//! `cargo xtask crash`: kill -9 under load, again and again, and check every acknowledged write.

use crate::report::Outcome;

/// Kill a loaded server again and again, and check every acknowledged write
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How often to kill it
    #[arg(long, default_value_t = 1000)]
    kills: u32,
    /// Where the random times of the kills start from
    #[arg(long)]
    seed: Option<u64>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let _ = (arguments.kills, arguments.seed);
    anyhow::bail!("the crash suite is not built yet");
}

/// What every push runs.
pub fn short() -> anyhow::Result<Outcome> {
    Ok(Outcome::Absent("the crash suite is not built yet".to_owned()))
}
