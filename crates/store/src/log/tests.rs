//! Tests of the log as a whole.

mod basics;

/// A planted bug, which the simulation must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    AcknowledgeBeforeSync,
    SkipAtRecovery,
    FreeTooEarly,
}
