//! What a log may be told.

use crate::limits;
use crate::metrics::LogMetrics;
use crate::reserve::Reserve;
use ballast_runtime::Random;
use std::sync::Arc;

/// Who runs the committer of the disk log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drive {
    /// A thread of its own; other blocking calls go to the runtime's threads for them.
    #[default]
    Thread,
    /// A task of the runtime, which makes blocking calls itself: for a simulation, so that a seed replays.
    Task,
    /// The caller, with [`super::Log::round`].
    Manual,
}

/// Sizes, with their reasons in [`limits`]; tests make them small.
#[derive(Clone, Debug)]
pub struct Settings {
    pub file_bytes: u64,
    pub first_file_bytes: u64,
    pub budget_bytes: u64,
    pub group_bytes_max: usize,
    pub flush_bytes: usize,
    pub pending_bytes_max: usize,
    pub puts_in_flight: usize,
    /// Bytes of rows that a restart may have to replay, and bytes of the log before payload settles: for the volume,
    /// the log itself does neither.
    pub tail_bytes_max: u64,
    pub settle_bytes: u64,
    pub drive: Drive,
    /// Of the disk: given up where a file cannot be made for lack of space.
    pub reserve: Option<Arc<Reserve>>,
    pub metrics: LogMetrics,
    /// Gives the writer its nonce.
    pub random: Random,
    /// A planted bug, which the simulation must find.
    #[cfg(test)]
    pub mutant: Option<super::tests::Mutant>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            file_bytes: limits::LOG_FILE_BYTES,
            first_file_bytes: limits::LOG_FIRST_FILE_BYTES,
            budget_bytes: limits::LOG_BUDGET_BYTES,
            group_bytes_max: limits::LOG_GROUP_BYTES_MAX,
            flush_bytes: limits::LOG_FLUSH_BYTES,
            pending_bytes_max: limits::LOG_PENDING_BYTES_MAX,
            puts_in_flight: limits::LOG_PUTS_IN_FLIGHT,
            tail_bytes_max: limits::TAIL_BYTES_MAX,
            settle_bytes: limits::SETTLE_LOG_BYTES,
            drive: Drive::Thread,
            reserve: None,
            metrics: LogMetrics::default(),
            random: Random::from_system(),
            #[cfg(test)]
            mutant: None,
        }
    }
}

impl Settings {
    /// Bytes of an epoch's file with this number.
    pub(super) fn capacity(&self, number: u64) -> u64 {
        let doublings = 2 * number.saturating_sub(1).min(16) as u32;
        self.first_file_bytes.saturating_mul(1 << doublings).min(self.file_bytes)
    }
}
