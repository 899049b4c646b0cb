//! Errors that know the next step.

/// What failed, in one sentence, and what to do: shown by the command on a line of its own.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Advised {
    pub what: String,
    pub advice: String,
}

/// An error with the next step.
pub fn advised(what: impl Into<String>, advice: impl Into<String>) -> anyhow::Error {
    Advised { what: what.into(), advice: advice.into() }.into()
}
