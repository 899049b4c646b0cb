//! What a disk or a bucket has lost harms nothing else.

use crate::settled::fill;
use crate::volumes::World;
use anyhow::{Result, ensure};
use ballast_store::{Batch, IndexedVolume, Payload, Read, Space, Volume};
use bytes::Bytes;
use std::time::Duration;

/// Far longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn key(name: &str) -> Bytes {
    Space::Block.key(&[name.as_bytes()])
}

async fn append(volume: &IndexedVolume, bytes: &[u8]) -> Result<Payload> {
    Ok(volume.append_payload(&volume.room().await?, &[Bytes::copy_from_slice(bytes)]).await?)
}

async fn put(volume: &IndexedVolume, name: &str, payloads: &[Payload]) -> Result<()> {
    let mut batch = Batch::new();
    payloads.iter().for_each(|payload| batch.hold(payload));
    batch.put_with_payload(key(name), Bytes::new(), payloads.iter().map(|payload| payload.pointer));
    let end = volume.commit(batch).await?;
    Ok(volume.durable(end).await?)
}

async fn payload(volume: &IndexedVolume, name: &str, at: usize) -> Result<Bytes> {
    let row = volume.get(&key(name)).await?.expect("the row is there");
    Ok(volume.read_payload(&row.pointers[at]).await?)
}

#[tokio::test]
async fn a_row_that_points_into_a_lost_segment_leaves_the_log_all_the_same() -> Result<()> {
    for log_in_files in [true, false] {
        let world = World::new(log_in_files, 1)?;
        let volume = world.open().await?;
        let lost = volume.write_segment(vec![Bytes::from_static(b"lost")]).await?.remove(0);
        let kept = append(&volume, b"kept").await?;
        put(&volume, "both", &[lost, kept]).await?;
        put(&volume, "other", &[append(&volume, b"other").await?]).await?;
        fill(&volume, 0..20).await?;
        volume.close().await?;
        drop(volume);
        world.cut_segment(None).await?;
        let volume = world.open().await?;
        fill(&volume, 20..40).await?;
        tokio::time::timeout(PATIENCE, volume.settle()).await??;
        ensure!(world.segments().await? < 10, "garbage");
        assert_eq!(payload(&volume, "both", 1).await?, "kept");
        assert_eq!(payload(&volume, "other", 0).await?, "other");
        ensure!(payload(&volume, "both", 0).await.is_err(), "it is lost");
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_part_of_the_log_takes_no_older_payload_with_it() -> Result<()> {
    for log_in_files in [true, false] {
        let world = World::new(log_in_files, 2)?;
        let volume = world.open().await?;
        // The payload lies in an older file or object than the record of its row.
        let older = append(&volume, b"older payload").await?;
        fill(&volume, 0..20).await?;
        put(&volume, "the row of it", &[older]).await?;
        fill(&volume, 20..60).await?;
        volume.flush_index().await?;
        fill(&volume, 60..70).await?;
        volume.close().await?;
        drop(volume);
        world.remove_log_with(b"the row of it").await?;
        let volume = world.open().await?;
        assert_eq!(payload(&volume, "the row of it", 0).await?, "older payload");
        volume.settle().await?;
        assert_eq!(payload(&volume, "the row of it", 0).await?, "older payload");
    }
    Ok(())
}

#[tokio::test]
async fn a_segment_that_was_cut_does_not_keep_others_from_being_packed() -> Result<()> {
    let world = World::new(true, 3)?;
    let volume = world.open().await?;
    for of in ["a", "b"] {
        let payloads = volume.write_segment(vec![Bytes::from(vec![7; 1000]); 10]).await?;
        for (number, payload) in payloads.into_iter().enumerate() {
            put(&volume, &format!("{of}{number}"), &[payload]).await?;
        }
    }
    let mut batch = Batch::new();
    (0..9).for_each(|number| ["a", "b"].iter().for_each(|of| batch.delete(key(&format!("{of}{number}")))));
    volume.durable(volume.commit(batch).await?).await?;
    world.cut_segment(Some(20)).await?;
    let packed = volume.collect().await?;
    assert_eq!(packed.rows_moved, 2);
    assert_eq!(volume.collect().await?.segments_removed, 2);
    assert_eq!(payload(&volume, "b9", 0).await?, vec![7; 1000]);
    ensure!(payload(&volume, "a9", 0).await.is_err(), "it stays damaged");
    Ok(())
}
