//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Bytes of a block of a file: one row of the index describes it. Large enough that a sequential file costs
/// one row per 128 KiB, small enough that the CRC of one payload is checked in some 10 µs.
pub const BLOCK_BYTES: u64 = 128 << 10;

/// Pieces of one block. 32 is what 4 KiB writes all over a block leave; more means smaller writes, and then the
/// block is written anew as one payload, so that its row stays below 2 KiB.
pub const PIECES_MAX: usize = 32;

/// Bytes of a file that lives in its inode: one row, one read. SQLite's page (4 KiB) is already too much to be
/// rewritten with every change of the inode.
pub const INLINE_BYTES_MAX: u64 = 2 << 10;

/// Bytes of the largest file: offsets stay far away from the end of `i64`, whatever is added to them.
pub const FILE_BYTES_MAX: u64 = 1 << 50;

/// Consecutive dirty bytes that go into a segment, past the log, when they are flushed: below, a PUT of its own
/// costs more than writing the bytes twice.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 20;

/// Bytes handed to one `write_segment`: bounds what one flush holds twice.
pub const SEGMENT_BYTES_MAX: u64 = 32 << 20;

/// Dirty bytes of one file at which a flush starts in the background, so that an fsync finds little left to do.
pub const FLUSH_START_BYTES: usize = 8 << 20;

/// Dirty bytes of one file at which its writers wait for the flush.
pub const FLUSH_WAIT_BYTES: usize = 32 << 20;

/// How long a stop waits for files of which nothing more is written: what waits for room in a bucket that has none would
/// wait for ever. More than the largest flush takes at some MB/s.
pub const FLUSH_STALL_MAX: Duration = Duration::from_secs(20);

/// Times that a file's attributes are read while it is being committed. A commit takes far longer than a look into
/// memory: the second is right, unless the machine stands still in between; the last is taken as it is.
pub const ATTRIBUTE_READS_MAX: u32 = 16;

/// Dirty extents of one file at which its writers wait: bounds the map that holds them.
pub const EXTENTS_MAX: usize = 16 << 10;

/// Dirty bytes of all files together; see `Settings`.
pub const DIRTY_BYTES_MAX: usize = 256 << 20;

/// Bytes of clean content kept in memory. The kernel's page cache is the first level; this one serves reads
/// that need a part of a larger payload, and read-ahead.
pub const CONTENT_CACHE_BYTES: usize = 64 << 20;

/// Bytes of cached block rows: some 100,000 blocks, or 12 GiB of sequential files.
pub const ROW_CACHE_BYTES: usize = 16 << 20;

/// Payload reads under way for one read.
pub const READS_AT_ONCE: usize = 16;

/// Bytes read ahead of a sequential reader. The kernel asks up to 4 MiB ahead itself; this covers the latency
/// of an object store.
pub const READ_AHEAD_BYTES: u64 = 8 << 20;

/// Rows deleted in one commit: a batch is one record of the log and is replayed whole.
pub const DELETES_PER_COMMIT: usize = 10_000;

/// Rows asked of a scan at once.
pub const SCAN_ROWS: usize = 1_000;

/// Rows asked of a scan at first: who looks for the next hole has found it in most files.
pub const SCAN_ROWS_FIRST: usize = 8;

/// Files whose cached rows were forgotten since the last time all were: bounds the map that remembers it.
pub const EPOCHS_MAX: usize = 64 << 10;

/// Attempts to catch payload that keeps moving. Each settling round moves a payload once.
pub const MOVED_RETRIES_MAX: usize = 16;

/// Dirty bytes of an open file are written after this time at the latest, as ext4 and XFS do.
pub const FLUSH_AGE: Duration = Duration::from_secs(5);

/// How often the background looks for files to flush. What a close left dirty is flushed by the next look.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Files flushed at once in the background.
pub const FLUSHES_AT_ONCE: usize = 8;

/// Locks of one inode, of both sorts.
pub const LOCKS_PER_INODE_MAX: usize = 64 << 10;

/// Bytes that one call of copy_file_range copies. The caller asks again for the rest.
pub const COPY_BYTES_MAX: u64 = 16 << 20;
