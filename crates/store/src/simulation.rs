//! The whole volume on a disk and a bucket that fail: lives of servers with crashes, closes and takeovers in
//! between, for as many seeds as one likes.
//!
//! The model is the list of states that the commits made. After every crash the volume must hold one of them, and
//! none older than the last that was acknowledged; while a server lives, every read must show the last one, every
//! cut and every named snapshot the one in which it was made. Settling, collecting, flushing and the background
//! task run beside the steps. At the end everything is deleted, and nothing may be left in the bucket. Some disks lose
//! payload: to read that may fail, and nothing else.
//!
//! Time is tokio's, paused; threads, clocks and dice of the machine are not used. `BALLAST_SEED=n` replays one
//! seed, `BALLAST_SEEDS=n` runs so many, `BALLAST_FIRST=n` begins there, `BALLAST_JOBS=n` uses so many threads.

mod found;
mod lost;
mod model;
mod steps;
mod world;

use crate::index::fsck::hex;
use crate::log::tests::Mutant;
use crate::{Batch, Error, IndexedVolume, KeyRange, Read, Volume, limits};
use anyhow::{Context, ensure};
use bytes::Bytes;
pub use model::dump;
use model::{Change, Model};
use object_store::ObjectStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use steps::UnderWay;
use world::Trace;
pub use world::World;

/// Steps of one life, at most.
const STEPS_MAX: u64 = 60;

/// Longer than anything takes that does not wait for ever, of the simulation's time.
pub const PATIENCE: Duration = Duration::from_secs(8000);

struct Simulation {
    world: World,
    model: Model,
    under_way: UnderWay,
    /// Payloads made so far: each has a content of its own.
    payloads: u64,
    disk_fails: bool,
    bucket_fails: bool,
}

impl Simulation {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let world = World::new(seed, mutant);
        let (model, under_way) = (Model::new(), UnderWay::default());
        Self { world, model, under_way, payloads: 0, disk_fails: false, bucket_fails: false }
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        for life in 0..1 + self.world.random.below(4) {
            self.life().await.with_context(|| format!("life {life}"))?;
        }
        self.last().await.context("the last life")
    }

    /// Whether an error of background work, or of a call that may fail alone, has a reason.
    fn tolerate(&self, what: &str, error: &Error) -> anyhow::Result<()> {
        let expected = match error {
            Error::Unavailable { .. } => self.disk_fails || self.bucket_fails,
            Error::Exhausted(_) | Error::Closed(_) => self.disk_fails,
            _ => false,
        };
        ensure!(expected, "{what}: {error:?}");
        Ok(())
    }

    /// A server's life from open to its end; what it found must be what was left.
    async fn life(&mut self) -> anyhow::Result<()> {
        (self.disk_fails, self.bucket_fails) = self.world.set_faults();
        self.world.trace.note(format_args!("open; disk fails: {}, bucket: {}", self.disk_fails, self.bucket_fails));
        let length = Duration::from_millis([100, 3000, 20_000, 200_000][self.world.random.below(4) as usize]);
        let length = length.mul_f64(self.world.random.below(1000) as f64 / 1000.0);
        let deadline = tokio::time::Instant::now() + length;
        let opened = match tokio::time::timeout_at(deadline, self.open()).await {
            Ok(opened) => opened,
            Err(_) => return self.crash("while it opened"),
        };
        let volume = match opened {
            Ok(volume) => volume,
            Err(error) => {
                self.tolerate_end(&error).context("open")?;
                return self.crash("because it could not open");
            }
        };
        match tokio::time::timeout_at(deadline, self.live(&volume)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                self.tolerate_end(&error)?;
                return self.crash("of an error");
            }
            Err(_) => return self.crash("under load"),
        }
        match self.world.random.below(4) {
            0 => self.crash("after its work"),
            1 | 2 => self.close(&volume).await.context("close"),
            _ => self.taken_over(volume).await.context("takeover"),
        }
    }

    /// An error that ends a server's life must have a reason: a failed disk, or a bucket that the log needs.
    fn tolerate_end(&self, error: &anyhow::Error) -> anyhow::Result<()> {
        self.world.trace.note(format_args!("error: {error:#}"));
        let reason = self.disk_fails || self.world.disk.is_none() && self.bucket_fails;
        let kind = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
        let expected = matches!(kind, Some(Error::Unavailable { .. } | Error::Exhausted(_) | Error::Closed(_)));
        // Opening reads segments and snapshots as well.
        let bucket = self.bucket_fails && matches!(kind, Some(Error::Unavailable { .. }));
        ensure!(expected && reason || bucket, "{error:#}");
        Ok(())
    }

    fn crash(&mut self, when: &str) -> anyhow::Result<()> {
        self.harvest()?;
        self.world.trace.note(format_args!("crash {when}"));
        self.world.crash();
        self.under_way.die();
        Ok(())
    }

    async fn open(&mut self) -> anyhow::Result<Arc<IndexedVolume>> {
        let opened = self.world.open().await;
        let volume = opened?;
        self.recovered(&volume).await?;
        Ok(volume)
    }

    async fn recovered(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        let found = dump(volume, false).await.context("read what was left")?;
        self.model.recovered(found)?;
        self.under_way.set_position(volume.position());
        self.read_snapshots(volume).await?;
        // What an earlier life did not finish is decided now.
        let listed = volume.snapshots().await?;
        let is_there = |name: &String| listed.iter().any(|entry| entry.name == *name);
        self.model.snapshots.retain(|name, _| is_there(name));
        self.model.snapshots.values_mut().for_each(|snapshot| snapshot.certain = true);
        Ok(())
    }

    async fn live(&mut self, volume: &Arc<IndexedVolume>) -> anyhow::Result<()> {
        for step in 0..self.world.random.below(STEPS_MAX) {
            self.step(volume).await.with_context(|| format!("step {step}"))?;
        }
        self.compare(volume).await.context("after the last step")
    }

    async fn close(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        self.world.trace.note("close");
        let number = self.model.number();
        let closed = tokio::time::timeout(PATIENCE, volume.close()).await.context("it takes for ever")?;
        match closed {
            Ok(()) => self.model.acknowledged(number),
            Err(error) => self.tolerate_end(&error.into())?,
        }
        self.under_way.die();
        self.crash("after a close")
    }

    /// Another server opens the volume while this one still writes. What this one was told is found by the other.
    async fn taken_over(&mut self, old: Arc<IndexedVolume>) -> anyhow::Result<()> {
        self.world.trace.note("taken over");
        let old_client = self.world.another_client();
        let (sender, mut told) = tokio::sync::mpsc::channel(10_000);
        let writer = tokio::spawn({
            let old = Arc::clone(&old);
            async move {
                for number in 0u64.. {
                    let mut batch = Batch::new();
                    let key = crate::Space::Entry.key(&[&[(number % 5) as u8]]);
                    let bytes = Bytes::from(number.to_be_bytes().to_vec());
                    batch.put(key.clone(), bytes.clone());
                    let change = Change { key, row: Some((bytes, Vec::new())) };
                    let _ = sender.send((vec![change], false)).await;
                    let committed = match old.commit(batch).await {
                        Ok(position) => old.durable(position).await,
                        Err(error) => Err(error),
                    };
                    if let Err(error) = committed {
                        return error;
                    }
                    let _ = sender.send((Vec::new(), true)).await;
                    tokio::time::sleep(Duration::from_millis(7)).await;
                }
                Error::Conflict
            }
        });
        // What is under way in the old server goes on, against the new one.
        let opened = tokio::time::timeout(PATIENCE, self.world.open()).await.context("open takes for ever")?;
        let ended = tokio::time::timeout(PATIENCE, writer).await.context("the old server writes for ever")??;
        self.world.trace.note(format_args!("the old server ended: {ended}"));
        ensure!(matches!(ended, Error::Fenced(_)) || self.tolerate("the old server", &ended).is_ok(), "{ended:?}");
        while let Ok((changes, acknowledged)) = told.try_recv() {
            match acknowledged {
                false => self.model.committed(&changes),
                true => self.model.acknowledged(self.model.number()),
            }
        }
        let new = match opened {
            Ok(new) => new,
            Err(error) => {
                self.tolerate_end(&error.into()).context("open beside another")?;
                return self.crash("while it took over");
            }
        };
        // What ran in the old server may fail in any way but one that harms the new one.
        self.under_way.let_go();
        let unharmed = async {
            self.recovered(&new).await?;
            // The old one's background work must not harm the new one, however late it comes.
            tokio::time::sleep(Duration::from_secs(3)).await;
            self.model.same(&dump(&*new, false).await?, self.model.now(), "the volume that was taken over")?;
            self.read_snapshots(&new).await
        };
        if let Err(error) = unharmed.await {
            self.tolerate_end(&error)?;
            return self.crash("while it took over");
        }
        drop(old);
        old_client.crash();
        self.crash("after it took over")
    }

    /// Reads and checks all, deletes all, and looks for what is left.
    async fn last(&mut self) -> anyhow::Result<()> {
        self.world.heal();
        (self.disk_fails, self.bucket_fails) = (false, false);
        self.world.trace.note("the last open");
        let volume = tokio::time::timeout(PATIENCE, self.open()).await.context("open takes for ever")??;
        self.check(&volume).await?;
        let lived = tokio::time::timeout(PATIENCE, self.live(&volume)).await;
        lived.with_context(|| format!("it waits for ever: {:?}", volume.stats()))??;
        self.under_way.let_go();
        let cleaned = tokio::time::timeout(PATIENCE, self.clean_up(&volume)).await;
        cleaned.context("cleaning up takes for ever")?.context("clean up")?;
        self.close(&volume).await?;
        let volume = tokio::time::timeout(PATIENCE, self.open()).await.context("open takes for ever")??;
        self.check(&volume).await
    }

    async fn check(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        let report = volume.fsck(&mut |_| {}).await.context("fsck")?;
        let is_known = |problem: &String| self.world.loses && problem.contains("the disk cannot read it");
        ensure!(report.problems.iter().all(is_known), "fsck: {:#?}", report.problems);
        Ok(())
    }

    async fn clean_up(&mut self, volume: &Arc<IndexedVolume>) -> anyhow::Result<()> {
        for entry in volume.snapshots().await? {
            volume.delete_snapshot(&entry.name).await?;
        }
        self.model.snapshots.clear();
        let mut batch = Batch::new();
        let mut changes = Vec::new();
        for key in self.model.now().keys() {
            batch.delete(key.clone());
            changes.push(Change { key: key.clone(), row: None });
        }
        let end = volume.commit(batch).await?;
        volume.durable(end).await?;
        self.model.committed(&changes);
        self.model.acknowledged(self.model.number());
        let alone = self.world.one_in(2);
        for _ in 0..3 {
            // The background does it as well, but leaves a log that is small.
            if !alone {
                volume.settle().await?;
                volume.collect().await?;
            }
            tokio::time::sleep(Duration::from_secs(100)).await;
        }
        let mut scan = volume.scan(KeyRange { start: Bytes::from_static(&[2]), end: None }).await?;
        let rows = scan.next(10).await?;
        ensure!(rows.is_empty(), "rows are left: {:?}", rows.iter().map(|row| hex(&row.key)).collect::<Vec<_>>());
        drop(scan);
        self.leftovers(volume, alone).await
    }

    /// An empty volume needs no segment and next to no log.
    async fn leftovers(&self, volume: &IndexedVolume, small_log: bool) -> anyhow::Result<()> {
        use futures::TryStreamExt;
        let listed: Vec<_> = self.world.bucket.list(None).try_collect().await?;
        let names = |part: &str| -> Vec<String> {
            let names = listed.iter().map(|meta| meta.location.to_string());
            names.filter(|name| name.contains(part)).collect()
        };
        let segments = names("/segments/");
        ensure!(segments.is_empty(), "segments are left: {segments:?}");
        let files = volume.stats().log_files;
        ensure!(small_log || files <= 2, "{files} files of the log are left");
        match &self.world.disk {
            _ if small_log => {}
            None => ensure!(names("/log/").len() <= 3, "objects of the log are left: {:?}", names("/log/")),
            Some(disk) => {
                let directory = format!("/bucket/volumes/{}/log", volume.id());
                let names = crate::disk::Disk::list(disk, directory.as_ref())?;
                // The newest, the current and the next file, the right to write, and what is kept to be used again.
                ensure!(names.len() <= 4 + limits::LOG_FREE_FILES_MAX, "files of the log are left: {names:?}");
            }
        }
        let index = names("/index/compacted/").len();
        ensure!(index <= 40, "{index} files of the index are left");
        Ok(())
    }
}

/// What a run came to.
struct Run {
    trace: Vec<String>,
    failure: Option<String>,
}

/// Runs a seed in a thread and a runtime of its own.
fn run(seed: u64, mutant: Option<Mutant>) -> Run {
    let traced: Arc<parking_lot::Mutex<Option<Trace>>> = Arc::default();
    let thread = std::thread::Builder::new().name(format!("seed-{seed}"));
    let spawned = thread.spawn({
        let traced = Arc::clone(&traced);
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.expect("a runtime without I/O is always made").block_on(async {
                let mut simulation = Simulation::new(seed, mutant);
                let trace = simulation.world.trace.clone();
                *traced.lock() = Some(trace.clone());
                let done = simulation.run().await;
                let (requests, calls) = simulation.world.counts();
                trace.note(format_args!("{requests} requests, {calls} calls"));
                done
            })
        }
    });
    let failure = match spawned.expect("a thread can be started").join() {
        Ok(done) => done.err().map(|error| error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")),
        Err(panic) => Some(match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(other) => format!("panic: {:?}", other.downcast::<&str>().ok()),
        }),
    };
    let trace = traced.lock().as_ref().map(Trace::lines).unwrap_or_default();
    Run { trace, failure }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok())
}

#[test]
fn a_volume_keeps_what_it_acknowledged_whatever_fails() {
    let seeds = match number("BALLAST_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("BALLAST_FIRST").unwrap_or(0);
            first..first + number("BALLAST_SEEDS").unwrap_or(200)
        }
    };
    let (next, failures) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..number("BALLAST_JOBS").unwrap_or(1).max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end || failures.load(Ordering::SeqCst) >= 20 {
                        return;
                    }
                    let run = run(seed, None);
                    let alone = seeds.end - seeds.start == 1;
                    if alone {
                        println!("{}", run.trace.join("\n"));
                    }
                    if let Some(failure) = run.failure {
                        failures.fetch_add(1, Ordering::SeqCst);
                        println!("seed {seed}: {failure}\n{}\n", replay(seed));
                    }
                }
            });
        }
    });
    assert_eq!(failures.load(Ordering::SeqCst), 0, "seeds failed");
}

fn replay(seed: u64) -> String {
    format!("replay it: BALLAST_SEED={seed} cargo test --release -p ballast-store --lib -- simulation:: --nocapture")
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..8 {
        assert_eq!(run(seed, None).trace, run(seed, None).trace, "seed {seed}");
    }
}

/// A planted bug is found by at least one of a few seeds.
#[test]
fn each_planted_bug_is_caught() {
    for mutant in [Mutant::AcknowledgeBeforeSync, Mutant::SkipAtRecovery, Mutant::FreeTooEarly] {
        let caught = (0..400).find(|seed| run(*seed, Some(mutant)).failure.is_some());
        let seed = caught.unwrap_or_else(|| panic!("{mutant:?} was not caught"));
        println!("{mutant:?} was caught by seed {seed}");
    }
}
