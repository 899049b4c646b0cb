//! Every bound of the command, with its reason.

use std::time::Duration;

/// How long a start waits for an address that is in use. A server that was killed keeps its listeners until the system has
/// taken back its memory and ended its mount, which is some hundred milliseconds; who starts a second server by mistake
/// hears of it soon.
pub const BIND_PATIENCE: Duration = Duration::from_secs(2);

/// How often it tries again meanwhile.
pub const BIND_INTERVAL: Duration = Duration::from_millis(50);
