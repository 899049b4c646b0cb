//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Partitions of one stream. A client asks about all of them in one request; more parallelism than this on one
/// stream wants several streams.
pub const PARTITIONS_MAX: u32 = 10_000;

/// Bytes of one record batch, whatever the stream's own limit says: it must fit one payload of the log.
pub const BATCH_BYTES_MAX: usize = 15 << 20;

/// Record batches in one append to one partition: each costs an entry in memory.
pub const BATCHES_MAX: usize = 10_000;

/// Partitions in one append: they are locked together.
pub const APPEND_PARTITIONS_MAX: usize = 10_000;

/// Bytes of settings that are kept but have no effect: they lie in the inode, which is read all the time.
pub const NOTES_BYTES_MAX: usize = 8 << 10;

/// Partitions whose state is in memory, about 1 KB each. Others are loaded when they are used.
pub const PARTITIONS_LOADED_MAX: usize = 50_000;

/// Producers of one partition in memory, about 150 bytes each. Others are read from their rows when they write.
pub const PRODUCERS_CACHED_MAX: usize = 1_000;

/// Batches of a producer that are remembered, so that a repeated one is recognised: what Kafka's clients have in
/// flight at most.
pub const PRODUCER_BATCHES: usize = 5;

/// A producer that has been silent for so long is forgotten: Kafka's `producer.id.expiration.ms`.
pub const PRODUCER_EXPIRY: Duration = Duration::from_secs(24 * 3600);

/// Producer ids that are reserved with one commit.
pub const PRODUCER_ID_BLOCK: u64 = 1_000;

/// Bodies smaller than this are copied beside their header: one allocation and one slice to send are cheaper
/// than two, and the producer's request is not kept in memory for a few bytes.
pub const SMALL_BATCH_BYTES: usize = 4 << 10;

/// Batches are slices of the request that brought them, and keep all of it in memory. Where that is more than so many
/// times their bytes, they are copied out of it.
pub const REQUEST_KEPT_TIMES: usize = 2;

/// Memory that an entry of the tail costs beside its bytes.
pub const TAIL_ENTRY_OVERHEAD: usize = 256;

/// Index rows read at once when looking for one.
pub const SCAN_ROWS: usize = 64;

/// Index rows read at once for a fetch: a MiB of small appends has a thousand.
pub const FETCH_ROWS: usize = 256;

/// A fetch waits for so much memory, and then makes do with what there is: a record batch of the usual largest size.
pub const FETCH_SHARE_MIN: usize = 1 << 20;

/// Payloads that one fetch reads at the same time.
pub const READS_IN_FLIGHT: usize = 16;

/// Answers that are read ahead, for as many readers that are catching up, and bytes of each: 64 MiB in all.
pub const READS_AHEAD_MAX: usize = 32;
pub const READ_AHEAD_BYTES: usize = 2 << 20;

/// Bytes of the appends that hold them: nothing is read ahead of appends so large that there would be more.
pub const READ_AHEAD_ROWS_BYTES: usize = 2 * READ_AHEAD_BYTES;

/// A fetch of fewer bytes starts no read ahead: what was read for a small answer would cut a larger one short.
pub const READ_AHEAD_FROM_BYTES: usize = 64 << 10;

/// How often a read that found its payload moved starts again: settling moves a payload once.
pub const MOVED_RETRIES: usize = 8;

/// How often an append starts again because its partition was unloaded meanwhile.
pub const RELOAD_RETRIES: usize = 8;

/// Rows that are deleted with one commit when a stream is dropped or shortened.
pub const DELETE_ROWS: usize = 1_000;

/// Directories and streams that are looked up for one name, however many ways there are to cut it at its dots.
pub const NAME_LOOKUPS_MAX: usize = 64;

/// Streams in one listing.
pub const LIST_MAX: usize = 100_000;

/// Partitions that one tick of retention looks at: it goes on where it stopped.
pub const RETENTION_PARTITIONS: usize = 1_000;

/// Bytes of a group's name: it is part of a key.
pub const GROUP_NAME_BYTES_MAX: usize = 1_024;

/// Bytes of the text that a client keeps with a committed offset: Kafka's `offset.metadata.max.bytes`.
pub const OFFSET_METADATA_BYTES_MAX: usize = 4_096;

/// Groups in memory, some KB each.
pub const GROUPS_MAX: usize = 20_000;

/// Locks that all groups share, each by its name: enough that the removal of one seldom holds up commits of others.
pub const GROUP_LOCKS: usize = 64;

/// Members of one group: a rebalance sends every member's metadata to the leader.
pub const GROUP_MEMBERS_MAX: usize = 5_000;

/// Bytes of each name that a member brings; its id is its client's name and 37 bytes more. They stand in answers behind a
/// length of two bytes, and the protocol's type in the group's row.
pub const MEMBER_NAME_BYTES_MAX: usize = 1_024;

/// Ways of sharing that a member knows: clients have four, and a vote compares those of all members.
pub const MEMBER_PROTOCOLS_MAX: usize = 50;

/// Bytes of metadata of all members of a group, and of all their assignments.
pub const GROUP_BYTES_MAX: usize = 16 << 20;

/// Session timeouts that a member may ask for: Kafka's bounds.
pub const SESSION_TIMEOUT_MIN_MS: i64 = 100;
pub const SESSION_TIMEOUT_MAX_MS: i64 = 1_800_000;

/// The offsets of a group without members are kept for so long: Kafka's `offsets.retention.minutes`.
pub const OFFSETS_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// The age at which an offset of a group with members counts as new again. A day less is kept then, at most, of a group
/// that loses its members.
pub const OFFSETS_REFRESH: Duration = Duration::from_secs(24 * 3600);
