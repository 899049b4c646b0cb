//! Files: the mount against the file system that the bucket lies on.

use super::compare::{self, Line, percentile};
use super::page::Section;
use super::{Bench, machine};
use crate::program::{deadline, past};
use crate::report::now;
use crate::served::Place;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The file that is written at random: written once from end to end before.
const RANDOM_BYTES: u64 = 64 << 20;
const SYNCED_BYTES: u64 = 4096;
const SEQUENTIAL_BYTES: u64 = 256 << 20;
const CHUNK_BYTES: usize = 1 << 20;

pub fn run(bench: &Bench) -> anyhow::Result<Section> {
    let directory = bench.place("files")?;
    let mut place = Place::new(&directory)?;
    place.binary.clone_from(&bench.ballast);
    let served = place.start()?;
    let Some(mount) = place.mount.clone() else {
        anyhow::bail!("this machine cannot mount (/dev/fuse and fusermount3, or root)");
    };
    let beside = bench.place("beside")?;
    let directories: [PathBuf; 2] = [mount, beside];
    let system = machine::file_system(&directories[1]).unwrap_or_else(|| "disk".into());
    for directory in &directories {
        write_sequentially(&directory.join("random"), RANDOM_BYTES)?;
    }
    let mut synced = Line::rate("random 4 KiB write + fdatasync, one writer", "/s").aim(0.4);
    let mut middle = Line::cost("of that, p50", "µs");
    let mut late = Line::cost("of that, p99", "µs");
    let mut cpu = Line::cost("of that, CPU of the server", "µs");
    let mut write = Line::rate("sequential write + fsync, 256 MiB", "MB/s");
    let mut read = Line::rate("sequential read, 256 MiB, not in the mount's page cache", "MB/s");
    let mut seed = 1;
    compare::interleave(bench.rounds, &["Ballast", &system], |which| {
        let before = machine::cpu_seconds(served.process())?;
        let latencies = write_randomly(&directories[which].join("random"), bench, &mut seed)?;
        let operations = latencies.len() as f64;
        if which == 0 {
            cpu.add(which, (machine::cpu_seconds(served.process())? - before) / operations * 1e6);
        }
        synced.add(which, operations / latencies.iter().sum::<f64>());
        middle.add(which, percentile(&latencies, 50) * 1e6);
        late.add(which, percentile(&latencies, 99) * 1e6);
        let path = directories[which].join("sequential");
        let megabytes = SEQUENTIAL_BYTES as f64 / 1e6;
        write.add(which, megabytes / write_sequentially(&path, SEQUENTIAL_BYTES)?);
        read.add(which, megabytes / read_sequentially(&path)?);
        std::fs::remove_file(path)?;
        Ok(())
    })?;
    served.stop()?;
    let spread = compare::spread(std::slice::from_ref(&synced));
    let table = compare::table(&system, &[synced, middle, late, cpu, write, read]);
    let body = format!(
        "One thread writes 4 KiB at a random place of a written file of 64 MiB and calls fdatasync, in the mount and on \
         the file system that holds the bucket. What is read sequentially was dropped from the page cache of its own file \
         system before; the bucket's pages may still be in memory.\n\n{table}"
    );
    Ok(Section { title: "Files: the mount against the file system below it", body, spread })
}

/// Seconds that each write with its fdatasync took.
fn write_randomly(path: &Path, bench: &Bench, seed: &mut u64) -> anyhow::Result<Vec<f64>> {
    let file = File::options().write(true).open(path)?;
    let mut block = [0; SYNCED_BYTES as usize];
    let mut latencies = Vec::new();
    let end = deadline(bench.duration());
    while !past(end) {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        block[..8].copy_from_slice(&seed.to_le_bytes());
        let begun = now();
        file.write_all_at(&block, (*seed >> 33) % (RANDOM_BYTES / SYNCED_BYTES) * SYNCED_BYTES)?;
        file.sync_data()?;
        latencies.push(begun.elapsed().as_secs_f64());
    }
    Ok(latencies)
}

/// Seconds to write and sync a new file.
fn write_sequentially(path: &Path, bytes: u64) -> anyhow::Result<f64> {
    let chunk: Vec<u8> = (0..CHUNK_BYTES).map(|byte| (byte * 31 % 251) as u8).collect();
    let begun = now();
    let mut file = File::create(path)?;
    for _ in 0..bytes / CHUNK_BYTES as u64 {
        file.write_all(&chunk)?;
    }
    file.sync_all()?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Seconds to read it all, after its pages were dropped.
fn read_sequentially(path: &Path) -> anyhow::Result<f64> {
    let mut file = File::open(path)?;
    // SAFETY: the descriptor is open, and the call takes no pointer.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    let mut chunk = vec![0; CHUNK_BYTES];
    let begun = now();
    let mut bytes = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            more => bytes += more as u64,
        }
    }
    anyhow::ensure!(bytes == SEQUENTIAL_BYTES, "{bytes} bytes were read of {SEQUENTIAL_BYTES}");
    Ok(begun.elapsed().as_secs_f64())
}
