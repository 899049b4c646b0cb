//! Orderly ends.

use tokio_util::sync::CancellationToken;

/// Tells every part of a process to finish what it does and stop.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn begin(&self) {
        self.0.cancel();
    }

    pub fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns when the shutdown has begun.
    pub async fn begun(&self) {
        self.0.cancelled().await;
    }
}
