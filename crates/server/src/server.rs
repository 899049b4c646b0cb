//! A server from its start to its end.

use crate::{Components, Settings, background, http, limits, volume};
use anyhow::Context;
use ballast_api::Status;
use ballast_runtime::Shutdown;
use ballast_store::Volume;
use ballast_tree::Tree;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::task::TaskTracker;

/// A server that serves. Dropped without [`Server::stop`], it leaves as after a crash: nothing that was
/// acknowledged is lost, and the next start replays the tail of the log.
pub struct Server {
    volume: Arc<dyn Volume>,
    shutdown: Shutdown,
    listeners: TaskTracker,
    jobs: TaskTracker,
    http: SocketAddr,
    status: Arc<http::State>,
}

impl Server {
    /// Opens the volume, the tree and the engines, and serves the listeners. Serving on return.
    ///
    /// `started`: nanoseconds since the epoch at which the process began, for the status.
    pub async fn start(settings: Settings, components: Components, started: i64) -> anyhow::Result<Self> {
        let volume = volume::open(&settings, &components).await?;
        let owner = (settings.identity.caller.uid, settings.identity.caller.gid);
        let Components { clock, metrics, shutdown, listeners, random: _ } = components;
        let tree = Tree::open(Arc::clone(&volume), Arc::clone(&clock), owner).await.context("open the tree")?;

        let jobs = TaskTracker::new();
        background::spawn(background::jobs(&tree), &shutdown, &jobs);

        let tasks = TaskTracker::new();
        let address = |listener: &tokio::net::TcpListener| listener.local_addr();
        let http = address(&listeners.http)?;
        let served = ballast_api::Listeners {
            http: format!("http://{http}"),
            kafka: listeners.kafka.as_ref().map(address).transpose()?.map(|address| address.to_string()),
            postgres: listeners.postgres.as_ref().map(address).transpose()?.map(|address| address.to_string()),
        };
        let serving = clock.now_nanos();
        let status = http::State { tree, clock, metrics, settings, listeners: served, started, serving };
        let status = Arc::new(status);
        tasks.spawn(http::serve(listeners.http, Arc::clone(&status), shutdown.clone()));
        Ok(Self { volume, shutdown, listeners: tasks, jobs, http, status })
    }

    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    pub fn status(&self) -> Status {
        self.status.status()
    }

    /// All metrics in the Prometheus text format.
    pub fn metrics(&self) -> String {
        self.status.metrics.encode()
    }

    /// Returns when the server cannot go on: another one took the volume, or its log failed.
    pub async fn stopped(&self) -> anyhow::Error {
        std::future::pending().await
    }

    /// Ends in the reverse order of the start: the listeners, the engines, the volume. Everything acknowledged
    /// is durable before and after; on return another server may open the volume at once.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.begin();
        for tasks in [&self.listeners, &self.jobs] {
            tasks.close();
            if tokio::time::timeout(limits::SHUTDOWN_GRACE, tasks.wait()).await.is_err() {
                tracing::warn!("some work did not end in time and is cut off");
            }
        }
        self.volume.close().await.context("close the volume")
    }
}
