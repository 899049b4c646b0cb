//! `cargo xtask bench`: how fast it is, as ratios to peers measured in the same run.
//!
//! Whatever is compared takes turns, round by round, and the order changes each round; a figure is the median of
//! the rounds. Servers that are compared stay up together, so that neither starts cold; what the idle one costs is
//! stated. Each part replaces its own section of docs/benchmarks.md, so that parts may be measured one at a time.

mod compare;
mod files;
mod kafka;
mod machine;
mod page;
mod peer;
mod postgres;
mod server;
mod store;
mod streams;
mod tables;

use crate::workspace;
use anyhow::Context;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Measure, and write docs/benchmarks.md
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these parts: commits, opens, server, files, streams, tables; store means the first two
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<String>,
    /// How long one measurement of one round takes, about
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How often each is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure this `ballast` instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Everything is measured on the disk of this directory; on a memory file system durability costs nothing
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    directory: PathBuf,
}

/// What the parts measure with.
struct Bench {
    seconds: u32,
    rounds: u32,
    ballast: PathBuf,
    directory: tempfile::TempDir,
}

impl Bench {
    /// A new directory for one thing that is measured.
    fn place(&self, name: &str) -> anyhow::Result<PathBuf> {
        let directory = self.directory.path().join(name);
        std::fs::create_dir(&directory).with_context(|| format!("make {}", directory.display()))?;
        Ok(directory)
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

type Part = fn(&Bench) -> anyhow::Result<page::Section>;

const PARTS: [(&str, Part); 6] = [
    ("commits", store::commits),
    ("opens", store::opens),
    ("server", server::run),
    ("files", files::run),
    ("streams", streams::run),
    ("tables", tables::run),
];

pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let known = |name: &String| name == "store" || PARTS.iter().any(|(part, _)| part == name);
    if let Some(unknown) = arguments.only.iter().find(|name| !known(name)) {
        anyhow::bail!("there is no part {unknown:?}");
    }
    let ballast = match &arguments.binary {
        Some(path) => path.canonicalize().with_context(|| format!("find {}", path.display()))?,
        None => workspace::build()?,
    };
    let bench = Bench {
        seconds: arguments.seconds,
        rounds: arguments.rounds,
        ballast,
        directory: scratch(&arguments.directory)?,
    };
    let mut all_measured = true;
    let mut page = page::Page::read(&workspace::root().join("docs/benchmarks.md"))?;
    for (name, part) in PARTS {
        let store = name == "commits" || name == "opens";
        let wanted = |only: &String| only == name || (only == "store" && store);
        if !arguments.only.is_empty() && !arguments.only.iter().any(wanted) {
            continue;
        }
        println!("== {name}");
        let before = page::Busy::now();
        match part(&bench) {
            Ok(section) => {
                let command = format!(
                    "cargo xtask bench --only {name} --seconds {} --rounds {}",
                    arguments.seconds, arguments.rounds
                );
                let text = page::text(&section, &command, &machine::describe(&bench), before, page::Busy::now());
                println!("\n## {text}");
                page.replace(name, &text);
                page.write()?;
            }
            Err(error) => {
                println!("{name} was not measured: {error:#}");
                all_measured = false;
            }
        }
    }
    println!("{}", page.path().display());
    Ok(all_measured)
}

/// A directory that goes with the run. Other users may enter it: PostgreSQL refuses to run as root.
fn scratch(parent: &Path) -> anyhow::Result<tempfile::TempDir> {
    let directory = tempfile::Builder::new().prefix("ballast-bench-").tempdir_in(parent)?;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}
