//! What can go wrong in a volume.

use ballast_types::ErrorKind;
use std::sync::Arc;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Cheap to clone: one failed flush is reported to every waiter of its group.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The thing named is not in the bucket.
    #[error("{0} is not there")]
    NotFound(String),
    #[error("{0} is there already")]
    AlreadyExists(String),
    /// A transaction read or wrote what another one changed since it began.
    #[error("another transaction changed the same rows")]
    Conflict,
    /// The pointer names a log file or segment whose content settled elsewhere: read its row again.
    #[error("the payload has moved: read its row again")]
    PayloadMoved,
    #[error("{0}")]
    Invalid(String),
    /// A budget or the disk is used up. The text says which and what to do.
    #[error("{0}")]
    Exhausted(String),
    #[error("{what}")]
    Unavailable { what: String, source: Option<Arc<dyn std::error::Error + Send + Sync>> },
    /// Another server owns the volume. The text names it as far as it is known.
    #[error("the volume is owned by another server: {0}")]
    Fenced(String),
    /// Stored bytes are not what was written, or are lost: to wait does not help. The text names the file and the
    /// offset.
    #[error("corrupt: {0}")]
    Corrupt(String),
    #[error("{0}")]
    Unsupported(String),
    /// The volume was closed by its own server, or stopped itself after a failed write.
    #[error("the volume is closed: {0}")]
    Closed(String),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::AlreadyExists(_) => ErrorKind::AlreadyExists,
            Self::Conflict | Self::PayloadMoved => ErrorKind::Conflict,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Exhausted(_) => ErrorKind::Exhausted,
            Self::Unavailable { .. } | Self::Closed(_) => ErrorKind::Unavailable,
            Self::Fenced(_) => ErrorKind::Fenced,
            Self::Corrupt(_) => ErrorKind::Corrupt,
            Self::Unsupported(_) => ErrorKind::Unsupported,
        }
    }

    pub fn unavailable(what: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unavailable { what: what.into(), source: Some(Arc::new(source)) }
    }
}
