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
