//! Runs every command of the documentation against a server, and compares what is printed.
//!
//! Each document gets a server, a home directory and a bucket of its own, and free ports: the documented
//! addresses are replaced in the commands, and replaced back in what they print, so that a reader's own server
//! is left alone.

use crate::program::Program;
use crate::report::Outcome;
use crate::served::{Place, Served};
use crate::test::markdown::{self, Block, Body};
use crate::workspace;
use anyhow::Context;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one command of a document may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Documents that hold commands for a reader.
const DOCUMENTS: [&str; 3] = ["README.md", "CONTRIBUTING.md", "docs/guides"];

pub fn run() -> anyhow::Result<Outcome> {
    let (mut passed, mut failed) = (0, 0);
    for document in documents()? {
        let text = std::fs::read_to_string(workspace::root().join(&document))?;
        let blocks = markdown::blocks(&text).with_context(|| format!("read {}", document.display()))?;
        if blocks.iter().all(|block| matches!(block.body, Body::Skipped(_))) {
            continue;
        }
        let mut session = Session::start().with_context(|| format!("serve {}", document.display()))?;
        for block in &blocks {
            let place = format!("{}:{}", document.display(), block.line);
            match session.run(block) {
                Ok(checks) => {
                    passed += checks;
                    println!("{place}: {checks} passed");
                }
                Err(error) => {
                    failed += 1;
                    println!("{place}: failed: {error:#}");
                }
            }
        }
    }
    Ok(Outcome::Counted { passed, failed })
}

fn documents() -> anyhow::Result<Vec<PathBuf>> {
    let mut documents = Vec::new();
    for name in DOCUMENTS {
        let path = workspace::root().join(name);
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                let entry = entry?.file_name();
                let markdown = Path::new(&entry).extension().is_some_and(|extension| extension == "md");
                documents.extend(markdown.then(|| Path::new(name).join(&entry)));
            }
        } else {
            documents.push(name.into());
        }
    }
    documents.sort();
    Ok(documents)
}

/// A reader at work.
struct Session {
    place: Place,
    served: Option<Served>,
    mount: PathBuf,
    /// Holds home and bucket; last, so that it goes after the server.
    directory: tempfile::TempDir,
}

impl Session {
    fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut place = Place::new(directory.path())?;
        let mount = directory.path().join("ballast");
        place.mount = place.mount.map(|_| mount.clone());
        let served = Some(place.start()?);
        Ok(Self { place, served, mount, directory })
    }

    /// How many commands did what the document says.
    fn run(&mut self, block: &Block) -> anyhow::Result<usize> {
        match &block.body {
            Body::Skipped(reason) => {
                println!("line {} is skipped: {reason}", block.line);
                Ok(0)
            }
            Body::Serve(_) => {
                anyhow::ensure!(self.served().is_running()?, "the server has ended");
                Ok(1)
            }
            Body::Restart => {
                if let Some(served) = self.served.take() {
                    served.kill()?;
                }
                self.served = Some(self.place.start()?);
                Ok(1)
            }
            Body::Script(script) => {
                let (succeeded, printed) = self.shell(&format!("set -e\n{script}"))?;
                anyhow::ensure!(succeeded, "it failed:\n{script}\n-- printed:\n{}", crate::program::tail(&printed));
                Ok(1)
            }
            Body::Session(exchanges) => {
                for exchange in exchanges {
                    let (_, printed) = self.shell(&exchange.command)?;
                    let lines: Vec<&str> = printed.trim_end().lines().collect();
                    anyhow::ensure!(
                        markdown::matches(&exchange.expected, &lines),
                        "$ {}\n-- should print:\n{}\n-- printed:\n{}",
                        exchange.command,
                        exchange.expected.join("\n"),
                        crate::program::tail(&printed)
                    );
                }
                Ok(exchanges.len())
            }
        }
    }

    fn served(&mut self) -> &mut Served {
        self.served.as_mut().expect("a session has a server between its blocks")
    }

    fn shell(&mut self, script: &str) -> anyhow::Result<(bool, String)> {
        let mut script = script.to_owned();
        for (documented, real) in self.addresses() {
            script = script.replace(&documented, &real);
        }
        let shell = Program::new("bash").arguments(&["-c", &script]).directory(self.directory.path());
        let (succeeded, mut printed) = shell.variables(&self.variables()?).limit(COMMAND_LIMIT).capture()?;
        for (documented, real) in self.addresses() {
            printed = printed.replace(&real, &documented);
        }
        Ok((succeeded, printed))
    }

    /// The documented address and the real one.
    fn addresses(&mut self) -> [(String, String); 3] {
        [
            ("127.0.0.1:8765".to_owned(), self.served().http()),
            ("127.0.0.1:9092".to_owned(), self.served().kafka()),
            ("127.0.0.1:5432".to_owned(), self.served().postgres()),
        ]
    }

    fn variables(&mut self) -> anyhow::Result<Vec<(String, OsString)>> {
        let binaries = workspace::ballast().parent().context("a binary has a directory")?.to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(binaries).chain(std::env::split_paths(&path)))?;
        let port = self.served().postgres().rsplit(':').next().unwrap_or_default().to_owned();
        Ok(vec![
            ("PATH".to_owned(), path),
            ("HOME".to_owned(), self.mount.parent().context("the mount is in the home")?.into()),
            ("BALLAST_SERVER".to_owned(), format!("http://{}", self.served().http()).into()),
            ("PGPORT".to_owned(), port.into()),
            ("LC_ALL".to_owned(), "C.UTF-8".into()),
        ])
    }
}
