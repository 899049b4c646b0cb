//! The blocking half of the local store: temporaries, publishing, directories, locks, reading.
//!
//! Everything here runs on a thread that may block. Invariants:
//! * A name appears only with its whole content: a file is written as a temporary, synced, then linked (create)
//!   or renamed (overwrite, update) into place, and the directory is synced before the call returns.
//! * A directory is used only once its own entry is on stable storage. Which are is remembered by path, inode
//!   and birth time, because another process may remove and make it again.
//! * Whatever replaces or removes a name does so under the `flock` of its directory, so that an update's comparison
//!   of the tag and its rename are one step. It is held for some microseconds, never over a sync. A directory is
//!   removed under its own lock as well. Creating needs none: `link` decides.
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
        create_synced(&own)?;
        create_synced(&own.join("tmp"))?;
        let (temporaries, lock) = claim_temporaries(&own.join("tmp"), &random)?;
        let keeping = Keeping::find_out(&lock)?;
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
                // Somebody removed the directory, empty as it was, since it was opened: make it again.
                Err(Refusal::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(refusal) => return Err(refusal),
                Ok(()) => {
                    self.sync_directory(&directory)?;
                    return Ok(tag);
                }
            }
        }
        Err(Refusal::Io(removed_again_and_again()))
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
        let _lock = self.lock(&place.directory, into)?;
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

    /// Removes objects that lie in one directory, then syncs it once. What is not there counts as removed. A
    /// directory that becomes empty goes too, and those above it that do.
    pub(super) fn remove(&self, directory: &Path, places: &[&Place]) -> io::Result<Vec<io::Result<()>>> {
        self.check_writable()?;
        for _ in 0..limits::LOCAL_DIRECTORY_RETRIES_MAX {
            let opened = match self.open_directory(directory) {
                Err(error) if is_absent(&error) => return Ok(places.iter().map(|_| Ok(())).collect()),
                opened => opened?,
            };
            let Ok(lock) = self.lock(directory, &opened) else { continue };
            let results: Vec<_> = places.iter().map(|place| remove_one(&opened, place)).collect();
            let empty = self.remove_directory(directory);
            drop(lock);
            if empty {
                self.prune_above(directory)?;
            } else {
                self.sync_directory(&opened)?;
            }
            return Ok(results);
        }
        Err(removed_again_and_again())
    }

    /// Removes a directory of which the caller holds the lock, if it is empty and not the root.
    fn remove_directory(&self, directory: &Path) -> bool {
        if directory.as_os_str().is_empty() {
            return false;
        }
        // Forgotten first: a new directory may have the same inode.
        self.settled.lock().remove(directory);
        fs::remove_dir(self.root.join(directory)).is_ok()
    }

    /// After a directory was removed: removes those above it as far as they are empty, and syncs the lowest left.
    fn prune_above(&self, mut directory: &Path) -> io::Result<()> {
        while let Some(above) = directory.parent() {
            let opened = match self.open_directory(above) {
                // Somebody else removed it as well, and syncs what is above it.
                Err(error) if is_absent(&error) => return Ok(()),
                opened => opened?,
            };
            let Ok(lock) = self.lock(above, &opened) else { return Ok(()) };
            let empty = self.remove_directory(above);
            drop(lock);
            if !empty {
                return self.sync_directory(&opened);
            }
            directory = above;
        }
        Ok(())
    }

    /// Locks an open directory, among processes and among the tasks of this one; `NotFound` if it has been removed.
    fn lock<'a>(&self, relative: &Path, directory: &'a File) -> io::Result<system::Lock<'a>> {
        let lock = system::lock(directory)?;
        let now = fs::metadata(self.root.join(relative))?;
        if Identity::of(directory)? == (Identity { inode: now.ino(), birth: now.created().ok() }) {
            Ok(lock)
        } else {
            Err(io::Error::from(io::ErrorKind::NotFound))
        }
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

fn remove_one(directory: &File, place: &Place) -> io::Result<()> {
    match system::unlink_in(directory, OsStr::new(&place.name)) {
        // A directory is not an object, so that there is nothing of this name.
        Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::IsADirectory => Ok(()),
        result => result,
    }
}

fn removed_again_and_again() -> io::Error {
    io::Error::other("its directory is removed again and again by another process")
}

/// A directory of temporaries for this store alone, locked for as long as the file is open. One that a dead process
/// left is emptied and used again, so that a bucket on a full disk can be opened; others of the dead are removed.
fn claim_temporaries(parent: &Path, random: &Random) -> io::Result<(PathBuf, File)> {
    let mut claimed = None;
    for entry in fs::read_dir(parent)?.take(limits::LOCAL_SWEEP_MAX) {
        let path = entry?.path();
        let Some(directory) = lock_temporaries(&path)? else { continue };
        tracing::debug!(path = %path.display(), "sweeping the temporaries of a dead process");
        if claimed.is_some() {
            // What cannot be removed now will be by the next who opens the bucket.
            let _ = fs::remove_dir_all(&path);
            continue;
        }
        for left in fs::read_dir(&path)? {
            fs::remove_file(left?.path())?;
        }
        claimed = Some((path, directory));
    }
    if let Some(claimed) = claimed {
        return Ok(claimed);
    }
    for _ in 0..limits::LOCAL_DIRECTORY_RETRIES_MAX {
        let path = parent.join(format!("{:016x}", random.next_u64()));
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            result => result?,
        }
        // Who opens the bucket at the same moment may have taken it for one of the dead: try another one.
        if let Some(directory) = lock_temporaries(&path)? {
            return Ok((path, directory));
        }
    }
    Err(io::Error::other("no directory for temporaries could be claimed"))
}

/// The directory, locked; `None` if somebody uses it or has removed it.
fn lock_temporaries(path: &Path) -> io::Result<Option<File>> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path);
    let Ok(directory) = opened else { return Ok(None) };
    let still_there = || fs::metadata(path).is_ok_and(|now| directory.metadata().is_ok_and(|d| d.ino() == now.ino()));
    Ok(if system::try_lock(&directory)? && still_there() { Some(directory) } else { None })
}
