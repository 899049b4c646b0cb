//! Every bound of this crate, with its reason.

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
