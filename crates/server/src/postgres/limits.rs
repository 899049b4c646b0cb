//! Every bound of the listener, with its reason.

use std::time::Duration;

/// Connections at a time: an idle one costs some kilobytes, a busy one the buffers of a query.
pub const CONNECTIONS_MAX: usize = 4096;

/// Bytes of the first message: a handful of short settings.
pub const STARTUP_BYTES_MAX: usize = 10_000;

/// How long a client may take to say hello, so that half connections do not pile up.
pub const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of one message: the largest statement or row that is taken, with room for its frame.
pub const MESSAGE_BYTES_MAX: usize = 20 << 20;

/// Messages up to this are read without asking; larger ones share `LARGE_BYTES_MAX` with all connections. It is asked for
/// when so much of the message has come: who announces much and sends little holds little.
pub const SMALL_BYTES_MAX: usize = 64 << 10;

/// Bytes of large messages that are read or worked on at once, over all connections.
pub const LARGE_BYTES_MAX: usize = 256 << 20;

/// A message whose next bytes do not arrive for so long is given up with its connection. Between two messages a client may
/// be silent for as long as it likes.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The same for the whole of a large message, which holds memory that others may wait for: 160 KiB/s at least.
pub const LARGE_TIMEOUT: Duration = Duration::from_secs(120);

/// Bytes that are gathered before they are sent: large enough for few system calls, small enough to stream.
pub const WRITE_BUFFER_BYTES: usize = 64 << 10;

/// Buffers larger than this are given back once they are empty.
pub const KEPT_BUFFER_BYTES: usize = 64 << 10;

/// Prepared statements of a connection. Drivers cache some hundreds.
pub const STATEMENTS_MAX: usize = 5_000;

/// Open portals of a connection.
pub const PORTALS_MAX: usize = 1_000;

/// After a failed accept.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
