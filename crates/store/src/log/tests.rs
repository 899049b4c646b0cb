//! Tests of the log as a whole.

mod basics;
mod damage;
mod faulty_store;
mod objects;
mod simulation;

/// A planted bug, which the simulation must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    AcknowledgeBeforeSync,
    SkipAtRecovery,
    FreeTooEarly,
}

/// The seeds of a simulation: as many as asked for, or the one that a failure printed.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("BALLAST_SEED"), number("BALLAST_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, many) => 0..many.unwrap_or(count),
    }
}
