//! Where things are kept when nobody says.

use crate::failure::advised;
use std::path::{Path, PathBuf};

/// The directory of the bucket: `$XDG_DATA_HOME/ballast/bucket`, or below `~/.local/share`.
pub fn bucket_directory() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("ballast/bucket"))
}

pub fn bucket() -> anyhow::Result<String> {
    let directory = bucket_directory();
    let directory =
        directory.ok_or_else(|| advised("HOME is not set, so there is no data directory", "--bucket DIR"))?;
    file_url(&directory)
}

/// The bucket as it was said: an address, or a directory.
pub fn bucket_from(text: &str) -> anyhow::Result<String> {
    match text.contains("://") || text == ballast_server::volume::MEMORY {
        true => Ok(text.to_owned()),
        false => file_url(&std::path::absolute(text)?),
    }
}

fn file_url(directory: &Path) -> anyhow::Result<String> {
    let url = url::Url::from_directory_path(directory);
    let url = url.map_err(|()| advised(format!("{} is not absolute", directory.display()), "--bucket DIR"))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

pub fn mount() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home =
        home.ok_or_else(|| advised("HOME is not set, so there is no default mount", "--mount DIR or --no-mount"))?;
    Ok(home.join("ballast"))
}
