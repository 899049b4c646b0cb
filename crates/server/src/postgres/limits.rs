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
