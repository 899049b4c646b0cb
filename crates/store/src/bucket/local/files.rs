//! The blocking half of the local store: temporaries, publishing, directories, locks, reading.
//!
//! Everything here runs on a thread that may block. Invariants:
//! * A name appears only with its whole content: a file is written as a temporary, synced, then linked (create)
//!   or renamed (overwrite, update) into place, and the directory is synced before the call returns.
//! * A directory is used only once its own entry is on stable storage. Which are is remembered by path, inode
//!   and birth time, because another process may remove and make it again.
//! * Whatever replaces or removes a name does so under the lock of that name, so that an update's comparison of
//!   the tag and its rename are one step. Creating needs none: `link` decides.
//! * After a failed sync of a directory nothing is written any more: what earlier calls published may be lost,
//!   and a later sync that succeeds would hide it.

use super::meta::{self, Keeping};
use super::names::{OWN, Place};
use super::system;
use crate::limits;
use ballast_runtime::Random;
use object_store::Attributes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

/// How a finished temporary gets its name.
#[derive(Clone, Debug)]
pub(super) enum Publish {
    Create,
    Overwrite,
    /// Only in place of the object with this tag.
    Update(String),
}

/// Why it did not.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it is there already")]
    Exists,
    #[error("its tag is {found:?}, not {expected:?}")]
    Tag { expected: String, found: Option<String> },
    #[error("a directory of other objects has this name")]
    Directory,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Recognises a directory: the same path may be another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    inode: u64,
    birth: Option<SystemTime>,
}

impl Identity {
    fn of(directory: &File) -> io::Result<Self> {
        let metadata = directory.metadata()?;
        Ok(Self { inode: metadata.ino(), birth: metadata.created().ok() })
    }
}

#[derive(Debug)]
pub(super) struct Files {
    pub(super) root: PathBuf,
    temporaries: PathBuf,
    /// Holds the lock that tells others that the temporaries are in use.
    _temporaries_lock: File,
    keeping: Keeping,
    random: Random,
    next_temporary: AtomicU64,
    settled: Mutex<HashMap<PathBuf, Identity>>,
    sync_failed: AtomicBool,
}

impl Files {
    /// Makes the directory if it is not there and sweeps what dead processes left behind.
    pub(super) fn open(root: &Path, random: Random) -> io::Result<Self> {
        create_synced(root)?;
        let root = root.canonicalize()?;
        let own = root.join(OWN);
        for directory in [own.clone(), own.join("tmp"), own.join("lock")] {
            create_synced(&directory)?;
        }
        sweep(&own.join("tmp"))?;
        let (temporaries, lock) = claim_temporaries(&own.join("tmp"), &random)?;
        let trial = temporaries.join("trial");
        let keeping = Keeping::find_out(&File::create(&trial)?)?;
        fs::remove_file(&trial)?;
        Ok(Self {
            root,
            temporaries,
            _temporaries_lock: lock,
            keeping,
            random,
            next_temporary: AtomicU64::new(0),
            settled: Mutex::new(HashMap::new()),
            sync_failed: AtomicBool::new(false),
        })
    }

    #[cfg(test)]
    pub(super) fn keep_times_only(&mut self) {
        self.keeping = Keeping::TimeOnly;
    }

    pub(super) fn keeps_attributes(&self) -> bool {
        self.keeping == Keeping::ExtendedAttributes
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.sync_failed.load(Ordering::Acquire) {
            let text = "a sync of this bucket's directory failed before, so that nothing is written any more: \
                        check the disk and restart";
            return Err(io::Error::other(text));
        }
        Ok(())
    }

    pub(super) fn temporary(&self) -> io::Result<Temporary> {
        self.check_writable()?;
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.temporaries.join(format!("{number:x}"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        Ok(Temporary { file, path, renamed: false })
    }

    /// Gives a complete temporary its tag and its name. On return the object is on stable storage.
    pub(super) fn publish(
        &self,
        mut temporary: Temporary,
        place: &Place,
        how: &Publish,
        attributes: &Attributes,
    ) -> Result<String, Refusal> {
        let tag = meta::seal(&temporary.file, self.keeping, attributes, &self.random)?;
        temporary.file.sync_all()?;
        for _ in 0..limits::LOCAL_DIRECTORY_RETRIES_MAX {
            let directory = self.directory(&place.directory)?;
            match self.name(&mut temporary, &directory, place, how) {
                // Somebody removed the directory, empty as it was, since it was opened.
                Err(Refusal::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(refusal) => return Err(refusal),
                Ok(()) => {
                    self.sync_directory(&directory)?;
                    return Ok(tag);
                }
            }
        }
        Err(Refusal::Io(io::Error::other("the directory is removed again and again by another process")))
    }

    fn name(&self, temporary: &mut Temporary, into: &File, place: &Place, how: &Publish) -> Result<(), Refusal> {
        let name = OsStr::new(&place.name);
        if let Publish::Create = how {
            return system::link_into(&temporary.path, into, name).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists if self.root.join(place.relative()).is_dir() => Refusal::Directory,
                io::ErrorKind::AlreadyExists => Refusal::Exists,
                _ => Refusal::Io(error),
            });
        }
        let _lock = self.lock(place)?;
        if let Publish::Update(expected) = how {
            let found = self.tag(place)?;
            if found.as_ref() != Some(expected) {
                return Err(Refusal::Tag { expected: expected.clone(), found });
            }
        }
        system::rename_into(&temporary.path, into, name).map_err(|error| match error.kind() {
            io::ErrorKind::IsADirectory => Refusal::Directory,
            _ => Refusal::Io(error),
        })?;
        temporary.renamed = true;
        Ok(())
    }

    fn tag(&self, place: &Place) -> io::Result<Option<String>> {
        match self.open_object(&place.relative()) {
            Ok((file, metadata)) => meta::tag(&file, &metadata).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes objects that lie in one directory, then syncs it once. What is not there counts as removed.
    pub(super) fn remove(&self, directory: &Path, places: &[&Place]) -> io::Result<Vec<io::Result<()>>> {
        self.check_writable()?;
        let opened = match self.open_directory(directory) {
            Err(error) if is_absent(&error) => return Ok(places.iter().map(|_| Ok(())).collect()),
            opened => opened?,
        };
        let results: Vec<_> = places.iter().map(|place| self.remove_one(place)).collect();
        // Removing a directory that became empty makes the sync of its parent the one that counts.
        match self.prune(directory)? {
            None => self.sync_directory(&opened)?,
            Some(parent) => self.sync_directory(&parent)?,
        }
        Ok(results)
    }

    fn remove_one(&self, place: &Place) -> io::Result<()> {
        let _lock = self.lock(place)?;
        match fs::remove_file(self.root.join(place.relative())) {
            // A directory is not an object, so that there is nothing of this name.
            Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::IsADirectory => Ok(()),
            result => result,
        }
    }

    /// Removes the directory and those above it as far as they are empty; the lowest one left, if any was removed.
    fn prune(&self, directory: &Path) -> io::Result<Option<File>> {
        let mut removed = false;
        let mut directory = directory;
        while let Some(above) = directory.parent() {
            // Forgotten first: a new directory may have the same inode.
            self.settled.lock().remove(directory);
            if fs::remove_dir(self.root.join(directory)).is_err() {
                break;
            }
            removed = true;
            directory = above;
        }
        match self.open_directory(directory) {
            Ok(left) if removed => Ok(Some(left)),
            // Somebody else removed it as well and syncs what is above it.
            Err(error) if removed && !is_absent(&error) => Err(error),
            _ => Ok(None),
        }
    }

    /// The lock of a name, among processes and among the tasks of this one. Held until the file is dropped.
    fn lock(&self, place: &Place) -> io::Result<File> {
        let stripe = crc32c::crc32c(place.relative().as_os_str().as_encoded_bytes()) % limits::LOCAL_LOCKS;
        let path = self.root.join(OWN).join("lock").join(format!("{stripe:02x}"));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        system::lock(&file)?;
        Ok(file)
    }

    fn open_directory(&self, relative: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(self.root.join(relative))
    }

    /// Opens a directory, making it and those above it if needed. Its entry is on stable storage on return.
    fn directory(&self, relative: &Path) -> io::Result<File> {
        if let Ok(opened) = self.open_directory(relative)
            && self.is_settled(relative, &opened)?
        {
            return Ok(opened);
        }
        let mut path = PathBuf::new();
        let mut above = self.open_directory(&path)?;
        for part in relative.iter() {
            path.push(part);
            let directory = match self.open_directory(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match fs::create_dir(self.root.join(&path)) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                        _ => {}
                    }
                    self.open_directory(&path)?
                }
                opened => opened?,
            };
            if !self.is_settled(&path, &directory)? {
                self.sync_directory(&above)?;
                self.settle(&path, &directory)?;
            }
            above = directory;
        }
        Ok(above)
    }

    fn is_settled(&self, relative: &Path, directory: &File) -> io::Result<bool> {
        let identity = Identity::of(directory)?;
        Ok(relative.as_os_str().is_empty() || self.settled.lock().get(relative) == Some(&identity))
    }

    fn settle(&self, relative: &Path, directory: &File) -> io::Result<()> {
        let identity = Identity::of(directory)?;
        let mut settled = self.settled.lock();
        if settled.len() >= limits::LOCAL_DIRECTORIES_REMEMBERED_MAX {
            settled.clear();
        }
        settled.insert(relative.to_owned(), identity);
        Ok(())
    }

    fn sync_directory(&self, directory: &File) -> io::Result<()> {
        self.check_writable()?;
        directory.sync_all().inspect_err(|error| {
            self.sync_failed.store(true, Ordering::Release);
            tracing::error!(bucket = %self.root.display(), %error, "a sync failed: nothing is written any more");
        })
    }

    /// Opens the file of an object; `NotFound` if there is none or if something else has this name.
    pub(super) fn open_object(&self, relative: &Path) -> io::Result<(File, fs::Metadata)> {
        // Without NONBLOCK, opening a pipe that somebody put here would wait for a writer.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(self.root.join(relative));
        let file = opened.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOTDIR | libc::ELOOP | libc::ENXIO) => io::Error::from(io::ErrorKind::NotFound),
            _ => error,
        })?;
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok((file, metadata)) } else { Err(io::Error::from(io::ErrorKind::NotFound)) }
    }

    /// A new temporary with the bytes and attributes of an object.
    pub(super) fn copy_to_temporary(&self, from: &Place) -> io::Result<(Temporary, Attributes)> {
        let (mut source, _) = self.open_object(&from.relative())?;
        let attributes = meta::attributes(&source)?;
        let mut temporary = self.temporary()?;
        io::copy(&mut source, &mut temporary.file)?;
        Ok((temporary, attributes))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.temporaries);
    }
}

/// A file without a name in the bucket yet. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) file: File,
    path: PathBuf,
    renamed: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Makes a directory, and those above it, for the owner alone, and syncs each one's parent.
fn create_synced(directory: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_synced(directory.parent().ok_or(error)?)?;
            return create_synced(directory);
        }
        Err(error) => return Err(error),
    }
    let above = directory.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(above)?.sync_all()
}

/// Makes a directory of temporaries for this store alone and locks it, so that a sweep leaves it alone.
fn claim_temporaries(parent: &Path, random: &Random) -> io::Result<(PathBuf, File)> {
    for _ in 0..limits::LOCAL_DIRECTORY_RETRIES_MAX {
        let path = parent.join(format!("{:016x}", random.next_u64()));
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            result => result?,
        }
        // A sweep that started between the two steps has the lock or has removed the directory: try another one.
        let Ok(directory) = File::open(&path) else { continue };
        if system::try_lock(&directory)? && fs::metadata(&path).is_ok() {
            return Ok((path, directory));
        }
    }
    Err(io::Error::other("no directory for temporaries could be claimed"))
}

/// Removes the temporaries of stores that no longer hold their lock, which are those of dead processes.
fn sweep(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)?.take(limits::LOCAL_SWEEP_MAX) {
        let path = entry?.path();
        let abandoned = match OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(&path) {
            Ok(directory) if system::try_lock(&directory)? => Some(directory),
            _ => None,
        };
        if let Some(_locked) = abandoned {
            let removed = fs::remove_dir_all(&path);
            tracing::debug!(path = %path.display(), ok = removed.is_ok(), "swept temporaries of a dead process");
        }
    }
    Ok(())
}
