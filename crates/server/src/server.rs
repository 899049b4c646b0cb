//! A server from its start to its end.
//!
//! The start goes up the layers: volume, tree, engines, background jobs, listeners, mount. The end goes down
//! them again: the mount first, so that what programs wrote comes in, the volume last.

use crate::engines::{Budget, Engines};
use crate::{Components, Settings, advised, background, http, limits, mount, postgres, volume};
use anyhow::Context;
use ballast_api::Status;
use ballast_fuse::Mount;
use ballast_kafka::Kafka;
use ballast_runtime::Shutdown;
use ballast_tree::Tree;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// A server that serves. Dropped without [`Server::stop`], it leaves as after a crash: nothing that was
/// acknowledged is lost, and the next start replays the tail of the log.
pub struct Server {
    opened: volume::Opened,
    engines: Engines,
    shutdown: Shutdown,
    mount: Option<Mount>,
    listeners: TaskTracker,
    jobs: TaskTracker,
    http: SocketAddr,
    state: Arc<http::State>,
}

impl Server {
    /// Opens the volume, the tree and the engines, and serves the listeners and the mount. Serving on return.
    ///
    /// `started`: nanoseconds since the epoch at which the process began, for the status.
    pub async fn start(settings: Settings, components: Components, started: i64) -> anyhow::Result<Self> {
        let opener = volume::Opener {
            clock: Arc::clone(&components.clock),
            random: components.random.clone(),
            server: format!("http://{}", components.listeners.http.local_addr()?),
            take_over: settings.take_over,
            // A snapshot is of what is there.
            make: settings.snapshot.is_none(),
        };
        mount::check(&settings)?;
        let opened = volume::open(&settings.bucket, &opener).await?;
        if let Some(volume) = &opened.indexed {
            volume.register_metrics(&components.metrics);
        }
        let owner = (settings.identity.caller.uid, settings.identity.caller.gid);
        let served = match &settings.snapshot {
            Some(name) => volume::frozen(&*opened.volume, name).await?,
            None => Arc::clone(&opened.volume),
        };
        let tree = Tree::open(served, Arc::clone(&components.clock), owner).await;
        let tree = tree.context("open the tree")?;
        let engines = Engines::new(tree, &components, Budget::default())?;
        let (jobs, shutdown) = (TaskTracker::new(), components.shutdown.clone());
        let changes = settings.snapshot.is_none();
        if changes {
            background::spawn(background::jobs(&engines), &shutdown, &jobs);
        }
        jobs.spawn({
            let (files, shutdown) = (engines.files.clone(), shutdown.clone());
            async move { files.background(shutdown).await }
        });

        let mount = match &settings.mount {
            Some(path) => Some(mount::mount(path, &settings, &engines).await?),
            None => None,
        };
        let Components { clock, metrics, listeners, random, shutdown: _ } = components;
        let http = listeners.http.local_addr()?;
        let address = |listener: &Option<TcpListener>| {
            listener.as_ref().map(TcpListener::local_addr).transpose().map(|address| address.map(|at| at.to_string()))
        };
        let served = ballast_api::Listeners {
            http: format!("http://{http}"),
            kafka: address(&listeners.kafka)?,
            postgres: address(&listeners.postgres)?,
        };
        let serving = clock.now_nanos();
        let engines_of_state = engines.clone();
        let state = http::State {
            engines: engines_of_state,
            clock,
            metrics: metrics.clone(),
            counted: crate::metrics::register(&metrics),
            settings,
            listeners: served,
            started,
            serving,
        };
        let state = Arc::new(state);
        let tasks = TaskTracker::new();
        if let Some(listener) = listeners.kafka {
            let (advertised, call) = (listener.local_addr()?, state.call());
            let kafka = ballast_kafka::Settings::new(advertised, Arc::new(move |_| call.clone()));
            tasks.spawn(Kafka::serve(listener, engines.streams.clone(), kafka, &metrics, shutdown.clone()));
        }
        if let Some(listener) = listeners.postgres {
            let postgres = postgres::Settings::new(state.settings.identity.caller.clone());
            let tables = engines.tables.clone();
            tasks.spawn(postgres::serve(listener, tables, random.clone(), postgres, &metrics, shutdown.clone()));
        }
        let tables = engines.tables.clone();
        if changes {
            jobs.spawn(async move {
                if let Err(error) = tables.sweep().await {
                    tracing::warn!(%error, "rows of truncated tables are left over until the next start");
                }
            });
        }
        tasks.spawn(http::serve(listeners.http, Arc::clone(&state), shutdown.clone()));
        Ok(Self { opened, engines, shutdown, mount, listeners: tasks, jobs, http, state })
    }

    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    pub fn status(&self) -> Status {
        self.state.status()
    }

    /// All metrics in the Prometheus text format.
    pub fn metrics(&self) -> String {
        self.state.metrics.encode()
    }

    /// Returns when the server cannot go on: another one took the volume, or its log failed.
    pub async fn stopped(&self) -> anyhow::Error {
        loop {
            tokio::time::sleep(limits::VOLUME_CHECK_INTERVAL).await;
            if let Err(error) = volume::check(&*self.opened.volume).await
                && volume::is_final(&error)
            {
                return match error.kind() {
                    ballast_types::ErrorKind::Fenced => {
                        advised(error.to_string(), "ballast up --take-over, if this server shall have it back")
                    }
                    _ => error.into(),
                };
            }
        }
    }

    /// Ends in the reverse order of the start: the mount, the listeners, the engines, the volume. Everything
    /// acknowledged is durable before and after; on return another server may open the volume at once.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let unmounted = match self.mount.take() {
            Some(mount) => mount.unmount().await.context("unmount"),
            None => Ok(()),
        };
        self.shutdown.begin();
        for tasks in [&self.listeners, &self.jobs] {
            tasks.close();
            if tokio::time::timeout(limits::SHUTDOWN_GRACE, tasks.wait()).await.is_err() {
                tracing::warn!("some work did not end in time and is cut off");
            }
        }
        // What an unmount could not write would only be waited for again.
        let flushed = match unmounted {
            Ok(()) => self.engines.files.flush_all_in_time().await.context("flush the files"),
            Err(error) => Err(error),
        };
        self.opened.close().await?;
        flushed
    }
}
