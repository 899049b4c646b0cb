//! What a stream is: its identity, its partitions and its settings, all in the descriptor of its inode.

use crate::{Error, Result, limits};
use ballast_tree::Inode;
use ballast_types::Ino;
use std::collections::BTreeMap;

/// A stream that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    pub ino: Ino,
    pub descriptor: Descriptor,
    /// Its mode, owner and group say who may read and append.
    pub(crate) inode: Inode,
}

impl Stream {
    /// The identity that survives a rename and is never reused: 8 random bytes and the inode's number, so that
    /// the stream is found by it without an index.
    pub fn topic_id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.descriptor.nonce);
        id[8..].copy_from_slice(&self.ino.to_key());
        id
    }

    pub fn partitions(&self) -> u32 {
        self.descriptor.partitions
    }

    pub fn settings(&self) -> &Settings {
        &self.descriptor.settings
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub nonce: [u8; 8],
    pub partitions: u32,
    pub settings: Settings,
}

/// What happens to old records. The numbers are persisted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Cleanup {
    /// They go when they are too old or too many.
    #[default]
    Delete = 1,
    /// Of each key the newest stays. Nothing is deleted by age; compaction itself is not built yet.
    Compact = 2,
    /// Both.
    CompactDelete = 3,
}

impl Cleanup {
    pub fn from_u8(tag: u8) -> Option<Self> {
        [Self::Delete, Self::Compact, Self::CompactDelete].into_iter().find(|cleanup| *cleanup as u8 == tag)
    }

    pub fn deletes(self) -> bool {
        self != Self::Compact
    }
}

/// Whose clock stamps a record. The numbers are persisted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum TimestampType {
    #[default]
    CreateTime = 1,
    LogAppendTime = 2,
}

impl TimestampType {
    pub fn from_u8(tag: u8) -> Option<Self> {
        [Self::CreateTime, Self::LogAppendTime].into_iter().find(|kind| *kind as u8 == tag)
    }
}

/// What was set for a stream; `None` means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Milliseconds that records are kept; -1 for ever. Default: 7 days.
    pub retention_ms: Option<i64>,
    /// Bytes that a partition keeps; all of them if it is negative. Default: all.
    pub retention_bytes: Option<i64>,
    /// Bytes of the largest record batch. Default: 1 MiB and its header.
    pub batch_bytes_max: Option<u32>,
    pub timestamp_type: Option<TimestampType>,
    pub cleanup: Option<Cleanup>,
    /// What has no field here, by Kafka's names: without effect but for the bounds of timestamps, and kept for the
    /// programs that set and read it.
    pub notes: BTreeMap<String, String>,
}

impl Settings {
    pub const RETENTION_MS: i64 = 7 * 24 * 3600 * 1000;
    pub const BATCH_BYTES_MAX: u32 = (1 << 20) + 12;
    pub const TIMESTAMP_AFTER_MAX_MS: i64 = 3600 * 1000;

    pub fn retention_ms(&self) -> i64 {
        self.retention_ms.unwrap_or(Self::RETENTION_MS)
    }

    pub fn retention_bytes(&self) -> i64 {
        self.retention_bytes.unwrap_or(-1)
    }

    pub fn batch_bytes_max(&self) -> usize {
        let own = self.batch_bytes_max.unwrap_or(Self::BATCH_BYTES_MAX);
        usize::try_from(own).unwrap_or(usize::MAX).min(limits::BATCH_BYTES_MAX)
    }

    pub fn timestamp_type(&self) -> TimestampType {
        self.timestamp_type.unwrap_or_default()
    }

    pub fn cleanup(&self) -> Cleanup {
        self.cleanup.unwrap_or_default()
    }

    /// How much older than the server's clock records may be.
    pub fn timestamp_before_max_ms(&self) -> i64 {
        self.note("message.timestamp.before.max.ms").unwrap_or(i64::MAX)
    }

    /// How far ahead of the server's clock records may be. Default: an hour.
    pub fn timestamp_after_max_ms(&self) -> i64 {
        self.note("message.timestamp.after.max.ms").unwrap_or(Self::TIMESTAMP_AFTER_MAX_MS)
    }

    fn note(&self, name: &str) -> Option<i64> {
        self.notes.get(name)?.parse().ok()
    }

    /// Refuses records whose newest is too old or from too far in the future.
    pub(crate) fn check_timestamp(&self, timestamp: i64, now: i64) -> Result<()> {
        let age = now.saturating_sub(timestamp);
        let (max, side) = match age {
            _ if timestamp < 0 => return Ok(()),
            0.. => (self.timestamp_before_max_ms(), "behind"),
            _ => (self.timestamp_after_max_ms(), "ahead of"),
        };
        let allowed = age.saturating_abs() <= max;
        if allowed { Ok(()) } else { Err(Error::InvalidTimestamp { timestamp, now, max, side }) }
    }

    /// Refuses settings that cannot be kept.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |text: &str| Err(Error::InvalidSettings(text.to_owned()));
        if self.retention_ms.is_some_and(|ms| ms < -1) {
            return refuse("a stream cannot keep records for a negative time");
        }
        let notes: usize = self.notes.iter().map(|(name, value)| name.len() + value.len() + 5).sum();
        if notes > limits::NOTES_BYTES_MAX {
            return refuse("the settings are too long");
        }
        Ok(())
    }
}
