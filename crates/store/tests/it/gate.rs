//! A server that lost its lease.

use crate::volumes::World;
use anyhow::Result;
use ballast_store::{Batch, Read, Volume};
use ballast_types::ErrorKind;

#[tokio::test]
async fn a_volume_whose_lease_is_lost_refuses_reads_and_writes_and_says_so() -> Result<()> {
    let world = World::new(true, 1)?;
    let volume = world.open().await?;
    let batch = || {
        let mut batch = Batch::new();
        batch.put(&b"\x20key"[..], &b"value"[..]);
        batch
    };
    let position = volume.commit(batch()).await?;
    volume.check()?;
    world.fence();
    assert_eq!(volume.check().unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(volume.get(b"\x20key").await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(volume.commit(batch()).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(volume.durable(position).await.unwrap_err().kind(), ErrorKind::Fenced);
    Ok(())
}
