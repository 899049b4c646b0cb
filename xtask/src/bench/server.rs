//! `ballast up` itself: how soon it serves, and what it costs when nobody uses it.

use super::compare::Samples;
use super::page::Section;
use super::{Bench, machine};
use crate::program::pause;
use crate::report::now;
use crate::served::{Place, Served};
use std::fmt::Write;
use std::time::Duration;

/// How long a server rests before it counts as idle, and how long it is watched then.
const REST: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(10);

/// Starts are short: so many for each round.
const STARTS_PER_ROUND: u32 = 3;

pub fn run(bench: &Bench) -> anyhow::Result<Section> {
    let directory = bench.place("server")?;
    let mut place = Place::new(&directory)?;
    place.binary.clone_from(&bench.ballast);
    let (stopped, killed) =
        (&mut [Samples::default(), Samples::default()], &mut [Samples::default(), Samples::default()]);
    let mut served = place.start()?;
    for start in 0..bench.rounds * STARTS_PER_ROUND {
        println!("start {} of {}", start + 1, bench.rounds * STARTS_PER_ROUND);
        write_something(&place, start)?;
        served.stop()?;
        served = timed(&mut place, stopped)?;
        write_something(&place, start)?;
        served.kill()?;
        served = timed(&mut place, killed)?;
    }
    pause(REST);
    let resident = machine::resident_megabytes(served.process())?;
    let share = machine::cpu_share(served.process(), IDLE)?;
    served.stop()?;
    let mut body = String::from("| server | median | farthest from it | aim |\n|---|---|---|---|\n");
    let rows = [
        ("start after an orderly stop, from the process's start to ready", &stopped[0]),
        ("the same as the server counts it (`start_seconds`)", &stopped[1]),
        ("start after kill -9, from the process's start to ready", &killed[0]),
        ("the same as the server counts it", &killed[1]),
    ];
    for (what, samples) in rows {
        let (median, spread) = (samples.median() * 1e3, samples.spread() * 100.0);
        let _ = writeln!(body, "| {what} | {median:.0} ms | ±{spread:.0} % | 300 ms |");
    }
    let _ = writeln!(body, "| resident memory, idle for {} s | {resident:.1} MB | | 80 MB |", REST.as_secs());
    let _ = writeln!(body, "| share of a core, idle | {:.2} % | | |", share * 100.0);
    Ok(Section { title: "Server: start and idle cost", body, spread: 0.0 })
}

/// Starts the server, from its process to the line that says that it serves.
fn timed(place: &mut Place, samples: &mut [Samples; 2]) -> anyhow::Result<Served> {
    let begun = now();
    let served = place.start()?;
    samples[0].add(begun.elapsed().as_secs_f64());
    samples[1].add(served.status["start_seconds"].as_f64().unwrap_or_default());
    Ok(served)
}

/// Leaves something in the log for the next start.
fn write_something(place: &Place, number: u32) -> anyhow::Result<()> {
    let Some(mount) = &place.mount else { return Ok(()) };
    for file in 0..100 {
        std::fs::write(mount.join(format!("file-{number}-{file}")), [7; 1000])?;
    }
    Ok(())
}
