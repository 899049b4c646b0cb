//! The few system calls that the standard library does not offer, each behind a safe face.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn c_string(bytes: &OsStr) -> io::Result<CString> {
    CString::new(bytes.as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the file `from` a second name in `directory`; `AlreadyExists` if that name is taken. Atomic.
pub(super) fn link_into(from: &Path, directory: &File, name: &OsStr) -> io::Result<()> {
    let (from, name) = (c_string(from.as_os_str())?, c_string(name)?);
    // SAFETY: both names are zero-terminated and live over the call, and the descriptor is open.
    check(unsafe { libc::linkat(libc::AT_FDCWD, from.as_ptr(), directory.as_raw_fd(), name.as_ptr(), 0) })
}

/// Moves the file `from` to a name in `directory`, in place of whatever had that name. Atomic.
pub(super) fn rename_into(from: &Path, directory: &File, name: &OsStr) -> io::Result<()> {
    let (from, name) = (c_string(from.as_os_str())?, c_string(name)?);
    // SAFETY: both names are zero-terminated and live over the call, and the descriptor is open.
    check(unsafe { libc::renameat(libc::AT_FDCWD, from.as_ptr(), directory.as_raw_fd(), name.as_ptr()) })
}

/// Removes a name from a directory.
pub(super) fn unlink_in(directory: &File, name: &OsStr) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the name is zero-terminated and lives over the call, and the descriptor is open.
    check(unsafe { libc::unlinkat(directory.as_raw_fd(), name.as_ptr(), 0) })
}

/// An exclusive lock, released when it is dropped.
#[derive(Debug)]
pub(super) struct Lock<'a>(&'a File);

/// Waits for the exclusive lock on an open file or directory. The kernel releases it when the last descriptor of
/// this opening is closed, also by death.
pub(super) fn lock(file: &File) -> io::Result<Lock<'_>> {
    loop {
        // SAFETY: the descriptor is open.
        match check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(|()| Lock(file)),
        }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // SAFETY: the descriptor is open. It cannot fail on a lock that is held.
        unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_UN) };
    }
}

/// Takes the exclusive lock on an open file if nobody else holds it.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: the descriptor is open.
    match check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        result => result.map(|()| true),
    }
}

/// Keeps a small value with the file.
pub(super) fn set_attribute(file: &File, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: the pointers are to live memory of the length given, and the descriptor is open.
    check(unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) })
}

/// Whether the file system can keep values with files.
pub(super) fn supports_attributes(file: &File, name: &CStr) -> io::Result<bool> {
    // SAFETY: without a buffer, only the length is asked for; the descriptor is open.
    if unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), std::ptr::null_mut(), 0) } >= 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ENODATA) => Ok(true),
        error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
        error => Err(error),
    }
}

/// The value kept with an open file; `None` if there is none, or if the file system cannot keep any.
pub(super) fn attribute(file: &File, name: &CStr, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; bytes_max];
    // SAFETY: the buffer is as long as the length given, and the descriptor is open.
    let length = unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    kept(value, length)
}

/// The value kept with the file of this name, which is not followed if it is a symbolic link.
pub(super) fn attribute_of_path(path: &Path, name: &CStr, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let path = c_string(path.as_os_str())?;
    let mut value = vec![0; bytes_max];
    // SAFETY: the buffer is as long as the length given, and the name is zero-terminated.
    let length = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    kept(value, length)
}

fn kept(mut value: Vec<u8>, length: isize) -> io::Result<Option<Vec<u8>>> {
    match usize::try_from(length) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(_) => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => Ok(None),
            error => Err(error),
        },
    }
}

/// Whether other machines may share the file system that `directory` is on: all that is not known to be of one machine.
pub(super) fn is_shared(directory: &File) -> io::Result<bool> {
    // SAFETY: all-zero is a value of this plain structure, and the call fills it.
    let mut facts: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to live memory of the right type, and the descriptor is open.
    check(unsafe { libc::fstatfs(directory.as_raw_fd(), &raw mut facts) })?;
    // The type of the number differs between platforms, so that only 32 bits count.
    Ok(!is_of_one_machine(facts.f_type as u32))
}

/// By the number in statfs(2), or in the file system's own source.
fn is_of_one_machine(file_system: u32) -> bool {
    const EXT: u32 = 0xef53;
    const XFS: u32 = 0x5846_5342;
    const BTRFS: u32 = 0x9123_683e;
    const ZFS: u32 = 0x2fc1_2fc1;
    const F2FS: u32 = 0xf2f5_2010;
    const BCACHEFS: u32 = 0xca45_1a4e;
    const JFS: u32 = 0x3153_464a;
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    const OVERLAY: u32 = 0x794c_7630;
    matches!(file_system, EXT | XFS | BTRFS | ZFS | F2FS | BCACHEFS | JFS | TMPFS | RAMFS | OVERLAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_is_not_known_counts_as_shared() {
        for (name, number, shared) in [
            ("ext4", 0xef53, false),
            ("xfs", 0x5846_5342, false),
            ("NFS", 0x6969, true),
            ("SMB", 0xff53_4d42, true),
            ("Ceph", 0x00c3_6400, true),
            ("FUSE", 0x6573_5546, true),
            ("BeeGFS", 0x1983_0326, true),
            ("OCFS2", 0x7461_636f, true),
        ] {
            assert_eq!(!is_of_one_machine(number), shared, "{name}");
        }
        let here = tempfile::tempdir().unwrap();
        assert!(!is_shared(&File::open(here.path()).unwrap()).unwrap(), "tests run on a disk");
    }
}
