//! Serves the Kafka protocol until it is killed: for trying clients by hand, for benches and for crash tests.
//!
//! `serve [ADDRESS [DIRECTORY]]` prints the address that it listens on. With a directory, streams are on disk there
//! and survive a kill; without one they are in memory.

use ballast_kafka::{Kafka, Settings};
use ballast_runtime::telemetry::Metrics;
use ballast_runtime::{Random, Shutdown, SystemClock};
use ballast_store::{Bucket, Components, Local, MemoryVolume, Store, Unshared, Volume, VolumeId, bucket};
use ballast_streams::{Config, Streams};
use ballast_tree::Tree;
use ballast_types::Call;
use std::sync::Arc;

async fn open(directory: Option<String>, random: &Random) -> anyhow::Result<Arc<dyn Volume>> {
    let Some(directory) = directory else { return Ok(Arc::new(MemoryVolume::new())) };
    std::fs::create_dir_all(&directory)?;
    let directory = std::fs::canonicalize(directory)?;
    let environment = bucket::Environment::of_process();
    let bucket = Bucket::open(&format!("file://{}", directory.display()), &environment, random)?;
    let components = Components {
        bucket: Arc::clone(bucket.store()),
        local: Local::of(&bucket)?,
        clock: Arc::new(SystemClock),
        random: random.clone(),
        gate: Arc::new(Unshared),
        log: Default::default(),
    };
    Ok(Store::new(components).open_volume(VolumeId(0)).await?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    ballast_runtime::telemetry::init_logging("info");
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let (random, clock) = (Random::from_system(), Arc::new(SystemClock));
    let volume = open(arguments.next(), &random).await?;
    let tree = Tree::open(Arc::clone(&volume), Arc::clone(&clock) as _, (0, 0)).await?;
    let streams = Streams::new(volume, tree.clone(), clock, random, Config::default());
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
    Kafka::serve(listener, streams, settings, &Metrics::default(), Shutdown::new()).await;
    Ok(())
}
