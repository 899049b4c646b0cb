//! What the benches that compare with the bare disk share.

use super::common::cpu_seconds;
use ballast_store::disk::{Disk, Fill, RealDisk};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Bytes of a file of the loops: as of the log's.
pub const FILE_BYTES: u64 = 64 << 20;

/// Operations, what they took, and how long each writer waited for each.
pub struct Measured {
    pub rate: f64,
    /// Milliseconds, in order.
    pub latencies: Vec<f64>,
    pub cpu_micros: f64,
}

impl Measured {
    pub fn of(start: Instant, cpu: f64, mut latencies: Vec<f64>, per_latency: usize) -> Self {
        let operations = (latencies.len() * per_latency) as f64;
        latencies.sort_by(f64::total_cmp);
        Self {
            rate: operations / start.elapsed().as_secs_f64(),
            latencies,
            cpu_micros: (cpu_seconds() - cpu) * 1e6 / operations,
        }
    }

    pub fn percentile(&self, p: usize) -> f64 {
        self.latencies[(self.latencies.len() - 1) * p / 100]
    }
}

/// A loop of one write and one fdatasync, which begins at the start again when the file is full.
pub fn bare(directory: &Path, writers: usize, operation_bytes: usize, duration: Duration) -> Result<Measured> {
    let path = directory.join("bare");
    let _ = std::fs::remove_file(&path);
    RealDisk.create(&path)?.preallocate(FILE_BYTES, Fill::Zeros)?;
    let file = Arc::new(std::fs::OpenOptions::new().write(true).open(&path)?);
    let data = vec![7; operation_bytes * writers];
    let write = |file: &Arc<std::fs::File>, offset| {
        file.write_all_at(&data, offset)?;
        Ok(file.sync_data()?)
    };
    write_and_sync(data.len() as u64, writers, duration, |_| Ok(Arc::clone(&file)), write)
}

/// Writes so many bytes again and again, for an operation of each writer, to the files that `next` gives by their number.
pub fn write_and_sync<F>(
    bytes: u64,
    writers: usize,
    duration: Duration,
    next: impl Fn(u64) -> Result<F>,
    write: impl Fn(&F, u64) -> Result<()>,
) -> Result<Measured> {
    let (mut file, mut files, mut offset, mut latencies) = (next(0)?, 1, 0, Vec::new());
    let (start, cpu) = (Instant::now(), cpu_seconds());
    while start.elapsed() < duration {
        if offset + bytes > FILE_BYTES {
            (file, files, offset) = (next(files)?, files + 1, 0);
        }
        let began = Instant::now();
        write(&file, offset)?;
        latencies.push(began.elapsed().as_secs_f64() * 1e3);
        offset += bytes;
    }
    Ok(Measured::of(start, cpu, latencies, writers))
}
