//! What was checked: each step with its time, and the sum at the end.

use std::time::Instant;

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many checks passed and so many failed.
    Counted { passed: usize, failed: usize },
    /// It could not run here. The text says why, and what to do about it.
    Absent(String),
}

impl Outcome {
    pub fn one(passed: bool) -> Self {
        Self::Counted { passed: usize::from(passed), failed: usize::from(!passed) }
    }
}

/// The steps so far.
#[derive(Debug, Default)]
pub struct Report {
    passed: usize,
    failed: usize,
    lines: Vec<String>,
    absent: Vec<String>,
}

impl Report {
    /// Runs a step. An error of it is one failed check.
    pub fn step(&mut self, name: &str, run: impl FnOnce() -> anyhow::Result<Outcome>) {
        println!("== {name}");
        let begun = now();
        let outcome = run();
        let seconds = begun.elapsed().as_secs_f64();
        let ended = match outcome {
            Ok(Outcome::Counted { passed, failed }) => {
                self.passed += passed;
                self.failed += failed;
                format!("{passed} passed, {failed} failed")
            }
            Ok(Outcome::Absent(why)) => {
                self.absent.push(format!("{name}: {why}"));
                format!("not run: {why}")
            }
            Err(error) => {
                self.failed += 1;
                format!("failed: {error:#}")
            }
        };
        println!("== {name}: {ended} ({seconds:.1} s)\n");
        let first = ended.lines().next().unwrap_or_default();
        self.lines.push(format!("{name:<12} {seconds:>7.1} s  {first}"));
    }

    /// Prints the steps, what could not be checked here, and, as the last line, the sum. True if nothing failed.
    pub fn finish(self) -> bool {
        self.lines.iter().for_each(|line| println!("{line}"));
        if !self.absent.is_empty() {
            println!("\nNot checked on this machine:");
            self.absent.iter().for_each(|line| println!("  {line}"));
        }
        println!("\n{} passed, {} failed", self.passed, self.failed);
        self.failed == 0
    }
}

#[expect(clippy::disallowed_methods, reason = "the time that a chore took")]
pub fn now() -> Instant {
    Instant::now()
}
