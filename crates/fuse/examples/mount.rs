//! Mounts a volume in memory, for trying programs on it: `mount DIR`. Ctrl-C unmounts.

use anyhow::Context;
use ballast_files::Files;
use ballast_fuse::{NoVirtuals, Settings, mount};
use ballast_runtime::{Clock, Shutdown, SystemClock};
use ballast_store::{MemoryVolume, Volume};
use ballast_tree::Tree;
use std::sync::Arc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let path = std::env::args_os().nth(1).context("usage: mount DIR")?;
    let volume: Arc<dyn Volume> = Arc::new(MemoryVolume::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tree = Tree::open(Arc::clone(&volume), Arc::clone(&clock), (0, 0)).await?;
    let files = Files::new(volume, tree.clone(), clock, &ballast_files::Settings::default());
    let shutdown = Shutdown::new();
    let background = tokio::spawn({
        let (files, shutdown) = (files.clone(), shutdown.clone());
        async move { files.background(shutdown).await }
    });
    let reaper = tokio::spawn({
        let tree = tree.clone();
        async move {
            loop {
                tree.reapable().await;
                if let Err(error) = tree.reap().await {
                    eprintln!("reaping failed: {error}");
                }
            }
        }
    });
    let mount = mount(Settings::new(&path), tree, files, Arc::new(NoVirtuals)).await?;
    println!("mounted at {}", mount.path().display());
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        done = tokio::signal::ctrl_c() => done?,
    }
    mount.unmount().await?;
    shutdown.begin();
    background.await?;
    reaper.abort();
    Ok(())
}
