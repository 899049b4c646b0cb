//! Paths of the tree on the command line.

use crate::failure::advised;
use ballast_types::TreePath;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Reads a path of the tree as the shell gave it: any bytes, absolute.
pub fn parse(text: &OsString) -> anyhow::Result<TreePath> {
    match ballast_api::routes::path_from_bytes(text.as_bytes()) {
        Err(error @ ballast_api::routes::PathError::Relative(_)) => {
            let shown = text.to_string_lossy();
            Err(advised(error.to_string(), format!("/{shown}: paths begin at the root of the tree, not at the mount")))
        }
        other => Ok(other?),
    }
}
