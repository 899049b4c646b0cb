//! What it costs to open volumes, and to keep them open: empty, after kill -9, planned, and idle.
//!
//! `cargo bench -p ballast-store --bench opens [-- DIRECTORY [PART…]]`, the parts `empty`, `kill`, `reopen`, `idle`;
//! by default all. Prints one Markdown table. An open is everything from the bucket's address to the first row read.
//!
//! * `kill`: a child process fills a volume with a million rows of the size of an inode, brings the log's tail to
//!   its limit and is killed with SIGKILL; the next child opens what is left. Then that again, 50 times in a row:
//!   first and last ten side by side show whether opens grow.
//! * `reopen`: close and open of a volume of 100,000 rows while writers commit.
//! * `idle`: volumes in a process of their own that nobody uses.

mod common;

use ballast_runtime::{Random, SystemClock};
use ballast_store::bucket::Environment;
use ballast_store::{
    Batch, Bucket, Components, IndexedVolume, Local, Read, Space, Store, Unshared, Volume, VolumeId, limits,
};
use common::cpu_seconds;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Rows of the large volume, and of the one that is closed and opened as planned.
const ROWS: u64 = 1_000_000;
const ROWS_REOPENED: u64 = 100_000;
/// A row like an inode's: its key is the space and a number, its value about this long.
const VALUE_BYTES: usize = 100;
const ROWS_PER_BATCH: u64 = 100;
/// Commits between two waits for durability while filling.
const BATCHES_PER_WAIT: u64 = 50;
const KILLS: usize = 50;
const EMPTY_OPENS: u64 = 20;
const REOPENS: usize = 11;
const WRITERS: u64 = 8;
const IDLE_VOLUMES: u64 = 64;
/// How long idle volumes are watched, and how long they get to come to rest before.
const IDLE: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(3);

fn store(directory: &Path) -> Result<Store> {
    let url = directory.to_str().ok_or("the directory's name is not text")?;
    let bucket = Bucket::open(url, &Environment::default(), &Random::from_seed(1))?;
    Ok(Store::new(Components {
        bucket: Arc::clone(bucket.store()),
        local: Local::of(&bucket)?,
        clock: Arc::new(SystemClock),
        random: Random::from_seed(1),
        gate: Arc::new(Unshared),
        log: ballast_store::log::Settings::default(),
    }))
}

fn key(row: u64) -> bytes::Bytes {
    Space::Inode.key(&[&row.to_be_bytes()])
}

fn batch(rows: impl Iterator<Item = u64>) -> Batch {
    let mut batch = Batch::new();
    for row in rows {
        let mut value = row.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().repeat(2);
        value.resize(VALUE_BYTES, 0);
        batch.put(key(row), value);
    }
    batch
}

/// Writes the rows `from..to`, durable on return.
async fn fill(volume: &IndexedVolume, from: u64, to: u64) -> Result<()> {
    for start in (from..to).step_by(ROWS_PER_BATCH as usize) {
        let position = volume.commit(batch(start..(start + ROWS_PER_BATCH).min(to))).await?;
        if (start / ROWS_PER_BATCH).is_multiple_of(BATCHES_PER_WAIT) {
            volume.durable(position).await?;
        }
    }
    volume.durable(volume.position()).await?;
    Ok(())
}

/// The volume, and the milliseconds from the bucket's address to its first row.
async fn open(directory: &Path, id: u64) -> Result<(Arc<IndexedVolume>, f64)> {
    let begun = Instant::now();
    let volume = store(directory)?.open_volume(VolumeId(id)).await?;
    volume.get(&key(1)).await?;
    Ok((volume, begun.elapsed().as_secs_f64() * 1e3))
}

/// A life that ends with SIGKILL: opens, fills what is missing, brings the tail to its limit, says so, and waits.
async fn victim(directory: &Path, seed: u64) -> Result<()> {
    let (volume, milliseconds) = open(directory, 0).await?;
    if volume.get(&key(ROWS - 1)).await?.is_none() {
        fill(&volume, 0, ROWS).await?;
    }
    let mut row = seed;
    while volume.stats().tail_bytes < limits::TAIL_BYTES_MAX * 9 / 10 {
        let rows = (0..ROWS_PER_BATCH).map(|_| {
            row = row.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (row >> 33) % ROWS
        });
        let position = volume.commit(batch(rows)).await?;
        volume.durable(position).await?;
    }
    println!("{milliseconds} {}", volume.stats().tail_bytes);
    std::io::stdout().flush()?;
    std::future::pending().await
}

/// Runs this program again as `words` and returns what it prints first; then it is killed.
fn child(words: &[&str], directory: &Path) -> Result<Vec<f64>> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("child")
        .args(words)
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let output = child.stdout.take().ok_or("the child has no output")?;
    let read = BufReader::new(output).read_line(&mut line);
    child.kill()?;
    child.wait()?;
    read?;
    let numbers: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if numbers.len() < 2 { Err(format!("the child said {line:?}").into()) } else { Ok(numbers) }
}

/// Median and largest.
fn middle(values: &[f64]) -> (f64, f64) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[values.len() - 1])
}

fn line(what: &str, values: &[f64], aim: &str) {
    let (median, max) = middle(values);
    println!("| {what} | {median:.1} ms | {max:.1} ms | {} | {aim} |", values.len());
}

async fn empty(directory: &Path) -> Result<()> {
    let (mut made, mut opened) = (Vec::new(), Vec::new());
    for id in 0..EMPTY_OPENS {
        let (volume, milliseconds) = open(directory, id).await?;
        made.push(milliseconds);
        volume.close().await?;
        drop(volume);
        let (volume, milliseconds) = open(directory, id).await?;
        opened.push(milliseconds);
        volume.close().await?;
    }
    line("open of an empty volume", &opened, "15 ms");
    line("making and opening a new one", &made, "");
    Ok(())
}

fn kill(directory: &Path) -> Result<()> {
    child(&["victim", "1"], directory)?;
    let (mut opens, mut tail) = (Vec::new(), 0.0);
    for kill in 0..KILLS {
        let said = child(&["victim", &(kill + 2).to_string()], directory)?;
        opens.push(said[0]);
        tail = said[1];
    }
    let what = format!("after kill -9: {ROWS} rows, tail {:.1} MiB", tail / f64::from(1 << 20));
    line(&what, &opens, "500 ms");
    line(&format!("the first 10 of {KILLS} kills in a row"), &opens[..10], "");
    line("the last 10 of them", &opens[KILLS - 10..], "no growth");
    Ok(())
}

async fn reopen(directory: &Path) -> Result<()> {
    let (volume, _) = open(directory, 0).await?;
    fill(&volume, 0, ROWS_REOPENED).await?;
    volume.close().await?;
    let (mut closes, mut opens, mut sums) = (Vec::new(), Vec::new(), Vec::new());
    let commits = Arc::new(AtomicU64::new(0));
    for _ in 0..REOPENS {
        let (volume, _) = open(directory, 0).await?;
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| tokio::spawn(write(Arc::clone(&volume), Arc::clone(&commits), writer))).collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let begun = Instant::now();
        volume.close().await?;
        closes.push(begun.elapsed().as_secs_f64() * 1e3);
        drop(volume);
        let (volume, milliseconds) = open(directory, 0).await?;
        sums.push(begun.elapsed().as_secs_f64() * 1e3);
        opens.push(milliseconds);
        for writer in writers {
            writer.await?;
        }
        volume.close().await?;
    }
    line(&format!("planned close and open, {ROWS_REOPENED} rows, {WRITERS} writers"), &sums, "50 ms");
    line("of that, the close", &closes, "");
    line("of that, the open", &opens, "");
    if commits.load(Ordering::Relaxed) == 0 {
        return Err("the writers wrote nothing".into());
    }
    Ok(())
}

/// Commits until the volume is closed.
async fn write(volume: Arc<IndexedVolume>, commits: Arc<AtomicU64>, writer: u64) {
    let mut row = writer;
    while let Ok(position) = volume.commit(batch(std::iter::once(row % ROWS_REOPENED))).await {
        if volume.durable(position).await.is_err() {
            return;
        }
        commits.fetch_add(1, Ordering::Relaxed);
        row += WRITERS;
    }
}

/// Opens many volumes, uses each once, and says what they cost when nobody uses them.
async fn idler(directory: &Path) -> Result<()> {
    let store = store(directory)?;
    // What the first one brings along is not another volume's cost.
    let first = store.open_volume(VolumeId(0)).await?;
    fill(&first, 0, 1).await?;
    let before = resident_bytes()?;
    let mut volumes = Vec::new();
    for id in 1..=IDLE_VOLUMES {
        let volume = store.open_volume(VolumeId(id)).await?;
        fill(&volume, 0, 1).await?;
        volumes.push(volume);
    }
    tokio::time::sleep(REST).await;
    let (cpu, begun) = (cpu_seconds(), Instant::now());
    tokio::time::sleep(IDLE).await;
    let share = (cpu_seconds() - cpu) / begun.elapsed().as_secs_f64();
    println!("{} {share}", resident_bytes()? - before);
    std::io::stdout().flush()?;
    Ok(())
}

fn idle(directory: &Path) -> Result<()> {
    let said = child(&["idler", "0"], directory)?;
    let volumes = IDLE_VOLUMES as f64;
    println!("| {IDLE_VOLUMES} idle volumes, resident memory each | {:.2} MB | | | 1 MB |", said[0] / volumes / 1e6);
    println!("| {IDLE_VOLUMES} idle volumes, share of a core each | {:.3} % | | | 0.1 % |", said[1] / volumes * 100.0);
    Ok(())
}

fn resident_bytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the kernel does not tell VmRSS")?;
    let kilobytes: f64 = line.trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024.0)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let [child, kind, seed, directory] = arguments.as_slice()
        && child == "child"
    {
        let directory = Path::new(directory);
        return match kind.as_str() {
            "victim" => runtime.block_on(victim(directory, seed.parse()?)),
            _ => runtime.block_on(idler(directory)),
        };
    }
    let base: PathBuf = arguments.first().map_or_else(std::env::temp_dir, Into::into).join("ballast-opens");
    println!("| opening | median | largest | times | aim |");
    println!("|---|---|---|---|---|");
    for part in ["empty", "kill", "reopen", "idle"] {
        if arguments.len() > 1 && !arguments[1..].iter().any(|wanted| wanted == part) {
            continue;
        }
        let _ = std::fs::remove_dir_all(&base);
        std::fs::create_dir_all(&base)?;
        match part {
            "empty" => runtime.block_on(empty(&base))?,
            "kill" => kill(&base)?,
            "reopen" => runtime.block_on(reopen(&base))?,
            _ => idle(&base)?,
        }
    }
    let _ = std::fs::remove_dir_all(&base);
    Ok(())
}
