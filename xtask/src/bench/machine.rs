//! The machine that is measured on, and what its processes use.

use super::Bench;
use crate::program::{Program, pause};
use crate::report::now;
use anyhow::Context;
use std::path::Path;
use std::time::Duration;

/// The load of the last minute.
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// How many tasks of others ran or waited for the disk at once, on average over a second in which this process does
/// nothing. The load of the last minute says less: it remembers what has ended, and counts the bench itself.
pub fn others() -> f64 {
    const LOOKS: u32 = 50;
    let mut sum = 0.0;
    for _ in 0..LOOKS {
        pause(Duration::from_secs(1) / LOOKS);
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let number = |name: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(name));
            rest.and_then(|rest| rest.trim().parse::<f64>().ok()).unwrap_or_default()
        };
        // The one that reads this is running.
        sum += (number("procs_running") - 1.0).max(0.0) + number("procs_blocked");
    }
    sum / f64::from(LOOKS)
}

/// Cores, memory, kernel and file system, in one line.
pub fn describe(bench: &Bench) -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = kilobytes("/proc/meminfo", "MemTotal:").unwrap_or_default() / f64::from(1 << 20);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = file_system(bench.directory.path()).unwrap_or_else(|| "an unknown file system".into());
    format!("{cores} cores, {memory:.0} GiB, Linux {}, {system}", kernel.trim())
}

/// `ext4`, or whatever holds the directory.
pub fn file_system(directory: &Path) -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let fields = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let holding = fields.filter(|(mount, _)| directory.starts_with(mount));
    holding.max_by_key(|(mount, _)| mount.len()).map(|(_, kind)| kind.to_owned())
}

/// Today, from the machine's own calendar.
pub fn today() -> String {
    let date = Program::new("date").arguments(&["-u", "+%Y-%m-%d %H:%M UTC"]).quiet();
    date.map_or_else(|_| "an unknown day".into(), |text| text.trim().to_owned())
}

/// Resident megabytes of a process.
pub fn resident_megabytes(process: u32) -> anyhow::Result<f64> {
    let kilobytes = kilobytes(&format!("/proc/{process}/status"), "VmRSS:");
    Ok(kilobytes.context("the kernel does not tell VmRSS")? * 1024.0 / 1e6)
}

fn kilobytes(file: &str, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().trim_end_matches("kB").trim().parse().ok()
}

/// Seconds of CPU that a process, its ended children and its living children have used.
pub fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    let own = ticks(process).with_context(|| format!("read the times of process {process}"))?;
    let mut sum: f64 = own.iter().sum();
    for task in std::fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|word| ticks(word.parse().ok()?));
        sum += children.map(|ticks| ticks[..2].iter().sum::<f64>()).sum::<f64>();
    }
    // SAFETY: sysconf takes a number and returns one.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(sum / ticks_per_second as f64)
}

/// User and system time of the process, then of its ended children, in ticks.
fn ticks(process: u32) -> Option<[f64; 4]> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name, in parentheses, may hold anything.
    let mut words = text.rsplit_once(") ")?.1.split(' ').skip(11).map(str::parse);
    let mut next = || words.next()?.ok();
    Some([next()?, next()?, next()?, next()?])
}

/// The share of a core that a process uses over `time`.
pub fn cpu_share(process: u32, time: Duration) -> anyhow::Result<f64> {
    let (before, begun) = (cpu_seconds(process)?, now());
    pause(time);
    Ok((cpu_seconds(process)? - before) / begun.elapsed().as_secs_f64())
}
