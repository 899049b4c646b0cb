//! Every bound of this crate, with its reason.

/// Bytes of a row's key. SlateDB holds keys up to 65,535 bytes; names have at most 255 and primary keys are
/// checked by their engine, so 4 KiB leaves room and keeps blocks small.
pub const KEY_BYTES_MAX: usize = 4096;

/// Bytes of a row's value. Larger values belong into payload: the index copies values at every compaction.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Bytes of one payload: it is checked by one CRC and therefore read whole.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// Pointers of one row.
pub const POINTERS_MAX: usize = 4096;

/// Rows of one batch: it is one record of the log and is replayed whole.
pub const BATCH_ROWS_MAX: usize = 100_000;

/// Bytes of one batch, keys and values.
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// Bytes of a file of the log on disk. Large enough that a new one is rare (one a tenth of a second at the
/// disk's full rate), small enough that settling frees space in steps of one sixteenth of the budget.
pub const LOG_FILE_BYTES: u64 = 64 << 20;

/// Bytes of the first file of an epoch; each next one is four times as large, up to [`LOG_FILE_BYTES`]. A file
/// is written with zeros before it is used, so this bounds what opening a volume writes.
pub const LOG_FIRST_FILE_BYTES: u64 = 1 << 20;

/// Bytes of the log on disk before writers have to wait for settling: 16 full files, a second or two of
/// writing at full rate.
pub const LOG_BUDGET_BYTES: u64 = 1 << 30;

/// Bytes of a group, unless one record alone is larger. More does not write faster (the bare disk reaches its
/// rate at 1 MiB), and the first waiter of a group waits for all of it.
pub const LOG_GROUP_BYTES_MAX: usize = 8 << 20;

/// Bytes gathered that are written although nobody waits for them.
pub const LOG_FLUSH_BYTES: usize = 4 << 20;

/// Bytes in memory that are not durable yet, before writers have to wait: a few groups, so that one can gather
/// while others are written.
pub const LOG_PENDING_BYTES_MAX: usize = 32 << 20;

/// A writer that does not ask for room is refused at this many times [`LOG_PENDING_BYTES_MAX`].
pub const LOG_OVERFULL: u64 = 8;

/// How long rows lie in memory when nobody waits for them: what a crash may take of writes nobody asked to be
/// durable.
pub const LOG_UNWAITED: std::time::Duration = std::time::Duration::from_millis(100);

/// Payload parts shorter than this are copied together; longer ones are written from where they are. Copying
/// 4 KiB costs about as much as one more part of a vectored write.
pub const LOG_COPY_BYTES_MAX: usize = 4096;

/// Conditional PUTs of the object log under way at once: with one round trip of 20 to 50 ms each, 80 to 200
/// groups a second.
pub const LOG_PUTS_IN_FLIGHT: usize = 4;

/// Numbers that a new epoch of the object log leaves free behind its fence: more than a fenced writer can still
/// have under way, so that none of its late objects takes a number of the new epoch.
pub const LOG_FENCE_GAP: u64 = 64;

/// Records, and bytes of rows, that replay hands out at once.
pub const REPLAY_RECORDS: usize = 1000;
pub const REPLAY_BYTES: usize = 1 << 20;
