//! Volumes for tests, and what they hold in a comparable form.

use anyhow::{Context, Result};
use ballast_runtime::{Random, SystemClock};
use ballast_store::disk::RealDisk;
use ballast_store::{Components, Error, Gate, IndexedVolume, KeyRange, Local, Read, Store, VolumeId};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Nobody else wants these volumes, until [`World::fence`].
#[derive(Default)]
struct Lease(AtomicBool);

impl Gate for Lease {
    fn check(&self) -> ballast_store::Result<()> {
        let lost = self.0.load(Ordering::SeqCst);
        if lost { Err(ballast_store::Error::Fenced("another server".into())) } else { Ok(()) }
    }
}

/// A bucket that outlives the servers over it.
pub struct World {
    components: Components,
    lease: Arc<Lease>,
    directory: tempfile::TempDir,
}

impl World {
    /// With the log in files on the real disk, or as objects in the bucket; the bucket itself is in memory.
    pub fn new(log_in_files: bool, seed: u64) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let disk = Arc::new(RealDisk) as Arc<dyn ballast_store::disk::Disk>;
        let log = ballast_store::log::Settings { file_bytes: 64 << 10, ..Default::default() };
        let lease = Arc::<Lease>::default();
        let components = Components {
            bucket: Arc::new(InMemory::new()),
            local: log_in_files.then(|| Local::new(disk, directory.path().to_owned(), false)),
            clock: Arc::new(SystemClock),
            random: Random::from_seed(seed),
            gate: Arc::<Lease>::clone(&lease),
            log,
        };
        Ok(Self { components, lease, directory })
    }

    /// Takes the right to serve from every volume that is open.
    pub fn fence(&self) {
        self.lease.0.store(true, Ordering::SeqCst);
    }

    /// The files of the log that this process has open.
    pub fn open_files(&self) -> Result<Vec<PathBuf>> {
        let links = std::fs::read_dir("/proc/self/fd")?.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        Ok(links.filter(|path| path.starts_with(self.directory.path())).collect())
    }

    /// Flips a bit in the middle of these bytes where they first lie in the log's files or objects.
    pub async fn damage_log(&self, wanted: &[u8]) -> Result<()> {
        let (place, mut bytes, at) = self.find_in_log(wanted).await?;
        bytes[at + wanted.len() / 2] ^= 1;
        match place {
            Found::File(path) => std::fs::write(path, bytes)?,
            Found::Object(path) => drop(self.components.bucket.put(&path, bytes.into()).await?),
        }
        Ok(())
    }

    /// Removes the file or object of the log in which these bytes first lie.
    pub async fn remove_log_with(&self, wanted: &[u8]) -> Result<()> {
        match self.find_in_log(wanted).await?.0 {
            Found::File(path) => Ok(std::fs::remove_file(path)?),
            Found::Object(path) => Ok(self.components.bucket.delete(&path).await?),
        }
    }

    /// The file or object of the log in which these bytes first lie, what it holds, and where in it they are.
    async fn find_in_log(&self, wanted: &[u8]) -> Result<(Found, Vec<u8>, usize)> {
        let find = |bytes: &[u8]| bytes.windows(wanted.len()).position(|found| found == wanted);
        for path in walk(self.directory.path())? {
            let bytes = std::fs::read(&path)?;
            if let Some(at) = find(&bytes) {
                return Ok((Found::File(path), bytes, at));
            }
        }
        for path in self.objects("log").await? {
            let bytes = self.components.bucket.get(&path).await?.bytes().await?.to_vec();
            if let Some(at) = find(&bytes) {
                return Ok((Found::Object(path), bytes, at));
            }
        }
        anyhow::bail!("no such bytes in the log")
    }

    /// With another right to serve.
    pub fn with_gate(mut self, gate: Arc<dyn Gate>) -> Self {
        self.components.gate = gate;
        self
    }

    /// Over another bucket.
    pub fn with_bucket(mut self, bucket: Arc<dyn object_store::ObjectStore>) -> Self {
        self.components.bucket = bucket;
        self
    }

    /// Where the log's files may lie, if they may, and whether other machines reach it; the same bucket.
    pub fn set_local(&mut self, is_shared: Option<bool>) {
        let local = |is_shared| Local::new(Arc::new(RealDisk), self.directory.path().to_owned(), is_shared);
        self.components.local = is_shared.map(local);
    }

    /// The names in the log's directory.
    pub fn log_files(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.directory.path().join("volumes/0000000000000000/log"));
        let names = files.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| name.starts_with("log-")).collect()
    }

    /// The objects of a part of the volume, in the order of their names.
    async fn objects(&self, part: &str) -> Result<Vec<object_store::path::Path>> {
        let prefix = format!("volumes/0000000000000000/{part}").into();
        let mut all: Vec<_> = self.components.bucket.list(Some(&prefix)).try_collect().await?;
        all.sort_by(|one, other| one.location.cmp(&other.location));
        Ok(all.into_iter().map(|object| object.location).collect())
    }

    /// Cuts the oldest segment to so many bytes, or removes it.
    pub async fn cut_segment(&self, bytes: Option<usize>) -> Result<()> {
        let bucket = &self.components.bucket;
        let oldest = self.objects("segments").await?.into_iter().next().context("no segment")?;
        let Some(bytes) = bytes else { return Ok(bucket.delete(&oldest).await?) };
        let whole = bucket.get(&oldest).await?.bytes().await?;
        bucket.put(&oldest, whole.slice(..bytes).into()).await?;
        Ok(())
    }

    /// How many segments there are in the bucket.
    pub async fn segments(&self) -> Result<usize> {
        Ok(self.objects("segments").await?.len())
    }

    /// Takes another world's files of the log.
    pub fn take_files(&self, other: &Self) -> Result<()> {
        let log = "volumes/0000000000000000/log";
        std::fs::create_dir_all(self.directory.path().join("volumes/0000000000000000"))?;
        Ok(std::fs::rename(other.directory.path().join(log), self.directory.path().join(log))?)
    }

    /// Puts a file where the log's directory is, so that it cannot be listed.
    pub fn block_log(&self) -> Result<()> {
        let volume = self.directory.path().join("volumes/0000000000000000");
        std::fs::create_dir_all(&volume)?;
        Ok(std::fs::write(volume.join("log"), "")?)
    }

    /// Copies the log's files into the bucket, as whoever copies a directory to an object store does.
    pub async fn copy_log_to_bucket(&self) -> Result<()> {
        for path in walk(self.directory.path())? {
            let name = path.strip_prefix(self.directory.path())?.to_str().context("a name that is no text")?;
            self.components.bucket.put(&name.into(), std::fs::read(&path)?.into()).await?;
        }
        Ok(())
    }

    /// With another limit of the rows that a restart replays.
    pub fn with_tail_bytes_max(mut self, bytes: u64) -> Self {
        self.components.log.tail_bytes_max = bytes;
        self
    }

    /// A server starts and opens the volume.
    pub async fn open(&self) -> Result<Arc<IndexedVolume>> {
        Ok(Store::new(self.components.clone()).open_volume(VolumeId(0)).await?)
    }
}

/// A part of the log.
enum Found {
    File(PathBuf),
    Object(object_store::path::Path),
}

/// All files below a directory.
fn walk(directory: &std::path::Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(walk(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

/// Keys with the engine's bytes and the content of all payloads.
pub type Dump = BTreeMap<Bytes, (Bytes, Vec<Bytes>)>;

/// How often a row is read again because it moved, before its payload is taken for lost.
const MOVES_MAX: usize = 20;

pub async fn dump(read: &dyn Read) -> Result<Dump> {
    let all = KeyRange { start: Bytes::from_static(&[0x03]), end: None };
    let mut scan = read.scan(all).await?;
    let mut dump = Dump::new();
    loop {
        let rows = scan.next(7).await?;
        if rows.is_empty() {
            return Ok(dump);
        }
        for row in rows {
            let (mut value, mut payloads, mut moves) = (row.value, Vec::new(), 0);
            while let Some(pointer) = value.pointers.get(payloads.len()) {
                match read.read_payload(pointer).await {
                    // The background settles as well.
                    Err(Error::PayloadMoved) if moves < MOVES_MAX => {
                        moves += 1;
                        payloads.clear();
                        let found = read.get(&row.key).await?;
                        value = found.with_context(|| format!("row {:?} went away", row.key))?;
                    }
                    read => payloads.push(read.with_context(|| format!("{pointer:?} of {:?}", row.key))?),
                }
            }
            dump.insert(row.key, (value.bytes, payloads));
        }
    }
}
