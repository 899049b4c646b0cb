//! What simulations have found, each as small as it can be.

use super::PATIENCE;
use super::model::{content, dump};
use super::world::World;
use crate::bucket::simulated::Faults;
use crate::{Batch, Error, IndexedVolume, Isolation, Payload, Read, Space, Volume};
use bytes::Bytes;
use futures::FutureExt;
use std::sync::Arc;
use std::time::Duration;

pub fn key(number: u8) -> Bytes {
    Space::Block.key(&[&[number]])
}

pub async fn volume(world: &World) -> Arc<IndexedVolume> {
    world.open().await.unwrap()
}

pub fn pointing(number: u8, payload: &Payload) -> Batch {
    let mut batch = Batch::new();
    batch.hold(payload);
    batch.put_with_payload(key(number), Bytes::new(), [payload.pointer]);
    batch
}

/// Writes several times what the log may hold.
pub async fn write_much(volume: Arc<IndexedVolume>) {
    for number in 0..200 {
        let payload = volume.append_payload(&volume.room().await.unwrap(), &[content(1, 3000)]).await.unwrap();
        volume.commit(pointing(number, &payload)).await.unwrap();
    }
}

/// Fills files of the log, so that those before can be settled.
pub async fn fill(volume: &IndexedVolume) {
    for number in 200..216 {
        let payload = volume.append_payload(&volume.room().await.unwrap(), &[content(1, 3000)]).await.unwrap();
        let end = volume.commit(pointing(number, &payload)).await.unwrap();
        volume.durable(end).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn settling_moves_what_a_commit_made_visible_while_it_looked() {
    for cancelled in [false, true] {
        let world = World::on_disk();
        let volume = volume(&world).await;
        let payload = volume.append_payload(&volume.room().await.unwrap(), &[content(7, 500)]).await.unwrap();
        {
            let mut commit = Box::pin(volume.commit(pointing(0, &payload)));
            drop(payload);
            assert!(commit.as_mut().now_or_never().is_none(), "the rows are on their way");
            volume.settle().now_or_never();
            if !cancelled {
                commit.await.unwrap();
            }
        }
        fill(&volume).await;
        for _ in 0..3 {
            volume.settle().await.unwrap();
        }
        let found = dump(&*volume, true).await.unwrap();
        assert_eq!(found[&key(0)].1, [content(7, 500)]);
    }
}

#[tokio::test(start_paused = true)]
async fn collecting_spares_a_segment_that_a_commit_begun_before_points_into() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    let payload = volume.write_segment(vec![content(7, 500)]).await.unwrap().remove(0);
    let commit = volume.commit(pointing(0, &payload));
    drop(payload);
    let mut commit = Box::pin(commit);
    assert!(commit.as_mut().now_or_never().is_none(), "the rows are on their way");
    // A cut from before makes collecting wait between its scan and its removals.
    let cut = volume.cut().await.unwrap();
    let mut collect = Box::pin(volume.collect());
    for _ in 0..20 {
        assert!(collect.as_mut().now_or_never().is_none(), "it waits for the cut");
    }
    commit.await.unwrap();
    drop(cut);
    collect.await.unwrap();
    volume.collect().await.unwrap();
    let found = dump(&*volume, true).await.unwrap();
    assert_eq!(found[&key(0)].1, [content(7, 500)]);
}

#[tokio::test(start_paused = true)]
async fn a_round_of_settling_that_fails_is_finished_by_a_later_one() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    fill(&volume).await;
    for lost in [200, 400, 600, 800, 1000] {
        world.bucket.set_faults(Faults { lost_requests: lost, ..Faults::default() });
        let _ = tokio::time::timeout(Duration::from_secs(10), volume.settle()).await;
    }
    world.bucket.set_faults(Faults::default());
    for number in 200..216 {
        let pointers = volume.get(&key(number)).await.unwrap().unwrap().pointers;
        let mut batch = Batch::new();
        batch.put_with_payload(key(number), Bytes::from_static(b"again"), pointers);
        match volume.commit(batch).await {
            Ok(_) => {}
            Err(Error::PayloadMoved) => {
                volume.settle().await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    fill(&volume).await;
    for _ in 0..3 {
        volume.settle().await.unwrap();
    }
    assert!(volume.stats().log_files <= 2, "{:?}", volume.stats());
}

#[tokio::test(start_paused = true)]
async fn a_full_log_is_emptied_by_settling_while_writers_wait_for_room() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    let written = tokio::time::timeout(PATIENCE, write_much(Arc::clone(&volume))).await;
    written.expect("the background task makes room");
    tokio::time::timeout(PATIENCE, volume.create_snapshot("full")).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn readers_that_hold_cuts_do_not_hold_up_writers() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    fill(&volume).await;
    let (cut, transaction) = (volume.cut().await.unwrap(), volume.begin(Isolation::Serializable).await.unwrap());
    let row = cut.get(&key(200)).await.unwrap().unwrap();
    let scan = cut.scan(Space::Block.range(&[])).await.unwrap();
    let written = tokio::time::timeout(PATIENCE, write_much(Arc::clone(&volume))).await;
    written.expect("no writer waits for a reader");
    for read in [&*cut as &dyn Read, &*transaction] {
        assert_eq!(read.get(&key(200)).await.unwrap().as_ref(), Some(&row), "rows stay as they were");
        assert_eq!(read.get(&key(0)).await.unwrap(), None);
        // It stays where its file became a segment as it was.
        match read.read_payload(&row.pointers[0]).await {
            Ok(bytes) => assert_eq!(bytes, content(1, 3000)),
            Err(error) => assert!(matches!(error, Error::PayloadMoved), "{error}"),
        }
    }
    drop(scan);
}

#[tokio::test(start_paused = true)]
async fn a_writer_whose_payload_was_let_in_commits_however_full_the_log_is() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    let batch = pointing(255, &volume.append_payload(&volume.room().await.unwrap(), &[content(7, 500)]).await.unwrap());
    let others = tokio::spawn(write_much(Arc::clone(&volume)));
    tokio::time::sleep(PATIENCE).await;
    assert!(!others.is_finished(), "its payload is in the oldest file, so they wait for it");
    tokio::time::timeout(PATIENCE, volume.commit(batch)).await.expect("it waits for nobody").unwrap();
    tokio::time::timeout(PATIENCE, others).await.expect("there is room again").unwrap();
    assert_eq!(dump(&*volume, false).await.unwrap()[&key(255)].1, [content(7, 500)]);
}

#[tokio::test(start_paused = true)]
async fn a_writer_of_many_payloads_is_let_in_once() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    let room = volume.room().await.unwrap();
    let mut batch = pointing(250, &volume.append_payload(&room, &[content(7, 500)]).await.unwrap());
    let others: Vec<_> = (0..3).map(|_| tokio::spawn(write_much(Arc::clone(&volume)))).collect();
    tokio::time::sleep(PATIENCE).await;
    assert!(others.iter().all(|other| !other.is_finished()), "its payload is in the oldest file, so they wait for it");
    for number in 251..=255 {
        let append = tokio::time::timeout(PATIENCE, volume.append_payload(&room, &[content(number.into(), 500)])).await;
        batch.append(pointing(number, &append.expect("it waits for nobody").unwrap()));
    }
    tokio::time::timeout(PATIENCE, volume.commit(batch)).await.expect("it waits for nobody").unwrap();
    for other in others {
        tokio::time::timeout(PATIENCE, other).await.expect("there is room again").unwrap();
    }
}

/// Who brings payload may wait for a lock that such a commit holds.
#[tokio::test(start_paused = true)]
async fn rows_alone_are_committed_while_writers_of_payload_wait_for_room() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    let batch = pointing(255, &volume.append_payload(&volume.room().await.unwrap(), &[content(7, 500)]).await.unwrap());
    let others = tokio::spawn(write_much(Arc::clone(&volume)));
    tokio::time::sleep(PATIENCE).await;
    assert!(!others.is_finished());
    let mut rows = Batch::new();
    rows.put(Space::Inode.key(&[b"row"]), Bytes::from_static(b"alone"));
    tokio::time::timeout(PATIENCE, volume.commit(rows)).await.expect("it waits for nobody").unwrap();
    let transaction = volume.begin(Isolation::Serializable).await.unwrap();
    transaction.delete(Space::Inode.key(&[b"row"])).unwrap();
    let committed = tokio::time::timeout(PATIENCE, transaction.commit(Batch::new())).await;
    committed.expect("it waits for nobody").unwrap();
    assert!(!others.is_finished());
    volume.commit(batch).await.unwrap();
    tokio::time::timeout(PATIENCE, others).await.expect("there is room again").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_segment_whose_removal_failed_is_removed_by_a_later_round() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    for _ in 0..20 {
        drop(volume.write_segment(vec![content(7, 500)]).await.unwrap());
    }
    world.bucket.set_faults(Faults { lost_requests: 500, ..Faults::default() });
    for _ in 0..20 {
        let _ = volume.collect().await;
    }
    world.bucket.set_faults(Faults::default());
    volume.collect().await.unwrap();
    assert_eq!(volume.stats().segments, 0);
}

/// Longer than a few rounds of collecting.
const ROUNDS: Duration = Duration::from_secs(400);

#[tokio::test(start_paused = true)]
async fn the_background_removes_what_was_packed_although_nobody_writes() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    let payloads: Vec<Bytes> = (0..10).map(|number| content(number, 3000)).collect();
    let mut batch = Batch::new();
    for (number, payload) in (0..).zip(&volume.write_segment(payloads).await.unwrap()) {
        batch.append(pointing(number, payload));
    }
    volume.commit(batch).await.unwrap();
    let mut batch = Batch::new();
    (0..8).for_each(|number| batch.delete(key(number)));
    volume.commit(batch).await.unwrap();
    tokio::time::sleep(ROUNDS).await;
    let stats = volume.stats();
    assert!(stats.segments == 1 && stats.segment_bytes < 7000, "{stats:?}");
    let before = world.counts();
    tokio::time::sleep(ROUNDS).await;
    assert_eq!(volume.stats().segment_bytes, stats.segment_bytes, "what is packed is not packed again");
    assert!(world.counts().0 - before.0 < 500, "{:?} after {before:?}", world.counts());
}

#[tokio::test(start_paused = true)]
async fn the_background_removes_orphans_of_the_life_before() {
    let mut world = World::on_disk();
    drop(volume(&world).await.write_segment(vec![content(7, 500)]).await.unwrap());
    world.crash();
    let volume = volume(&world).await;
    assert_eq!(volume.stats().segments, 1);
    tokio::time::sleep(ROUNDS).await;
    assert_eq!(volume.stats().segments, 0);
}

#[tokio::test(start_paused = true)]
async fn the_background_removes_a_segment_that_no_commit_ever_pointed_at() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    // The open is a reason to look for garbage, once.
    tokio::time::sleep(ROUNDS).await;
    drop(volume.write_segment(vec![content(7, 500)]).await.unwrap());
    tokio::time::sleep(ROUNDS).await;
    assert_eq!(volume.stats().segments, 0);
}

#[tokio::test(start_paused = true)]
async fn the_background_removes_what_only_a_deleted_snapshot_needed() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    let payload = volume.write_segment(vec![content(7, 500)]).await.unwrap().remove(0);
    volume.commit(pointing(0, &payload)).await.unwrap();
    drop(payload);
    volume.create_snapshot("s").await.unwrap();
    let mut batch = Batch::new();
    batch.delete(key(0));
    volume.commit(batch).await.unwrap();
    tokio::time::sleep(ROUNDS).await;
    assert_eq!(volume.stats().segments, 1);
    volume.delete_snapshot("s").await.unwrap();
    tokio::time::sleep(ROUNDS).await;
    assert_eq!(volume.stats().segments, 0);
}

#[tokio::test(start_paused = true)]
async fn the_background_collects_again_after_a_round_that_failed() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    tokio::time::sleep(ROUNDS).await;
    let payload = volume.write_segment(vec![content(7, 500)]).await.unwrap().remove(0);
    volume.commit(pointing(0, &payload)).await.unwrap();
    drop(payload);
    let transaction = volume.begin(Isolation::Serializable).await.unwrap();
    transaction.delete(key(0)).unwrap();
    transaction.commit(Batch::new()).await.unwrap();
    world.bucket.set_faults(Faults { lost_requests: 1000, ..Faults::default() });
    tokio::time::sleep(ROUNDS).await;
    assert_eq!(volume.stats().segments, 1);
    world.bucket.set_faults(Faults::default());
    tokio::time::sleep(ROUNDS).await;
    assert_eq!(volume.stats().segments, 0);
}

/// A server that dies later must not find what this one never told of.
#[tokio::test(start_paused = true)]
async fn a_snapshot_whose_caller_goes_away_is_made_or_not_and_removed_or_not() {
    for polls in 1.. {
        let mut world = World::on_disk();
        let (mut state, mut made) = (Vec::new(), 0);
        for deleted in [false, true] {
            let volume = volume(&world).await;
            fill(&volume).await;
            if deleted && volume.snapshots().await.unwrap().is_empty() {
                volume.create_snapshot("s").await.unwrap();
            }
            let mut change = match deleted {
                false => volume.create_snapshot("s").map(|made| made.map(drop)).boxed(),
                true => volume.delete_snapshot("s").boxed(),
            };
            for _ in 0..polls {
                if futures::poll!(&mut change).is_ready() {
                    made += 1;
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(change);
            tokio::time::sleep(Duration::from_secs(60)).await;
            state.push(volume.snapshots().await.unwrap());
            for entry in volume.snapshots().await.unwrap() {
                dump(&*volume.open_snapshot(&entry.name).await.unwrap(), true).await.unwrap();
            }
            world.crash();
        }
        let volume = volume(&world).await;
        assert_eq!(volume.snapshots().await.unwrap(), state[1], "{polls} polls");
        volume.create_snapshot("s").await.unwrap();
        world.crash();
        if made == 2 {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_scan_may_take_longer_than_the_index_keeps_what_it_compacted() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    let key = |number: u8| Space::Inode.key(&[&[number]]);
    let write = async |numbers: std::ops::Range<u8>, length: u64| {
        let mut batch = Batch::new();
        numbers.for_each(|number| batch.put(key(number), content(number.into(), length)));
        volume.commit(batch).await.unwrap();
        volume.flush_index().await.unwrap();
    };
    // More than the index's cache has.
    for numbers in [0..24, 24..48, 48..72] {
        write(numbers, 1_000_000).await;
    }
    let cut = volume.cut().await.unwrap();
    let mut scans =
        [volume.scan(Space::Inode.range(&[])).await.unwrap(), cut.scan(Space::Inode.range(&[])).await.unwrap()];
    let files = || async {
        use futures::TryStreamExt;
        use object_store::ObjectStore;
        let listed: Vec<_> = world.bucket.list(None).try_collect().await.unwrap();
        let names = listed.into_iter().map(|meta| meta.location.to_string());
        names.filter(|name| name.contains("/index/compacted/")).collect::<std::collections::BTreeSet<_>>()
    };
    let before = files().await;
    let mut found = [scans[0].next(1).await.unwrap(), scans[1].next(1).await.unwrap()];
    for minute in 0..40 {
        write(100 + minute..101 + minute, 1000).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert!(files().await.is_disjoint(&before), "what they began in has gone");
    for (scan, found) in scans.iter_mut().zip(&mut found) {
        loop {
            let rows = scan.next(5).await.unwrap();
            if rows.is_empty() {
                break;
            }
            found.extend(rows);
        }
        assert_eq!(found.len(), 72);
        for (number, row) in (0..).zip(found) {
            assert!(row.key == key(number) && row.value.bytes == content(number.into(), 1_000_000), "row {number}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn settling_reads_many_payloads_of_a_far_log_at_a_time() {
    let world = World::in_objects();
    let volume = volume(&world).await;
    let room = volume.room().await.unwrap();
    let mut batch = Batch::new();
    for number in 0..200 {
        batch.append(pointing(number, &volume.append_payload(&room, &[content(number.into(), 300)]).await.unwrap()));
    }
    volume.durable(volume.commit(batch).await.unwrap()).await.unwrap();
    fill(&volume).await;
    world.bucket.set_faults(Faults { delay_max: Duration::from_millis(100), ..Faults::default() });
    let begun = tokio::time::Instant::now();
    let settled = volume.settle().await.unwrap();
    assert!(settled.rows >= 200 && begun.elapsed() < Duration::from_secs(5), "{settled:?} in {:?}", begun.elapsed());
}
