//! `cargo xtask test`: everything that is proved on every push, in the order from quick to slow.

mod clients;
mod documents;
pub mod machine;
mod markdown;

pub use machine::python;

use crate::crash::{self, Way};
use crate::report::{Outcome, Report};
use crate::workspace;

/// Prove everything that is proved on every push
///
/// Installs what the suites need where it may, builds once, in the release profile, and says at the end what it
/// could not check on this machine.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these steps: machine, format, build, lint, test, documents, crash, databases, full, clients
    steps: Vec<String>,
}

type Step = (&'static str, fn() -> anyhow::Result<Outcome>);

const STEPS: [Step; 10] = [
    ("machine", machine::prepare),
    ("format", format),
    ("build", build),
    ("lint", lint),
    ("test", test),
    ("documents", documents::run),
    ("crash", || crash::short(Way::Kill)),
    ("databases", || crash::short(Way::Databases)),
    ("full", || crash::short(Way::Full)),
    ("clients", clients::run),
];

pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    if let Some(unknown) = arguments.steps.iter().find(|name| STEPS.iter().all(|(step, _)| step != name)) {
        anyhow::bail!("there is no step {unknown:?}");
    }
    println!("Ballast's tests. Build cache: {}\n", workspace::target().display());
    let mut report = Report::default();
    for (name, step) in STEPS {
        if arguments.steps.is_empty() || arguments.steps.iter().any(|wanted| wanted == name) {
            report.step(name, step);
        }
    }
    Ok(report.finish())
}

fn format() -> anyhow::Result<Outcome> {
    workspace::cargo(&["fmt", "--all", "--check"]).run()?;
    Ok(Outcome::one(true))
}

fn build() -> anyhow::Result<Outcome> {
    workspace::build()?;
    Ok(Outcome::one(true))
}

fn lint() -> anyhow::Result<Outcome> {
    let cargo = ["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    workspace::cargo(&cargo).run()?;
    Ok(Outcome::one(true))
}

/// Unit and integration tests of every crate, and the tests about the repository itself.
fn test() -> anyhow::Result<Outcome> {
    let (mut passed, mut failed) = (0, 0);
    let cargo = ["test", "--release", "--workspace", "--no-fail-fast"];
    let status = workspace::cargo(&cargo).run_with_lines(|line| {
        println!("{line}");
        if let Some((more, less)) = counts(line) {
            passed += more;
            failed += less;
        }
    })?;
    // What does not compile counts as one failure; what ran was counted.
    if !status.success() && failed == 0 {
        failed = 1;
    }
    Ok(Outcome::Counted { passed, failed })
}

/// The numbers in `test result: ok. 12 passed; 0 failed; …`.
fn counts(line: &str) -> Option<(usize, usize)> {
    let numbers = line.strip_prefix("test result: ")?;
    let number = |word: &str| {
        let before = numbers.split(word).next()?.trim_end();
        before.rsplit(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    Some((number("passed")?, number("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_cargo_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(counts(line), Some((12, 3)));
        assert_eq!(counts("test a_sentence ... ok"), None);
    }
}
