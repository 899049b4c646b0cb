//! What a simulated server stands on: a disk, a bucket, a clock and dice, all decided by one seed.

use crate::bucket::simulated::{Faults, SimulatedStore};
use crate::disk::{Disk, SECTOR_BYTES, SimDisk, SimFaults};
use crate::log::tests::Mutant;
use crate::log::{self, Drive};
use crate::pointer::Place;
use crate::{Components, IndexedVolume, Local, Pointer, Result, Store, Unshared, VolumeId};
use ballast_runtime::{Clock, Random};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Where the clocks of all simulations start, in nanoseconds since the epoch.
const BEGINNING: i64 = 1_790_000_000_000_000_000;

/// Tokio's paused time as a clock of the world.
#[derive(Clone, Copy, Debug)]
pub struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now_nanos(&self) -> i64 {
        BEGINNING + i64::try_from(self.0.elapsed().as_nanos()).unwrap_or(i64::MAX - BEGINNING)
    }
}

/// What happened, with the time of it: printed when a seed fails, and equal when it is replayed.
#[derive(Clone, Debug)]
pub struct Trace {
    clock: VirtualClock,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Trace {
    pub fn note(&self, line: impl std::fmt::Display) {
        self.lines.lock().push(format!("{:>12.6} {line}", self.clock.0.elapsed().as_secs_f64()));
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }
}

pub struct World {
    pub random: Random,
    pub clock: VirtualClock,
    pub trace: Trace,
    /// The log's disk; without one, the log is objects.
    pub disk: Option<SimDisk>,
    /// The bucket as the present server reaches it.
    pub bucket: SimulatedStore,
    mutant: Option<Mutant>,
    /// The disk loses payload now and then.
    pub loses: bool,
    /// Requests of servers before this one.
    requests: u64,
}

impl World {
    pub fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let random = Random::from_seed(seed);
        let clock = VirtualClock(Instant::now());
        // A mutant is one of the log on disk.
        let on_disk = random.below(3) > 0 || mutant.is_some();
        let disk = SimDisk::new(Random::from_seed(random.next_u64()), SimFaults::default());
        let bucket = SimulatedStore::new(Random::from_seed(random.next_u64()), Faults::default());
        Self {
            trace: Trace { clock, lines: Arc::default() },
            disk: on_disk.then_some(disk),
            loses: on_disk && random.below(6) == 0,
            bucket: bucket.dated_by(Arc::new(clock)),
            random,
            clock,
            mutant,
            requests: 0,
        }
    }

    /// The first seed whose log lies on the disk.
    pub fn on_disk() -> Self {
        (0..).map(|seed| Self::new(seed, None)).find(|world| world.disk.is_some()).expect("two seeds of three are such")
    }

    /// The first seed whose log lies in the bucket.
    pub fn in_objects() -> Self {
        (0..).map(|seed| Self::new(seed, None)).find(|world| world.disk.is_none()).expect("one seed of three is such")
    }

    pub fn one_in(&self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    /// The first server, or another one beside those that run.
    pub async fn open(&self) -> Result<Arc<IndexedVolume>> {
        let random = Random::from_seed(self.random.next_u64());
        let log = log::Settings {
            // Small ones are soon full, and become segments.
            file_bytes: [4 << 10, 16 << 10][random.below(2) as usize],
            first_file_bytes: 4 << 10,
            budget_bytes: 192 << 10,
            group_bytes_max: 16 << 10,
            flush_bytes: 4 << 10,
            pending_bytes_max: 64 << 10,
            tail_bytes_max: 2 << 10,
            settle_bytes: 64 << 10,
            drive: Drive::Task,
            random: random.clone(),
            mutant: self.mutant,
            ..log::Settings::default()
        };
        let disk = self.disk.clone().map(|disk| Arc::new(disk) as Arc<dyn Disk>);
        let components = Components {
            bucket: Arc::new(self.bucket.clone()),
            local: disk.map(|disk| Local::new(disk, PathBuf::from("/bucket"), false)),
            clock: Arc::new(self.clock),
            random,
            gate: Arc::new(Unshared),
            log,
        };
        Store::new(components).open_volume(VolumeId(0)).await
    }

    /// Lets disk and bucket fail from here on, or not; whether they may.
    pub fn set_faults(&self) -> (bool, bool) {
        let mut disk_fails = false;
        let mut faults = SimFaults::default();
        if self.disk.is_some() && self.one_in(4) {
            disk_fails = true;
            faults.write_error = self.random.below(3) * 40;
            faults.sync_error = self.random.below(3) * 40;
            faults.capacity_bytes = self.random.below(2) * 100_000;
        }
        faults.short_write = self.random.below(5);
        if let Some(disk) = &self.disk {
            disk.set_faults(faults);
            if self.one_in(4) {
                disk_fails = true;
                disk.cut_power_after(self.random.below(600));
            }
        }
        let slow = Duration::from_millis([0, 3, 40, 700][self.random.below(4) as usize]);
        let rate = || if self.one_in(2) { 0 } else { self.random.below(120) };
        let way = Faults { delay_max: slow, lost_requests: rate(), lost_answers: rate() };
        self.bucket.set_faults(way);
        (disk_fails, way.lost_requests + way.lost_answers > 0)
    }

    pub fn heal(&self) {
        self.bucket.set_faults(Faults::default());
        if let Some(disk) = &self.disk {
            disk.set_faults(SimFaults::default());
        }
    }

    /// The server dies here: of a kill, or because the power was cut.
    pub fn crash(&mut self) {
        let kill = self.one_in(3);
        if let Some(disk) = &self.disk {
            self.disk = Some(if kill { disk.kill() } else { disk.power_cut() });
        }
        self.bucket.crash();
        self.another_client();
    }

    /// From here on, a server that is opened is another machine to the bucket; the disk is the same.
    pub fn another_client(&mut self) -> SimulatedStore {
        self.requests += self.bucket.requests();
        let other = self.bucket.another_client(Faults::default());
        std::mem::replace(&mut self.bucket, other)
    }

    /// The log's directory.
    pub fn log_directory(&self) -> PathBuf {
        PathBuf::from(format!("/bucket/volumes/{}/log", VolumeId(0)))
    }

    /// A file of the log, also when it has become a segment.
    pub fn log_file(&self, place: Place) -> Option<PathBuf> {
        let Place::Log { epoch, number } = place else { return None };
        let names = ["log", "settled"].map(|kind| format!("{kind}-{epoch:010}-{number:010}"));
        let mut paths = names.map(|name| self.log_directory().join(name)).into_iter();
        paths.find(|path| self.disk.as_ref().is_some_and(|disk| disk.exists(path).unwrap_or_default()))
    }

    /// The disk cannot read the sectors of a payload of the log from now on; false if none is its own, on the disk.
    pub fn lose(&self, pointer: &Pointer) -> bool {
        let (Some(disk), Some(path)) = (&self.disk, self.log_file(pointer.place)) else { return false };
        let end = pointer.offset + u64::from(pointer.length);
        let sectors = pointer.offset.next_multiple_of(SECTOR_BYTES)..end / SECTOR_BYTES * SECTOR_BYTES;
        let is_some = !sectors.is_empty();
        if is_some {
            disk.lose(&path, sectors);
        }
        is_some
    }

    /// Requests to the bucket so far, and calls of the present disk.
    pub fn counts(&self) -> (u64, u64) {
        (self.requests + self.bucket.requests(), self.disk.as_ref().map_or(0, SimDisk::calls))
    }
}
