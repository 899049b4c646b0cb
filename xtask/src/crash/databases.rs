//! Databases whose data lies in the mount, while the server of the mount is killed.
//!
//! Each round starts `ballast up`, then `tests/crash/databases.py`, which lets the database recover, compares it with
//! what it had acknowledged and loads it again; then the server is killed: under load, or while the database recovers.
//! The database falls over with its mount and is started again in the next round, as whoever operates it would.
//! At the end all that the database stores is looked at by its own tools, and the bucket by `ballast fsck`.

use super::dice::Dice;
use crate::program::{Program, pause, tail, wait};
use crate::report::{Outcome, now};
use crate::served::Place;
use crate::test::machine;
use crate::workspace;
use anyhow::Context;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

const DATABASES: [&str; 2] = ["postgresql", "mariadb"];

/// What the suite needs: a program, where it lies if not in the PATH, and the Debian package that brings it.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("postgres", "/usr/lib/postgresql", "postgresql"),
    ("mariadbd", "/usr/sbin/mariadbd", "mariadb-server"),
    ("sysbench", "/usr/bin/sysbench", "sysbench"),
];

/// How long a database may take to be made, to recover, to be compared, and to notice that its mount is gone.
const SCRIPT_LIMIT: Duration = Duration::from_secs(600);

/// The longest time under load before a kill, in milliseconds.
const LOAD_MS_MAX: u64 = 4000;

/// One kill in this many comes while the database starts.
const KILLS_AT_START: u64 = 4;

/// The exit status of a script that cannot run here, as in other test drivers.
const CANNOT_RUN: i32 = 77;

/// Kills the server under each database so many times.
pub fn kill(kills: u32, dice: &mut Dice, keep: Option<&Path>) -> anyhow::Result<Outcome> {
    let missing: Vec<&str> = PROGRAMS
        .into_iter()
        .filter(|(program, place, _)| crate::program::find(program).is_none() && !Path::new(place).exists())
        .map(|(_, _, package)| package)
        .collect();
    if crate::program::find("python3").is_none() {
        return Ok(Outcome::Absent("this machine lacks python3".to_owned()));
    }
    if !missing.is_empty() {
        println!("missing: {}", missing.join(" "));
        machine::install(&missing);
    }
    let (mut passed, mut failed) = (0, 0);
    let mut absent = Vec::new();
    for name in DATABASES {
        let temporary = tempfile::tempdir()?;
        let directory = keep.map_or_else(|| temporary.path().to_owned(), |keep| keep.join(name));
        std::fs::create_dir_all(&directory)?;
        // Databases do not run as root, and have to get there.
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755))?;
        let place = Place::new(&directory)?;
        let Some(mount) = place.mount.clone() else {
            return Ok(Outcome::Absent("this machine cannot mount".to_owned()));
        };
        match (Suite { name, directory, mount, place }).run(kills, dice)? {
            Outcome::Counted { passed: more, failed: less } => {
                passed += more;
                failed += less;
            }
            Outcome::Absent(why) => absent.push(format!("{name} ({why})")),
        }
    }
    if !absent.is_empty() {
        println!("not run here: {}", absent.join(", "));
    }
    match passed + failed {
        0 => Ok(Outcome::Absent(format!("this machine lacks {}", absent.join(", ")))),
        _ => Ok(Outcome::Counted { passed, failed }),
    }
}

/// One database.
struct Suite {
    name: &'static str,
    directory: PathBuf,
    mount: PathBuf,
    place: Place,
}

impl Suite {
    fn run(&mut self, kills: u32, dice: &mut Dice) -> anyhow::Result<Outcome> {
        let (mut passed, mut failed) = (0, 0);
        for kill in 0..kills {
            let begun = now();
            let served = self.place.start()?;
            let mut script = self.start("run")?;
            // The first round makes the database; it is to be there.
            if kill == 0 || dice.below(KILLS_AT_START) > 0 {
                script.wait_for("loaded")?;
                pause(Duration::from_millis(300 + dice.below(LOAD_MS_MAX)));
            } else {
                pause(Duration::from_millis(dice.below(LOAD_MS_MAX)));
            }
            let ended = script.child.try_wait()?;
            served.kill()?;
            let status = script.end()?;
            if status.code() == Some(CANNOT_RUN) {
                return Ok(Outcome::Absent(script.last()));
            }
            let clean = status.success() && ended.is_none();
            passed += usize::from(clean);
            failed += usize::from(!clean);
            println!("{} kill {kill}: {:.1} s, {}", self.name, begun.elapsed().as_secs_f64(), script.last());
            if !clean {
                let log = std::fs::read_to_string(self.directory.join("script.log")).unwrap_or_default();
                println!("{} kill {kill}: {status}\n{}\n{}", self.name, tail(&script.said.join("\n")), tail(&log));
                break;
            }
        }
        if failed == 0 {
            let served = self.place.start()?;
            let looked = self.script("check").limit(SCRIPT_LIMIT).quiet();
            served.stop()?;
            let problems = looked.and_then(|_| self.fsck()).err();
            passed += usize::from(problems.is_none());
            failed += usize::from(problems.is_some());
            problems.iter().for_each(|problem| println!("{} at the end: {problem:#}", self.name));
        }
        Ok(Outcome::Counted { passed, failed })
    }

    /// Everything that the bucket stores.
    fn fsck(&self) -> anyhow::Result<()> {
        let bucket = self.directory.join("bucket");
        let program = Program::new(workspace::ballast()).arguments(&["fsck"]).arguments(&[&bucket]);
        program.limit(SCRIPT_LIMIT).quiet().context("ballast fsck").map(drop)
    }

    fn script(&self, verb: &str) -> Program {
        let script = workspace::root().join("tests/crash/databases.py");
        let program = Program::new("python3").arguments(&[&script]).arguments(&[self.name, verb]);
        let program = program.arguments(&[&self.directory]).variable("BALLAST_MOUNT", &self.mount);
        program.variable("PYTHONDONTWRITEBYTECODE", "1").variable("PYTHONUNBUFFERED", "1")
    }

    fn start(&self, verb: &str) -> anyhow::Result<Script> {
        let mut command = self.script(verb).command();
        let log = std::fs::File::options().create(true).append(true).open(self.directory.join("script.log"))?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        // It says a few lines; a thread takes them, so that they can be waited for with a limit.
        let (send, lines) = sync_channel(64);
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Ok(Script { child, lines, said: Vec::new() })
    }
}

/// A script at work.
struct Script {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Script {
    /// Returns when it has said this line, or has nothing more to say.
    fn wait_for(&mut self, line: &str) -> anyhow::Result<()> {
        while self.said.last().is_none_or(|last| last != line) {
            match self.lines.recv_timeout(SCRIPT_LIMIT) {
                Ok(line) => self.said.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(timeout) => return Err(timeout).with_context(|| format!("wait until the script says {line}")),
            }
        }
        Ok(())
    }

    fn end(&mut self) -> anyhow::Result<ExitStatus> {
        let status = wait(&mut self.child, SCRIPT_LIMIT)?;
        self.said.extend(self.lines.iter());
        Ok(status)
    }

    /// The last thing worth telling.
    fn last(&self) -> String {
        self.said.iter().rfind(|line| *line != "loaded").cloned().unwrap_or_default()
    }
}
