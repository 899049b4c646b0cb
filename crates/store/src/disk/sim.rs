//! A disk in memory that behaves as badly as disks are allowed to.
//!
//! What was written is visible to every reader at once and *unsynced* until `sync_data`. A power cut
//! ([`SimDisk::power_cut`]) keeps an arbitrary part of what is unsynced: each sector of each write is kept,
//! lost, or torn into garbage; changes of names since the last `sync_directory` survive up to an arbitrary
//! one. Everything is decided by the seed, so a run replays exactly. What a disk has lost or does not let go of, it
//! does to whoever asks, also after a crash.

use super::{Disk, DiskFile, DiskSpace, Fill, Names};
use ballast_runtime::Random;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a disk writes whole or not at all, unless a power cut tears it.
pub const SECTOR_BYTES: u64 = 512;

/// How often things go wrong: one in so many calls; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimFaults {
    /// A write stops short of its end and says so.
    pub short_write: u64,
    /// A write fails with `EIO`.
    pub write_error: u64,
    /// A sync fails with `EIO`, and part of what was unsynced is gone without a trace.
    pub sync_error: u64,
    /// Bytes of the disk; a write beyond them fails with `ENOSPC`. 0 is endless.
    pub capacity_bytes: u64,
}

type Content = Arc<Mutex<SimContent>>;

#[derive(Clone, Debug, Default)]
struct SimContent {
    /// What a reader sees.
    visible: Vec<u8>,
    /// What is on the platter.
    durable: Vec<u8>,
    /// Writes since the last sync, oldest first: offset and bytes; `None` is a change of length.
    unsynced: Vec<(u64, Option<Vec<u8>>)>,
    /// Names made and removed.
    renamed: i128,
    /// Bytes whose reading fails with `EIO`, until they are written again.
    unreadable: Vec<Range<u64>>,
    /// Its names can neither be changed nor removed.
    is_fixed: bool,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(PathBuf, Content),
    Unlink(PathBuf),
}

struct SimState {
    names: BTreeMap<PathBuf, Content>,
    durable_names: BTreeMap<PathBuf, Content>,
    unsynced_names: Vec<NameChange>,
    faults: SimFaults,
    /// Calls that may still happen before the power is cut.
    calls_left: Option<u64>,
    calls: u64,
    /// Runs before the call that follows so many others.
    interrupt: Option<(u64, Box<dyn FnOnce() + Send>)>,
}

impl std::fmt::Debug for SimState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimState").field("names", &self.names.keys()).field("calls", &self.calls).finish()
    }
}

/// See the module. Clones share the disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    random: Random,
    state: Arc<Mutex<SimState>>,
}

impl SimDisk {
    pub fn new(random: Random, faults: SimFaults) -> Self {
        let state = SimState {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            faults,
            calls_left: None,
            calls: 0,
            interrupt: None,
        };
        Self { random, state: Arc::new(Mutex::new(state)) }
    }

    pub fn set_faults(&self, faults: SimFaults) {
        self.state.lock().faults = faults;
    }

    /// Cuts the power after so many further calls: from then on every call fails.
    pub fn cut_power_after(&self, calls: u64) {
        self.state.lock().calls_left = Some(calls);
    }

    /// Runs something once, before the call that follows so many others: a second process gets in between.
    pub fn interrupt_after(&self, calls: u64, run: impl FnOnce() + Send + 'static) {
        self.state.lock().interrupt = Some((calls, Box::new(run)));
    }

    /// From now on, reading these bytes of a file fails, whatever its name becomes.
    pub fn lose(&self, path: &Path, bytes: Range<u64>) {
        self.with_content(path, |content| content.unreadable.push(bytes));
    }

    /// Gives all of a file back.
    pub fn give_back(&self, path: &Path) {
        self.with_content(path, |content| content.unreadable.clear());
    }

    /// From now on, the file can neither be renamed nor removed; or it can again.
    pub fn fix(&self, path: &Path, is_fixed: bool) {
        self.with_content(path, |content| content.is_fixed = is_fixed);
    }

    fn with_content(&self, path: &Path, change: impl FnOnce(&mut SimContent)) {
        let content = self.state.lock().names.get(path).cloned();
        change(&mut content.expect("the file is there").lock());
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// The disk as it is found after the power was cut now: a new disk, without faults.
    pub fn power_cut(&self) -> Self {
        let mut state = self.state.lock();
        // Also whoever still holds this disk is dead.
        state.calls_left = Some(0);
        let mut names = state.durable_names.clone();
        let survive = self.random.below(state.unsynced_names.len() as u64 + 1) as usize;
        for change in &state.unsynced_names[..survive] {
            apply(&mut names, change);
        }
        let names: BTreeMap<PathBuf, Content> =
            names.into_iter().map(|(path, content)| (path, self.survivor(&content.lock()))).collect();
        let after = Self::new(self.random.clone(), SimFaults::default());
        {
            let mut fresh = after.state.lock();
            fresh.durable_names.clone_from(&names);
            fresh.names = names;
        }
        after
    }

    /// The disk as it is found after the process was killed and the machine went on: all that was written.
    pub fn kill(&self) -> Self {
        let after = self.copy();
        self.state.lock().calls_left = Some(0);
        after
    }

    /// Another disk with the same content and no faults.
    pub fn copy(&self) -> Self {
        let state = self.state.lock();
        // A file may have several names, of which some are durable: each file is copied once.
        let mut copies: BTreeMap<usize, Content> = BTreeMap::new();
        let mut copy = |content: &Content| {
            let copied = copies
                .entry(Arc::as_ptr(content) as usize)
                .or_insert_with(|| Arc::new(Mutex::new(content.lock().clone())));
            Arc::clone(copied)
        };
        let after = Self::new(self.random.clone(), SimFaults::default());
        {
            let mut fresh = after.state.lock();
            fresh.names = state.names.iter().map(|(path, content)| (path.clone(), copy(content))).collect();
            let durable = state.durable_names.iter();
            fresh.durable_names = durable.map(|(path, content)| (path.clone(), copy(content))).collect();
            let unsynced = state.unsynced_names.iter().map(|change| match change {
                NameChange::Link(path, content) => NameChange::Link(path.clone(), copy(content)),
                NameChange::Unlink(path) => NameChange::Unlink(path.clone()),
            });
            fresh.unsynced_names = unsynced.collect();
        }
        after
    }

    fn survivor(&self, content: &SimContent) -> Content {
        let mut bytes = content.durable.clone();
        for (offset, data) in &content.unsynced {
            match data {
                Some(data) => self.write_partly(&mut bytes, *offset, data),
                None if self.random.below(2) == 0 => bytes.resize(*offset as usize, 0),
                None => {}
            }
        }
        let (unreadable, is_fixed) = (content.unreadable.clone(), content.is_fixed);
        let (visible, durable) = (bytes.clone(), bytes);
        Arc::new(Mutex::new(SimContent { visible, durable, unreadable, is_fixed, ..SimContent::default() }))
    }

    /// Sector by sector: written, lost, or torn.
    fn write_partly(&self, bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
        let mode = self.random.below(4);
        let mut at = 0;
        while at < data.len() {
            let sector_end = ((offset + at as u64) / SECTOR_BYTES + 1) * SECTOR_BYTES;
            let end = data.len().min((sector_end - offset) as usize);
            let kept = match mode {
                0 => true,
                1 => false,
                _ => self.random.below(2) == 0,
            };
            if kept {
                write(bytes, offset + at as u64, &data[at..end]);
            } else if self.random.below(8) == 0 {
                let garbage: Vec<u8> = (at..end).map(|_| self.random.next_u64() as u8).collect();
                write(bytes, offset + at as u64, &garbage);
            }
            at = end;
        }
    }

    fn call(&self) -> io::Result<parking_lot::MutexGuard<'_, SimState>> {
        let mut state = self.state.lock();
        if let Some((calls, run)) = state.interrupt.take() {
            if calls == 0 {
                drop(state);
                run();
                state = self.state.lock();
            } else {
                state.interrupt = Some((calls - 1, run));
            }
        }
        match &mut state.calls_left {
            Some(0) => return Err(io::Error::other("the power was cut")),
            Some(left) => *left -= 1,
            None => {}
        }
        state.calls += 1;
        Ok(state)
    }

    fn strikes(&self, one_in: u64) -> bool {
        one_in > 0 && self.random.below(one_in) == 0
    }

    fn file(&self, content: &Content) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), content: Arc::clone(content) })
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Content>, change: &NameChange) {
    match change {
        NameChange::Link(path, content) => names.insert(path.clone(), Arc::clone(content)),
        NameChange::Unlink(path) => names.remove(path),
    };
}

fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let end = offset as usize + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset as usize..end].copy_from_slice(data);
}

fn overlap(bytes: &Range<u64>, offset: u64, length: usize) -> bool {
    bytes.start < offset + length as u64 && offset < bytes.end
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl SimState {
    fn change(&mut self, change: NameChange) {
        let content = match &change {
            NameChange::Link(_, content) => Some(content),
            NameChange::Unlink(path) => self.names.get(path),
        };
        if let Some(content) = content {
            content.lock().renamed += 1;
        }
        apply(&mut self.names, &change);
        self.unsynced_names.push(change);
    }

    fn used(&self) -> u64 {
        self.names.values().map(|content| content.lock().visible.len() as u64).sum()
    }

    fn check_loose(&self, path: &Path) -> io::Result<()> {
        match self.names.get(path) {
            None => Err(not_found(path)),
            Some(content) if content.lock().is_fixed => Err(io::Error::from_raw_os_error(libc::EPERM)),
            Some(_) => Ok(()),
        }
    }

    fn is_full(&self, more: u64) -> bool {
        self.faults.capacity_bytes > 0 && self.used() + more > self.faults.capacity_bytes
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.call()?;
        if state.names.contains_key(path) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, path.display().to_string()));
        }
        let content = Content::default();
        state.change(NameChange::Link(path.to_path_buf(), Arc::clone(&content)));
        Ok(self.file(&content))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.call()?;
        Ok(self.file(state.names.get(path).ok_or_else(|| not_found(path))?))
    }

    fn create_directory(&self, _path: &Path) -> io::Result<()> {
        self.call().map(drop)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.call()?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.call()?.names.contains_key(path))
    }

    fn space(&self, _directory: &Path) -> io::Result<DiskSpace> {
        let state = self.call()?;
        let bytes = state.faults.capacity_bytes;
        // Of an endless disk no share is kept.
        let free = if bytes == 0 { u64::MAX } else { bytes.saturating_sub(state.used()) };
        Ok(DiskSpace { bytes, free, available: free })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        state.check_loose(path)?;
        state.change(NameChange::Unlink(path.to_path_buf()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        state.check_loose(from)?;
        let content = Arc::clone(state.names.get(from).ok_or_else(|| not_found(from))?);
        state.change(NameChange::Link(to.to_path_buf(), content));
        state.change(NameChange::Unlink(from.to_path_buf()));
        Ok(())
    }

    fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        state.durable_names = state.names.clone();
        state.unsynced_names.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    content: Content,
}

impl SimFile {
    fn put(&self, data: &[u8], offset: u64) {
        let mut content = self.content.lock();
        content.unreadable.retain(|bytes| !overlap(bytes, offset, data.len()));
        write(&mut content.visible, offset, data);
        content.unsynced.push((offset, Some(data.to_vec())));
    }
}

impl DiskFile for SimFile {
    fn byte_len(&self) -> io::Result<u64> {
        let _state = self.disk.call()?;
        Ok(self.content.lock().visible.len() as u64)
    }

    fn names(&self) -> io::Result<Names> {
        let state = self.disk.call()?;
        let count = state.names.values().filter(|content| Arc::ptr_eq(content, &self.content)).count() as u64;
        Ok(Names { count, changed: self.content.lock().renamed })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let _state = self.disk.call()?;
        let content = self.content.lock();
        let from = content.visible.len().min(offset as usize);
        let read = buffer.len().min(content.visible.len() - from);
        if content.unreadable.iter().any(|bytes| overlap(bytes, offset, read)) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        buffer[..read].copy_from_slice(&content.visible[from..from + read]);
        Ok(read)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.read_at(buffer, offset).map(Some)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut data: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let faults = {
            let state = self.disk.call()?;
            let grows = (offset + data.len() as u64).saturating_sub(self.content.lock().visible.len() as u64);
            if state.is_full(grows) {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            state.faults
        };
        if self.disk.strikes(faults.write_error) {
            data.truncate(self.disk.random.below(data.len() as u64 + 1) as usize);
            self.put(&data, offset);
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        if self.disk.strikes(faults.short_write) && data.len() > 1 {
            data.truncate(1 + self.disk.random.below(data.len() as u64 - 1) as usize);
        }
        self.put(&data, offset);
        Ok(data.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        let faults = self.disk.call()?.faults;
        let failed = self.disk.strikes(faults.sync_error);
        let mut content = self.content.lock();
        let unsynced = std::mem::take(&mut content.unsynced);
        if failed {
            // As Linux does it: what failed to be written is dropped or kept, and the next sync says it is fine.
            let mut durable = std::mem::take(&mut content.durable);
            for (offset, data) in unsynced {
                match data {
                    Some(data) => self.disk.write_partly(&mut durable, offset, &data),
                    None => durable.resize(offset as usize, 0),
                }
            }
            content.durable = durable;
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        for (offset, data) in unsynced {
            match data {
                Some(data) => write(&mut content.durable, offset, &data),
                None => content.durable.resize(offset as usize, 0),
            }
        }
        Ok(())
    }

    fn forget(&self) -> io::Result<()> {
        let _state = self.disk.call()?;
        let mut content = self.content.lock();
        let SimContent { visible, durable, unsynced, .. } = &mut *content;
        if unsynced.is_empty() {
            visible.fill(0);
            let known = visible.len().min(durable.len());
            visible[..known].copy_from_slice(&durable[..known]);
        }
        Ok(())
    }

    fn preallocate(&self, bytes: u64, _fill: Fill) -> io::Result<()> {
        let len = self.byte_len()?;
        if len < bytes {
            let zeros = vec![0; (bytes - len) as usize];
            let state = self.disk.call()?;
            if state.is_full(bytes - len) {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            drop(state);
            self.put(&zeros, len);
            self.sync_data()?;
        }
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let _state = self.disk.call()?;
        let mut content = self.content.lock();
        content.visible.resize(bytes as usize, 0);
        content.unsynced.push((bytes, None));
        Ok(())
    }
}
