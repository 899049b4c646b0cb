//! The machine's file system.

use super::{Disk, DiskFile, DiskSpace, Fill, Names};
use crate::limits;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Parts of one vectored write: what the kernel takes.
const PARTS_MAX: usize = 1024;

/// From Linux 6.14 on, where the file system knows it.
const RWF_DONTCACHE: libc::c_int = 0x80;

/// A file system here does not know it.
static UNCACHED_UNKNOWN: AtomicBool = AtomicBool::new(false);

static ZEROS: [u8; limits::ZERO_STEP_BYTES] = [0; limits::ZERO_STEP_BYTES];

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        // The parents of every directory made are synced, from the lowest that was there already.
        let missing: Vec<PathBuf> = path.ancestors().take_while(|p| !p.exists()).map(Path::to_path_buf).collect();
        std::fs::create_dir_all(path)?;
        missing.iter().rev().filter_map(|made| made.parent()).try_for_each(|parent| self.sync_directory(parent))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        File::open(path)?.sync_all()
    }

    fn space(&self, directory: &Path) -> io::Result<DiskSpace> {
        let path = CString::new(directory.as_os_str().as_bytes())?;
        // SAFETY: all-zero is a value of this plain structure, and the call fills it.
        let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: the name is zero-terminated, and both live over the call.
        if unsafe { libc::statvfs(path.as_ptr(), &raw mut found) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(DiskSpace { bytes: bytes(found.f_blocks), free: bytes(found.f_bfree), available: bytes(found.f_bavail) })
    }
}

#[derive(Debug)]
struct RealFile(File);

impl RealFile {
    fn pwritev(&self, parts: &[IoSlice<'_>], offset: u64, flags: libc::c_int) -> io::Result<usize> {
        let (file, first, count) = (self.0.as_raw_fd(), parts.as_ptr().cast(), parts.len() as libc::c_int);
        // SAFETY: an `IoSlice` has the layout of an `iovec` on Unix, and `count` of them are borrowed here.
        let written = unsafe { libc::pwritev2(file, first, count, offset.cast_signed(), flags) };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }

    /// Past the system's cache if `uncached` and the file system knows how.
    fn write_parts(&self, parts: &[IoSlice<'_>], offset: u64, uncached: bool) -> io::Result<usize> {
        if uncached && !UNCACHED_UNKNOWN.load(Ordering::Relaxed) {
            match self.pwritev(parts, offset, RWF_DONTCACHE) {
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    UNCACHED_UNKNOWN.store(true, Ordering::Relaxed);
                }
                written => return written,
            }
        }
        self.pwritev(parts, offset, 0)
    }

    /// Waits until these bytes are with the disk, which may still lose them: a sync of each step would make it write
    /// down its own cache, while the log does the same.
    fn write_back(&self, offset: u64, bytes: u64) -> io::Result<()> {
        const ALL: libc::c_uint =
            libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        // SAFETY: a plain call on an open file.
        match unsafe { libc::sync_file_range(self.0.as_raw_fd(), offset.cast_signed(), bytes.cast_signed(), ALL) } {
            0 => Ok(()),
            _ => match io::Error::last_os_error() {
                error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP)) => self.0.sync_data(),
                error => Err(error),
            },
        }
    }
}

impl DiskFile for RealFile {
    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn names(&self) -> io::Result<Names> {
        let metadata = self.0.metadata()?;
        let changed = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
        Ok(Names { count: metadata.nlink(), changed })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: `part` describes `buffer`, which is borrowed mutably for the whole call.
        let read = unsafe { libc::preadv2(self.0.as_raw_fd(), &part, 1, offset.cast_signed(), libc::RWF_NOWAIT) };
        match usize::try_from(read) {
            Ok(read) => Ok(Some(read)),
            // Not in memory, or a file system that cannot tell: the caller reads it where it may wait.
            Err(_) => match io::Error::last_os_error() {
                error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EOPNOTSUPP | libc::EINTR)) => {
                    Ok(None)
                }
                error => Err(error),
            },
        }
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut bytes = 0;
        let step = parts.iter().take(PARTS_MAX).take_while(|part| {
            let more = bytes < limits::UNCACHED_STEP_BYTES;
            bytes += if more { part.len() } else { 0 };
            more
        });
        let parts = &parts[..step.count()];
        self.write_parts(parts, offset, bytes as u64 >= limits::PAGED_BYTES_MIN)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn forget(&self) -> io::Result<()> {
        // SAFETY: a plain call on an open file; a length of 0 is all of it.
        match unsafe { libc::posix_fadvise(self.0.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    fn preallocate(&self, bytes: u64, fill: Fill) -> io::Result<()> {
        let mut at = self.byte_len()?;
        // First one extent as large as possible, then zeros: writes into extents that were never written
        // change metadata, and every sync would commit a journal.
        // SAFETY: a plain call on an open file.
        let failed = unsafe { libc::fallocate(self.0.as_raw_fd(), 0, 0, bytes.cast_signed()) } != 0;
        if failed {
            let error = io::Error::last_os_error();
            if super::is_full(&error) {
                return Err(error);
            }
        } else if fill == Fill::Nothing {
            return self.0.sync_data();
        }
        while at < bytes {
            let step = (bytes - at).min(limits::ZERO_STEP_BYTES as u64) as usize;
            let written = self.write_parts(&[IoSlice::new(&ZEROS[..step])], at, fill == Fill::ZerosUncached);
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.write_back(at, written as u64)?;
                    at += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.0.sync_data()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }
}
