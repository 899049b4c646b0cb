//! The `ballast` command: a folder of verbs, each of which parses its arguments and does one thing.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 misused.
//! A failure says what failed and, where there is one, the next step ([`failure`]).

mod bucket;
mod client;
mod completions;
mod create;
mod doctor;
mod du;
mod failure;
mod limits;
mod ls;
mod output;
mod path;
mod reference;
mod rm;
mod snapshot;
mod stat;
mod status;
mod up;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// One tree of files, streams and tables over one durable log.
#[derive(Debug, Parser)]
#[command(name = "ballast", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Start with:  ballast up\nDocumentation: README.md and docs/")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(up::Arguments),
    Status(status::Arguments),
    Create(create::Arguments),
    Ls(ls::Arguments),
    Stat(stat::Arguments),
    Du(du::Arguments),
    Rm(rm::Arguments),
    Snapshot(snapshot::Arguments),
    Probe(bucket::probe::Arguments),
    Fsck(bucket::fsck::Arguments),
    Inspect(bucket::inspect::Arguments),
    Doctor(doctor::Arguments),
    Completions(completions::Arguments),
    #[command(hide = true)]
    Reference(reference::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.verb {
        Verb::Up(arguments) => up::run(arguments),
        Verb::Status(arguments) => status::run(&arguments),
        Verb::Create(arguments) => create::run(&arguments),
        Verb::Ls(arguments) => ls::run(&arguments),
        Verb::Stat(arguments) => stat::run(&arguments),
        Verb::Du(arguments) => du::run(&arguments),
        Verb::Rm(arguments) => rm::run(&arguments),
        Verb::Snapshot(arguments) => snapshot::run(&arguments),
        Verb::Probe(arguments) => bucket::probe::run(&arguments),
        Verb::Fsck(arguments) => bucket::fsck::run(&arguments),
        Verb::Inspect(arguments) => bucket::inspect::run(&arguments),
        Verb::Doctor(arguments) => doctor::run(&arguments),
        Verb::Completions(arguments) => completions::run(&arguments),
        Verb::Reference(arguments) => reference::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            failure::show(&error);
            ExitCode::FAILURE
        }
    }
}
