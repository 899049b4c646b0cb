//! The log on a disk that fails: lives of a writer with crashes in between, thousands of seeds.
//!
//! The model is the list of everything appended. What was acknowledged must be found after every crash; what
//! is found must be a prefix of what was appended, whole, and with its payload. The index is played by a count of
//! rows that need no replay, and settling by rows whose payload is not needed any more.
//!
//! `BALLAST_SEED=n` replays one seed, `BALLAST_SEEDS=n` runs so many.

use super::{Mutant, seeds};
use crate::disk::{SimDisk, SimFaults};
use crate::log::{Drive, Log, LogFile, Medium, NoListener, Opened, Settings, open};
use crate::{Error, Payload, Pointer, Position, Result};
use ballast_runtime::Random;
use bytes::{BufMut, Bytes, BytesMut};
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::BoxFuture;
use std::path::PathBuf;
use std::sync::Arc;

/// One appended row, and the payload that it points at.
#[derive(Clone, Debug)]
struct Appended {
    seq: u64,
    payload: Option<(Pointer, u64)>,
    end: Position,
    /// Settling has moved the payload elsewhere.
    settled: bool,
}

struct World {
    random: Random,
    disk: SimDisk,
    mutant: Option<Mutant>,
    epoch: u64,
    /// Row n has sequence number n + 1.
    history: Vec<Appended>,
    /// So many rows were acknowledged.
    acknowledged: usize,
    /// So many rows need no replay, which starts behind this position.
    flushed: (usize, Position),
}

/// Payload is told by its number.
fn payload_bytes(number: u64, length: u32) -> Bytes {
    let mut bytes = BytesMut::with_capacity(length as usize);
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while bytes.len() < length as usize {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.put_u8((state >> 56) as u8);
    }
    bytes.freeze()
}

fn row_bytes(appended: &Appended) -> Bytes {
    Bytes::from(format!("row {} {:?}", appended.seq, appended.payload))
}

impl World {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let random = Random::from_seed(seed);
        Self {
            disk: SimDisk::new(random.clone(), SimFaults::default()),
            random,
            mutant,
            epoch: 0,
            history: Vec::new(),
            acknowledged: 0,
            flushed: (0, Position(0)),
        }
    }

    fn one_in(&self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    fn settings(&self) -> Settings {
        Settings {
            file_bytes: 16 << 10,
            first_file_bytes: 4 << 10,
            budget_bytes: 1 << 20,
            group_bytes_max: 8 << 10,
            flush_bytes: 4 << 10,
            pending_bytes_max: 16 << 10,
            drive: Drive::Manual,
            random: self.random.clone(),
            mutant: self.mutant,
            ..Settings::default()
        }
    }

    /// Opens the log and compares what it finds with what was written.
    fn open(&mut self) -> std::result::Result<Log, Error> {
        self.epoch += 1;
        let medium = Medium::Disk { disk: Arc::new(self.disk.clone()), directory: PathBuf::from("/log") };
        let opened = open(medium, self.epoch, self.flushed.1, Arc::new(NoListener), self.settings());
        let Opened { log, mut replay, tail } = block_on(opened)?;
        let mut found = self.flushed.0;
        while let Some(records) = block_on(replay.next())? {
            for record in records {
                let wanted = self.history.get(found).unwrap_or_else(|| panic!("row {} was never written", record.seq));
                assert_eq!((record.seq, &record.rows), (wanted.seq, &row_bytes(wanted)), "replay is in order");
                assert!(record.group_end >= wanted.end && record.group_end <= tail.end);
                found += 1;
            }
        }
        assert!(found >= self.acknowledged, "{} rows were acknowledged, {found} are there", self.acknowledged);
        self.history.truncate(found);
        // What was found is durable now: it was given to the index.
        self.acknowledged = found;
        for appended in &self.history {
            self.check_payload(&log, appended)?;
        }
        Ok(log)
    }

    fn check_payload(&self, log: &Log, appended: &Appended) -> Result<()> {
        let Some((pointer, number)) = appended.payload.as_ref().filter(|_| !appended.settled) else { return Ok(()) };
        let read = block_on(log.read_payload(pointer))?;
        assert_eq!(read, payload_bytes(*number, pointer.length), "payload of row {}", appended.seq);
        Ok(())
    }

    fn append(&mut self, log: &Log, held: &mut Vec<Payload>) -> Result<()> {
        let seq = self.history.len() as u64 + 1;
        let mut payload = None;
        if !self.one_in(3) {
            let length = self.random.below(if self.one_in(5) { 9000 } else { 300 }) as u32;
            let number = self.random.next_u64();
            let bytes = payload_bytes(number, length);
            let middle = self.random.below(u64::from(length) + 1) as usize;
            let appended = log.append_payload(&[bytes.slice(..middle), bytes.slice(middle..)])?;
            payload = Some((appended.pointer, number));
            held.push(appended);
        }
        let mut appended = Appended { seq, payload, end: Position(0), settled: false };
        let end = log.append_rows(seq, &row_bytes(&appended));
        // Whether or not it was written, it may turn up.
        appended.end = end.clone().unwrap_or_default();
        if end.is_ok() {
            self.history.push(appended);
        }
        end.map(drop)
    }

    fn live(&mut self, log: &Log) -> Result<()> {
        let mut waiting: Vec<(usize, BoxFuture<'static, Result<()>>)> = Vec::new();
        let mut held: Vec<Payload> = Vec::new();
        for _ in 0..self.random.below(80) {
            match self.random.below(12) {
                0..=4 => self.append(log, &mut held)?,
                5 | 6 => {
                    let (log, end) = (log.clone(), log.position());
                    waiting.push((self.history.len(), async move { log.durable(end).await }.boxed()));
                }
                7 | 8 => drop(log.round(self.one_in(4))),
                9 => {
                    assert!(
                        held.iter().all(|payload| log.hold(&payload.pointer).is_some()),
                        "what is held is not condemned"
                    );
                    held.clear();
                }
                10 => {
                    let any = self.random.below(self.history.len() as u64 + 1) as usize;
                    if let Some(appended) = self.history.get(any) {
                        self.check_payload(log, appended)?;
                    }
                }
                _ => self.flush_or_settle(log)?,
            }
            let mut left = Vec::new();
            for (rows, mut waits) in waiting {
                match waits.as_mut().now_or_never() {
                    None => left.push((rows, waits)),
                    Some(done) => {
                        done?;
                        self.acknowledged = self.acknowledged.max(rows);
                    }
                }
            }
            waiting = left;
        }
        Ok(())
    }

    /// The index makes rows durable in its own files; settling moves the payload of such rows, and files go.
    fn flush_or_settle(&mut self, log: &Log) -> Result<()> {
        let durable = log.durable_position();
        let rows = self.history.partition_point(|appended| appended.end <= durable);
        // The index flushes what its listener told it, which is no more than what waiters know.
        if rows <= self.acknowledged && self.one_in(2) {
            self.flushed = (rows, durable);
        } else if self.one_in(2) {
            log.condemn(self.flushed.1);
            // Some stay, for a snapshot that still reads them.
            let mut condemned: Vec<LogFile> = log.files().into_iter().filter(|file| file.condemned).collect();
            condemned.retain(|_| !self.one_in(4));
            let gone = |pointer: &Pointer| condemned.iter().any(|file| file.place == pointer.place);
            for appended in &mut self.history {
                appended.settled |= appended.payload.is_some_and(|(pointer, _)| gone(&pointer));
            }
            block_on(log.remove(&condemned));
        }
        Ok(())
    }

    fn run(&mut self) {
        for _ in 0..1 + self.random.below(6) {
            let mut faulty = false;
            if self.one_in(3) {
                faulty = true;
                self.disk.set_faults(SimFaults {
                    short_write: self.random.below(5),
                    write_error: self.random.below(3) * 30,
                    sync_error: self.random.below(3) * 30,
                    capacity_bytes: self.random.below(2) * 60_000,
                });
            }
            if self.one_in(2) {
                faulty = true;
                self.disk.cut_power_after(self.random.below(300));
            }
            let lived = self.open().and_then(|log| {
                self.live(&log)?;
                if self.one_in(4) {
                    let all = self.history.len();
                    block_on(log.close())?;
                    self.acknowledged = all;
                }
                Ok(())
            });
            if let Err(error) = lived {
                let kind = error.kind();
                assert!(faulty && !matches!(error, Error::Corrupt(_) | Error::Fenced(_)), "{kind}: {error}");
            }
            self.disk = if self.one_in(3) { self.disk.kill() } else { self.disk.power_cut() };
        }
        self.open().unwrap();
    }
}

fn run(seed: u64, mutant: Option<Mutant>) -> std::thread::Result<()> {
    std::panic::catch_unwind(|| World::new(seed, mutant).run())
}

#[test]
fn what_was_acknowledged_survives_every_crash() {
    for seed in seeds(300) {
        if let Err(panic) = run(seed, None) {
            eprintln!("seed {seed}: replay it with BALLAST_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let history = |seed| {
        let mut world = World::new(seed, None);
        world.run();
        (format!("{:?}", world.history), world.disk.calls())
    };
    assert!((0..10).all(|seed| history(seed) == history(seed)));
}

/// Writes a row and waits for it; true if it was acknowledged.
fn write(log: &Log, seq: u64) -> bool {
    let Ok(end) = log.append_rows(seq, &seq.to_le_bytes()) else { return false };
    let mut durable = Box::pin(log.durable(end));
    assert!(durable.as_mut().now_or_never().is_none_or(|done| done.is_err()));
    log.round(false);
    durable.now_or_never().is_some_and(|done| done.is_ok())
}

/// A writer is overtaken between any two of its calls of the disk.
#[test]
fn what_a_fenced_writer_was_told_is_found_by_the_next_one() {
    for seed in seeds(400) {
        let world = World::new(seed, None);
        let (disk, random) = (world.disk.clone(), world.random.clone());
        let open_at = move |disk: &SimDisk, epoch, settings| {
            let medium = Medium::Disk { disk: Arc::new(disk.clone()), directory: PathBuf::from("/log") };
            block_on(open(medium, epoch, Position(0), Arc::new(NoListener), settings))
        };
        let old = open_at(&disk, 1, world.settings()).unwrap().log;
        let overtaken: Arc<parking_lot::Mutex<Option<Vec<u64>>>> = Arc::default();
        let (found, settings, inner) = (Arc::clone(&overtaken), world.settings(), disk.clone());
        disk.interrupt_after(random.below(60), move || {
            let Opened { log, mut replay, .. } = open_at(&inner, 2, settings).unwrap();
            let records = block_on(replay.next()).unwrap().unwrap_or_default();
            *found.lock() = Some(records.iter().map(|record| record.seq).collect());
            assert!(write(&log, 100));
        });
        let mut told = Vec::new();
        for seq in 1..30 {
            if write(&old, seq) {
                assert!(overtaken.lock().as_ref().is_none_or(|found| found.contains(&seq)), "seed {seed}: row {seq}");
                told.push(seq);
            }
        }
        let found = overtaken.lock().clone().expect("it was overtaken");
        assert!(told.iter().all(|seq| found.contains(seq)), "seed {seed}: {told:?} {found:?}");
        assert!(matches!(old.append_rows(99, b""), Err(Error::Fenced(_))), "seed {seed}");
    }
}

/// A planted bug is found by at least one of a few hundred seeds.
fn is_caught(mutant: Mutant) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let caught = (0..300).find(|seed| run(*seed, Some(mutant)).is_err());
    std::panic::set_hook(hook);
    let seed = caught.unwrap_or_else(|| panic!("{mutant:?} was not caught"));
    println!("{mutant:?} was caught by seed {seed}");
}

#[test]
fn each_planted_bug_is_caught() {
    [Mutant::AcknowledgeBeforeSync, Mutant::SkipAtRecovery, Mutant::FreeTooEarly].into_iter().for_each(is_caught);
}
