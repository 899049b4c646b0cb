//! Failures on the wire and in the client.

use ballast_types::ErrorKind;
use serde::{Deserialize, Serialize};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One of the words of [`ErrorKind::as_str`]: what the caller can do about it.
    pub kind: String,
    /// What failed, for people.
    pub message: String,
}

impl ErrorBody {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind: kind.as_str().to_owned(), message: message.into() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no server answers at {server}")]
    Unreachable { server: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{message}")]
    Refused { kind: ErrorKind, message: String },
    #[error("{server} does not answer like a Ballast server: {what}")]
    NotOurs { server: String, what: String },
    #[error("{0:?} is not the address of a server: write it as http://127.0.0.1:8765")]
    Address(String),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. } => ErrorKind::Unavailable,
            Self::Refused { kind, .. } => *kind,
            Self::NotOurs { .. } => ErrorKind::Unsupported,
            Self::Address(_) => ErrorKind::Invalid,
        }
    }
}

/// The kind behind a word of [`ErrorKind::as_str`]. A word that a newer server made up is taken for `Invalid`:
/// do not simply retry.
pub fn kind_from_str(word: &str) -> ErrorKind {
    const KINDS: [ErrorKind; 10] = [
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::Conflict,
        ErrorKind::Invalid,
        ErrorKind::Denied,
        ErrorKind::Exhausted,
        ErrorKind::Unavailable,
        ErrorKind::Fenced,
        ErrorKind::Corrupt,
        ErrorKind::Unsupported,
    ];
    KINDS.into_iter().find(|kind| kind.as_str() == word).unwrap_or(ErrorKind::Invalid)
}
