//! What a volume leaves behind in its process when it is closed.

use crate::volumes::World;
use anyhow::Result;
use ballast_store::{Batch, Space, Volume};
use std::path::PathBuf;

#[test]
fn a_closed_volume_keeps_no_file_open() -> Result<()> {
    let world = World::new(true, 1)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let volume = world.open().await?;
        let mut batch = Batch::new();
        batch.put(Space::Inode.key(&[b"one"]), b"row".to_vec());
        volume.durable(volume.commit(batch).await?).await?;
        assert!(!world.open_files()?.is_empty());
        anyhow::Ok(volume.close().await?)
    })?;
    drop(runtime);
    assert_eq!(world.open_files()?, Vec::<PathBuf>::new());
    Ok(())
}
