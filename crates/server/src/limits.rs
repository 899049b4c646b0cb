//! Every bound of the server, with its reason.

use std::time::Duration;

/// Connections of the HTTP listener at a time. Each costs some 10 KB when idle; a thousand idle ones must not
/// keep the next caller out.
pub const HTTP_CONNECTIONS_MAX: usize = 4096;

/// Header lines of a request. Browsers send about 20.
pub const HTTP_HEADERS_MAX: usize = 64;

/// Bytes of a request's line and headers. A path of 4,096 bytes may take three times as much when it is encoded,
/// and twice that again inside a query.
pub const HTTP_HEADER_BYTES_MAX: usize = 64 << 10;

/// Bytes of a request's body. The largest is the columns of a table.
pub const HTTP_BODY_BYTES_MAX: usize = 1 << 20;

/// How long a connection may take to send the head of its next request, be it idle or slow.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a request may take from its head to its answer; the client gives up a little later.
pub const HTTP_REQUEST_TIMEOUT: Duration = Duration::from_secs(110);

/// Entries of one page of a listing: about 400 KB of JSON.
pub const LIST_ENTRIES_MAX: usize = 1000;

/// Rows that one request reads to measure the space below a path: some 100 ms at 10 µs each, so that a tree of any size
/// is many short requests.
pub const USAGE_ROWS_MAX: u64 = 10_000;

/// Rows that one listing, or one `stat`, reads to tell the sizes of streams and tables: as many, so that it answers in
/// some 100 ms whatever is in them. What is larger is told as a part.
pub const SIZE_ROWS_MAX: u64 = USAGE_ROWS_MAX;

/// Entries of a directory that are held while what lies below them is measured: each directory on the way holds as many.
pub const USAGE_ENTRIES_MAX: usize = 100;

/// Entries that one recursive removal removes. What is larger is removed in several requests.
pub const REMOVE_ENTRIES_MAX: u64 = 1_000_000;

/// Entries of a directory that a recursive removal looks at together. For each directory in it, the one above is looked
/// at once more.
pub const REMOVE_PAGE: usize = 64;

/// Directories below each other that a recursive removal enters: as many as a path can name.
pub const REMOVE_DEPTH_MAX: usize = 2048;

/// How long open requests may go on after a shutdown has begun. After it they are cut off: whoever was not
/// answered must assume nothing.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How often the server looks whether its volume still answers: how long a server that lost it may go on.
pub const VOLUME_CHECK_INTERVAL: Duration = Duration::from_millis(500);
