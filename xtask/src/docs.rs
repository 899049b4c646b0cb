//! `cargo xtask docs`: the pages of docs/reference that come from the code.
//!
//! A test of the `cli` crate fails when one of them is stale.

use crate::program::Program;
use crate::workspace;

/// The generated pages, by the name that `ballast reference` knows.
const PAGES: [&str; 2] = ["cli", "metrics"];

/// Write the generated pages of docs/reference
#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub fn run(_arguments: &Arguments) -> anyhow::Result<bool> {
    let ballast = workspace::build()?;
    let directory = workspace::root().join("docs/reference");
    std::fs::create_dir_all(&directory)?;
    for page in PAGES {
        let text = Program::new(&ballast).arguments(&["reference", page]).quiet()?;
        let path = directory.join(format!("{page}.md"));
        std::fs::write(&path, text)?;
        println!("{}", path.display());
    }
    Ok(true)
}
