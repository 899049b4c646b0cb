//! Compatibility: programs that we did not write, used as their users do.
//!
//! A suite is a script `tests/clients/*.sh`. It finds the server in its environment, leaves with 0
//! if everything held, with 77 if this machine lacks what it needs (its last line says what), and prints
//! `ok - what held` or `not ok - what did not` for each thing it checked.

use crate::program::Program;
use crate::report::Outcome;
use crate::served::Place;
use crate::test::machine;
use crate::workspace;
use std::path::Path;
use std::time::Duration;

/// How long a suite may take.
const SUITE_LIMIT: Duration = Duration::from_secs(600);

/// The exit status of a suite that cannot run here, as in other test drivers.
const CANNOT_RUN: i32 = 77;

pub fn run() -> anyhow::Result<Outcome> {
    let directory = workspace::root().join("tests/clients");
    let mut suites: Vec<_> = match std::fs::read_dir(&directory) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>()?,
        Err(_) => return Ok(Outcome::Absent("there are no suites yet".to_owned())),
    };
    suites.retain(|suite| suite.path().extension().is_some_and(|extension| extension == "sh"));
    suites.sort_by_key(std::fs::DirEntry::file_name);
    let (mut passed, mut failed) = (0, 0);
    let mut absent = Vec::new();
    for suite in suites {
        let name = suite.file_name().to_string_lossy().into_owned();
        match one(&suite.path()) {
            Ok(Outcome::Counted { passed: more, failed: less }) => {
                println!("{name}: {more} passed, {less} failed");
                passed += more;
                failed += less;
            }
            Ok(Outcome::Absent(why)) => absent.push(format!("{name} ({why})")),
            Err(error) => {
                println!("{name}: failed: {error:#}");
                failed += 1;
            }
        }
    }
    if !absent.is_empty() {
        println!("not run here: {}", absent.join(", "));
    }
    match passed + failed {
        0 => Ok(Outcome::Absent(format!("nothing could run: {}", absent.join(", ")))),
        _ => Ok(Outcome::Counted { passed, failed }),
    }
}

fn one(suite: &Path) -> anyhow::Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let mut place = Place::new(directory.path())?;
    let served = place.start()?;
    let (mut passed, mut failed) = (0, 0);
    let mut last = String::new();
    let mut program = Program::new(suite).directory(directory.path()).limit(SUITE_LIMIT);
    program = program.variable("BALLAST", workspace::ballast());
    program = program.variable("BALLAST_SERVER", format!("http://{}", served.http()));
    program = program.variable("BALLAST_KAFKA", served.kafka()).variable("BALLAST_POSTGRES", served.postgres());
    if let Some(mount) = &place.mount {
        program = program.variable("BALLAST_MOUNT", mount);
    }
    if let Ok(python) = machine::python() {
        program = program.variable("PYTHON", python);
    }
    if let Ok(older) = machine::python_older() {
        program = program.variable("PYTHON_OLDER", older);
    }
    let status = program.run_with_lines(|line| {
        println!("{line}");
        passed += usize::from(line.starts_with("ok - "));
        failed += usize::from(line.starts_with("not ok - "));
        last = line.to_owned();
    })?;
    if status.code() == Some(CANNOT_RUN) {
        return Ok(Outcome::Absent(last));
    }
    // A suite that ends early without a word has failed.
    if !status.success() && failed == 0 {
        failed = 1;
    }
    served.stop()?;
    Ok(Outcome::Counted { passed, failed })
}
