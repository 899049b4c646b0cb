//! What can go wrong with a name.

use ballast_types::{ErrorKind, Ino};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is not there")]
    NotFound(String),
    /// The inode is gone: its number is never used again (ESTALE).
    #[error("inode {0} is gone")]
    Stale(Ino),
    #[error("{0} exists already")]
    AlreadyExists(String),
    #[error("{0} is not a directory")]
    NotADirectory(String),
    #[error("{0} is a directory")]
    IsADirectory(String),
    #[error("the directory {0} is not empty")]
    NotEmpty(String),
    /// Not allowed by mode bits (EACCES).
    #[error("no permission to {0}")]
    Denied(String),
    /// Only the owner or the superuser may (EPERM).
    #[error("only the owner may {0}")]
    NotOwner(String),
    #[error("{0}")]
    Invalid(String),
    #[error("too many links to one inode")]
    TooManyLinks,
    #[error("the attribute {0} is not set")]
    NoAttribute(String),
    #[error("the name is too long")]
    NameTooLong,
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
            Self::Denied(_) | Self::NotOwner(_) => ErrorKind::Denied,
            Self::TooManyLinks => ErrorKind::Exhausted,
            Self::NotADirectory(_) | Self::IsADirectory(_) | Self::NotEmpty(_) => ErrorKind::Invalid,
            Self::Invalid(_) | Self::NameTooLong | Self::Loop => ErrorKind::Invalid,
            Self::Store(error) => error.kind(),
        }
    }
}
