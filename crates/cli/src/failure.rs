//! Failures for people: what failed, why, and what to do next.

use ballast_types::ErrorKind;

/// Adds the next step to an error.
#[derive(Debug)]
pub struct Advice(pub String);

impl std::fmt::Display for Advice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error with a sentence and the next step.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Advised {
    what: String,
    advice: Advice,
}

pub fn advised(what: impl Into<String>, advice: impl Into<String>) -> anyhow::Error {
    Advised { what: what.into(), advice: Advice(advice.into()) }.into()
}

/// Prints an error with its causes on one line, and the advice, if there is any, on the next.
pub fn show(error: &anyhow::Error) {
    eprintln!("ballast: {error:#}");
    if let Some(advice) = advice(error) {
        eprintln!("  try: {advice}");
    }
}

fn advice(error: &anyhow::Error) -> Option<String> {
    if let Some(advised) = error.chain().find_map(|cause| cause.downcast_ref::<Advised>()) {
        return Some(advised.advice.to_string());
    }
    let failed = error.chain().find_map(|cause| cause.downcast_ref::<ballast_api::Error>())?;
    let advice = match failed {
        ballast_api::Error::Unreachable { .. } => {
            "start a server with `ballast up`, or name another with --server or BALLAST_SERVER"
        }
        ballast_api::Error::NotOurs { .. } => "see what listens there; `ballast up` prints the address that it serves",
        ballast_api::Error::Refused { kind: ErrorKind::Fenced, .. } => {
            "ask the server that owns the bucket now; `ballast up` names it"
        }
        ballast_api::Error::Refused { .. } | ballast_api::Error::Address(_) => return None,
    };
    Some(advice.to_owned())
}
