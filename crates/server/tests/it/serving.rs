//! A server for a test.

use ballast_api::Client;
use ballast_runtime::telemetry::Metrics;
use ballast_runtime::{Clock, ManualClock, Random, Shutdown};
use ballast_server::{Components, Identity, Listeners, Server, Settings, volume};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};

/// One server at a time: tests measure the memory and the descriptors of this process.
static ALONE: Mutex<()> = Mutex::const_new(());

pub struct Serving {
    pub server: Server,
    pub client: Client,
    /// Of the HTTP listener.
    pub address: SocketAddr,
    pub kafka: SocketAddr,
    pub postgres: SocketAddr,
    _alone: MutexGuard<'static, ()>,
}

pub async fn serving() -> Serving {
    let alone = ALONE.lock().await;
    // A thousand connections of a test are two thousand descriptors.
    ballast_server::descriptors::raise_limit();
    let clock = Arc::new(ManualClock::at(1_795_250_000_000_000_000));
    let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let any = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (kafka, postgres) = (any().await, any().await);
    let (kafka_address, postgres_address) = (kafka.local_addr().unwrap(), postgres.local_addr().unwrap());
    let components = Components {
        clock: Arc::<ManualClock>::clone(&clock),
        random: Random::from_seed(7),
        metrics: Metrics::default(),
        shutdown: Shutdown::new(),
        listeners: Listeners { http, kafka: Some(kafka), postgres: Some(postgres) },
    };
    let settings = Settings {
        bucket: volume::MEMORY.to_owned(),
        mount: None,
        take_over: false,
        snapshot: None,
        identity: Identity::of_this_process(),
    };
    let server = Server::start(settings, components, clock.now_nanos()).await.unwrap();
    let address = server.http_address();
    let client = Client::new(&format!("http://{address}")).unwrap();
    Serving { server, client, address, kafka: kafka_address, postgres: postgres_address, _alone: alone }
}
