//! The listener.

use crate::metrics::KafkaMetrics;
use crate::{connection, limits};
use ballast_runtime::Shutdown;
use ballast_runtime::memory::Budget;
use ballast_runtime::telemetry::Metrics;
use ballast_streams::Streams;
use ballast_types::Call;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Whose rights a connection has.
pub type Identify = Arc<dyn Fn(SocketAddr) -> Call + Send + Sync>;

/// What may differ between servers.
#[derive(Clone)]
pub struct Settings {
    /// Where clients are told to connect.
    pub advertised_host: String,
    pub advertised_port: u16,
    pub node: i32,
    pub cluster: String,
    pub identify: Identify,
    /// Whether a stream that a client asks for is made, and with how many partitions; also the default for
    /// streams that are made without saying.
    pub auto_create: bool,
    pub default_partitions: u32,
}

impl Settings {
    pub fn new(advertised: SocketAddr, identify: Identify) -> Self {
        Self {
            advertised_host: advertised.ip().to_string(),
            advertised_port: advertised.port(),
            node: 1,
            cluster: "ballast".to_owned(),
            identify,
            auto_create: true,
            default_partitions: 1,
        }
    }
}

/// What all connections share.
pub(crate) struct Broker {
    pub streams: Streams,
    pub settings: Settings,
    /// For large requests.
    pub memory: Budget,
    pub metrics: KafkaMetrics,
}

/// Kafka's protocol over the streams of a volume.
pub struct Kafka;

impl Kafka {
    /// Serves until the shutdown begins; then lets the connections finish what they have started. Counts from now on.
    pub fn serve(
        listener: TcpListener,
        streams: Streams,
        settings: Settings,
        metrics: &Metrics,
        shutdown: Shutdown,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (memory, metrics) = (Budget::new(limits::LARGE_BYTES_MAX), KafkaMetrics::register(metrics));
        accept(listener, Arc::new(Broker { streams, settings, memory, metrics }), shutdown)
    }
}

async fn accept(listener: TcpListener, broker: Arc<Broker>, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.begun() => break,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: those in use must be given back first.
                tracing::warn!(%error, "a Kafka connection cannot be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(%peer, "there are too many Kafka connections");
            continue;
        };
        let (broker, shutdown) = (Arc::clone(&broker), shutdown.clone());
        connections.spawn(async move {
            broker.metrics.connections.inc();
            connection::run(Arc::clone(&broker), socket, peer, shutdown).await;
            broker.metrics.connections.dec();
            drop(place);
        });
    }
    connections.close();
    // Those that are still busy then are cut off by the end of the process.
    let _ = tokio::time::timeout(limits::DRAIN_MAX, connections.wait()).await;
}
