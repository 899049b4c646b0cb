//! Where things lie: the clone, the build cache, the built command.

use crate::program::Program;
use anyhow::Context;
use std::path::{Path, PathBuf};

/// The root of the clone.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// The user's cache directory for what tests need and builds leave.
pub fn cache() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("ballast")
}

/// Where cargo builds: what `CARGO_TARGET_DIR` says; else the clone's own `target`, if the command was built
/// there already (nobody wants to compile everything twice); else the user's cache, which outlives the clone.
pub fn target() -> PathBuf {
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        return root().join(target);
    }
    let own = root().join("target");
    match own.join("release/ballast").exists() {
        true => own,
        false => cache().join("target"),
    }
}

/// A run of cargo in this workspace and this build cache.
pub fn cargo(arguments: &[&str]) -> Program {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Program::new(cargo).arguments(arguments).directory(root()).variable("CARGO_TARGET_DIR", target())
}

/// The built `ballast` command.
pub fn ballast() -> PathBuf {
    target().join("release/ballast")
}

/// Builds the `ballast` command with what a user builds it with.
pub fn build() -> anyhow::Result<PathBuf> {
    cargo(&["build", "--release", "--package", "ballast-cli"]).run().context("build ballast")?;
    Ok(ballast())
}
