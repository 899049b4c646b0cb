//! Writers of all three kinds, and the checks of what they wrote.

use crate::program::{Program, find, kill, pause, wait};
use crate::report::now;
use crate::served::{KINDS, Place, Served};
use crate::workspace;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// How long a writer may take to notice that its server is gone.
const NOTICE_LIMIT: Duration = Duration::from_secs(30);

/// How long a writer may take until the first of what it writes is acknowledged.
const FIRST_LIMIT: Duration = Duration::from_secs(30);

/// How long one check may take.
const CHECK_LIMIT: Duration = Duration::from_secs(120);

/// The writers of one generation of objects.
#[derive(Debug)]
pub struct Writers {
    python: PathBuf,
    directory: PathBuf,
    generation: u32,
}

/// Writers at work, with their kinds.
pub struct Load(Vec<(&'static str, Child)>);

impl Writers {
    pub fn new(python: &Path, directory: &Path, generation: u32) -> Self {
        Self { python: python.to_owned(), directory: directory.to_owned(), generation }
    }

    /// Makes the objects that writers expect.
    pub fn prepare(&self, served: &Served) -> anyhow::Result<()> {
        let ballast = |words: &[&str]| {
            let server = format!("http://{}", served.http());
            Program::new(workspace::ballast()).arguments(words).variable("BALLAST_SERVER", server).quiet()
        };
        let generation = self.generation;
        if served.kafka() != "none" {
            ballast(&["create", "stream", "--parents", &format!("/crash/stream-{generation}")])?;
        }
        if served.postgres() != "none" {
            let table = format!("/crash/table-{generation}");
            ballast(&["create", "table", "--parents", &table, "id bigint primary key, tx bigint, part bigint"])?;
            let (host, port) = served
                .postgres()
                .rsplit_once(':')
                .map(|(host, port)| (host.to_owned(), port.to_owned()))
                .unwrap_or_default();
            let counter = format!("insert into \"{table}\" (id, tx, part) values (-1, 0, 0)");
            if find("psql").is_some() {
                Program::new("psql").arguments(&["-h", &host, "-p", &port, "-d", "/", "-c", &counter]).quiet()?;
            }
        }
        Ok(())
    }

    /// The kinds that can be written on this machine.
    fn kinds(served: &Served, place: &Place) -> Vec<&'static str> {
        let served =
            [place.mount.is_some(), served.kafka() != "none", served.postgres() != "none" && find("psql").is_some()];
        KINDS.into_iter().zip(served).filter(|(_, served)| *served).map(|(kind, _)| kind).collect()
    }

    fn program(&self, verb: &str, kind: &str, served: &Served, place: &Place) -> Program {
        let script = workspace::root().join("tests/crash").join(format!("{kind}.py"));
        let generation = self.generation.to_string();
        let mut program = Program::new(&self.python).arguments(&[&script]).arguments(&[verb]);
        program = program.arguments(&[self.ledger(kind)]).arguments(&[&generation]);
        program = program.variable("BALLAST_KAFKA", served.kafka()).variable("BALLAST_POSTGRES", served.postgres());
        program = program.variable("PYTHONDONTWRITEBYTECODE", "1");
        match &place.mount {
            Some(mount) => program.variable("BALLAST_MOUNT", mount),
            None => program,
        }
    }

    fn ledger(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{kind}-{}.ledger", self.generation))
    }

    /// Starts the writers, and waits until each was acknowledged something: clients take a second or more to
    /// start, and a server that is killed before proves nothing. Those that were not.
    pub fn start_and_see(&self, served: &Served, place: &Place) -> anyhow::Result<(Load, Vec<String>)> {
        let before = Self::kinds(served, place).into_iter().map(|kind| (kind, self.acknowledged(kind)));
        let mut waiting: Vec<_> = before.collect();
        let load = self.start(served, place)?;
        let begun = now();
        while !waiting.is_empty() && begun.elapsed() < FIRST_LIMIT {
            pause(Duration::from_millis(20));
            waiting.retain(|(kind, before)| self.acknowledged(kind) == *before);
        }
        let idle = |(kind, _)| format!("{kind}: nothing was acknowledged in {} s", FIRST_LIMIT.as_secs());
        Ok((load, waiting.into_iter().map(idle).collect()))
    }

    /// Starts the writers.
    pub fn start(&self, served: &Served, place: &Place) -> anyhow::Result<Load> {
        let mut children = Vec::new();
        for kind in Self::kinds(served, place) {
            let log = self.directory.join(format!("{kind}.log"));
            let log = std::fs::File::options().create(true).append(true).open(log)?;
            let mut command = self.program("write", kind, served, place).command();
            children.push((kind, command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?));
        }
        Ok(Load(children))
    }

    /// Compares every ledger with what is there, all kinds at once; what is wrong.
    pub fn check(&self, served: &Served, place: &Place) -> anyhow::Result<Vec<String>> {
        let kinds = Self::kinds(served, place).into_iter().filter(|kind| self.ledger(kind).exists());
        let checks: Vec<_> = kinds
            .map(|kind| {
                let program = self.program("check", kind, served, place).limit(CHECK_LIMIT);
                (kind, std::thread::spawn(move || program.capture()))
            })
            .collect();
        let mut problems = Vec::new();
        for (kind, check) in checks {
            let (succeeded, said) = check.join().map_err(|_| anyhow::anyhow!("the check of {kind} panicked"))??;
            if !succeeded {
                problems.push(format!("{kind} of generation {}: {}", self.generation, crate::program::tail(&said)));
            }
        }
        Ok(problems)
    }

    /// How much was acknowledged so far.
    fn acknowledged(&self, kind: &str) -> usize {
        let ledger = std::fs::read_to_string(self.ledger(kind)).unwrap_or_default();
        ledger.lines().filter(|line| line.starts_with("done")).count()
    }

    /// The same, by kind.
    pub fn progress(&self) -> String {
        KINDS.map(|kind| format!("{kind} {}", self.acknowledged(kind))).join(", ")
    }
}

impl Load {
    /// Whether every writer has ended.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        for (_, child) in &mut self.0 {
            if child.try_wait()?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends the writer of one kind, wherever it is.
    pub fn kill(&mut self, kind: &str) -> anyhow::Result<()> {
        self.0.iter_mut().filter(|(of, _)| *of == kind).try_for_each(|(_, child)| kill(child))
    }

    /// Waits until the writers have noticed that their server is gone.
    pub fn end(self) -> anyhow::Result<()> {
        for (_, mut child) in self.0 {
            // One that clings to a dead connection is killed: what it was acknowledged stands in its ledger.
            if wait(&mut child, NOTICE_LIMIT).is_err() {
                println!("a writer did not notice the end of its server in {} s", NOTICE_LIMIT.as_secs());
            }
        }
        Ok(())
    }
}
