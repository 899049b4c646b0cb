//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Numbers of inodes that one write of the counter reserves. A crash wastes at most two blocks; one durable
/// commit per 4096 creates costs nothing that could be measured.
pub const INO_BLOCK: u64 = 4096;

/// Names of one inode: the most that a signed 32-bit `st_nlink` shows.
pub const LINKS_MAX: u32 = i32::MAX as u32;

/// As XATTR_NAME_MAX of Linux.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 255;

/// As XATTR_SIZE_MAX of Linux.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 64 << 10;

/// Extended attributes of one inode: with names of full length, their list has the 64 KiB that Linux allows.
pub const ATTRIBUTES_MAX: u32 = 256;

/// Bytes of an inode's descriptor. It is copied by every change of the inode, so what is larger is content.
pub const DESCRIPTOR_BYTES_MAX: usize = 128 << 10;

/// Locks of one tree. An inode's lock is one of them by its number; 1,000 operations under way seldom meet by
/// accident, and the table is 64 KiB.
pub const LOCKS: usize = 1024;

/// Locks for reading directories whole: so many are read at the same time.
pub const FILLING_LOCKS: usize = 32;

/// How often an operation starts again because the names it was about to lock changed meanwhile. Each time
/// somebody else has made progress, so that this is reached by a defect only.
pub const ATTEMPTS_MAX: usize = 10_000;

/// Directories above each other: a path of 4096 bytes has at most 2048 names. A longer walk upwards is a cycle
/// in stored rows or a tree that was built relative to open directories, as POSIX allows.
pub const DEPTH_MAX: usize = 1 << 20;

/// Rows of one step of a scan.
pub const SCAN_ROWS: usize = 1024;

/// Inodes known to wait for [`crate::Tree::reap`]. Beyond it the next reap scans for them.
pub const REAP_QUEUE_MAX: usize = 64 << 10;

/// Default budget of a tree's caches: the inodes of 100,000 files, or as many entries.
pub const CACHE_BYTES: usize = 64 << 20;

/// Parts of the cache that are locked on their own, so that readers on different cores seldom meet.
pub const CACHE_SHARDS: usize = 64;

/// One directory takes at most the budget divided by this. A larger one is read from the volume, name by name
/// or page by page.
pub const CACHE_DIRECTORY_SHARE: usize = 4;

/// What an inode takes in memory besides name and descriptor: the struct, its counters and its slot.
pub const INODE_CACHE_BYTES: usize = 320;

/// What an entry takes in memory besides its name: its share of the map's nodes, the name's allocation, and its
/// place in the listing.
pub const ENTRY_CACHE_BYTES: usize = 176;

/// What a slot of the cache takes by itself.
pub const SLOT_CACHE_BYTES: usize = 128;

/// A directory with at most so many entries is read whole when the first name in it is asked for: a scan of
/// them costs no more than a few single reads.
pub const FILL_AT_ONCE_ENTRIES: u64 = 64;

/// A larger one is read whole when single reads have cost as much: one read costs as many entries of a scan.
pub const FILL_ENTRIES_PER_GET: u64 = 4;

/// Inodes whose times were touched in memory only. Beyond it a touch is written at once.
pub const TOUCHED_MAX: usize = 4096;

/// Changes that a subscriber may lag behind before it misses some. A mount reads them as they come.
pub const CHANGES_MAX: usize = 4096;

/// How long a change waits for a follower to deal with it. A mount's kernel trusts its copies no longer than this.
pub const FOLLOW_WAIT: Duration = Duration::from_secs(1);

/// Inode numbers that lie at most so far apart are read by one scan: a row that is skipped costs a tenth of a
/// read of its own.
pub const SCAN_GAP_MAX: u64 = 8;

/// Inodes that are worth a scan: its start costs as much as so many single reads.
pub const SCAN_RUN_MIN: usize = 8;
