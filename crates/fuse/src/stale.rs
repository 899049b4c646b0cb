//! Mounts that a killed server left behind.

use crate::{Error, Result};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

/// Makes `path` a directory that can be mounted on: detaches a dead mount, makes what is missing, and refuses what
/// somebody uses.
pub(crate) fn prepare(path: &Path) -> Result<()> {
    // As often as mounts may lie on each other after as many kills.
    for _ in 0..16 {
        match ask(path) {
            Ok(found) if !found.is_dir() => return Err(Error::NotADirectory(path.to_owned())),
            Ok(_) if is_mount_point(path) => return Err(Error::Busy(path.to_owned())),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = std::fs::create_dir_all(path);
                return made.map_err(|source| Error::NoDirectory { path: path.to_owned(), source });
            }
            Err(error) if is_dead(&error) => {
                detach(path).map_err(|source| Error::Stale { path: path.to_owned(), source })?;
            }
            Err(source) => return Err(Error::NoDirectory { path: path.to_owned(), source }),
        }
    }
    Err(Error::Busy(path.to_owned()))
}

/// The metadata, after a question that only the file system itself answers: the attributes of a dead mount may
/// still be in the kernel's cache.
fn ask(path: &Path) -> io::Result<std::fs::Metadata> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: an all-zero statfs is a valid value.
    let mut space: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a NUL-terminated string, and both outlive the call.
    if unsafe { libc::statfs(text.as_ptr(), &mut space) } != 0 {
        return Err(io::Error::last_os_error());
    }
    std::fs::metadata(path)
}

/// What stat says of a mount whose server is gone.
fn is_dead(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTCONN | libc::ECONNABORTED))
}

/// True if something is mounted right at the path.
fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(path) = path.canonicalize() else { return false };
    let Some(above) = path.parent() else { return true };
    match (std::fs::metadata(&path), std::fs::metadata(above)) {
        (Ok(here), Ok(above)) => here.dev() != above.dev(),
        _ => false,
    }
}

/// Unmounts: at once, `EBUSY` while somebody uses it.
pub(crate) fn unmount(path: &Path) -> io::Result<()> {
    unmount_with(path, 0, "-u")
}

/// Takes the mount out of sight; it goes when its last user does.
pub(crate) fn detach(path: &Path) -> io::Result<()> {
    unmount_with(path, libc::MNT_DETACH, "-uz")
}

fn unmount_with(path: &Path, flags: libc::c_int, helper_flags: &str) -> io::Result<()> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the pointer is to a NUL-terminated string that outlives the call.
    if unsafe { libc::umount2(text.as_ptr(), flags) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::EPERM) {
        return Err(error);
    }
    // An ordinary user: the helper may.
    let output = Command::new("fusermount3").arg(helper_flags).arg("--").arg(path).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(if text.contains("busy") { io::Error::from_raw_os_error(libc::EBUSY) } else { io::Error::other(text) })
}
