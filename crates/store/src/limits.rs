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

/// Rows, and bytes, of commits that are handed to the index as one batch: by then a batch's own cost is nothing beside
/// that of its rows, and the first of them waits for all.
pub const COMBINED_ROWS_MAX: usize = 4096;
pub const COMBINED_BYTES_MAX: usize = 1 << 20;

/// Bytes of a piece of memory that keys or values of commits share, unless they are longer than a quarter of it. A commit
/// up to this size shares them with others, and is copied under their lock.
pub const ROWS_PIECE_BYTES: usize = 4096;

/// Bytes of a segment: large enough that a cloud's price and latency per request do not matter, small enough
/// that packing one again is quick.
pub const SEGMENT_BYTES_MAX: usize = 16 << 20;

/// Segments of one write that are uploaded at a time.
pub const SEGMENT_PUTS_MAX: usize = 4;

/// Payload that settling holds in memory at a time, unless one row has more.
pub const SETTLE_BYTES: usize = SEGMENT_BYTES_MAX;

/// Rows of one settling transaction: it conflicts with any writer of any of them.
pub const SETTLE_ROWS: usize = 2048;

/// How often in a row none of the last rows of a file may be moved. A writer that changes one gets in between a few
/// times, and takes it out of the file by that.
pub const SETTLE_VAIN_MAX: u32 = 100;

/// Rows that settling looks at to tell how much of a file of the log is still used: some 5 ms, and right to a few
/// percent.
pub const SETTLE_SAMPLE: usize = 256;

/// Segments that were files of the log and are kept open for reading: 8 GiB of what was read of late.
pub const SETTLED_FILES_OPEN_MAX: usize = 128;

/// Rows, and bytes of payload, that one round of collecting moves out of half-empty segments: seconds on a disk, and a
/// minute or so in a far bucket.
pub const PACK_ROWS_MAX: usize = 100_000;
pub const PACK_BYTES_MAX: u64 = 256 << 20;

/// Bytes of a disk that new data may not take, or its share of a smaller disk: room for settling and for the files that
/// the index writes before it removes others.
pub const DISK_KEPT_BYTES: u64 = 512 << 20;
pub const DISK_KEPT_SHARE: u64 = 8;

/// At least these of them, or half of the disk: what is dirty in memory (64 MiB in a server) and what comes between two
/// looks at the disk, on its way through the log to where it stays.
pub const DISK_KEPT_BYTES_MIN: u64 = 192 << 20;

/// Bytes of a disk that the reserve holds back, or its share of a small disk: the first files of a log, what the index
/// writes of a tail, and the rows of a long removal.
pub const DISK_RESERVE_BYTES: u64 = 64 << 20;
pub const DISK_RESERVE_SHARE: u64 = 32;

/// How often it is looked at what a disk has left, while there are writers: in this time they take some 30 MiB.
pub const DISK_LOOK: std::time::Duration = std::time::Duration::from_millis(20);

/// Rows taken from a scan at a time by background work.
pub const SCAN_ROWS: usize = 1024;

/// How long a scan of a cut goes on in the same files of the index. Compaction keeps what it replaces for 15 minutes;
/// to look anew costs 100 µs or more.
pub const SCAN_RENEWED: std::time::Duration = std::time::Duration::from_secs(60);

/// How long an open cut keeps what its rows point at from being removed. Writers wait for it when the log is full,
/// so it is no longer than they can stand still; and at 200 MB/s the log takes as long to fill.
pub const CUT_PAYLOAD_KEPT: std::time::Duration = std::time::Duration::from_secs(5);

/// How often removing a segment looks for cuts that may still read it.
pub const CUT_WAIT: std::time::Duration = std::time::Duration::from_millis(50);

/// Bytes of rows in the log's tail. A restart replays them at 20 to 25 ms a MiB, so this is about 0.2 s; every
/// freeze makes one file of the index, so much less would drown it in small ones.
pub const TAIL_BYTES_MAX: u64 = 8 << 20;

/// Objects of the log's tail where each group is one. A restart reads them one by one; a writer at full rate makes
/// some 200 a second, so much less would make many small files of the index.
pub const TAIL_OBJECTS_MAX: u64 = 1024;

/// How long the index may not have heard that rows are durable, while more come: nothing against the time that writing
/// a file of the index takes, which is what waits for it.
pub const INDEX_UNTOLD: std::time::Duration = std::time::Duration::from_millis(10);

/// Files at the top of the index before compaction must run; SlateDB stops flushing at its own limit below.
pub const INDEX_L0_COMPACT: usize = 4;
/// Never reached while compaction works; high, so that a run of short lives does not let the tail grow.
pub const INDEX_L0_MAX: usize = 64;

/// How often the top of the index is looked at, and how often while a compactor runs.
pub const COMPACTION_INTERVAL: std::time::Duration = std::time::Duration::from_millis(500);
pub const COMPACTOR_INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

/// How long an open waits until the index is in shape, if its top is half full: then it goes on without.
pub const OPEN_COMPACTION_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// How often a compactor says that it lives, and when it is taken for dead, by the clock of whoever looks. What a killed
/// server was compacting waits so long for its successor; meanwhile a writer at full rate makes some four files a second,
/// two thirds of [`INDEX_L0_MAX`] with what was there. Between two signs of life lie a dozen requests: a bucket that takes
/// half a second for each makes a compactor look dead, and it begins its last table again.
pub const COMPACTOR_HEARTBEAT: std::time::Duration = std::time::Duration::from_millis(500);
pub const COMPACTOR_DEAD: std::time::Duration = std::time::Duration::from_secs(8);

/// How long an orderly close waits until its compactor has given up what it was doing.
pub const COMPACTOR_STOP_MAX: std::time::Duration = std::time::Duration::from_secs(1);

/// How long an orderly close waits until the index has written what it holds in memory. The next open replays the rest.
pub const CLOSE_FLUSH_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// How often opening an index is tried when it contradicts itself: each attempt is lost to one more write that a
/// dead server had under way.
pub const INDEX_OPENS_MAX: u32 = 5;

/// Bytes of a part of an index's table that is uploaded in parts: what SlateDB's come in; S3 wants 5 MiB or more, and
/// R2 wants them of one size.
pub const INDEX_PART_BYTES: usize = 10 << 20;

/// Unflushed bytes of one volume's index at which writers wait.
pub const INDEX_UNFLUSHED_BYTES_MAX: usize = 64 << 20;

/// Bytes of the block cache shared by all volumes of a server.
pub const BLOCK_CACHE_BYTES: u64 = 64 << 20;

/// Bytes of the log before settling starts, and how often it is looked at.
pub const SETTLE_LOG_BYTES: u64 = 128 << 20;
/// Files (or objects) of the log before settling starts: only objects come to be that many. A start lists them
/// all, a thousand in a request.
pub const SETTLE_LOG_FILES: usize = 3000;
pub const SETTLE_INTERVAL: std::time::Duration = std::time::Duration::from_millis(500);

/// Collecting runs at most this often, and only where there may be garbage: after rows with payload were written, a
/// snapshot was deleted or the volume was opened.
pub const COLLECT_INTERVAL: std::time::Duration = std::time::Duration::from_secs(30);

/// How often the index's own garbage (old manifests, compacted files) is looked for, and how old it must be.
pub const INDEX_GARBAGE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(60);
pub const INDEX_GARBAGE_AGE: std::time::Duration = std::time::Duration::from_secs(120);

/// Characters of a snapshot's name.
pub const SNAPSHOT_NAME_MAX: usize = 100;

/// Problems that a check reports before it only counts on: a person reads them.
pub const FSCK_PROBLEMS_MAX: usize = 1000;
/// Pieces in which a long object of a local bucket is read: large enough that the hop to a blocking thread is
/// small beside it, small enough that a slow reader holds little.
pub const LOCAL_READ_CHUNK_BYTES: u64 = 4 << 20;

/// Objects of one page of a listing of a local bucket: a few milliseconds on a blocking thread.
pub const LOCAL_LIST_PAGE: usize = 1000;

/// Objects removed together in a local bucket: they share the sync of their directory. As in S3's bulk delete.
pub const LOCAL_DELETE_BATCH_MAX: usize = 1000;

/// Directories of a local bucket known to be on stable storage; past this, the knowledge is gathered anew.
pub const LOCAL_DIRECTORIES_REMEMBERED_MAX: usize = 10_000;

/// How often a put makes its directory anew when others remove it: each round needs another delete in between.
pub const LOCAL_DIRECTORY_RETRIES_MAX: usize = 32;

/// Directories of dead processes looked at when a local bucket is opened, so that an open stays fast.
pub const LOCAL_SWEEP_MAX: usize = 1000;

/// Bytes of a file of the log on disk. Large enough that a new one is rare (one a tenth of a second at the
/// disk's full rate), small enough that settling frees space in steps of one sixteenth of the budget.
pub const LOG_FILE_BYTES: u64 = 64 << 20;

/// Bytes of the first file of an epoch; each next one is four times as large, up to [`LOG_FILE_BYTES`]. A file
/// is written with zeros before it is used, so this bounds what opening a volume writes.
pub const LOG_FIRST_FILE_BYTES: u64 = 1 << 20;

/// A file of the log takes at most one part in so many of what the disk has left before it is written to.
pub const LOG_AHEAD_SHARE: u64 = 4;

/// If the groups of a file are this large on average, the next file is not written with zeros before it is used.
pub const LOG_LARGE_GROUP_BYTES: u64 = 128 << 10;

/// Files of the log kept to be used again. Settling frees up to two at a time, and a third may be asked for before
/// the next round; more would only take space.
pub const LOG_FREE_FILES_MAX: usize = 3;

/// Bytes of the log on disk before writers have to wait for settling: 16 full files, a second or two of
/// writing at full rate.
pub const LOG_BUDGET_BYTES: u64 = 1 << 30;

/// Commits of rows alone wait when the log is over its budget by one part of it in this many: some seconds of them.
pub const LOG_RESERVE: u64 = 4;

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

/// A waiter writes a group itself, on its own thread, if a write took less than this many microseconds of late and
/// the group is no larger than this: then waking another thread and being woken by it would take as long.
pub const LOG_LEAD_MICROS: u64 = 300;
pub const LOG_LEAD_BYTES: u64 = 128 << 10;

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

/// Bytes of a superblock or lease: they have less than 1 KiB; more is something else's object.
pub const RECORD_BYTES_MAX: u64 = 64 << 10;

/// How long a lease is valid after the sending of its last renewal. A crashed server's successor on another machine
/// waits as long; a bucket that does not answer for as long stops reads.
pub const LEASE_TIME_TO_LIVE: std::time::Duration = std::time::Duration::from_secs(15);

/// Renewals in a time to live: two may fail before the lease runs out.
pub const LEASE_RENEWALS_PER_LIFE: u32 = 3;

/// Looks at the bucket in a time to live, while waiting for another server.
pub const LEASE_POLLS_PER_LIFE: u32 = 30;

/// How long an operation waits for a lease that could not be renewed in time, and how often it looks: as long as
/// clients wait for an answer before they give up.
pub const LEASE_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(30);
pub const LEASE_WAIT_STEP: std::time::Duration = std::time::Duration::from_millis(50);

/// How long closing the index may take, and all of closing a volume whose log has stopped.
pub const INDEX_CLOSE_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Times to live that old entries of the lease are kept: no create may be under way for longer.
pub const LEASE_KEPT_LIVES: u32 = 10;

/// Old entries of the lease looked at by a taking, so that it stays fast after a crash loop.
pub const LEASE_SWEEP_MAX: usize = 200;

/// How often a taking starts again because another server was faster.
pub const LEASE_RACES_MAX: usize = 16;

/// How far apart two machines' clocks may be: the clouds refuse requests from clocks 15 minutes off, either way.
pub const CLOCKS_DIFFER_MAX: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// How far this machine's clock may be from the bucket's. SlateDB collects files that are 5 minutes old by comparing
/// the two, so that a tenth of that leaves a wide margin.
pub const CLOCK_SKEW_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// Bytes of a profile file of the AWS tools that are read: people have a few KiB.
pub const PROFILE_BYTES_MAX: u64 = 1 << 20;

/// One request to a cloud's bucket: the largest moves some 16 MiB, which takes this long at 2 Mbit/s.
pub const BUCKET_REQUEST_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// Connecting to a cloud's bucket: a tenth of this is usual between continents.
pub const BUCKET_CONNECT_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// How often a request is repeated after an error that may pass, within [`BUCKET_RETRY_TIME_MAX`].
pub const BUCKET_RETRIES_MAX: usize = 6;

/// After this time an error is reported instead of trying again: callers have their own, longer patience.
pub const BUCKET_RETRY_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// The first pause before a request is repeated; it doubles each time.
pub const BUCKET_RETRY_FIRST: std::time::Duration = std::time::Duration::from_millis(50);

/// The longest such pause.
pub const BUCKET_RETRY_PAUSE_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Payloads that are copied for a snapshot at a time, [`SETTLE_BYTES`] in all: each is a row of one commit.
pub const RESCUE_PAYLOADS: usize = 256;

/// How long one PUT of the object log may take, beside what its bytes and those beside it take at 2 Mbit/s and up to
/// [`BUCKET_REQUEST_TIME_MAX`]; how often it is tried, and how much longer the pause becomes with each attempt: about two
/// minutes in all for small groups, ten for the largest. After that the log stops, and the server opens it again. A bucket
/// that is dead costs the lease first; and a late object has its place, however late it is.
pub const LOG_PUT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
pub const LOG_PUT_BYTES_PER_SECOND: u64 = 250_000;
pub const LOG_PUT_ATTEMPTS: u32 = 10;
pub const LOG_PUT_RETRY: std::time::Duration = std::time::Duration::from_millis(200);

/// How often opening a log of objects tries to get its fence in, before it says that the earlier writer does
/// not stop; each attempt is lost to one more group of that writer.
pub const LOG_FENCE_ATTEMPTS: usize = 100;

/// Objects of the log that are read at a time: [`TAIL_OBJECTS_MAX`] of them at 30 ms each take half a second.
pub const LOG_GETS_IN_FLIGHT: usize = 64;

/// Objects of the log that are removed at a time: at 30 ms each, more than writers make.
pub const LOG_REMOVES_IN_FLIGHT: usize = 16;

/// How long after a file of the log could not be removed this is tried again: it takes space alone, and may need a
/// person.
pub const LOG_REMOVE_RETRY: std::time::Duration = std::time::Duration::from_secs(60);

/// How many of those are tried again in one round of settling, which waits for them.
pub const LOG_REMOVE_RETRIES: usize = 64;

/// Objects of the log up to this size are read whole: a second request costs more than these bytes.
pub const LOG_SMALL_OBJECT_BYTES: u64 = 256 << 10;

/// Bytes from which a write goes past the system's cache, and begins and ends at pages: a page more or less is little
/// beside them. Their pages are used again at once: filling a file through the cache costs a fresh page for each of its
/// own, several times the copy where a hypervisor has to find it, and drives out what somebody may read.
pub const PAGED_BYTES_MIN: u64 = 32 << 10;

/// Bytes of one write past the system's cache: the disk begins with the first while the next is copied.
pub const UNCACHED_STEP_BYTES: usize = 512 << 10;

/// Zeros are written in steps of this many bytes, and each step is waited for, so that a sync of the log that runs at
/// the same time waits for one at most.
pub const ZERO_STEP_BYTES: usize = 1 << 20;
