//! Mounts that a killed server left behind.

use crate::limits::{ANSWER_PATIENCE, DEAD_MOUNTS_MAX, HIDDEN_NAMES_MAX};
use crate::{Error, Result, alone};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::sync_channel;

/// Makes `path` a directory that can be mounted on: detaches dead mounts, makes what is missing, and refuses what
/// somebody uses.
pub(crate) fn prepare(path: &Path) -> Result<()> {
    match clear(path)? {
        Ok(found) if !found.is_dir() => Err(Error::NotADirectory(path.to_owned())),
        Ok(_) if is_mount_point(path) => Err(Error::Busy(path.to_owned())),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = std::fs::create_dir_all(path);
            made.map_err(|source| Error::NoDirectory { path: path.to_owned(), source })
        }
        Err(source) => Err(Error::NoDirectory { path: path.to_owned(), source }),
    }
}

/// Detaches every dead mount at the path; what is there then.
pub(crate) fn clear(path: &Path) -> Result<io::Result<std::fs::Metadata>> {
    for _ in 0..DEAD_MOUNTS_MAX {
        match ask(path)? {
            Err(error) if says_dead(&error) => {
                detach(path).map_err(|source| Error::Stale { path: path.to_owned(), source })?;
            }
            found => return Ok(found),
        }
    }
    Err(Error::Busy(path.to_owned()))
}

/// True if the path is a mount whose server is gone.
pub(crate) fn is_dead(path: &Path) -> Result<bool> {
    Ok(ask(path)?.is_err_and(|error| says_dead(&error)))
}

fn says_dead(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTCONN | libc::ECONNABORTED))
}

/// Some of what is in a directory, also where its path leads to something mounted on it.
pub(crate) fn some_names(directory: &File) -> Vec<OsString> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd())) else { return Vec::new() };
    entries.flatten().take(HIDDEN_NAMES_MAX).map(|entry| entry.file_name()).collect()
}

/// What the file system at the path says of it; `Silent` if it says nothing.
fn ask(path: &Path) -> Result<io::Result<std::fs::Metadata>> {
    let asked = path.to_owned();
    let (answer, answered) = sync_channel(1);
    let ask = move || {
        // It needs none of our descriptors, and may wait for ever where no signal reaches it.
        let _ = alone::stand_alone(None);
        let _ = answer.send(answer_of(&asked));
    };
    match std::thread::Builder::new().name("ballast-ask".to_owned()).spawn(ask) {
        Ok(_) => answered.recv_timeout(ANSWER_PATIENCE).map_err(|_| Error::Silent(path.to_owned())),
        Err(error) => Ok(Err(error)),
    }
}

/// The metadata, after a question that only the file system itself answers: the attributes of a dead mount may
/// still be in the kernel's cache.
fn answer_of(path: &Path) -> io::Result<std::fs::Metadata> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: an all-zero statfs is a valid value.
    let mut space: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a NUL-terminated string, and both outlive the call.
    match unsafe { libc::statfs(text.as_ptr(), &mut space) } {
        0 => std::fs::metadata(path),
        _ => Err(io::Error::last_os_error()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, replace};

    #[test]
    fn a_mount_that_does_not_answer_is_named_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        // A mount that nobody serves: a request to it waits until its device is closed.
        let Ok(placed) = replace::mount(&Settings::new(directory.path())) else {
            eprintln!("skipped: mounting needs /dev/fuse and root");
            return;
        };
        let (prepared, dead) = (prepare(directory.path()), is_dead(directory.path()));
        // What the person is told to do.
        let umount = Command::new("timeout").args(["20", "umount", "--force", "--lazy"]).arg(directory.path()).status();
        drop(placed);
        assert!(matches!(prepared, Err(Error::Silent(_))), "{prepared:?}");
        assert!(matches!(dead, Err(Error::Silent(_))), "{dead:?}");
        assert!(umount.unwrap().success());
        prepare(directory.path()).expect("nothing is mounted there");
    }
}
