//! The mount, and what to do when there cannot be one.

use crate::views::Views;
use crate::{Engines, Settings, advised, volume};
use ballast_fuse::{Error, Mount};
use std::path::Path;
use std::sync::Arc;

/// Refuses a bucket in the mount, or a mount in the bucket: the server would wait for itself. What is mounted there now is
/// not asked: it may not answer.
pub fn check(settings: &Settings) -> anyhow::Result<()> {
    let (Some(mount), Some(bucket)) = (&settings.mount, volume::local_directory(&settings.bucket)) else {
        return Ok(());
    };
    // The last parts need not be there yet.
    let real = |path: &Path| {
        let there =
            path.ancestors().find_map(|above| Some((above.canonicalize().ok()?, path.strip_prefix(above).ok()?)));
        there.map_or_else(|| path.to_owned(), |(above, rest)| above.join(rest))
    };
    let apart = |kept: &Path, at: &Path| !kept.starts_with(at) && !at.starts_with(kept);
    let (above, name) = (mount.parent().unwrap_or(mount), mount.file_name().unwrap_or_default());
    if apart(&bucket, mount) && apart(&real(&bucket), &real(above).join(name)) {
        return Ok(());
    }
    let text = format!("the bucket {} and the mount {} lie in each other", bucket.display(), mount.display());
    Err(advised(text, "keep them apart: --bucket DIR, --mount DIR"))
}

/// Mounts the tree at `path`.
pub async fn mount(path: &Path, settings: &Settings, engines: &Engines) -> anyhow::Result<Mount> {
    let mut mount = ballast_fuse::Settings::new(path);
    mount.space_of = volume::local_directory(&settings.bucket);
    mount.read_only = settings.snapshot.is_some();
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
