//! What can go wrong with a name.
//!
//! A mount answers each variant with one errno, which its doc comment names; the other protocols translate
//! [`Error::kind`].

use ballast_types::{ErrorKind, Ino};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// ENOENT.
    #[error("{0} is not there")]
    NotFound(String),
    /// The inode is gone: its number is never used again (ESTALE).
    #[error("inode {0} is gone")]
    Stale(Ino),
    /// EEXIST.
    #[error("{0} exists already")]
    AlreadyExists(String),
    /// ENOTDIR.
    #[error("{0} is not a directory")]
    NotADirectory(String),
    /// EISDIR. Streams and tables are directories here: [`crate::Tree::remove_directory`] drops them.
    #[error("{0} is a directory")]
    IsADirectory(String),
    /// ENOTEMPTY. A stream or table is never empty: a rename does not replace it.
    #[error("the directory {0} is not empty")]
    NotEmpty(String),
    /// Not allowed by mode bits (EACCES).
    #[error("no permission to {0}")]
    Denied(String),
    /// Only the owner or the superuser may (EPERM).
    #[error("only the owner may {0}")]
    NotOwner(String),
    /// Nobody but the superuser may, or nobody at all (EPERM).
    #[error("not permitted: {0}")]
    NotPermitted(String),
    /// EINVAL.
    #[error("{0}")]
    Invalid(String),
    /// EMLINK.
    #[error("too many links to one inode")]
    TooManyLinks,
    /// ENODATA.
    #[error("the attribute {0} is not set")]
    NoAttribute(String),
    /// ERANGE, as Linux has it for names of attributes.
    #[error("the attribute's name is empty or longer than {} bytes", crate::limits::ATTRIBUTE_NAME_BYTES_MAX)]
    AttributeName,
    /// E2BIG.
    #[error("the attribute's value of {0} bytes is too large")]
    AttributeTooLarge(usize),
    /// ENOSPC: a bound of this crate is reached. The text says which.
    #[error("{0}")]
    NoSpace(String),
    /// EOPNOTSUPP.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// ENAMETOOLONG.
    #[error("the name is too long")]
    NameTooLong,
    /// ELOOP.
    #[error("too many symbolic links on the way")]
    Loop,
    #[error(transparent)]
    Store(#[from] ballast_store::Error),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::Stale(_) | Self::NoAttribute(_) => ErrorKind::NotFound,
            Self::AlreadyExists(_) => ErrorKind::AlreadyExists,
            Self::Denied(_) | Self::NotOwner(_) | Self::NotPermitted(_) => ErrorKind::Denied,
            Self::TooManyLinks | Self::NoSpace(_) => ErrorKind::Exhausted,
            Self::NotADirectory(_) | Self::IsADirectory(_) | Self::NotEmpty(_) => ErrorKind::Invalid,
            Self::Invalid(_) | Self::NameTooLong | Self::Loop => ErrorKind::Invalid,
            Self::AttributeName | Self::AttributeTooLarge(_) => ErrorKind::Invalid,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::Store(error) => error.kind(),
        }
    }

    /// A row that is not what was written.
    pub(crate) fn corrupt(what: impl std::fmt::Display) -> Self {
        Self::Store(ballast_store::Error::Corrupt(what.to_string()))
    }
}

impl From<ballast_types::NameError> for Error {
    fn from(error: ballast_types::NameError) -> Self {
        match error {
            ballast_types::NameError::TooLong(_) => Self::NameTooLong,
            other => Self::Invalid(other.to_string()),
        }
    }
}
