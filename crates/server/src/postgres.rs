//! The PostgreSQL listener: protocol 3.0 over TCP, for unmodified clients.
//!
//! It translates and holds no state that outlives a connection: `tables::Session` knows SQL, transactions and
//! durability. The protocol part is ours because three things must be exact: a pipeline of statements up to its
//! Sync is one transaction, COPY streams both ways in bounded memory, and no message is read into memory before
//! its length is known to be allowed.
//!
//! Reading order: [`message`] (framing), [`startup`], [`connection`] (the state machine), [`extended`] (prepared
//! statements and portals), [`copy`], [`wire`] (values as text and binary), [`sqlstate`], [`cancel`], [`limits`].
//!
//! Cost: an idle connection is a task and its empty buffers, about 3 KB.

mod cancel;
mod connection;
mod copy;
mod extended;
mod limits;
mod message;
mod sqlstate;
mod startup;
mod wire;

use ballast_runtime::telemetry::Metrics;
use ballast_runtime::{Random, Shutdown};
use ballast_tables::Tables;
pub use ballast_tables::limits::STACK_BYTES;
use ballast_types::Caller;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Whose rights connections use. There are no passwords: bind it to loopback.
#[derive(Clone, Debug)]
pub struct Settings {
    pub caller: Caller,
    /// Connections at a time; the next one is refused with 53300.
    pub connections_max: usize,
}

impl Settings {
    pub fn new(caller: Caller) -> Self {
        Self { caller, connections_max: limits::CONNECTIONS_MAX }
    }
}

/// What all connections share.
struct Shared {
    tables: Tables,
    settings: Settings,
    cancel: cancel::Registry,
    /// Memory for large messages, in KiB.
    large: Arc<Semaphore>,
    /// Connections that are open.
    open: Gauge,
    shutdown: Shutdown,
}

/// Serves until the shutdown begins; then every connection ends behind the statement that it runs. Counts from now on.
pub fn serve(
    listener: TcpListener,
    tables: Tables,
    random: Random,
    settings: Settings,
    metrics: &Metrics,
    shutdown: Shutdown,
) -> impl Future<Output = ()> + Send + 'static {
    let open = Gauge::<i64>::default();
    metrics.register("postgres", |registry| {
        registry.register("connections", "Connections of PostgreSQL clients", open.clone());
    });
    let (cancel, large) = (cancel::Registry::new(random), message::large_messages());
    let shared = Shared { tables, settings, cancel, large, open, shutdown };
    accept(listener, Arc::new(shared))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.shutdown.begun() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                let full = connections.len() >= shared.settings.connections_max;
                connections.spawn(async move {
                    shared.open.inc();
                    if let Err(error) = connection::serve(stream, Arc::clone(&shared), full).await {
                        tracing::debug!(%error, "a connection ended");
                    }
                    shared.open.dec();
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: give the open connections time to end.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}
