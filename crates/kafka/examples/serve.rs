//! Serves the Kafka protocol over streams in memory, until it is killed: for trying clients by hand.
//!
//! `cargo run --release -p ballast-kafka --example serve [ADDRESS]` prints the address that it listens on.

use ballast_kafka::{Kafka, Settings};
use ballast_runtime::{Random, Shutdown, SystemClock};
use ballast_store::MemoryVolume;
use ballast_streams::{Config, Streams};
use ballast_tree::Tree;
use ballast_types::Call;
use std::sync::Arc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    ballast_runtime::telemetry::init_logging("info");
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let (volume, clock) = (Arc::new(MemoryVolume::new()), Arc::new(SystemClock));
    let tree = Tree::open(Arc::clone(&volume) as _, Arc::clone(&clock) as _, (0, 0)).await?;
    let streams = Streams::new(volume, tree.clone(), clock, Random::from_system(), Config::default());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let address = listener.local_addr()?;
    println!("{address}");
    let settings = Settings { default_partitions: 4, ..Settings::new(address, Arc::new(|_| Call::internal())) };
    tokio::spawn(async move {
        loop {
            tree.reapable().await;
            if let Err(error) = tree.reap().await {
                tracing::error!(%error, "dropped streams cannot be emptied");
            }
        }
    });
    Kafka::serve(listener, streams, settings, Shutdown::new()).await;
    Ok(())
}
