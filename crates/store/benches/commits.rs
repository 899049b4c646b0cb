//! Durable commits of a whole volume, against a bare loop of write and fdatasync and against SlateDB's own WAL.
//!
//! `cargo bench -p ballast-store --bench commits [-- DIRECTORY [SECONDS [ROUNDS [CASE]]]]`, the case
//! for example `8x65536`: writers and bytes. An operation is one commit of three
//! rows of 100 bytes under keys of 16, or of one payload of 64 KiB and its row, acknowledged when durable. The bare
//! loop writes what as many operations as there are writers take, in one write, into a file that was written with
//! zeros before: no group commit can be faster. SlateDB's WAL lies in the same kind of bucket and is flushed
//! by whoever waits, one flush at a time, so that it groups as well. The bound is what limits the log here: for rows, the
//! volume's own commits that wait for no disk; for payload, the bare loop that goes on to files never written. All take
//! turns, and a database is open only in its turn: what it does in the background afterwards is not taken for another's
//! cost. Medians of the rounds.

mod common;
#[path = "common/measured.rs"]
mod measured;

use ballast_runtime::{Random, SystemClock};
use ballast_store::bucket::Environment;
use ballast_store::disk::{Disk, DiskFile, Fill, PAGE_BYTES, RealDisk, write_all_at};
use ballast_store::{
    Batch, Bucket, Components, IndexedVolume, Local, Position, Space, Store, Unshared, Volume, VolumeId,
};
use bytes::Bytes;
use common::cpu_seconds;
use measured::{FILE_BYTES, Measured, Result, bare, write_and_sync};
use object_store::ObjectStore;
use slatedb::{Db, WriteBatch};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

const ROW: [u8; 100] = [7; 100];
const ROWS: usize = 3;
const KEY_BYTES: usize = 16;
/// What the log writes for an operation beside its payload, nearly.
const ROWS_BYTES: usize = ROWS * (KEY_BYTES + ROW.len() + 4);

fn key(writer: u64, operation: u64) -> [u8; KEY_BYTES - 1] {
    let mut key = [0; KEY_BYTES - 1];
    key[..8].copy_from_slice(&operation.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&writer.to_be_bytes()[1..]);
    key
}

/// The bare loop for whoever keeps all that it writes: it goes on to a file that was never written, as the log would
/// make it for large groups, and writes as the log writes.
fn fresh(directory: &Path, writers: usize, payload_bytes: usize, duration: Duration) -> Result<Measured> {
    let directory = directory.join("fresh");
    std::fs::create_dir_all(&directory)?;
    let next = |number: u64| -> Result<Arc<dyn DiskFile>> {
        let file = RealDisk.create(&directory.join(number.to_string()))?;
        file.preallocate(FILE_BYTES, Fill::Nothing)?;
        Ok(file)
    };
    // Whole pages, as in the log.
    let data = vec![7; ((payload_bytes + ROWS_BYTES) * writers).next_multiple_of(PAGE_BYTES as usize)];
    let write = |file: &Arc<dyn DiskFile>, offset| {
        write_all_at(&**file, &mut [IoSlice::new(&data)], offset)?;
        Ok(file.sync_data()?)
    };
    let measured = write_and_sync(data.len() as u64, writers, duration, next, write)?;
    std::fs::remove_dir_all(&directory)?;
    Ok(measured)
}

/// What each writer writes, as ready as what the bare loop writes.
fn payloads(writers: usize, bytes: usize) -> Vec<Bytes> {
    (0..writers).map(|writer| Bytes::from(vec![writer as u8; bytes])).collect()
}

/// Runs `operation(writer, number)` in as many tasks as there are writers.
async fn load<F>(
    writers: usize,
    duration: Duration,
    operation: impl Fn(u64, u64) -> F + Send + Sync + 'static,
) -> Result<Measured>
where
    F: Future<Output = Result<()>> + Send,
{
    let operation = Arc::new(operation);
    let stop = Arc::new(AtomicBool::new(false));
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let writer = |writer: u64| {
        let (operation, stop) = (Arc::clone(&operation), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                operation(writer, latencies.len() as u64).await?;
                latencies.push(began.elapsed().as_secs_f64() * 1e3);
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(latencies)
        })
    };
    let tasks: Vec<_> = (0..writers as u64).map(writer).collect();
    tokio::time::sleep(duration).await;
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    Ok(Measured::of(start, cpu, latencies, 1))
}

fn bucket(directory: &Path) -> Result<Bucket> {
    std::fs::create_dir_all(directory)?;
    let url = url::Url::from_directory_path(directory).map_err(|()| "the directory has no URL")?;
    Ok(Bucket::open(url.as_str(), &Environment::default(), &Random::from_seed(1))?)
}

async fn open(directory: &Path) -> Result<Arc<IndexedVolume>> {
    let bucket = bucket(directory)?;
    let components = Components {
        bucket: Arc::clone(bucket.store()),
        local: Local::of(&bucket)?,
        clock: Arc::new(SystemClock),
        random: Random::from_seed(1),
        gate: Arc::new(Unshared),
        log: ballast_store::log::Settings::default(),
    };
    Ok(Store::new(components).open_volume(VolumeId(0)).await?)
}

/// Whether an operation waits until its commit is durable.
#[derive(Clone, Copy)]
enum Until {
    Durable,
    /// What the index and the log cost without any wait for the disk.
    Visible,
}

async fn ours(
    directory: PathBuf,
    until: Until,
    writers: usize,
    payload_bytes: usize,
    duration: Duration,
) -> Result<Measured> {
    let volume = open(&directory).await?;
    // The first files of a log are small; what is measured is the state that lasts.
    own_load(&volume, until, writers, payload_bytes, duration / 2).await?;
    let measured = own_load(&volume, until, writers, payload_bytes, duration).await?;
    volume.close().await?;
    Ok(measured)
}

async fn own_load(
    volume: &Arc<IndexedVolume>,
    until: Until,
    writers: usize,
    payload_bytes: usize,
    duration: Duration,
) -> Result<Measured> {
    let (volume, payloads) = (Arc::clone(volume), payloads(writers, payload_bytes));
    load(writers, duration, move |writer, number| {
        let volume = Arc::clone(&volume);
        let payload = payloads[writer as usize].clone();
        async move {
            let mut batch = Batch::new();
            if payload_bytes == 0 {
                for row in 0..ROWS as u64 {
                    batch.put(Space::Inode.key(&[&key(writer, number * 3 + row)]), Bytes::from_static(&ROW));
                }
            } else {
                let payload = volume.append_payload(&volume.room().await?, &[payload]).await?;
                batch.hold(&payload);
                let key = Space::Block.key(&[&key(writer, number)]);
                batch.put_with_payload(key, Bytes::from_static(&ROW), [payload.pointer]);
            }
            let position: Position = volume.commit(batch).await?;
            match until {
                Until::Durable => Ok(volume.durable(position).await?),
                Until::Visible => Ok(()),
            }
        }
    })
    .await
}

/// SlateDB with a WAL of its own: whoever is not covered by the flush under way does the next one for all who wait.
struct Stock {
    db: Db,
    written: AtomicU64,
    flushed: Mutex<u64>,
}

impl Stock {
    async fn open(directory: &Path) -> Result<Arc<Self>> {
        let settings = slatedb::config::Settings {
            flush_interval: None,
            l0_sst_size_bytes: 32 << 20,
            l0_max_ssts: 64,
            ..Default::default()
        };
        let store: Arc<dyn ObjectStore> = Arc::clone(bucket(directory)?.store());
        let db = Db::builder("db", store).with_settings(settings).build().await?;
        Ok(Arc::new(Self { db, written: AtomicU64::new(0), flushed: Mutex::new(0) }))
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        self.db.write(batch).await?;
        let number = self.written.fetch_add(1, Ordering::SeqCst) + 1;
        let mut flushed = self.flushed.lock().await;
        if *flushed < number {
            let covered = self.written.load(Ordering::SeqCst);
            self.db.flush().await?;
            *flushed = covered;
        }
        Ok(())
    }
}

async fn stock(directory: &Path, writers: usize, payload_bytes: usize, duration: Duration) -> Result<Measured> {
    let stock = Stock::open(directory).await?;
    let (closed, payloads) = (Arc::clone(&stock), payloads(writers, payload_bytes));
    let measured = load(writers, duration, move |writer, number| {
        let stock = Arc::clone(&stock);
        let payload = payloads[writer as usize].clone();
        async move {
            let mut batch = WriteBatch::new();
            if payload_bytes == 0 {
                for row in 0..ROWS as u64 {
                    batch.put(key(writer, number * 3 + row), ROW);
                }
            } else {
                batch.put_bytes(Bytes::copy_from_slice(&key(writer, number)), payload);
            }
            stock.commit(batch).await
        }
    })
    .await?;
    closed.db.close().await?;
    Ok(measured)
}

/// One line of the table: the rounds in turn, and their medians.
async fn line(directory: &Path, writers: usize, payload_bytes: usize, seconds: f64, rounds: usize) -> Result<()> {
    let _ = std::fs::remove_dir_all(directory);
    let duration = Duration::from_secs_f64(seconds);
    let (mut bares, mut bounds, mut owns, mut stocks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    std::fs::create_dir_all(directory)?;
    // One each: what the index has still to compact of one load is not taken for the other's cost.
    let volume = |name: &str, until| ours(directory.join(name), until, writers, payload_bytes, duration);
    for _ in 0..rounds {
        bares.push(bare(directory, writers, payload_bytes + ROWS_BYTES, duration / 2)?);
        bounds.push(match payload_bytes {
            0 => volume("visible", Until::Visible).await?,
            _ => fresh(directory, writers, payload_bytes, duration / 2)?,
        });
        owns.push(volume("durable", Until::Durable).await?);
        stocks.push(stock(&directory.join("stock"), writers, payload_bytes, duration).await?);
    }
    let middle = |measured: &mut Vec<Measured>| {
        measured.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        measured.swap_remove(measured.len() / 2)
    };
    let (bare, bound, own, stock) = (middle(&mut bares), middle(&mut bounds), middle(&mut owns), middle(&mut stocks));
    println!(
        "| {writers} | {payload_bytes} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} | {:.0} | {:.1} | {:.0} | {:.2} / {:.2} | {:.0} |",
        bare.rate,
        bound.rate,
        bound.cpu_micros,
        own.rate,
        own.rate / bare.rate,
        stock.rate,
        own.rate / stock.rate,
        own.rate * (payload_bytes + ROWS_BYTES) as f64 / 1e6,
        own.percentile(50),
        own.percentile(99),
        own.cpu_micros
    );
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let directory: PathBuf = arguments.first().map_or_else(std::env::temp_dir, Into::into);
    let number = |at: usize, default: f64| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seconds, rounds) = (number(1, 2.0), number(2, 3.0) as usize);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!(
        "| writers | payload | bare /s | bound /s | its CPU µs | Ballast /s | of bare | SlateDB /s | times | MB/s | \
         p50 / p99 ms | CPU µs |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let only = arguments.get(3).map(String::as_str);
    for payload_bytes in [0, 65536] {
        for writers in [1, 8, 64] {
            if only.is_some_and(|only| only != format!("{writers}x{payload_bytes}")) {
                continue;
            }
            let directory = directory.join("ballast-commits");
            runtime.block_on(line(&directory, writers, payload_bytes, seconds, rounds))?;
        }
    }
    Ok(())
}
