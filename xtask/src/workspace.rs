//! Where things lie: the clone, the build cache, the built command.

use crate::program::Program;
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The root of the clone: cargo says where it runs this, which need not be where it was compiled. Clones that share a
/// build cache share this program.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        match package.as_deref().and_then(Path::parent) {
            Some(root) => root.to_owned(),
            None => std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
        }
    })
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
///
/// It sees nothing of what the outer cargo says about the package `xtask`: some build scripts run again when that
/// changes (ring's does), and with them whatever is built on them, each time a chore follows a build by hand.
pub fn cargo(arguments: &[&str]) -> Program {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let program = Program::new(cargo).arguments(arguments).directory(root()).variable("CARGO_TARGET_DIR", target());
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).fold(program, |program, name| {
        let said = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if said.iter().any(|start| name.starts_with(start)) { program.without(&name) } else { program }
    })
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
