//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Connections at once. Each costs two tasks and some KB while idle.
pub const CONNECTIONS_MAX: usize = 10_000;

/// Bytes of one request: several record batches of 1 MiB, and one of the largest that the log takes.
pub const REQUEST_BYTES_MAX: usize = 64 << 20;

/// Bytes of a request that carries no records: lists of names, and the shares of a large group.
pub const PLAIN_REQUEST_BYTES_MAX: usize = 16 << 20;

/// Bytes of a request that are not counted: most requests, and the start of large ones. With all connections in the middle
/// of a request this comes to 640 MB.
pub const UNCOUNTED_BYTES: usize = 64 << 10;

/// Bytes of large requests beyond this that are read or worked on at once, over all connections; one request more may be
/// read when they are used up.
pub const LARGE_BYTES_MAX: usize = 192 << 20;

/// Memory that a request gets with its first byte: what the read buffer can hold.
pub const FIRST_RESERVE_BYTES: usize = READ_BUFFER_BYTES;

/// When a request has filled its memory, it gets so many times as much: a client holds at most so many times what it
/// has sent, and a batch of 1 MiB is moved three times, of which one is more than a remapping.
pub const RESERVE_GROWTH: usize = 4;

/// Bytes that are read from a socket at once; larger requests are read straight to their place.
pub const READ_BUFFER_BYTES: usize = 16 << 10;

/// Requests of one connection that are started and not yet answered. Then its socket is not read.
pub const IN_FLIGHT_MAX: usize = 128;

/// Pieces that are handed to the socket in one call: what Linux takes (UIO_MAXIOV).
pub const WRITE_SLICES: usize = 1_024;

/// A connection that sends nothing for so long is closed: Kafka's `connections.max.idle.ms`.
pub const IDLE_MAX: Duration = Duration::from_secs(600);

/// A request whose next bytes do not arrive for so long is given up with its connection.
pub const STALL_MAX: Duration = Duration::from_secs(30);

/// While others wait for memory, a request that holds some must get `PRESSED_BYTES_MIN` in each such time, and so many
/// bytes must be taken of answers that hold some.
pub const PRESSED_INTERVAL: Duration = Duration::from_secs(2);

/// Half a MBit/s.
pub const PRESSED_BYTES_MIN: usize = 128 << 10;

/// An answer that nobody takes for so long is given up with its connection.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(60);

/// How long the connections have to finish when the server stops.
pub const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Entries of one list in a request: each takes up to some hundred bytes in memory, many times its bytes on the wire.
pub const LIST_ENTRIES_MAX: usize = 100_000;

/// Entries of all lists of one request together.
pub const REQUEST_ENTRIES_MAX: usize = 200_000;

/// Bytes of one answer to a fetch, whatever the client allows.
pub const FETCH_BYTES_MAX: usize = 64 << 20;

/// The longest that a fetch waits for more.
pub const FETCH_WAIT_MAX: Duration = Duration::from_secs(300);

/// Memory of an answer while it is put together: a million partitions, more than clusters have, or all configs of
/// 30,000 topics.
pub const ANSWER_MEMORY_MAX: usize = 256 << 20;

/// What an entry of an answer counts in it: structures of the codec have 100 to 250 bytes.
pub const ANSWER_ENTRY_BYTES: usize = 256;

/// Bytes of an answer: librdkafka takes no more (`receive.message.max.bytes`).
pub const ANSWER_BYTES_MAX: usize = 100_000_000;
