//! Where payload lies, and the value of a row.

use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;

/// A place in a volume's log: the number of bytes ever appended before it. Grows, and is never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Where one payload lies. Rows hold pointers; the store knows them and moves them when payload settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pointer {
    pub place: Place,
    /// Bytes from the start of the container to the first byte of the payload.
    pub offset: u64,
    /// Bytes of the payload.
    pub length: u32,
    /// CRC32C of the payload. It is checked whenever the payload is read.
    pub crc: u32,
}

/// What holds the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A file or object of the log: the writer's epoch, and the number within it.
    Log { epoch: u64, number: u64 },
    /// A segment: the epoch of the writer that made it, and the number within it.
    Segment { epoch: u64, number: u64 },
}

/// Payload that was just appended. Until the batch that points at it is committed, or this is dropped, the
/// store keeps the place alive. Hand it to [`crate::Batch::put_with_payload`].
#[derive(Clone, Debug)]
pub struct Payload {
    pub pointer: Pointer,
    pub(crate) hold: Hold,
}

/// Keeps a log file or a segment from being removed while a write that points into it is under way.
pub(crate) type Hold = Option<Arc<dyn std::any::Any + Send + Sync>>;

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log { epoch, number } => write!(f, "log {epoch}-{number}"),
            Self::Segment { epoch, number } => write!(f, "segment {epoch}-{number}"),
        }
    }
}

/// The value of a row: the engine's own bytes, and pointers to payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    pub bytes: Bytes,
    pub pointers: SmallVec<[Pointer; 1]>,
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, pointers: SmallVec::new() }
    }
}
