//! Every bound of this crate, with its reason.

use std::time::Duration;

/// How long the kernel trusts names and attributes, unless it is told that they changed: the longest time that a
/// change made through another protocol stays unseen in the mount when it cannot be told.
pub const TRUST: Duration = Duration::from_secs(1);

/// Bytes of one write request, and of one read request: the kernel's own default limit (256 pages).
pub const WRITE_BYTES_MAX: u32 = 1 << 20;

/// Threads that take requests from the kernel. They only copy and poll once; two cores are kept busy by two, and
/// one more takes what comes while those answer.
pub const SESSION_THREADS: usize = 3;

/// Read-ahead and asynchronous direct requests in the kernel's queue.
pub const BACKGROUND_REQUESTS_MAX: u16 = 64;

/// Read-ahead of the mount in KiB. FUSE's own handshake allows 128 at most.
pub const READ_AHEAD_KIB: u32 = 4096;

/// How long an unmount waits for those who use the mount, before it takes the mount out of their sight.
pub const UNMOUNT_PATIENCE: Duration = Duration::from_secs(5);

/// How long a start waits for what is mounted at its place to say that it is alive: a server that is only busy has time,
/// and a person who waits is told why.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// How often an unmount tries again within its patience.
pub const UNMOUNT_INTERVAL: Duration = Duration::from_millis(50);

/// How often an unmount looks whether the session's threads have ended: they do so at once.
pub const SESSION_END_INTERVAL: Duration = Duration::from_millis(1);

/// Children of one stream or table that are shown.
pub const VIRTUAL_CHILDREN_MAX: usize = 256;

/// Bytes of an extended attribute's value, as the kernel has it.
pub const ATTRIBUTE_BYTES_MAX: usize = 64 << 10;

/// Dead mounts at one path that are detached. On kernels that put no mount beneath another, each kill of a server adds
/// one until an unmount or the next boot; as many as this are somebody's mistake.
pub const DEAD_MOUNTS_MAX: usize = 4096;

/// Names below a mount that are told: enough to recognise whose they are.
pub const HIDDEN_NAMES_MAX: usize = 8;
