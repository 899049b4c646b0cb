//! The disk, as the log sees it: a few blocking calls that a simulation can stand in for.
//!
//! [`RealDisk`] is the machine's file system; [`SimDisk`] is a disk in memory that loses, tears and refuses as
//! its seed tells. Nothing here is asynchronous: the caller decides which thread may block.

mod real;
mod sim;
#[cfg(test)]
mod tests;

pub use real::RealDisk;
#[cfg(test)]
pub(crate) use sim::SECTOR_BYTES;
pub use sim::{SimDisk, SimFaults};

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// Names of files and the calls that change them. A change of names survives a crash only after
/// [`Disk::sync_directory`].
pub trait Disk: Send + Sync + std::fmt::Debug + 'static {
    /// Makes a new file; `AlreadyExists` if there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory and its parents, durably; fine if it is there.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, sorted.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Removes a file. Whoever has it open may go on using it.
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Of the file system that holds the directory.
    fn space(&self, directory: &Path) -> io::Result<DiskSpace>;
}

/// How large a disk is, and how much of it is free: for the superuser, and for this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    pub bytes: u64,
    pub free: u64,
    pub available: u64,
}

/// Bytes of a page of memory. A write of a part of one that is not in memory reads it from the disk first.
pub const PAGE_BYTES: u64 = 4096;

/// What preallocation does beyond reserving space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Small writes are cheap later: each sync is one flush of the disk, and what they change is in memory.
    Zeros,
    /// The same for writes of whole pages, [`PAGED_BYTES_MIN`](crate::limits::PAGED_BYTES_MIN) or more: nothing has to be in memory for them.
    ZerosUncached,
    /// Nothing is written twice; but each sync commits metadata, which is little beside large writes.
    Nothing,
}

/// What changes whenever a name of a file is made or removed, or the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    pub count: u64,
    /// When one was, to the nanosecond, or how often.
    pub changed: i128,
}

/// An open file. What was written survives a crash only after [`DiskFile::sync_data`].
pub trait DiskFile: Send + Sync + std::fmt::Debug + 'static {
    fn byte_len(&self) -> io::Result<u64>;
    /// Without a search for any of them.
    fn names(&self) -> io::Result<Names>;
    /// Reads up to the buffer's length; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The same if no disk has to be waited for, else `None`.
    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>>;
    /// Writes the parts one behind the other, possibly not all of them; how many bytes it wrote.
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    fn sync_data(&self) -> io::Result<()>;
    /// Forgets what memory holds of the file, which was synced: the next read shows what the disk has. After
    /// a failed sync the system may believe that memory and disk agree when they do not. The whole file, because memory
    /// holds it in pieces of any size, and a piece that is asked for in part stays.
    fn forget(&self) -> io::Result<()>;
    /// Makes the file this long, with zeros where it was shorter. Their space is reserved; they are written as well,
    /// except for [`Fill::Nothing`], so that later writes change no metadata.
    fn preallocate(&self, bytes: u64, fill: Fill) -> io::Result<()>;
    /// Cuts the file off.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
}

/// Writes all parts, in as many calls as it takes: nearly always one.
pub fn write_all_at(file: &dyn DiskFile, parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    let mut left = parts;
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match file.write_at(left, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills the buffer as far as the file goes; how far that was.
pub fn read_full_at(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// True if the error says that the disk does not have what was written: to wait does not help.
pub fn is_damage(error: &io::Error) -> bool {
    // The last two are a file system's own damage, in ext4 and XFS.
    const LOST: [i32; 6] = [libc::EIO, libc::ENODATA, libc::EREMOTEIO, libc::EILSEQ, libc::EUCLEAN, libc::EBADMSG];
    error.raw_os_error().is_some_and(|code| LOST.contains(&code))
}

/// True if the error says that space is used up: of the disk, or of a quota.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
        || matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
