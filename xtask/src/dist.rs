//! `cargo xtask dist`: what a release hands out.

use crate::program::Program;
use crate::workspace;
use anyhow::Context;

/// Build the archive of a release: the command, its completions and the documents
#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub fn run(_arguments: &Arguments) -> anyhow::Result<bool> {
    let ballast = workspace::build()?;
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("ballast-{version}-{}-linux", std::env::consts::ARCH);
    let directory = workspace::target().join("dist");
    let content = directory.join(&name);
    if content.exists() {
        std::fs::remove_dir_all(&content)?;
    }
    std::fs::create_dir_all(content.join("completions"))?;
    std::fs::copy(&ballast, content.join("ballast")).context("copy ballast")?;
    for document in ["README.md", "LICENSE", "CHANGELOG.md"] {
        std::fs::copy(workspace::root().join(document), content.join(document)).context(document)?;
    }
    for shell in ["bash", "zsh", "fish"] {
        let text = Program::new(&ballast).arguments(&["completions", shell]).quiet()?;
        std::fs::write(content.join("completions").join(format!("ballast.{shell}")), text)?;
    }
    let archive = directory.join(format!("{name}.tar.gz"));
    Program::new("tar")
        .arguments(&["-czf"])
        .arguments(&[&archive])
        .arguments(&["-C"])
        .arguments(&[&directory])
        .arguments(&[&name])
        .quiet()?;
    println!("{}", archive.display());
    Ok(true)
}
