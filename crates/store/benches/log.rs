//! The log against a bare loop of write and fdatasync, in one run on one disk: what group commit costs.
//!
//! `cargo bench -p ballast-store --bench log [-- DIRECTORY [SECONDS]]`. An operation is one record of three rows of
//! 100 bytes, or one payload and its row, acknowledged when durable. The bare loop writes exactly as many
//! operations as there are writers, in one write, into a file that was written with zeros before.

mod common;
#[path = "common/measured.rs"]
mod measured;

use ballast_store::Position;
use ballast_store::disk::RealDisk;
use ballast_store::log::{self, Medium, NoListener, Settings};
use bytes::Bytes;
use common::cpu_seconds;
use measured::{Measured, Result, bare};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const ROWS_BYTES: usize = 360;

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
                log.room(log::Entrant::Payload).await?;
                let held = log.append_payload(std::slice::from_ref(&payload))?;
                let end = log.append_rows(1, &rows)?;
                drop(held);
                log.durable(end).await?;
                latencies.push(began.elapsed().as_secs_f64() * 1e3);
            }
            Ok::<_, ballast_store::Error>(latencies)
        })
    };
    // The first files are small; what is measured is the state that lasts.
    let warm_up = Instant::now() + duration / 4;
    while Instant::now() < warm_up {
        log.append_payload(&[Bytes::from(vec![1; 1 << 20])])?;
        log.durable(log.append_rows(1, &[1])?).await?;
        log.remove(&log.condemn(log.durable_position())).await;
    }
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let tasks: Vec<_> = (0..writers).map(writer).collect();
    while start.elapsed() < duration {
        tokio::time::sleep(Duration::from_millis(20)).await;
        log.remove(&log.condemn(log.durable_position())).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let measured = Measured::of(start, cpu, latencies, 1);
    log.close().await?;
    Ok(measured)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let directory = arguments.first().map_or_else(std::env::temp_dir, Into::into).join("ballast-log-bench");
    let seconds = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(1.0);
    std::fs::create_dir_all(&directory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("| writers | payload | bare /s | log /s | ratio | MB/s | p50 / p99 ms | CPU µs |");
    println!("|---|---|---|---|---|---|---|---|");
    for payload_bytes in [0, 4096, 65536] {
        for writers in [1, 8, 64] {
            let duration = Duration::from_secs_f64(seconds);
            let before = bare(&directory, writers, payload_bytes + ROWS_BYTES, duration / 2)?;
            let log = runtime.block_on(with_log(&directory, writers, payload_bytes, duration))?;
            let after = bare(&directory, writers, payload_bytes + ROWS_BYTES, duration / 2)?;
            let bare = (before.rate + after.rate) / 2.0;
            let megabytes = log.rate * (payload_bytes + ROWS_BYTES) as f64 / 1e6;
            println!(
                "| {writers} | {payload_bytes} | {bare:.0} | {:.0} | {:.2} | {megabytes:.0} | {:.2} / {:.2} | {:.0} |",
                log.rate,
                log.rate / bare,
                log.percentile(50),
                log.percentile(99),
                log.cpu_micros
            );
        }
    }
    let _ = std::fs::remove_dir_all(&directory);
    Ok(())
}
