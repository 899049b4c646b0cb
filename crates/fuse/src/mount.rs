//! Mounting and unmounting.

use crate::fs::Fs;
use crate::handles::Handles;
use crate::limits::{READ_AHEAD_KIB, SESSION_THREADS, UNMOUNT_INTERVAL, UNMOUNT_PATIENCE};
use crate::ops::Ops;
use crate::virtuals::{Numbers, Virtual};
use crate::{Error, Result, Settings, news, stale};
use ballast_files::Files;
use ballast_tree::Tree;
use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A mount. Unmount it with [`Mount::unmount`]; dropping it unmounts too, but neither flushes nor waits.
pub struct Mount {
    path: PathBuf,
    session: Option<BackgroundSession>,
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
    let start = move || {
        check_machine()?;
        stale::prepare(&settings.path)?;
        let session = fuser::spawn_mount(fs, &settings.path, &config(&settings));
        let session = session.map_err(|source| Error::Mount { path: settings.path.clone(), source })?;
        raise_read_ahead(&settings.path);
        Ok(session)
    };
    let session = tokio::task::spawn_blocking(start).await.expect("mounting does not panic")?;
    let stop = CancellationToken::new();
    let telling = Some(stop.clone().drop_guard());
    news::tell(session.notifier(), changes, stop).map_err(|source| Error::Mount { path: path.clone(), source })?;
    Ok(Mount { path, session: Some(session), files, ops, tasks, telling })
}

impl Mount {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts: waits a while for those who use it, then takes it out of their sight. Everything that was written is
    /// on stable storage when this returns without an error.
    pub async fn unmount(mut self) -> Result<()> {
        let gone = self.leave().await;
        // Writes of the kernel's page cache have come in by now; what they started may still run.
        self.tasks.close();
        let _ = tokio::time::timeout(UNMOUNT_PATIENCE, self.tasks.wait()).await;
        self.ops.handles.clear();
        let flushed = self.files.flush_all().await.map_err(Error::Flush);
        gone.and(flushed)
    }

    async fn leave(&mut self) -> Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        drop(self.telling.take());
        let deadline = tokio::time::Instant::now() + UNMOUNT_PATIENCE;
        loop {
            let path = self.path.clone();
            let done = tokio::task::spawn_blocking(move || stale::unmount(&path)).await;
            let Err(source) = done.expect("unmounting does not panic") else { break };
            let error = |source| Error::Unmount { path: self.path.clone(), source };
            match source.raw_os_error() {
                // Somebody else unmounted it.
                Some(libc::EINVAL | libc::ENOENT) => break,
                Some(libc::EBUSY) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(UNMOUNT_INTERVAL).await;
                }
                Some(libc::EBUSY) => {
                    tracing::warn!(path = %self.path.display(), "the mount is still in use: detaching it");
                    stale::detach(&self.path).map_err(error)?;
                    // The session lives as long as its users, or this process. Its own unmount must not run: by then
                    // something else may be mounted at the path.
                    std::mem::forget(session);
                    return Ok(());
                }
                _ => return Err(error(source)),
            }
        }
        let joined = tokio::task::spawn_blocking(move || session.join());
        let ended = tokio::time::timeout(UNMOUNT_PATIENCE, joined).await;
        if let Ok(Ok(Err(error))) = ended {
            tracing::warn!(%error, "the mount's session ended with an error");
        }
        Ok(())
    }
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
    config.acl = if settings.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(SESSION_THREADS);
    config.clone_fd = true;
    config
}

/// Lets the kernel read further ahead than FUSE's handshake allows. Only root may; without it reads are slower.
fn raise_read_ahead(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let Ok(found) = std::fs::metadata(path) else { return };
    let (major, minor) = (libc::major(found.dev()), libc::minor(found.dev()));
    let file = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
    if let Err(error) = std::fs::write(&file, READ_AHEAD_KIB.to_string()) {
        tracing::debug!(%error, file, "the read-ahead stays as it is");
    }
}

/// Blocks of 4 KiB of the file system that holds `path`: all, free, and free for ordinary users.
pub(crate) fn space(path: &Path) -> Option<(u64, u64, u64)> {
    let text = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: both pointers are valid for the call; a struct of integers may be all zeros.
    let found = unsafe {
        if libc::statvfs(text.as_ptr(), found.as_mut_ptr()) != 0 {
            return None;
        }
        found.assume_init()
    };
    let blocks = |count: u64| count.saturating_mul(found.f_frsize) / 4096;
    Some((blocks(found.f_blocks), blocks(found.f_bfree), blocks(found.f_bavail)))
}
