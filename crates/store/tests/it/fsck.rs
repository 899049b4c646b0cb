//! A check of a whole volume.

use crate::volumes::World;
use anyhow::Result;
use ballast_store::Volume;
use bytes::Bytes;
use std::sync::Arc;

/// Enough that collecting takes a while.
const SEGMENTS: u64 = 2000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_no_fault_while_garbage_is_being_collected() -> Result<()> {
    let world = World::new(true, 1)?;
    let volume = world.open().await?;
    for _ in 0..SEGMENTS {
        // Nothing will ever point into it.
        drop(volume.write_segment(vec![Bytes::from_static(b"garbage")]).await?);
    }
    let collecting = tokio::spawn({
        let volume = Arc::clone(&volume);
        async move { volume.collect().await }
    });
    while volume.stats().segments == SEGMENTS {
        tokio::task::yield_now().await;
    }
    // In the middle of it.
    let report = volume.fsck(&mut |_| {}).await?;
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(collecting.await??.segments_removed, SEGMENTS);
    Ok(())
}
