//! `cargo xtask damage`: a small volume, flipped and cut at every byte of every file.

use crate::workspace;
use std::time::Duration;

/// Flip a bit, and cut a file, at every byte of a small volume
///
/// `cargo test` tries a sample of the bytes. Damage that is neither named nor harmless fails with its file and byte.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// A hang ends here: it takes minutes.
const LIMIT: Duration = Duration::from_secs(12 * 3600);

pub fn run(_: &Arguments) -> anyhow::Result<bool> {
    let cargo = ["test", "--release", "--package", "ballast-store", "--test", "it", "--", "damage::", "--nocapture"];
    let program = workspace::cargo(&cargo).limit(LIMIT).variable("BALLAST_DAMAGE", "all");
    Ok(program.run_with_lines(|line| println!("{line}"))?.success())
}
