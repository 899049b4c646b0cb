//! Files of the log that become segments as they are.

use crate::volumes::{World, dump};
use anyhow::{Result, ensure};
use ballast_store::{Batch, Error, IndexedVolume, Position, Read, Space, Volume};
use bytes::Bytes;

const PAYLOAD_BYTES: usize = 6000;

fn key(number: u64) -> Bytes {
    Space::Block.key(&[&number.to_be_bytes()])
}

/// Fills some files of the log with payload, durably.
pub async fn fill(volume: &IndexedVolume, rows: std::ops::Range<u64>) -> Result<()> {
    let mut end = Position(0);
    for number in rows {
        let payload =
            volume.append_payload(&volume.room().await?, &[Bytes::from(vec![number as u8; PAYLOAD_BYTES])]).await?;
        let mut batch = Batch::new();
        batch.hold(&payload);
        batch.put_with_payload(key(number), Bytes::new(), [payload.pointer]);
        end = volume.commit(batch).await?;
        volume.durable(end).await?;
    }
    Ok(volume.durable(end).await?)
}

pub async fn delete(volume: &IndexedVolume, rows: std::ops::Range<u64>) -> Result<()> {
    let mut batch = Batch::new();
    rows.for_each(|number| batch.delete(key(number)));
    let end = volume.commit(batch).await?;
    Ok(volume.durable(end).await?)
}

#[tokio::test]
async fn full_files_of_used_payload_become_segments_without_a_copy() -> Result<()> {
    let world = World::new(true, 1)?;
    let volume = world.open().await?;
    fill(&volume, 0..100).await?;
    let (before, files) = (dump(&*volume).await?, volume.stats().log_files);
    let settled = volume.settle().await?;
    ensure!(settled.files_kept >= files - 1, "{settled:?} of {files} files");
    ensure!(settled.rows == 0 && settled.bytes == 0, "{settled:?}");
    let stats = volume.stats();
    ensure!(stats.log_files == 1 && stats.segments == settled.files_kept, "{stats:?}");
    assert_eq!(dump(&*volume).await?, before);
    assert_eq!(volume.fsck(&mut |_| {}).await?.problems, Vec::<String>::new());
    drop(volume);
    let volume = world.open().await?;
    assert_eq!(volume.stats().segments, settled.files_kept);
    assert_eq!(dump(&*volume).await?, before);
    assert_eq!(volume.fsck(&mut |_| {}).await?.problems, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_file_that_became_a_segment_is_collected_like_one() -> Result<()> {
    let world = World::new(true, 2)?;
    let volume = world.open().await?;
    fill(&volume, 0..100).await?;
    let kept = volume.settle().await?.files_kept;
    // Two of three rows: what is left is packed, and then every such file is empty.
    for number in (0..100).filter(|number| number % 3 > 0) {
        delete(&volume, number..number + 1).await?;
    }
    let before = dump(&*volume).await?;
    let packed = volume.collect().await?;
    ensure!(packed.rows_moved >= 20 && packed.segments_removed == 0, "{packed:?}");
    let collected = volume.collect().await?;
    assert_eq!(collected.segments_removed, kept);
    assert_eq!(dump(&*volume).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_snapshot_keeps_a_file_that_became_a_segment() -> Result<()> {
    let world = World::new(true, 3)?;
    let volume = world.open().await?;
    fill(&volume, 0..100).await?;
    volume.create_snapshot("before").await?;
    let before = dump(&*volume).await?;
    let kept = volume.settle().await?.files_kept;
    delete(&volume, 0..100).await?;
    assert_eq!(volume.collect().await?.segments_removed, 0);
    assert_eq!(dump(&*volume.open_snapshot("before").await?).await?, before);
    volume.delete_snapshot("before").await?;
    assert_eq!(volume.collect().await?.segments_removed, kept);
    Ok(())
}

#[tokio::test]
async fn a_file_with_little_used_payload_is_copied_and_freed() -> Result<()> {
    let world = World::new(true, 4)?;
    let volume = world.open().await?;
    fill(&volume, 0..100).await?;
    for number in (0..100).filter(|number| number % 3 > 0) {
        delete(&volume, number..number + 1).await?;
    }
    let before = dump(&*volume).await?;
    let settled = volume.settle().await?;
    ensure!(settled.files_kept == 0 && settled.rows >= 25 && settled.files_removed >= 8, "{settled:?}");
    assert_eq!(dump(&*volume).await?, before);
    Ok(())
}

/// A row may point into a file older than the one that holds its record, and after a restart is found by the record.
#[tokio::test]
async fn no_file_becomes_a_segment_before_the_older_ones_have_left_the_log() -> Result<()> {
    let world = World::new(true, 5)?;
    let volume = world.open().await?;
    let held = volume.append_payload(&volume.room().await?, &[Bytes::from_static(b"old")]).await?;
    fill(&volume, 0..9).await?;
    delete(&volume, 0..9).await?;
    fill(&volume, 9..40).await?;
    let mut batch = Batch::new();
    batch.put_with_payload(key(1000), Bytes::new(), [held.pointer]);
    volume.commit(batch).await?;
    fill(&volume, 40..60).await?;
    let before = dump(&*volume).await?;
    assert_eq!(volume.settle().await?.files_kept, 0);
    drop((held, volume));
    let volume = world.open().await?;
    let settled = volume.settle().await?;
    ensure!(settled.files_kept > 0 && settled.files_removed > 0, "{settled:?}");
    assert_eq!(dump(&*volume).await?, before);
    Ok(())
}

/// A file that a reader's cut keeps from being removed is still the log's oldest: without its next one, the log would be
/// taken for damaged after a crash.
#[tokio::test]
async fn a_file_stays_in_the_log_as_long_as_an_older_one() -> Result<()> {
    let world = World::new(true, 6)?;
    let volume = world.open().await?;
    let cut = volume.cut().await?;
    fill(&volume, 0..30).await?;
    delete(&volume, 0..20).await?;
    fill(&volume, 30..60).await?;
    let before = dump(&*volume).await?;
    volume.settle().await?;
    drop((cut, volume));
    let volume = world.open().await?;
    assert_eq!(dump(&*volume).await?, before);
    volume.settle().await?;
    ensure!(volume.stats().segments > 0, "{:?}", volume.stats());
    assert_eq!(dump(&*volume).await?, before);
    Ok(())
}

/// Every other row's payload reads as before, and the check names exactly this one.
async fn only_33_is_damaged(volume: &IndexedVolume, rows: usize) -> Result<()> {
    let mut scan = volume.scan(Space::Block.range(&[])).await?;
    let found = scan.next(1000).await?;
    ensure!(found.len() == rows, "{} rows", found.len());
    for row in found {
        let read = volume.read_payload(&row.value.pointers[0]).await;
        if row.key == key(33) {
            ensure!(matches!(read, Err(Error::Corrupt(_))), "{read:?}");
        } else {
            ensure!(read?.len() == PAYLOAD_BYTES);
        }
    }
    let problems = volume.fsck(&mut |_| {}).await?.problems;
    ensure!(problems.iter().any(|problem| problem.contains("payload at byte")), "{problems:?}");
    Ok(())
}

#[tokio::test]
async fn damaged_payload_leaves_the_log_with_the_rest_and_stays_damaged() -> Result<()> {
    for log_in_files in [true, false] {
        let world = World::new(log_in_files, 7)?;
        let volume = world.open().await?;
        fill(&volume, 0..100).await?;
        for number in (0..100).filter(|number| number % 3 > 0) {
            delete(&volume, number..number + 1).await?;
        }
        world.damage_log(&[33; PAYLOAD_BYTES]).await?;
        let settled = volume.settle().await?;
        ensure!(settled.files_kept == 0 && settled.rows >= 25, "{settled:?}");
        ensure!(volume.stats().log_files <= 5, "{:?}", volume.stats());
        only_33_is_damaged(&volume, 34).await?;
        drop(volume);
        let volume = world.open().await?;
        only_33_is_damaged(&volume, 34).await?;
    }
    Ok(())
}

/// After a restart, settling finds rows by the records of old files.
#[tokio::test]
async fn a_file_of_the_log_with_a_damaged_record_is_emptied_all_the_same() -> Result<()> {
    for log_in_files in [true, false] {
        let world = World::new(log_in_files, 8)?;
        let volume = world.open().await?;
        fill(&volume, 0..100).await?;
        for number in (0..100).filter(|number| number % 3 > 0) {
            delete(&volume, number..number + 1).await?;
        }
        volume.flush_index().await?;
        let before = dump(&*volume).await?;
        drop(volume);
        world.damage_log(&key(33)).await?;
        let volume = world.open().await?;
        let settled = volume.settle().await?;
        ensure!(settled.rows >= 25 && volume.stats().log_files <= 5, "{settled:?}, {:?}", volume.stats());
        assert_eq!(dump(&*volume).await?, before);
        assert_eq!(volume.fsck(&mut |_| {}).await?.problems, Vec::<String>::new());
    }
    Ok(())
}
