//! `cargo xtask crash`: kill -9 under load, again and again, and check every acknowledged write.
//!
//! Writers of all three kinds, made of clients that we did not write (`tests/crash/*.py`), note in ledgers
//! outside the tree what they try and what is acknowledged to them. The server is killed at a random instant:
//! under load, in the middle of its own recovery, or on its way out. After the next start every ledger is compared
//! with what is there. Objects are renewed from time to time, so that a check stays short; all are checked at the end.
//! `cargo xtask crash databases` does the same under databases whose data lies in the mount ([`databases`]).
//! `cargo xtask crash --bucket s3://…` does the same over an object store, and `cargo xtask crash full` fills
//! the disk ([`full`]).

mod databases;
mod dice;
mod full;
mod writers;

use crate::report::{Outcome, now};
use crate::served::Place;
use crate::{test, workspace};
use dice::Dice;
use std::path::PathBuf;
use std::time::Duration;
use writers::Writers;

/// Kill a loaded server again and again, and check every acknowledged write
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to do to it
    #[arg(value_enum, default_value_t = Way::Kill)]
    way: Way,
    /// How often to kill it; by default 1000 times. 50 times under each database;
    /// with a full disk: how often to fill it, by default 10 times
    #[arg(long)]
    kills: Option<u32>,
    /// The random instants of the kills follow from this; by default from the time
    #[arg(long)]
    seed: Option<u64>,
    /// Keep what is left here, a new or empty directory, for a look at it
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Keep the bucket below this URL (s3://, gs://, az://); credentials and endpoint come from the environment
    #[arg(long, value_name = "URL")]
    bucket: Option<String>,
}

/// How a loaded server is brought down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// kill -9 at random instants, under clients of files, streams and tables
    Kill,
    /// kill -9 under PostgreSQL and MariaDB with their data in the mount
    Databases,
    /// Its disk is filled to the last byte
    Full,
}

/// Kills between two renewals of the objects.
const KILLS_PER_GENERATION: u32 = 10;

/// The longest time under load before a kill, in milliseconds, once every kind has something to lose.
const LOAD_MS_MAX: u64 = 1500;

/// One kill in this many comes while the server starts, and of the others one while it stops.
const KILLS_AT_START: u64 = 5;
const KILLS_AT_STOP: u64 = 5;

/// The longest time that a start or an orderly stop gets before the kill, in milliseconds: both may get through.
const START_MS_MAX: u64 = 400;
const STOP_MS_MAX: u64 = 300;

impl Way {
    /// Kills, or fillings, in the long run, and on every push.
    fn times(self) -> (u32, u32) {
        match self {
            Self::Kill => (1000, 20),
            // Under each of them.
            Self::Databases => (50, 3),
            Self::Full => (10, 1),
        }
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    workspace::build()?;
    let outcome = bring_down(arguments)?;
    if let Outcome::Absent(why) = &outcome {
        anyhow::bail!("{why}");
    }
    Ok(matches!(outcome, Outcome::Counted { failed: 0, .. }))
}

/// What every push runs.
pub fn short(way: Way) -> anyhow::Result<Outcome> {
    let (_, times) = way.times();
    bring_down(&Arguments { way, kills: Some(times), seed: None, keep: None, bucket: None })
}

fn bring_down(arguments: &Arguments) -> anyhow::Result<Outcome> {
    if let Some(keep) = &arguments.keep {
        std::fs::create_dir_all(keep)?;
        // What another run acknowledged would be missed in this one.
        anyhow::ensure!(std::fs::read_dir(keep)?.next().is_none(), "{} is not empty: name another", keep.display());
    }
    let dice = &mut Dice::new(arguments.seed);
    let (times, _) = arguments.way.times();
    let times = arguments.kills.unwrap_or(times);
    println!("seed {}: {times} times", dice.seed());
    match arguments.way {
        Way::Kill => kill(times, dice, arguments),
        Way::Databases => databases::kill(times, dice, arguments.keep.as_deref()),
        Way::Full => full::fill(times, dice, arguments.keep.as_deref()),
    }
}

fn kill(kills: u32, dice: &mut Dice, arguments: &Arguments) -> anyhow::Result<Outcome> {
    let temporary = tempfile::tempdir()?;
    let directory = arguments.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&directory)?;
    let mut place = Place::new(&directory)?;
    if let Some(url) = &arguments.bucket {
        // Runs one after the other, and two at once, share a store.
        let url = format!("{}/crash-{}-{}", url.trim_end_matches('/'), dice.seed(), std::process::id());
        println!("bucket {url}");
        place = place.with_bucket(url);
    }
    let python = match test::python() {
        Ok(python) => python,
        Err(error) => return Ok(Outcome::Absent(format!("no Python clients: {error:#}"))),
    };
    let (mut passed, mut failed, seed) = (0, 0, dice.seed());
    let (mut starts, mut stops) = (Vec::new(), [0, 0]);
    let mut past: Vec<Writers> = Vec::new();
    let mut writers = Writers::new(&python, &directory, 0);
    for kill in 0..=kills {
        let begun = now();
        let served = place.start()?;
        starts.push(served.status["start_seconds"].as_f64().unwrap_or_default());
        let mut count = |problems: Vec<String>, checked: usize| {
            passed += checked - problems.len().min(checked);
            failed += problems.len();
            problems.iter().for_each(|problem| println!("kill {kill}, seed {seed}: {problem}"));
        };
        if kill > 0 {
            count(writers.check(&served, &place)?, 1);
        }
        if kill == kills {
            for writers in &past {
                count(writers.check(&served, &place)?, 1);
            }
            served.stop()?;
            let (clean, said) = place.fsck()?;
            println!("fsck: {said}");
            count(if clean { Vec::new() } else { vec![said] }, 1);
            break;
        }
        if kill % KILLS_PER_GENERATION == 0 {
            let next = Writers::new(&python, &directory, kill / KILLS_PER_GENERATION);
            past.push(std::mem::replace(&mut writers, next));
            writers.prepare(&served)?;
        }
        if dice.below(KILLS_AT_START) == 0 {
            served.kill()?;
            place.start_and_kill(Duration::from_millis(dice.below(START_MS_MAX)))?;
            continue;
        }
        let (mut load, idle) = writers.start_and_see(&served, &place)?;
        count(idle, 1);
        crate::program::pause(Duration::from_millis(dice.below(LOAD_MS_MAX)));
        if dice.below(KILLS_AT_STOP) == 0 {
            // What it has open would keep the mount from going, and the server from what comes after that.
            load.kill("files")?;
            let ended = served.stop_and_kill(Duration::from_millis(dice.below(STOP_MS_MAX)))?;
            stops[usize::from(ended.is_some())] += 1;
            let bad = ended.filter(|status| !status.success()).map(|status| format!("ballast up left with {status}"));
            count(bad.into_iter().collect(), 1);
        } else {
            served.kill()?;
        }
        load.end()?;
        println!("kill {kill}: {:.1} s, {}", begun.elapsed().as_secs_f64(), writers.progress());
    }
    starts.sort_by(f64::total_cmp);
    let (middle, longest) = (starts[starts.len() / 2], starts[starts.len() - 1]);
    println!("starts: {middle:.3} s in the middle, {longest:.3} s at most");
    println!("orderly stops: {} cut off, {} through before", stops[0], stops[1]);
    Ok(Outcome::Counted { passed, failed })
}
