//! The volume that is damaged: in a directory, in two states, and how one looks at it.

use crate::volumes::{Dump, dump};
use anyhow::{Context, Result, ensure};
use ballast_runtime::{Random, SystemClock};
use ballast_store::bucket::Environment;
use ballast_store::disk::RealDisk;
use ballast_store::pointer::Place;
use ballast_store::{
    Batch, Bucket, Claim, Components, Holder, IndexedVolume, Lease, Space, Store, Superblock, Volume, VolumeId, log,
};
use bytes::Bytes;
use std::collections::BTreeMap;
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
    Flip { at: usize, bit: u8 },
    Cut(usize),
}

impl Damage {
    /// The first byte that is not as it was.
    fn at(self) -> usize {
        match self {
            Self::Flip { at, .. } | Self::Cut(at) => at,
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

/// A small volume that was closed, or whose server was killed.
pub struct Sample {
    pub what: &'static str,
    directory: tempfile::TempDir,
    /// The files by their names relative to the bucket, with their sizes.
    pub files: BTreeMap<String, usize>,
    /// The rows after each commit, and the rows of the snapshot.
    states: Vec<Dump>,
    snapshot: Dump,
    pub commits: usize,
    /// The commits that the index has.
    pub commits_sure: usize,
    /// Bytes that hold groups, of each file of the log, the newest last.
    log_files: Vec<(String, usize)>,
    /// Where the last group of the newest file begins.
    last_group: usize,
}

/// A file as messages speak of it.
pub fn kind(file: &str) -> &str {
    let parts: Vec<&str> = file.split('/').collect();
    match parts[..] {
        ["volumes", _, "index", kind, _] => kind,
        ["volumes", _, kind, _] => kind,
        _ => parts[0],
    }
}

impl Sample {
    /// One that was closed and one that was killed.
    pub fn both() -> Result<[Self; 2]> {
        tokio::runtime::Runtime::new()?.block_on(build())
    }

    /// What the bytes mean that the damage takes or changes.
    pub fn meaning(&self, file: &str, damage: Damage) -> Meaning {
        let at = damage.at();
        match kind(file) {
            "lease" if self.files.keys().rfind(|file| kind(file) == "lease").is_some_and(|newest| newest != file) => {
                Meaning::Nothing("it is superseded: only the newest entry of the lease is ever read")
            }
            "log" => match self.log_files.iter().find(|(name, _)| name == file) {
                None => Meaning::Nothing("no group was ever written to it: it was made ahead, or is to be used again"),
                Some((_, used)) if at >= *used => Meaning::Nothing("the groups of the file end before it"),
                Some(known) if Some(known) == self.log_files.last() => self.meaning_of_newest(damage),
                Some(_) => Meaning::Needed,
            },
            _ => Meaning::Needed,
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

    /// Damages a copy, opens it and reads everything.
    pub fn look(&self, file: &str, damage: Damage) -> Result<Found> {
        let copy = copy(self.directory.path())?;
        let path = copy.path().join(file);
        let mut bytes = std::fs::read(&path)?;
        match damage {
            Damage::Flip { at, bit } => bytes[at] ^= 1 << bit,
            Damage::Cut(at) => bytes.truncate(at),
        }
        std::fs::write(&path, bytes)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let looked = runtime.block_on(async { tokio::time::timeout(PATIENCE, look(copy.path())).await });
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

async fn look(directory: &Path) -> Seen {
    let mut seen = Seen::default();
    let opened = open(directory, 1).await;
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

/// Opens the bucket as a server does.
async fn open(directory: &Path, seed: u64) -> Result<(Arc<IndexedVolume>, Lease)> {
    let (clock, random) = (Arc::new(SystemClock), Random::from_seed(seed));
    let url = directory.to_str().context("the directory's name is text")?;
    let bucket = Bucket::open(url, &Environment::default(), &random)?;
    Superblock::open(&bucket, &*clock, &random).await?;
    let claim = Claim::new(Holder::this_process(""));
    let lease = Lease::acquire(&bucket, &claim, clock.clone(), &random).await?;
    let store = Store::new(Components {
        bucket: Arc::clone(bucket.store()),
        local: Some((Arc::new(RealDisk) as _, directory.to_owned())),
        clock,
        gate: Arc::new(lease.guard()),
        log: log::Settings {
            file_bytes: 8 << 10,
            first_file_bytes: 4 << 10,
            // Nothing settles but when it is told to.
            settle_bytes: 1 << 30,
            random: random.clone(),
            ..log::Settings::default()
        },
        random,
    });
    Ok((store.open_volume(VolumeId(0)).await?, lease))
}

/// Commits, and keeps what there was after each commit.
struct Writer {
    volume: Arc<IndexedVolume>,
    states: Vec<Dump>,
}

impl Writer {
    /// A row without payload and one with payload in the log; some rows are written again and again.
    async fn commit(&mut self, number: u8) -> Result<()> {
        let text = [number; 40];
        let payload = self.volume.append_payload(&[Bytes::from(vec![number; 700])]).await?;
        let mut batch = Batch::new();
        batch.hold(&payload);
        batch.put(Space::Inode.key(&[&[number % 5]]), text.to_vec());
        batch.put_with_payload(Space::Block.key(&[&[number % 7]]), Bytes::from_static(b"block"), [payload.pointer]);
        let end = self.volume.commit(batch).await?;
        self.volume.durable(end).await?;
        self.states.push(dump(&*self.volume).await?);
        Ok(())
    }
}

async fn build() -> Result<[Sample; 2]> {
    let directory = temporary()?;
    let (volume, lease) = open(directory.path(), 7).await?;
    let mut writer = Writer { volume, states: Vec::new() };
    for number in 0..12 {
        writer.commit(number).await?;
        if number == 5 {
            writer.volume.flush_index().await?;
            writer.volume.create_snapshot(SNAPSHOT).await?;
        }
    }
    let snapshot = dump(&*writer.volume.open_snapshot(SNAPSHOT).await?).await?;
    writer.volume.flush_index().await?;
    writer.volume.settle().await?;
    // Garbage: nothing will ever point into it.
    drop(writer.volume.write_segment(vec![Bytes::from_static(b"nobody needs this")]).await?);
    writer.volume.close().await?;
    lease.release().await?;

    let (volume, lease) = open(directory.path(), 8).await?;
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
        directory,
        files: BTreeMap::new(),
        snapshot: snapshot.clone(),
        commits: states.len() - 1,
        commits_sure,
        states: states.clone(),
        log_files: Vec::new(),
        last_group: 0,
    };
    let mut killed = sample("killed", copy(directory.path())?);
    killed.measure().await?;
    let newest = volume.log_files().pop().context("the log has a file")?;
    killed.last_group = LOG_BLOCK + usize::try_from(end.0 - newest.start.0)?;
    volume.close().await?;
    lease.release().await?;
    drop(volume);
    let mut closed = sample("closed", directory);
    closed.measure().await?;
    closed.last_group = closed.log_files.last().context("the log has a file")?.1 - LOG_BLOCK;
    Ok([closed, killed])
}

impl Sample {
    /// Learns from a look at a copy where the log's files end; and that there is nothing wrong with it.
    async fn measure(&mut self) -> Result<()> {
        list(self.directory.path(), Path::new(""), &mut self.files)?;
        let copy = copy(self.directory.path())?;
        let seen = look(copy.path()).await;
        ensure!(seen.errors.is_empty() && seen.present.as_ref() == self.states.last(), "{:?}", seen.errors);
        let again = self::copy(self.directory.path())?;
        let (volume, _lease) = open(again.path(), 1).await?;
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
