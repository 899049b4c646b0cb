//! What went wrong, in the ten ways that a caller can act on.

/// The kind of an error, defined by what the caller does next.
///
/// Each crate has precise errors of its own; every one of them answers `kind()`. Each protocol turns the
/// kind into its own code (errno, Kafka error, SQLSTATE, HTTP status) in one exhaustive match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// It is not there. Ask for something else.
    NotFound,
    /// It is there already. Use it, or choose another name.
    AlreadyExists,
    /// Somebody else changed it at the same time. Read again and retry the whole operation.
    Conflict,
    /// The request makes no sense. Change the request.
    Invalid,
    /// The caller may not. Ask the owner.
    Denied,
    /// A limit, a quota or the disk is used up. Wait, free something or raise the limit.
    Exhausted,
    /// It does not answer right now. Retry later.
    Unavailable,
    /// Another server owns the volume now. Find the owner and ask there.
    Fenced,
    /// Stored bytes are not what was written. Stop and call a person.
    Corrupt,
    /// This is not built. Do it another way.
    Unsupported,
}

impl ErrorKind {
    /// The kind as one lower-case word, for logs, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Exhausted => "exhausted",
            Self::Unavailable => "unavailable",
            Self::Fenced => "fenced",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
        }
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
