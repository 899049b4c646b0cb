//! The volume that is damaged: in a directory, in two states, and how one looks at it.

use crate::volumes::{Dump, dump};
use anyhow::{Context, Result, ensure};
use ballast_runtime::{Random, SystemClock};
use ballast_store::bucket::Environment;
use ballast_store::disk::RealDisk;
use ballast_store::pointer::Place;
use ballast_store::{
    Batch, Bucket, Claim, Components, Error, Gate, Holder, IndexedVolume, Lease, Local, Read, Space, Store, Superblock,
    Unshared, Volume, VolumeId, limits, log,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Longer than any look takes: what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A block of the log on disk: its file's header is one, and a group is some.
const LOG_BLOCK: usize = 512;

const SNAPSHOT: &str = "before";

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    Flip {
        at: usize,
        bit: u8,
    },
    Cut(usize),
    /// The file is gone.
    Gone,
}

impl Damage {
    /// The first byte that is not as it was.
    fn at(self) -> usize {
        match self {
            Self::Flip { at, .. } | Self::Cut(at) => at,
            Self::Gone => 0,
        }
    }
}

/// What a byte is for.
#[derive(Clone, Copy, Debug)]
pub enum Meaning {
    Needed,
    /// Of the log's end, which may have been torn.
    Torn,
    Nothing(&'static str),
}

/// What a look at a damaged volume came to.
pub enum Found {
    /// Every error names the file.
    Named,
    /// No error, and all as it was after this commit.
    Commit(usize),
    /// Anything else.
    Wrong(String),
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named => f.write_str("it is named"),
            Self::Commit(commit) => write!(f, "it is as after commit {commit}"),
            Self::Wrong(text) => f.write_str(text),
        }
    }
}

/// Where the log lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    Files,
    Objects,
}

/// A small volume that was closed, or whose server was killed.
pub struct Sample {
    pub what: &'static str,
    log: Log,
    directory: tempfile::TempDir,
    /// The files by their names relative to the bucket, with their sizes.
    pub files: BTreeMap<String, usize>,
    /// The rows after each commit, and the rows of the snapshot.
    states: Vec<Dump>,
    snapshot: Dump,
    pub commits: usize,
    /// The commits that the index has.
    pub commits_sure: usize,
    /// Bytes that hold groups, of each file of the log, the newest last. None if the log is objects.
    log_files: Vec<(String, usize)>,
    /// Where the last group of the newest file begins.
    last_group: usize,
    /// The files of the log that became segments.
    settled: BTreeMap<String, Groups>,
}

/// Where the groups of a file of the log lie.
#[derive(Clone, Copy, Debug)]
struct Groups {
    last: usize,
    /// The last one's records, behind its payload.
    last_records: usize,
    end: usize,
}

impl Groups {
    /// Walks over the headers of a file's groups; behind its own, there may be those of a file that it was before.
    fn of(bytes: &[u8]) -> Self {
        let number =
            |at: usize, count: usize| bytes[at..at + count].iter().rev().fold(0, |n, byte| n << 8 | *byte as usize);
        let id = |at: usize| (number(at + 8, 8), number(at + 16, 8));
        let mut groups = Self { last: 0, last_records: 0, end: LOG_BLOCK };
        while bytes[groups.end..].starts_with(b"BGRP") && id(groups.end) == id(LOG_BLOCK) {
            groups.last = groups.end;
            groups.last_records = groups.last + 104 + number(groups.last + 88, 4);
            groups.end = groups.last_records + number(groups.last + 92, 4);
        }
        groups
    }
}

/// A file as messages speak of it.
pub fn kind(file: &str) -> &str {
    let parts: Vec<&str> = file.split('/').collect();
    match parts[..] {
        ["volumes", _, "log", name] if name.starts_with("settled-") => "settled",
        ["volumes", _, "index", kind, _] => kind,
        ["volumes", _, kind, _] => kind,
        _ => parts[0],
    }
}

impl Sample {
    /// One that was closed and one that was killed; and two of which only the log is looked at, because it is objects.
    pub fn all() -> Result<Vec<Self>> {
        let runtime = tokio::runtime::Runtime::new()?;
        Ok([runtime.block_on(build(Log::Files))?, runtime.block_on(build(Log::Objects))?]
            .into_iter()
            .flatten()
            .collect())
    }

    /// What the bytes mean that the damage takes or changes.
    pub fn meaning(&self, file: &str, damage: Damage) -> Meaning {
        let at = damage.at();
        match kind(file) {
            "lease" if self.files.keys().rfind(|file| kind(file) == "lease").is_some_and(|newest| newest != file) => {
                Meaning::Nothing("it is superseded: only the newest entry of the lease is ever read")
            }
            // A PUT happens whole or not at all: an object that is short was damaged, the last one too.
            "log" if self.log == Log::Objects => Meaning::Needed,
            "settled" => match self.settled.get(file) {
                Some(groups) if at >= groups.end => Meaning::Nothing("the groups of the file end before it"),
                Some(groups) if at >= groups.last && !(groups.last + 104..groups.last_records).contains(&at) => {
                    self.meaning_of_last_settled(damage, groups)
                }
                _ => Meaning::Needed,
            },
            "log" => match self.log_files.iter().find(|(name, _)| name == file) {
                None => Meaning::Nothing("no group was ever written to it: it was made ahead, or is to be used again"),
                Some((_, used)) if at >= *used => Meaning::Nothing("the groups of the file end before it"),
                Some(known) if Some(known) == self.log_files.last() => self.meaning_of_newest(damage),
                Some(_) => Meaning::Needed,
            },
            _ => Meaning::Needed,
        }
    }

    /// Of what is around the payload of a settled file's last group.
    fn meaning_of_last_settled(&self, damage: Damage, groups: &Groups) -> Meaning {
        match damage {
            Damage::Cut(at) if at < groups.last_records => Meaning::Needed,
            _ => Meaning::Nothing(
                "the index has its rows, which point at the payload; and no later group tells that it was there",
            ),
        }
    }

    fn meaning_of_newest(&self, damage: Damage) -> Meaning {
        match (damage, self.what) {
            (_, "closed") if damage.at() >= self.last_group => {
                Meaning::Nothing("the group says only that the server ended in order")
            }
            (Damage::Flip { at, .. }, _) if at >= self.last_group => Meaning::Torn,
            (Damage::Cut(_), "killed") => Meaning::Torn,
            _ => Meaning::Needed,
        }
    }

    /// A copy with this damage.
    fn damaged(&self, file: &str, damage: Damage) -> Result<tempfile::TempDir> {
        let copy = copy(self.directory.path())?;
        let path = copy.path().join(file);
        let mut bytes = std::fs::read(&path)?;
        match damage {
            Damage::Flip { at, bit } => bytes[at] ^= 1 << bit,
            Damage::Cut(at) => bytes.truncate(at),
            Damage::Gone => {
                std::fs::remove_file(&path)?;
                return Ok(copy);
            }
        }
        std::fs::write(&path, bytes)?;
        Ok(copy)
    }

    /// Damages a copy, opens it, and if that can be done, writes, settles and collects: what came of it, in a word.
    pub fn go_on(&self, file: &str, damage: Damage) -> Result<&'static str> {
        let copy = self.damaged(file, damage)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, go_on(copy.path(), self.log)).await.context("it hangs")? })
    }

    /// Damages a copy, opens it and reads everything.
    pub fn look(&self, file: &str, damage: Damage) -> Result<Found> {
        let copy = self.damaged(file, damage)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let looked = runtime.block_on(async { tokio::time::timeout(PATIENCE, look(copy.path(), self.log)).await });
        Ok(looked.map_or_else(|_| Found::Wrong("it hangs".into()), |seen| self.judge(file, seen)))
    }

    fn judge(&self, file: &str, seen: Seen) -> Found {
        if !seen.errors.is_empty() {
            let unnamed = seen.errors.iter().find(|error| !self.is_named(file, error));
            return unnamed.map_or(Found::Named, |error| Found::Wrong(format!("not named: {error}")));
        }
        let commit = self.states.iter().rposition(|state| Some(state) == seen.present.as_ref());
        match commit.filter(|_| seen.snapshot.as_ref() == Some(&self.snapshot)) {
            Some(commit) => Found::Commit(commit),
            None => Found::Wrong("it has other rows, and no error".into()),
        }
    }

    /// Errors name the file; of a file of the log that is cut, perhaps the one that ended before it.
    fn is_named(&self, file: &str, error: &str) -> bool {
        let named = |file: &str| file.rsplit('/').next().is_some_and(|name| error.contains(name));
        let is_log = kind(file) == "log" && self.log_files.iter().any(|(other, _)| named(other));
        error.contains("corrupt") && (named(file) || is_log)
    }
}

/// What there was to be seen.
#[derive(Default)]
struct Seen {
    errors: Vec<String>,
    present: Option<Dump>,
    snapshot: Option<Dump>,
}

impl Seen {
    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.errors.push(format!("{error:#}"))).ok()
    }
}

async fn look(directory: &Path, log: Log) -> Seen {
    let mut seen = Seen::default();
    let opened = open(directory, log, 1).await;
    let Some((volume, _lease)) = seen.note(opened) else { return seen };
    let present = dump(&*volume).await;
    seen.present = seen.note(present);
    let snapshot = async { dump(&*volume.open_snapshot(SNAPSHOT).await?).await };
    let snapshot = snapshot.await;
    seen.snapshot = seen.note(snapshot);
    let checked = volume.fsck(&mut |_| {}).await.map_err(Into::into);
    if let Some(report) = seen.note(checked) {
        seen.errors.extend(report.problems.into_iter().map(|problem| format!("corrupt: {problem}")));
    }
    seen
}

async fn go_on(directory: &Path, log: Log) -> Result<&'static str> {
    let Ok((volume, _lease)) = open(directory, log, 1).await else { return Ok("does not open") };
    let mut rows = readable(&volume).await;
    for number in 200..220 {
        let (key, bytes) = (Space::Block.key(&[&[number]]), Bytes::from(vec![number; 3000]));
        let payload = volume.append_payload(&volume.room().await?, std::slice::from_ref(&bytes)).await?;
        let mut batch = Batch::new();
        batch.hold(&payload);
        batch.put_with_payload(key.clone(), Bytes::new(), [payload.pointer]);
        volume.durable(volume.commit(batch).await?).await?;
        rows.insert(key, (Bytes::new(), vec![bytes]));
    }
    for _ in 0..2 {
        volume.settle().await.context("settle")?;
        // It has to look through all rows, and removes nothing if it cannot.
        match volume.collect().await {
            Ok(_) | Err(Error::Corrupt(_)) => {}
            Err(error) => return Err(error).context("collect"),
        }
    }
    let files = Volume::stats(&*volume).log_files;
    ensure!(files <= 3, "{files} files of the log are left");
    for (key, row) in rows {
        ensure!(
            read(&volume, &key).await.with_context(|| format!("row {key:?}"))? == row,
            "row {key:?} is another one"
        );
    }
    Ok("goes on")
}

/// Every row that can be read with all of its payload.
async fn readable(volume: &IndexedVolume) -> Dump {
    let mut rows = Dump::new();
    for number in 0..=u8::MAX {
        for key in [Space::Inode, Space::Block].map(|space| space.key(&[&[number]])) {
            if let Ok(row) = read(volume, &key).await {
                rows.insert(key, row);
            }
        }
    }
    rows
}

async fn read(volume: &IndexedVolume, key: &[u8]) -> Result<(Bytes, Vec<Bytes>)> {
    let row = volume.get(key).await?.context("no such row")?;
    let mut payloads = Vec::new();
    for pointer in &row.pointers {
        payloads.push(volume.read_payload(pointer).await?);
    }
    Ok((row.bytes, payloads))
}

/// Opens the bucket as a server does.
async fn open(directory: &Path, log: Log, seed: u64) -> Result<(Arc<IndexedVolume>, Lease)> {
    let (clock, random) = (Arc::new(SystemClock), Random::from_seed(seed));
    let bucket = bucket(directory, &random)?;
    Superblock::open(&bucket, &*clock, &random).await?;
    let claim = Claim::new(Holder::this_process(""));
    let lease = Lease::acquire(&bucket, &claim, clock, &random).await?;
    let components = components(directory, log, &bucket, Arc::new(lease.guard()), random);
    Ok((Store::new(components).open_volume(VolumeId(0)).await?, lease))
}

fn bucket(directory: &Path, random: &Random) -> Result<Bucket> {
    let url = directory.to_str().context("the directory's name is text")?;
    Ok(Bucket::open(url, &Environment::default(), random)?)
}

fn components(directory: &Path, log: Log, bucket: &Bucket, gate: Arc<dyn Gate>, random: Random) -> Components {
    Components {
        bucket: Arc::clone(bucket.store()),
        local: (log == Log::Files).then(|| Local::new(Arc::new(RealDisk), directory.to_owned(), false)),
        clock: Arc::new(SystemClock),
        gate,
        log: log::Settings {
            file_bytes: 8 << 10,
            first_file_bytes: 4 << 10,
            // Nothing settles but when it is told to.
            settle_bytes: 1 << 30,
            random: random.clone(),
            ..log::Settings::default()
        },
        random,
    }
}

/// A server that runs until the index has removed old manifests, which leaves a boundary; in a time of its own, which
/// passes at once.
fn sweep(directory: &Path, log: Log) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(async {
        let random = Random::from_seed(9);
        let bucket = bucket(directory, &random)?;
        let mut components = components(directory, log, &bucket, Arc::new(Unshared), random);
        components.log.drive = log::Drive::Task;
        let volume = Store::new(components).open_volume(VolumeId(0)).await?;
        tokio::time::sleep(2 * (limits::INDEX_GARBAGE_AGE + limits::INDEX_GARBAGE_INTERVAL)).await;
        Ok(volume.close().await?)
    })
}

/// Commits, and keeps what there was after each commit.
struct Writer {
    volume: Arc<IndexedVolume>,
    states: Vec<Dump>,
}

impl Writer {
    /// A row without payload and one with payload in the log; some rows are written again and again.
    async fn commit(&mut self, number: u8) -> Result<()> {
        self.put(number, number % 7, 700).await
    }

    /// A row that stays, with much payload: of the kind that makes a file of the log a segment.
    async fn keep(&mut self, number: u8) -> Result<()> {
        self.put(number, 100 + number, 3000).await
    }

    async fn put(&mut self, number: u8, block: u8, payload_bytes: usize) -> Result<()> {
        let text = [number; 40];
        let room = self.volume.room().await?;
        let payload = self.volume.append_payload(&room, &[Bytes::from(vec![number; payload_bytes])]).await?;
        let mut batch = Batch::new();
        batch.hold(&payload);
        batch.put(Space::Inode.key(&[&[number % 5]]), text.to_vec());
        batch.put_with_payload(Space::Block.key(&[&[block]]), Bytes::from_static(b"block"), [payload.pointer]);
        let end = self.volume.commit(batch).await?;
        self.volume.durable(end).await?;
        self.states.push(dump(&*self.volume).await?);
        Ok(())
    }
}

async fn build(log: Log) -> Result<[Sample; 2]> {
    let directory = temporary()?;
    let (volume, lease) = open(directory.path(), log, 7).await?;
    let mut writer = Writer { volume, states: Vec::new() };
    for number in 0..12 {
        writer.commit(number).await?;
        if number == 5 {
            writer.volume.flush_index().await?;
            writer.volume.create_snapshot(SNAPSHOT).await?;
        }
    }
    for number in 12..16 {
        writer.keep(number).await?;
    }
    let snapshot = dump(&*writer.volume.open_snapshot(SNAPSHOT).await?).await?;
    writer.volume.flush_index().await?;
    let settled = writer.volume.settle().await?;
    ensure!((settled.files_kept > 0) == (log == Log::Files) && settled.files_removed > 0, "{settled:?}");
    // Garbage: nothing will ever point into it.
    drop(writer.volume.write_segment(vec![Bytes::from_static(b"nobody needs this")]).await?);
    writer.volume.close().await?;
    lease.release().await?;

    let path = directory.path().to_owned();
    tokio::task::spawn_blocking(move || sweep(&path, log)).await??;
    let (volume, lease) = open(directory.path(), log, 8).await?;
    writer.volume = volume;
    writer.commit(20).await?;
    writer.volume.flush_index().await?;
    let commits_sure = writer.states.len() - 1;
    for number in 21..26 {
        writer.commit(number).await?;
    }
    let end = writer.volume.position();
    writer.commit(26).await?;
    let (states, volume) = (writer.states, writer.volume);
    let sample = |what, directory| Sample {
        what,
        log,
        directory,
        files: BTreeMap::new(),
        snapshot: snapshot.clone(),
        commits: states.len() - 1,
        commits_sure,
        states: states.clone(),
        log_files: Vec::new(),
        last_group: 0,
        settled: BTreeMap::new(),
    };
    let mut killed = sample("killed", copy(directory.path())?);
    killed.measure().await?;
    let newest = volume.log_files().pop().context("the log has a file")?;
    volume.close().await?;
    lease.release().await?;
    drop(volume);
    let mut closed = sample("closed", directory);
    closed.measure().await?;
    if log == Log::Files {
        killed.last_group = LOG_BLOCK + usize::try_from(end.0 - newest.start.0)?;
        closed.last_group = closed.log_files.last().context("the log has a file")?.1 - LOG_BLOCK;
    }
    Ok([closed, killed])
}

impl Sample {
    /// Learns from a look at a copy where the log's files end; and that there is nothing wrong with it.
    async fn measure(&mut self) -> Result<()> {
        list(self.directory.path(), Path::new(""), &mut self.files)?;
        let kinds: BTreeSet<&str> = self.files.keys().map(|file| kind(file)).collect();
        ensure!(kinds.contains("gc") && kinds.contains("settled") == (self.log == Log::Files), "{kinds:?}");
        let copy = copy(self.directory.path())?;
        let seen = look(copy.path(), self.log).await;
        ensure!(seen.errors.is_empty() && seen.present.as_ref() == self.states.last(), "{:?}", seen.errors);
        if self.log == Log::Objects {
            self.files.retain(|file, _| kind(file) == "log");
            return Ok(());
        }
        for file in self.files.keys().filter(|file| kind(file) == "settled") {
            self.settled.insert(file.clone(), Groups::of(&std::fs::read(self.directory.path().join(file))?));
        }
        let again = self::copy(self.directory.path())?;
        let (volume, _lease) = open(again.path(), self.log, 1).await?;
        for file in volume.log_files() {
            let Place::Log { epoch, number } = file.place else { continue };
            let name = format!("volumes/{}/log/log-{epoch:010}-{number:010}", VolumeId(0));
            self.log_files.push((name, LOG_BLOCK + usize::try_from(file.end.0 - file.start.0)?));
        }
        Ok(())
    }
}

/// In memory if that is possible: a look syncs some twenty times.
fn temporary() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

fn copy(from: &Path) -> std::io::Result<tempfile::TempDir> {
    let copy = temporary()?;
    let mut files = BTreeMap::new();
    list(from, Path::new(""), &mut files)?;
    for file in files.keys() {
        let to = copy.path().join(file);
        std::fs::create_dir_all(to.parent().expect("a file lies in a directory"))?;
        std::fs::copy(from.join(file), to)?;
    }
    Ok(copy)
}

/// All files below a directory but the bucket's own, which hold nothing.
fn list(root: &Path, relative: &Path, files: &mut BTreeMap<String, usize>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(root.join(relative))? {
        let entry = entry?;
        let path: PathBuf = relative.join(entry.file_name());
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            if entry.file_name() != ".ballast" {
                list(root, &path, files)?;
            }
        } else {
            files.insert(path.display().to_string(), usize::try_from(metadata.len()).unwrap_or(usize::MAX));
        }
    }
    Ok(())
}
