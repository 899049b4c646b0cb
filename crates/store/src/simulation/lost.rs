//! What a disk or a bucket has lost, or does not let go of, is named, harms nothing else and is kept where it is.

use super::PATIENCE;
use super::found::{fill, key, pointing, volume, write_much};
use super::model::content;
use super::world::World;
use crate::pointer::Place;
use crate::{Batch, Error, IndexedVolume, Pointer, Read, Space, Volume};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use std::time::Duration;

/// No other row of these tests has its number.
const LOST: u8 = 255;

fn lost_content() -> Bytes {
    content(LOST.into(), 1500)
}

/// A row whose payload will be lost, in a file or an object of the log of which little else is used.
async fn put_lost(volume: &IndexedVolume) -> Pointer {
    let payload = volume.append_payload(&volume.room().await.unwrap(), &[lost_content()]).await.unwrap();
    volume.durable(volume.commit(pointing(LOST, &payload)).await.unwrap()).await.unwrap();
    let pointer = payload.pointer;
    drop(payload);
    fill(volume).await;
    fill(volume).await;
    pointer
}

async fn read(read: &dyn Read, number: u8) -> crate::Result<Bytes> {
    let row = read.get(&key(number)).await?.expect("the row is there");
    read.read_payload(&row.pointers[0]).await
}

/// Several times what the log may hold is written and settled, and reads as it was written.
async fn writers_go_on(volume: &Arc<IndexedVolume>) {
    let written = tokio::time::timeout(PATIENCE, write_much(Arc::clone(volume))).await;
    written.expect("the background task makes room");
    for _ in 0..2 {
        tokio::time::timeout(PATIENCE, volume.settle()).await.expect("it ends").unwrap();
    }
    assert!(volume.stats().log_files <= 3, "{:?}", volume.stats());
    for number in 0..216 {
        assert_eq!(read(&**volume, number).await.unwrap(), content(1, 3000), "{number}");
    }
}

/// The same, and garbage is collected.
async fn all_else_goes_on(volume: &Arc<IndexedVolume>) {
    writers_go_on(volume).await;
    for _ in 0..2 {
        tokio::time::timeout(PATIENCE, volume.collect()).await.expect("it ends").unwrap();
    }
    for number in 0..216 {
        assert_eq!(read(&**volume, number).await.unwrap(), content(1, 3000), "{number}");
    }
}

fn is_named(read: crate::Result<Bytes>, by: &str) {
    assert!(matches!(&read, Err(Error::Corrupt(text)) if text.contains(by)), "{read:?} names {by}");
}

async fn problems(volume: &IndexedVolume) -> Vec<String> {
    volume.fsck(&mut |_| {}).await.unwrap().problems
}

fn give_back(world: &World, pointer: &Pointer) {
    let disk = world.disk.as_ref().expect("the log is files");
    disk.give_back(&world.log_file(pointer.place).expect("the file is there"));
}

#[tokio::test(start_paused = true)]
async fn payload_that_the_disk_cannot_read_holds_up_nobody_and_stays_where_it_is() {
    let mut world = World::on_disk();
    let volume = volume(&world).await;
    let lost = put_lost(&volume).await;
    assert!(world.lose(&lost));
    all_else_goes_on(&volume).await;
    is_named(read(&*volume, LOST).await, "the disk cannot read it");
    let problems = problems(&volume).await;
    assert!(!problems.is_empty() && problems.iter().all(|problem| problem.contains("cannot read")), "{problems:#?}");
    drop(volume);
    world.crash();
    let volume = world.open().await.unwrap();
    all_else_goes_on(&volume).await;
    is_named(read(&*volume, LOST).await, "the disk cannot read it");
    give_back(&world, &lost);
    assert_eq!(read(&*volume, LOST).await.unwrap(), lost_content());
    for _ in 0..2 {
        volume.collect().await.unwrap();
    }
    assert_eq!(world.log_file(lost.place), None, "it is packed with others when it can be read again");
    assert_eq!(read(&*volume, LOST).await.unwrap(), lost_content());
}

#[tokio::test(start_paused = true)]
async fn a_volume_opens_although_the_disk_cannot_read_payload_of_the_logs_tail() {
    let mut world = World::on_disk();
    let volume = volume(&world).await;
    let lost = volume.append_payload(&volume.room().await.unwrap(), &[lost_content()]).await.unwrap();
    volume.durable(volume.commit(pointing(LOST, &lost)).await.unwrap()).await.unwrap();
    fill(&volume).await;
    assert!(world.lose(&lost.pointer));
    drop((lost, volume));
    world.crash();
    let volume = world.open().await.unwrap();
    is_named(read(&*volume, LOST).await, "the disk cannot read it");
    all_else_goes_on(&volume).await;
    is_named(read(&*volume, LOST).await, "the disk cannot read it");
}

#[tokio::test(start_paused = true)]
async fn payload_of_a_snapshot_that_the_disk_cannot_read_holds_up_nobody_and_stays_where_it_is() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    let lost = put_lost(&volume).await;
    volume.create_snapshot("s").await.unwrap();
    let mut batch = Batch::new();
    batch.delete(key(LOST));
    volume.commit(batch).await.unwrap();
    assert!(world.lose(&lost));
    all_else_goes_on(&volume).await;
    let snapshot = volume.open_snapshot("s").await.unwrap();
    is_named(read(&*snapshot, LOST).await, "the disk cannot read it");
    assert_eq!(read(&*snapshot, 200).await.unwrap(), content(1, 3000));
    give_back(&world, &lost);
    assert_eq!(read(&*snapshot, LOST).await.unwrap(), lost_content());
}

/// The object of a place of the log.
fn log_object(place: Place) -> Path {
    let (Place::Log { number, .. } | Place::Segment { number, .. }) = place;
    Path::from(format!("volumes/{:016x}/log/{number:020}", 0))
}

#[tokio::test(start_paused = true)]
async fn an_object_of_the_log_that_is_gone_holds_up_nobody_and_may_come_back() {
    let mut world = World::in_objects();
    let volume = volume(&world).await;
    let lost = put_lost(&volume).await;
    let object = log_object(lost.place);
    let bytes = world.bucket.get(&object).await.unwrap().bytes().await.unwrap();
    world.bucket.delete(&object).await.unwrap();
    all_else_goes_on(&volume).await;
    is_named(read(&*volume, LOST).await, object.as_ref());
    let problems = problems(&volume).await;
    assert!(matches!(problems.as_slice(), [one] if one.contains(object.as_ref())), "{problems:#?}");
    world.bucket.put(&object, bytes.into()).await.unwrap();
    assert_eq!(read(&*volume, LOST).await.unwrap(), lost_content());
    drop(volume);
    world.crash();
    let volume = world.open().await.unwrap();
    all_else_goes_on(&volume).await;
    assert_eq!(read(&*volume, LOST).await.unwrap(), lost_content());
    assert!(world.bucket.head(&object).await.is_err(), "it is settled now");
}

/// The index's objects of a kind.
async fn index_objects(world: &World, kind: &str) -> Vec<Path> {
    let listed: Vec<_> = world.bucket.list(None).try_collect().await.unwrap();
    let objects = listed.into_iter().map(|meta| meta.location);
    objects.filter(|path| path.as_ref().contains(&format!("/index/{kind}/"))).collect()
}

/// Flips a byte of an object.
async fn flip(world: &World, object: &Path, at: usize) {
    let mut bytes = world.bucket.get(object).await.unwrap().bytes().await.unwrap().to_vec();
    bytes[at] ^= 1;
    world.bucket.put(object, bytes.into()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_damaged_block_of_the_index_holds_up_nobody_and_what_it_points_at_stays() {
    for (mut world, disk_loses) in
        [(World::on_disk(), false), (World::on_disk(), true), (World::in_objects(), false), (World::in_objects(), true)]
    {
        let first = volume(&world).await;
        let lost = put_lost(&first).await;
        // Rows that fill blocks of their own around the lost one's.
        let mut batch = Batch::new();
        let bytes = content(LOST.into(), 60_000);
        for number in 240..=LOST {
            let pointers = (number == LOST).then_some(lost);
            batch.put_with_payload(key(number), content(number.into(), 60_000), pointers);
        }
        first.commit(batch).await.unwrap();
        first.flush_index().await.unwrap();
        drop(first);
        world.crash();
        let mut damaged = Vec::new();
        for object in index_objects(&world, "compacted").await {
            let found = world.bucket.get(&object).await.unwrap().bytes().await.unwrap();
            let at = found.windows(64).position(|piece| piece == &bytes[1000..1064]);
            damaged.extend(at.map(|at| (object, at)));
        }
        assert!(!damaged.is_empty(), "the row is in the index");
        for (object, at) in &damaged {
            match disk_loses {
                true => world.bucket.lose(object, *at as u64..*at as u64 + 1),
                false => flip(&world, object, *at).await,
            }
        }
        let volume = world.open().await.unwrap();
        let unread = volume.get(&key(LOST)).await.map(drop);
        assert!(matches!(&unread, Err(Error::Corrupt(text)) if text.contains("/index/compacted/")), "{unread:?}");
        // Collecting has to look through all rows.
        writers_go_on(&volume).await;
        for (object, at) in &damaged {
            match disk_loses {
                true => world.bucket.give_back(object),
                false => flip(&world, object, *at).await,
            }
        }
        drop(volume);
        world.crash();
        let volume = world.open().await.unwrap();
        assert_eq!(read(&*volume, LOST).await.unwrap(), lost_content());
        all_else_goes_on(&volume).await;
        assert_eq!(read(&*volume, LOST).await.unwrap(), lost_content());
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_removed_holds_up_no_other_and_goes_when_it_can() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    let fixed = put_lost(&volume).await;
    let path = world.log_file(fixed.place).unwrap();
    let disk = world.disk.clone().unwrap();
    disk.fix(&path, true);
    all_else_goes_on(&volume).await;
    let names = crate::disk::Disk::list(&disk, &world.log_directory()).unwrap();
    let of_log = names.iter().filter(|name| name.starts_with("log-")).count();
    assert!(of_log <= 6 && world.log_file(fixed.place).is_some(), "{names:?}");
    disk.fix(&path, false);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(world.log_file(fixed.place), None);
    assert_eq!(read(&*volume, LOST).await.unwrap(), lost_content());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_snapshot_holds_up_nobody_and_what_it_may_need_stays_until_it_is_deleted() {
    for (mut world, is_mended) in
        [(World::on_disk(), false), (World::on_disk(), true), (World::in_objects(), false), (World::in_objects(), true)]
    {
        let first = volume(&world).await;
        put_lost(&first).await;
        first.create_snapshot("s").await.unwrap();
        let manifests = index_objects(&world, "manifest").await;
        first.flush_index().await.unwrap();
        let mut batch = Batch::new();
        batch.delete(key(LOST));
        batch.put(Space::Inode.key(&[b"row"]), Bytes::from_static(b"of a newer manifest"));
        first.commit(batch).await.unwrap();
        first.flush_index().await.unwrap();
        for manifest in &manifests {
            flip(&world, manifest, 100).await;
        }
        all_else_goes_on(&first).await;
        drop(first);
        world.crash();
        let volume = world.open().await.unwrap();
        let opened = volume.open_snapshot("s").await.map(drop);
        assert!(matches!(&opened, Err(Error::Corrupt(text)) if text.contains("manifest")), "{opened:?}");
        all_else_goes_on(&volume).await;
        let report = volume.fsck(&mut |_| {}).await.unwrap();
        assert!(report.problems.iter().any(|problem| problem.contains("snapshot \"s\"")));
        assert!(report.segments_unused > 0, "{report:?}");
        if is_mended {
            for manifest in &manifests {
                flip(&world, manifest, 100).await;
            }
            let snapshot = volume.open_snapshot("s").await.unwrap();
            assert_eq!(read(&*snapshot, LOST).await.unwrap(), lost_content());
            assert_eq!(read(&*snapshot, 200).await.unwrap(), content(1, 3000));
        }
        volume.delete_snapshot("s").await.unwrap();
        all_else_goes_on(&volume).await;
        let report = volume.fsck(&mut |_| {}).await.unwrap();
        assert_eq!(report.segments_unused, 0, "its space is given back");
        assert!(report.problems.iter().all(|problem| problem.contains("/manifest/")), "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_renamed_can_be_read_and_goes_when_it_can() {
    let world = World::on_disk();
    let volume = volume(&world).await;
    let lost = put_lost(&volume).await;
    let (path, disk) = (world.log_file(lost.place).unwrap(), world.disk.clone().unwrap());
    assert!(world.lose(&lost));
    disk.fix(&path, true);
    all_else_goes_on(&volume).await;
    assert_eq!(world.log_file(lost.place).as_ref(), Some(&path), "it is a segment under its old name");
    is_named(read(&*volume, LOST).await, "the disk cannot read it");
    give_back(&world, &lost);
    assert_eq!(read(&*volume, LOST).await.unwrap(), lost_content());
    all_else_goes_on(&volume).await;
    assert_eq!(read(&*volume, LOST).await.unwrap(), lost_content(), "wherever it is by now");
    disk.fix(&path, false);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(world.log_file(lost.place), None);
    assert_eq!(read(&*volume, LOST).await.unwrap(), lost_content());
}
