//! Every periodic job of the server, in one place: its name, its interval, and one tick of it.
//!
//! A job never runs twice at a time and never ends because one tick failed: the failure is logged, and the
//! next tick tries again.

use crate::Engines;
use ballast_runtime::Shutdown;
use ballast_streams::Streams;
use ballast_streams::background::retention;
use ballast_tree::Tree;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// The first rest after a failure; each further failure doubles it.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

type Wait = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;
type Tick = Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// One job.
pub struct Job {
    pub name: &'static str,
    /// The longest time between the end of a tick and the start of the next.
    pub interval: Duration,
    /// Wakes the job before its interval is over.
    pub woken: Option<Wait>,
    pub tick: Tick,
}

/// The jobs of a server.
pub fn jobs(engines: &Engines) -> Vec<Job> {
    vec![reap(&engines.tree), retain(&engines.streams)]
}

/// Empties inodes that lost their last name and their last user.
fn reap(tree: &Tree) -> Job {
    let (waiting, ticking) = (tree.clone(), tree.clone());
    Job {
        name: "reap",
        interval: Duration::from_secs(30),
        woken: Some(Arc::new(move || {
            let tree = waiting.clone();
            Box::pin(async move { tree.reapable().await })
        })),
        tick: Arc::new(move || {
            let tree = ticking.clone();
            Box::pin(async move {
                let reaped = tree.reap().await?;
                tracing::debug!(reaped, "inodes emptied");
                Ok(())
            })
        }),
    }
}

/// Removes records that are older or more than their stream keeps.
fn retain(streams: &Streams) -> Job {
    let streams = streams.clone();
    Job {
        name: "retain",
        interval: retention::INTERVAL,
        woken: None,
        tick: Arc::new(move || {
            let streams = streams.clone();
            Box::pin(async move {
                // A tick is bounded; what is left is taken up at once.
                while !streams.retain().await?.complete {}
                Ok(())
            })
        }),
    }
}

/// Runs the jobs until the shutdown begins.
pub fn spawn(jobs: Vec<Job>, shutdown: &Shutdown, tasks: &TaskTracker) {
    for job in jobs {
        let shutdown = shutdown.clone();
        tasks.spawn(async move {
            let mut failures = 0;
            loop {
                let woken = async {
                    match &job.woken {
                        Some(woken) => woken().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = shutdown.begun() => return,
                    () = woken => {}
                    () = tokio::time::sleep(job.interval) => {}
                }
                match (job.tick)().await {
                    Ok(()) => failures = 0,
                    Err(error) => {
                        tracing::warn!(job = job.name, error = format!("{error:#}"), "a background job failed");
                        tokio::select! {
                            () = shutdown.begun() => return,
                            () = tokio::time::sleep(pause(failures, job.interval)) => {}
                        }
                        failures = failures.saturating_add(1);
                    }
                }
            }
        });
    }
}

/// How long a job rests after so many failures in a row: what it cannot do may wake it at once, and it must not spin.
fn pause(failures: u32, interval: Duration) -> Duration {
    RETRY_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(interval.max(RETRY_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_keeps_failing_rests_longer_up_to_its_interval() {
        let pauses = [0, 1, 2, 10, u32::MAX].map(|failures| pause(failures, Duration::from_secs(30)).as_secs());
        assert_eq!(pauses, [1, 2, 4, 30, 30]);
    }
}
