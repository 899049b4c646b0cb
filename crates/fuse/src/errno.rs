//! Errors to errno: one exhaustive match per crate of ours.

use ballast_types::{ErrorKind, NameError};
use fuser::Errno;

/// What a request is answered with when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub Errno);

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self(errno)
    }
}

impl From<ballast_store::Error> for Fault {
    fn from(error: ballast_store::Error) -> Self {
        use ballast_store::Error as E;
        Self(match &error {
            E::AlreadyExists(_) => Errno::EEXIST,
            E::Conflict | E::PayloadMoved => Errno::EAGAIN,
            E::Invalid(_) => Errno::EINVAL,
            E::Exhausted(_) => Errno::ENOSPC,
            E::Unsupported(_) => Errno::EOPNOTSUPP,
            // An object that should be there is not, or the volume is not ours any more: no program can mend it.
            E::NotFound(_) | E::Corrupt(_) | E::Unavailable { .. } | E::Fenced(_) | E::Closed(_) => {
                tracing::error!(%error, "input/output error");
                Errno::EIO
            }
        })
    }
}

impl From<ballast_tree::Error> for Fault {
    fn from(error: ballast_tree::Error) -> Self {
        use ballast_tree::Error as E;
        Self(match error {
            E::NotFound(_) => Errno::ENOENT,
            E::Stale(_) => Errno::ESTALE,
            E::AlreadyExists(_) => Errno::EEXIST,
            E::NotADirectory(_) => Errno::ENOTDIR,
            E::IsADirectory(_) => Errno::EISDIR,
            E::NotEmpty(_) => Errno::ENOTEMPTY,
            E::Denied(_) => Errno::EACCES,
            E::NotOwner(_) | E::NotPermitted(_) => Errno::EPERM,
            E::Invalid(_) => Errno::EINVAL,
            E::TooManyLinks => Errno::EMLINK,
            E::NoAttribute(_) => Errno::NO_XATTR,
            E::NameTooLong => Errno::ENAMETOOLONG,
            E::Loop => Errno::ELOOP,
            E::AttributeName => Errno::ERANGE,
            E::AttributeTooLarge(_) => Errno::E2BIG,
            E::NoSpace(_) => Errno::ENOSPC,
            E::Unsupported(_) => Errno::EOPNOTSUPP,
            E::Store(error) => return error.into(),
        })
    }
}

impl From<ballast_files::Error> for Fault {
    fn from(error: ballast_files::Error) -> Self {
        use ballast_files::Error as E;
        Self(match error {
            E::Tree(error) => return error.into(),
            E::Store(error) => return error.into(),
            E::IsADirectory(_) => Errno::EISDIR,
            E::NotAFile(_) | E::Invalid(_) => Errno::EINVAL,
            E::TooLarge(_) => Errno::EFBIG,
            E::Unsupported(_) => Errno::EOPNOTSUPP,
            E::NothingThere(_) => Errno::ENXIO,
            E::Corrupt(_) => {
                tracing::error!(%error, "input/output error");
                Errno::EIO
            }
            E::Locked => Errno::EAGAIN,
            E::Deadlock => Errno::EDEADLK,
            E::TooManyLocks => Errno::ENOLCK,
        })
    }
}

impl From<NameError> for Fault {
    fn from(error: NameError) -> Self {
        Self(match error {
            NameError::TooLong(_) => Errno::ENAMETOOLONG,
            NameError::Empty => Errno::ENOENT,
            NameError::BadByte | NameError::Reserved => Errno::EINVAL,
        })
    }
}

impl From<ErrorKind> for Fault {
    fn from(kind: ErrorKind) -> Self {
        Self(match kind {
            ErrorKind::NotFound => Errno::ENOENT,
            ErrorKind::AlreadyExists => Errno::EEXIST,
            ErrorKind::Conflict => Errno::EAGAIN,
            ErrorKind::Invalid => Errno::EINVAL,
            ErrorKind::Denied => Errno::EACCES,
            ErrorKind::Exhausted => Errno::ENOSPC,
            ErrorKind::Unsupported => Errno::EOPNOTSUPP,
            ErrorKind::Unavailable | ErrorKind::Fenced | ErrorKind::Corrupt => Errno::EIO,
        })
    }
}
