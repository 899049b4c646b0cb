//! The log against a bare loop of write and fdatasync, in one run on one disk: what group commit costs.
//!
//! `cargo bench -p ballast-store --bench log [-- DIRECTORY [SECONDS]]`. An operation is one record of three rows of
//! 100 bytes, or one payload and its row, acknowledged when durable. The bare loop writes exactly as many
//! operations as there are writers, in one write, into a file that was written with zeros before.

mod common;

use ballast_store::disk::{Disk, Fill, RealDisk, write_all_at};
use ballast_store::log::{self, Medium, NoListener, Settings};
use ballast_store::{Position, Result};
use bytes::Bytes;
use common::cpu_seconds;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const ROWS_BYTES: usize = 360;
const FILE_BYTES: u64 = 64 << 20;

/// Operations, what they took, and how long each writer waited for each.
struct Measured {
    rate: f64,
    latencies: Vec<f64>,
    cpu_micros: f64,
}

fn measured(start: Instant, cpu: f64, mut latencies: Vec<f64>, per_latency: usize) -> Measured {
    let operations = (latencies.len() * per_latency) as f64;
    latencies.sort_by(f64::total_cmp);
    Measured {
        rate: operations / start.elapsed().as_secs_f64(),
        latencies,
        cpu_micros: (cpu_seconds() - cpu) * 1e6 / operations,
    }
}

fn bare(directory: &Path, writers: usize, payload_bytes: usize, duration: Duration) -> Measured {
    let path = directory.join("bare");
    let _ = std::fs::remove_file(&path);
    let file = RealDisk.create(&path).expect("the directory can be written to");
    file.preallocate(FILE_BYTES, Fill::Zeros).expect("there is space");
    let data = vec![7; (payload_bytes + ROWS_BYTES) * writers];
    let (mut offset, mut latencies) = (0, Vec::new());
    let (start, cpu) = (Instant::now(), cpu_seconds());
    while start.elapsed() < duration {
        if offset + data.len() as u64 > FILE_BYTES {
            offset = 0;
        }
        let began = Instant::now();
        write_all_at(&*file, &mut [IoSlice::new(&data)], offset).expect("it can be written");
        file.sync_data().expect("it can be synced");
        latencies.push(began.elapsed().as_secs_f64());
        offset += data.len() as u64;
    }
    measured(start, cpu, latencies, writers)
}

async fn with_log(directory: &Path, writers: usize, payload_bytes: usize, duration: Duration) -> Result<Measured> {
    let directory = directory.join("log");
    let _ = std::fs::remove_dir_all(&directory);
    let medium = Medium::Disk { disk: Arc::new(RealDisk), directory };
    let log = log::open(medium, 1, Position(0), Arc::new(NoListener), Settings::default()).await?.log;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = |n: usize| {
        let (log, stop) = (log.clone(), Arc::clone(&stop));
        let payload = Bytes::from(vec![n as u8; payload_bytes]);
        let rows = vec![n as u8; ROWS_BYTES];
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                log.room().await?;
                let held = log.append_payload(std::slice::from_ref(&payload))?;
                let end = log.append_rows(1, &rows)?;
                drop(held);
                log.durable(end).await?;
                latencies.push(began.elapsed().as_secs_f64());
            }
            Ok::<_, ballast_store::Error>(latencies)
        })
    };
    // The first files are small; what is measured is the state that lasts.
    let warm_up = Instant::now() + duration / 4;
    while Instant::now() < warm_up {
        log.append_payload(&[Bytes::from(vec![1; 1 << 20])])?;
        log.durable(log.append_rows(1, &[1])?).await?;
        log.remove(&log.condemn(log.durable_position())).await?;
    }
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let tasks: Vec<_> = (0..writers).map(writer).collect();
    while start.elapsed() < duration {
        tokio::time::sleep(Duration::from_millis(20)).await;
        log.remove(&log.condemn(log.durable_position())).await?;
    }
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a writer does not panic")?);
    }
    let measured = measured(start, cpu, latencies, 1);
    log.close().await?;
    Ok(measured)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let directory = arguments.first().map_or_else(std::env::temp_dir, Into::into).join("ballast-log-bench");
    let seconds = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(1.0);
    std::fs::create_dir_all(&directory).expect("the directory can be made");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let percentile = |measured: &Measured, p: usize| measured.latencies[(measured.latencies.len() - 1) * p / 100] * 1e3;
    println!("| writers | payload | bare /s | log /s | ratio | MB/s | p50 / p99 ms | CPU µs |");
    println!("|---|---|---|---|---|---|---|---|");
    for payload_bytes in [0, 4096, 65536] {
        for writers in [1, 8, 64] {
            let duration = Duration::from_secs_f64(seconds);
            let before = bare(&directory, writers, payload_bytes, duration / 2);
            let log = runtime.block_on(with_log(&directory, writers, payload_bytes, duration))?;
            let after = bare(&directory, writers, payload_bytes, duration / 2);
            let bare = (before.rate + after.rate) / 2.0;
            let megabytes = log.rate * (payload_bytes + ROWS_BYTES) as f64 / 1e6;
            println!(
                "| {writers} | {payload_bytes} | {bare:.0} | {:.0} | {:.2} | {megabytes:.0} | {:.2} / {:.2} | {:.0} |",
                log.rate,
                log.rate / bare,
                percentile(&log, 50),
                percentile(&log, 99),
                log.cpu_micros
            );
        }
    }
    let _ = std::fs::remove_dir_all(&directory);
    Ok(())
}
