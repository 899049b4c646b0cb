//! The `ballast` command as its user runs it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod help;
mod up;

use std::process::{Command, Output};

/// Runs the command with no server to find by accident.
fn ballast(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ballast"));
    command.args(arguments).env("BALLAST_SERVER", "http://127.0.0.1:1").env("HOME", "/nonexistent");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
