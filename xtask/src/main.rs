//! The repository's chores: `cargo xtask <verb>`. CI calls nothing else.
//!
//! It depends on little, so that it is built in seconds; whatever it proves about the product it proves from
//! outside, through the `ballast` binary and the clients of its protocols.

mod bench;
mod crash;
mod damage;
mod dist;
mod docs;
mod program;
mod report;
mod served;
mod simulate;
mod soak;
mod test;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The repository's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Test(test::Arguments),
    Crash(crash::Arguments),
    Damage(damage::Arguments),
    Simulate(simulate::Arguments),
    Soak(soak::Arguments),
    Bench(bench::Arguments),
    Docs(docs::Arguments),
    Dist(dist::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Crash(arguments) => crash::run(&arguments),
        Verb::Damage(arguments) => damage::run(&arguments),
        Verb::Simulate(arguments) => simulate::run(&arguments),
        Verb::Soak(arguments) => soak::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Docs(arguments) => docs::run(&arguments),
        Verb::Dist(arguments) => dist::run(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
