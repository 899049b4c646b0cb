//! The nouns of the API. Every field is snake case; sizes are bytes, instants are RFC 3339 in UTC.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a server does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub process: u32,
    /// Since when it serves.
    pub started: String,
    pub uptime_seconds: f64,
    /// From the start of the process to the moment from which it served.
    pub start_seconds: f64,
    pub bucket: String,
    /// Where the tree is mounted, if it is.
    pub mount: Option<String>,
    pub listeners: Listeners,
    pub volume: Volume,
    /// By kind: `files`, `streams`, `tables`.
    pub activity: BTreeMap<String, Activity>,
    pub resident_bytes: u64,
}

/// The addresses that are served; `None` where a listener is off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listeners {
    pub http: String,
    pub kafka: Option<String>,
    pub postgres: Option<String>,
}

/// A volume and its log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The end of the log, and how far of it is on stable storage.
    pub position: u64,
    pub durable_position: u64,
    pub log_bytes: u64,
    pub log_files: u64,
    /// Bytes of rows that a restart would replay.
    pub tail_bytes: u64,
    pub segments: u64,
    pub segment_bytes: u64,
    pub index_bytes: u64,
}

/// What one kind has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    pub operations: u64,
    pub bytes: u64,
}

/// One inode under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Percent-encoded where it is not plain; see [`crate::routes::encode_path`].
    pub path: String,
    /// The last name of the path, as text.
    pub name: String,
    pub kind: String,
    pub inode: u64,
    /// Permission bits in octal, four digits.
    pub mode: String,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    /// Bytes of a file, of a stream's record batches, of the keys and values of a table; entries of a directory.
    pub size: u64,
    /// A stream or a table holds more than `size`: it was read in part, so that the answer comes at once. [`Usage`]
    /// measures it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub size_is_partial: bool,
    pub accessed: String,
    pub modified: String,
    pub changed: String,
    pub created: String,
    /// What the kind adds, such as `partitions` of a stream or `target` of a symlink.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

/// A part of a directory's entries in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// Pass this as `after` to get what follows; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// The space used below a path, or the part of it that one request found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub files: Used,
    pub streams: Used,
    pub tables: Used,
    /// Pass this as `after` to get what follows; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// How many there are of a kind, and what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    pub count: u64,
    pub bytes: u64,
}

impl Used {
    pub fn add(&mut self, more: Used) {
        self.count += more.count;
        self.bytes += more.bytes;
    }
}

/// Makes a directory, a stream or a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    pub path: String,
    /// `directory`, `stream` or `table`.
    pub kind: String,
    /// Make missing directories on the way.
    #[serde(default)]
    pub parents: bool,
    /// Of a stream; 1 if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// Of a table: what stands between the parentheses of CREATE TABLE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<String>,
}

/// Removes a name and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    pub path: String,
    /// Also the content of a directory.
    #[serde(default)]
    pub recursive: bool,
    /// Also streams and tables below the directory; without it, finding one refuses the removal.
    #[serde(default)]
    pub drop: bool,
}

/// What a removal removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub entries: u64,
}

/// A named snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub name: String,
    pub created: String,
    pub position: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshots {
    pub snapshots: Vec<Snapshot>,
}

/// Names the snapshot to make or to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotName {
    pub name: String,
}
