//! The mount, and what to do when there cannot be one.

use crate::views::Views;
use crate::{Engines, Settings, advised};
use ballast_fuse::{Error, Mount};
use std::path::Path;
use std::sync::Arc;

/// Mounts the tree at `path`.
pub async fn mount(path: &Path, settings: &Settings, engines: &Engines) -> anyhow::Result<Mount> {
    let mut mount = ballast_fuse::Settings::new(path);
    mount.space_of = settings.bucket.strip_prefix("file://").map(Into::into);
    let views = Arc::new(Views::new(engines.clone()));
    let mounted = ballast_fuse::mount(mount, engines.tree.clone(), engines.files.clone(), views).await;
    mounted.map_err(|error| {
        let advice = match &error {
            Error::NoDevice => "sudo modprobe fuse, or go without a mount: --no-mount",
            Error::NoHelper => "sudo apt-get install fuse3, or go without a mount: --no-mount",
            Error::NoDirectory { .. } | Error::NotADirectory(_) | Error::Busy(_) => "another place: --mount DIR",
            Error::Silent(_) => {
                "if its server is gone, take it away with `sudo umount --force --lazy DIR`; or choose another place: --mount DIR"
            }
            Error::Stale { .. } => "unmount it yourself, or choose another place: --mount DIR",
            Error::Mount { .. } => "ballast doctor, or go without a mount: --no-mount",
            Error::Unmount { .. } | Error::Flush(_) => "ballast doctor",
        };
        advised(error.to_string(), advice)
    })
}
