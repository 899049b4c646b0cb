//! Settings of a mount.

use crate::limits;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to mount. Made if it is missing.
    pub path: PathBuf,
    /// Whether other users may use the mount; the default is true for root. Their rights are checked either way.
    pub allow_other: bool,
    /// How long the kernel may trust names and attributes without asking.
    pub trust: Duration,
    /// A directory whose file system's free space the mount reports as its own: that of a local bucket.
    pub space_of: Option<PathBuf>,
    /// Whether the kernel refuses every change.
    pub read_only: bool,
}

impl Settings {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        // SAFETY: geteuid has no preconditions and cannot fail.
        let allow_other = unsafe { libc::geteuid() } == 0;
        Self { path: path.into(), allow_other, trust: limits::TRUST, space_of: None, read_only: false }
    }
}
