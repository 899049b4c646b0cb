//! Mounting and unmounting.

use crate::fs::Fs;
use crate::handles::Handles;
use crate::limits::{READ_AHEAD_KIB, SESSION_END_INTERVAL, SESSION_THREADS, UNMOUNT_INTERVAL, UNMOUNT_PATIENCE};
use crate::ops::Ops;
use crate::replace::Placed;
use crate::teller::Teller;
use crate::virtuals::{Numbers, Virtual};
use crate::{Error, Result, Settings, news, replace, stale};
use ballast_files::Files;
use ballast_store::disk::{Disk, RealDisk};
use ballast_tree::Tree;
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A mount. Unmount it with [`Mount::unmount`]; dropping it unmounts too, but neither flushes nor waits.
pub struct Mount {
    path: PathBuf,
    hidden: Vec<OsString>,
    /// Never dropped: fuser then unmounts what is at the path, whosever it is by then.
    session: ManuallyDrop<BackgroundSession>,
    /// Whether it was unmounted, or that was tried.
    has_left: bool,
    files: Files,
    ops: Arc<Ops>,
    tasks: TaskTracker,
    /// Ends the thread that tells the kernel news.
    telling: Option<DropGuard>,
}

/// Mounts a tree. Call it within a runtime, which then serves the mount. A mount that a killed server left at the path
/// is taken over.
pub async fn mount(settings: Settings, tree: Tree, files: Files, virtuals: Arc<dyn Virtual>) -> Result<Mount> {
    let path = settings.path.clone();
    // From before the kernel asks for the first name.
    let changes = news::follow(&tree);
    let ops = Arc::new(Ops {
        tree,
        files: files.clone(),
        virtuals,
        numbers: Numbers::default(),
        handles: Handles::default(),
        settings: settings.clone(),
    });
    let tasks = TaskTracker::new();
    let fs = Fs::new(Arc::clone(&ops), tokio::runtime::Handle::current(), tasks.clone());
    let session = tokio::task::spawn_blocking(move || start(fs, &settings)).await;
    let Started { session, teller, hidden } = session.expect("mounting does not panic")?;
    if !hidden.is_empty() {
        tracing::warn!(path = %path.display(), among_others = ?hidden, "the directory below the mount is not empty, and \
            what is in it is hidden: it shows when the server is stopped");
    }
    let stop = CancellationToken::new();
    let telling = Some(stop.clone().drop_guard());
    news::tell(teller, changes, stop).map_err(|source| Error::Mount { path: path.clone(), source })?;
    Ok(Mount { path, hidden, session: ManuallyDrop::new(session), has_left: false, files, ops, tasks, telling })
}

impl Mount {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Some of what is in the directory below, where programs wrote while nothing was mounted. It does not show before
    /// the unmount.
    pub fn hidden(&self) -> &[OsString] {
        &self.hidden
    }

    /// Unmounts: waits a while for those who use it, then takes it out of their sight. Everything that was written is
    /// on stable storage when this returns without an error.
    pub async fn unmount(mut self) -> Result<()> {
        let gone = self.leave().await;
        // Writes of the kernel's page cache have come in by now; what they started may still run.
        self.tasks.close();
        let _ = tokio::time::timeout(UNMOUNT_PATIENCE, self.tasks.wait()).await;
        self.ops.handles.clear();
        let flushed = self.files.flush_all_in_time().await.map_err(Error::Flush);
        gone.and(flushed)
    }

    fn serves(&self) -> bool {
        !self.session.guard.is_finished()
    }

    async fn leave(&mut self) -> Result<()> {
        drop(self.telling.take());
        self.has_left = true;
        let deadline = tokio::time::Instant::now() + UNMOUNT_PATIENCE;
        // A session that has ended has lost its mount, and another may be at the path.
        while self.serves() {
            let path = self.path.clone();
            let done = tokio::task::spawn_blocking(move || stale::unmount(&path)).await;
            let Err(source) = done.expect("unmounting does not panic") else { break };
            let error = |source| Error::Unmount { path: self.path.clone(), source };
            match source.raw_os_error() {
                // Somebody else unmounted it.
                Some(libc::EINVAL | libc::ENOENT) => break,
                _ if !self.serves() => break,
                Some(libc::EBUSY) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(UNMOUNT_INTERVAL).await;
                }
                Some(libc::EBUSY) => {
                    tracing::warn!(path = %self.path.display(), "the mount is still in use: detaching it");
                    // The session lives as long as its users, or this process.
                    return stale::detach(&self.path).map_err(error);
                }
                _ => return Err(error(source)),
            }
        }
        let deadline = tokio::time::Instant::now() + UNMOUNT_PATIENCE;
        while self.serves() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(SESSION_END_INTERVAL).await;
        }
        // Dead mounts that this one lay on. What else is there, and does not answer, is not ours.
        match stale::clear(&self.path) {
            Ok(_) | Err(Error::Silent(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if !self.has_left
            && self.serves()
            && let Err(error) = stale::detach(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the mount stays behind");
        }
    }
}

struct Started {
    session: BackgroundSession,
    teller: Teller,
    /// Some names in the directory below, which the mount hides.
    hidden: Vec<OsString>,
}

/// Mounts and serves.
fn start(fs: Fs, settings: &Settings) -> Result<Started> {
    check_machine()?;
    let path = &settings.path;
    let failed = |source| Error::Mount { path: path.clone(), source };
    let config = config(settings);
    let serve = |session: Session<Fs>| {
        let teller = Teller::start(session.as_fd())?;
        Ok((session.spawn()?, teller))
    };
    let (session, teller, hidden) = match in_place_of_dead(settings)? {
        Some(placed) => {
            let session = Session::from_fd(fs, placed.device, config.acl, config);
            let (session, teller) = session.and_then(serve).map_err(failed)?;
            if placed.beneath {
                stale::detach(path).map_err(|source| Error::Stale { path: path.clone(), source })?;
            }
            (session, teller, Vec::new())
        }
        None => {
            stale::prepare(path)?;
            let below = File::open(path).map_err(failed)?;
            let (session, teller) = Session::new(fs, path, &config).and_then(serve).map_err(failed)?;
            (session, teller, stale::some_names(&below))
        }
    };
    raise_read_ahead(path);
    Ok(Started { session, teller, hidden })
}

/// A mount beneath the dead one, or on top of it, if there is a dead one and this process may.
fn in_place_of_dead(settings: &Settings) -> Result<Option<Placed>> {
    if !stale::is_dead(&settings.path)? {
        return Ok(None);
    }
    let placed = replace::mount(settings);
    let warn = |error| {
        tracing::warn!(path = %settings.path.display(), %error, "the dead mount has to go before the new one comes: \
            what is written there meanwhile lands in the directory below, and is hidden");
    };
    Ok(placed.map_err(warn).ok())
}

fn check_machine() -> Result<()> {
    if !Path::new("/dev/fuse").exists() {
        return Err(Error::NoDevice);
    }
    // SAFETY: geteuid has no preconditions and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let helper = std::env::split_paths(&path).any(|folder| folder.join("fusermount3").exists());
    if root || helper { Ok(()) } else { Err(Error::NoHelper) }
}

fn config(settings: &Settings) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("ballast".into()),
        MountOption::Subtype("ballast".into()),
        MountOption::DefaultPermissions,
        // Reads do not move the time of the last access, and the mount says so.
        MountOption::NoAtime,
    ];
    if settings.read_only {
        config.mount_options.push(MountOption::RO);
    }
    config.acl = if settings.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(SESSION_THREADS);
    config.clone_fd = true;
    config
}

/// Lets the kernel read further ahead than FUSE's handshake allows. Only root may; without it reads are slower.
fn raise_read_ahead(path: &Path) {
    let Ok((major, minor)) = device_of(path) else { return };
    let file = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
    if let Err(error) = std::fs::write(&file, READ_AHEAD_KIB.to_string()) {
        tracing::debug!(%error, file, "the read-ahead stays as it is");
    }
}

/// The device of what is mounted at `path`, which is not asked: a server that asks its own mount waits for itself, and if
/// it is killed then, no signal ends the wait, and its process stays with all that it has open.
fn device_of(path: &Path) -> std::io::Result<(u32, u32)> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: an all-zero statx is a valid value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is NUL-terminated, and both outlive the call.
    let done = unsafe { libc::statx(libc::AT_FDCWD, text.as_ptr(), libc::AT_STATX_DONT_SYNC, 0, &mut found) };
    if done != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok((found.stx_dev_major, found.stx_dev_minor))
}

/// Blocks of 4 KiB of the file system that holds `path`: all, free, and free for new data.
pub(crate) fn space(path: &Path) -> Option<(u64, u64, u64)> {
    let space = RealDisk.space(path).ok()?;
    Some((space.bytes / 4096, space.free / 4096, space.for_new_data() / 4096))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn the_device_of_a_mount_is_known_without_asking_it() {
        let directory = tempfile::tempdir().unwrap();
        // A mount that nobody serves: a request to it waits until its device is closed.
        let Ok(Placed { device, .. }) = replace::mount(&Settings::new(directory.path())) else {
            eprintln!("skipped: mounting needs /dev/fuse and root");
            return;
        };
        let (tell, told) = mpsc::sync_channel(1);
        let path = directory.path().to_owned();
        let asking = std::thread::spawn(move || tell.send(device_of(&path)));
        let told = told.recv_timeout(Duration::from_secs(20));
        drop(device);
        asking.join().unwrap().unwrap();
        stale::detach(directory.path()).unwrap();
        assert_ne!(told.expect("no request is waited for").unwrap().1, 0);
    }
}
