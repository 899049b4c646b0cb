//! What can go wrong with a stream or a group.

use ballast_types::ErrorKind;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Cheap to clone: one failed commit is reported for every partition that it held.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("the stream {0} is not there")]
    NotFound(String),
    /// Where a stream was to be made.
    #[error("the directory {0} is not there: make it first")]
    NoDirectory(String),
    #[error("the stream has no partition {0}")]
    UnknownPartition(i64),
    #[error("the name {0:?} cannot be a stream's")]
    InvalidName(String),
    #[error("{0}")]
    InvalidPartitions(String),
    #[error("{0}")]
    InvalidSettings(String),
    #[error("the offset {offset} is not between {start} and {end}")]
    OffsetOutOfRange { offset: i64, start: i64, end: i64 },

    /// The bytes of a record batch are not what the producer meant to send.
    #[error("the record batch is damaged: {0}")]
    DamagedBatch(&'static str),
    /// The record batch is whole but makes no sense.
    #[error("the record batch is refused: {0}")]
    InvalidBatch(&'static str),
    #[error("transactions are not supported yet")]
    Transactional,
    #[error("a record batch of {bytes} bytes is larger than the stream's {max}")]
    BatchTooLarge { bytes: usize, max: usize },
    #[error("the timestamp {timestamp} is more than {max} ms {side} the server's clock, which shows {now}")]
    InvalidTimestamp { timestamp: i64, now: i64, max: i64, side: &'static str },
    /// Sequence numbers have a gap: an earlier batch has not arrived.
    #[error("the producer's sequence number {got} does not follow {last}")]
    OutOfOrderSequence { got: i32, last: i32 },
    /// A newer producer with the same id has taken over.
    #[error("the producer's epoch {got} is older than {current}")]
    FencedProducer { got: i16, current: i16 },

    #[error("the group name {0:?} cannot be")]
    InvalidGroup(String),
    #[error("the group {0} is not there")]
    GroupNotFound(String),
    #[error("the group {0} has members")]
    GroupNotEmpty(String),
    #[error("the group has as many members as it may have")]
    GroupFull,
    #[error("the member is not of this group")]
    UnknownMember,
    /// Join again with this member id.
    #[error("join again as {0}")]
    MemberIdRequired(String),
    #[error("{0}")]
    InvalidMember(&'static str),
    /// Another member has joined with the same instance id.
    #[error("another member has taken over this instance")]
    FencedInstance,
    #[error("the generation is not the group's")]
    IllegalGeneration,
    #[error("the group is rebalancing: join again")]
    RebalanceInProgress,
    #[error("the member shares no protocol with the group")]
    InconsistentProtocol,
    #[error("a session timeout of {0} ms is not allowed")]
    InvalidSessionTimeout(i64),
    #[error("the metadata of a committed offset is too long")]
    OffsetMetadataTooLong,
    #[error("members of the group still read this stream")]
    GroupSubscribed,

    #[error("{0}")]
    Exhausted(&'static str),
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// The server is going down, or a task of it failed.
    #[error("the server is stopping")]
    Stopping,
    #[error(transparent)]
    Tree(#[from] ballast_tree::Error),
    #[error(transparent)]
    Store(#[from] ballast_store::Error),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::UnknownPartition(_) | Self::GroupNotFound(_) => ErrorKind::NotFound,
            Self::NoDirectory(_) => ErrorKind::NotFound,
            Self::InvalidName(_) | Self::InvalidPartitions(_) | Self::InvalidSettings(_) => ErrorKind::Invalid,
            Self::OffsetOutOfRange { .. } | Self::DamagedBatch(_) | Self::InvalidBatch(_) => ErrorKind::Invalid,
            Self::BatchTooLarge { .. } | Self::InvalidGroup(_) | Self::InconsistentProtocol => ErrorKind::Invalid,
            Self::InvalidSessionTimeout(_) | Self::OffsetMetadataTooLong => ErrorKind::Invalid,
            Self::InvalidMember(_) | Self::InvalidTimestamp { .. } => ErrorKind::Invalid,
            Self::OutOfOrderSequence { .. } | Self::UnknownMember => ErrorKind::Conflict,
            Self::MemberIdRequired(_) | Self::IllegalGeneration | Self::RebalanceInProgress => ErrorKind::Conflict,
            Self::GroupNotEmpty(_) | Self::GroupSubscribed => ErrorKind::Conflict,
            Self::FencedProducer { .. } | Self::FencedInstance => ErrorKind::Fenced,
            Self::Transactional => ErrorKind::Unsupported,
            Self::GroupFull | Self::Exhausted(_) => ErrorKind::Exhausted,
            Self::Corrupt(_) => ErrorKind::Corrupt,
            Self::Stopping => ErrorKind::Unavailable,
            Self::Tree(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}
