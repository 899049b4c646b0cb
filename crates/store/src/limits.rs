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

/// Pieces in which a long object of a local bucket is read: large enough that the hop to a blocking thread is
/// small beside it, small enough that a slow reader holds little.
pub const LOCAL_READ_CHUNK_BYTES: u64 = 4 << 20;

/// Objects of one page of a listing of a local bucket: a few milliseconds on a blocking thread.
pub const LOCAL_LIST_PAGE: usize = 1000;

/// Objects removed together in a local bucket: they share the sync of their directory. As in S3's bulk delete.
pub const LOCAL_DELETE_BATCH_MAX: usize = 1000;

/// Lock files of a local bucket. Writers of different objects seldom meet on one of 64.
pub const LOCAL_LOCKS: u32 = 64;

/// Directories of a local bucket known to be on stable storage; past this, the knowledge is gathered anew.
pub const LOCAL_DIRECTORIES_REMEMBERED_MAX: usize = 10_000;

/// How often a put makes its directory anew when others remove it: each round needs another delete in between.
pub const LOCAL_DIRECTORY_RETRIES_MAX: usize = 32;

/// Directories of dead processes looked at when a local bucket is opened, so that an open stays fast.
pub const LOCAL_SWEEP_MAX: usize = 1000;
