//! Serves tables in memory over the PostgreSQL protocol, for trying clients by hand.
//!
//! `cargo run --release -p ballast-server --example postgres -- 127.0.0.1:5433`, then
//! `psql -h 127.0.0.1 -p 5433`. Nothing is kept.

use anyhow::Context;
use ballast_runtime::telemetry::Metrics;
use ballast_runtime::{Random, Shutdown, SystemClock};
use ballast_server::postgres;
use ballast_store::{MemoryVolume, Volume};
use ballast_tables::Tables;
use ballast_tree::Tree;
use ballast_types::{Call, Caller, TreePath};
use std::sync::Arc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    ballast_runtime::telemetry::init_logging("info");
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5433".into());
    let volume: Arc<dyn Volume> = Arc::new(MemoryVolume::new());
    let clock = Arc::new(SystemClock);
    let tree = Tree::open(Arc::clone(&volume), clock.clone(), (0, 0)).await?;
    let bars = TreePath::parse("/bars")?;
    tree.create_directories(&Call::internal(), &bars).await?;
    let tables = Tables::new(volume, tree.clone(), clock, Random::from_system(), ballast_tables::Settings::default())?;
    let listener = tokio::net::TcpListener::bind(&address).await.context("bind the address")?;
    println!("postgres://{}", listener.local_addr()?);
    let shutdown = Shutdown::new();
    let reaping = async {
        loop {
            tree.reapable().await;
            if let Err(error) = tree.reap().await {
                tracing::warn!(%error, "dropped tables are not emptied");
            }
        }
    };
    let settings = postgres::Settings::new(Caller::root());
    tokio::select! {
        () = postgres::serve(listener, tables, Random::from_system(), settings, &Metrics::default(), shutdown) => {}
        () = reaping => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}
