//! What can go wrong with the content of a file.

use ballast_types::{ErrorKind, Ino};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Cheap to clone: a failed flush is reported on every open handle of its inode.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Tree(#[from] ballast_tree::Error),
    #[error(transparent)]
    Store(#[from] ballast_store::Error),
    /// A directory, a stream or a table has no bytes to read (EISDIR).
    #[error("inode {0} is a directory")]
    IsADirectory(Ino),
    #[error("inode {0} is not a file")]
    NotAFile(Ino),
    /// EFBIG.
    #[error("a file cannot have {0} bytes")]
    TooLarge(u64),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Unsupported(String),
    /// Nothing of what was sought lies at or behind the offset (ENXIO).
    #[error("there is neither data nor a hole at offset {0}")]
    NothingThere(u64),
    /// Stored bytes are not what was written.
    #[error("corrupt: {0}")]
    Corrupt(String),
    #[error("another owner holds the lock")]
    Locked,
    #[error("waiting for this lock would never end")]
    Deadlock,
    #[error("there are too many locks")]
    TooManyLocks,
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Tree(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::IsADirectory(_) | Self::NotAFile(_) | Self::TooLarge(_) | Self::Invalid(_) => ErrorKind::Invalid,
            Self::NothingThere(_) => ErrorKind::NotFound,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::Corrupt(_) => ErrorKind::Corrupt,
            Self::Locked | Self::Deadlock => ErrorKind::Conflict,
            Self::TooManyLocks => ErrorKind::Exhausted,
        }
    }

    /// The payload settled elsewhere since its row was read: read the row again.
    pub(crate) fn is_payload_moved(&self) -> bool {
        use ballast_store::Error::PayloadMoved;
        matches!(self, Self::Store(PayloadMoved) | Self::Tree(ballast_tree::Error::Store(PayloadMoved)))
    }

    /// The inode is gone, and with it everything that was to be written to it.
    pub(crate) fn is_gone(&self) -> bool {
        use ballast_tree::Error::{NotFound, Stale};
        matches!(self, Self::Tree(NotFound(_) | Stale(_)))
    }
}
