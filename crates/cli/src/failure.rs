//! Failures for people: what failed, why, and what to do next.

use crate::output::note;
use ballast_server::Advised;
use ballast_types::ErrorKind;

pub use ballast_server::advised;

/// Prints an error with its causes on one line, and the advice, if there is any, on the next.
pub fn show(error: &anyhow::Error) {
    note(&format!("ballast: {error:#}"));
    if let Some(advice) = advice(error) {
        note(&format!("  try: {advice}"));
    }
}

fn advice(error: &anyhow::Error) -> Option<String> {
    if let Some(advised) = error.chain().find_map(|cause| cause.downcast_ref::<Advised>()) {
        return Some(advised.advice.clone());
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
