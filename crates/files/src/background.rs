//! What runs without being asked: dirty files are flushed after a while.

use crate::Files;
use crate::files::NodeRef;
use crate::limits::{FLUSH_AGE, FLUSH_INTERVAL, FLUSHES_AT_ONCE};
use ballast_runtime::Shutdown;
use futures::StreamExt;

impl Files {
    /// Flushes old dirty files every second until the shutdown begins, and all of them then.
    pub async fn background(&self, shutdown: Shutdown) {
        let mut interval = tokio::time::interval(FLUSH_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = interval.tick() => self.tick().await,
                () = shutdown.begun() => break,
            }
        }
        if let Err(error) = self.flush_all().await {
            tracing::error!(%error, "dirty files could not be flushed at the end");
        }
    }

    /// One look: commits what has been dirty for long, and every closed file.
    pub async fn tick(&self) {
        let now = self.now();
        let age = i64::try_from(FLUSH_AGE.as_nanos()).unwrap_or(i64::MAX);
        let due = |node: &NodeRef| {
            let state = node.state.lock();
            let old = state.dirty_since.is_none_or(|since| now.0.saturating_sub(since.0) >= age);
            state.is_dirty() && (old || state.opens == 0)
        };
        let due: Vec<NodeRef> = self.nodes().into_iter().filter(due).collect();
        let flushes = due.into_iter().map(|node| async move {
            if let Err(error) = self.flush_node(&node).await {
                tracing::warn!(ino = %node.ino, %error, "a file could not be flushed; its bytes stay in memory");
            }
        });
        futures::stream::iter(flushes).buffer_unordered(FLUSHES_AT_ONCE).for_each(async |()| {}).await;
    }
}
