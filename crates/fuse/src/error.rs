//! Why a mount cannot be.

use std::path::PathBuf;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Each is one sentence for the person who asked for the mount.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this machine has no FUSE: /dev/fuse is missing (load it with `modprobe fuse`, or start without a mount)")]
    NoDevice,
    #[error("mounting as an ordinary user needs fusermount3, which is not installed (Debian: apt install fuse3)")]
    NoHelper,
    #[error("{path} cannot be made: {source}")]
    NoDirectory { path: PathBuf, source: std::io::Error },
    #[error("{0} is not a directory")]
    NotADirectory(PathBuf),
    #[error("something is mounted at {0} already")]
    Busy(PathBuf),
    #[error("what is mounted at {0} does not answer")]
    Silent(PathBuf),
    #[error("{path} is a stale mount and cannot be detached: {source}")]
    Stale { path: PathBuf, source: std::io::Error },
    #[error("{path} cannot be mounted: {source}")]
    Mount { path: PathBuf, source: std::io::Error },
    #[error("{path} cannot be unmounted: {source}")]
    Unmount { path: PathBuf, source: std::io::Error },
    #[error("files could not be flushed")]
    Flush(#[source] ballast_files::Error),
}
