//! What POSIX says of a file's content, one sentence a test.

use crate::{World, both, name_of, root};
use ballast_files::space::{Allocate, Seek};
use ballast_files::{Error, Open};
use ballast_store::Volume;
use ballast_tree::{SetAttributes, SetTime};
use ballast_types::{Call, Caller, Ino, Timestamp};
use bytes::Bytes;
use std::time::Duration;

#[tokio::test]
async fn a_read_sees_a_write_before_and_after_it_is_flushed() {
    let world = World::new().await;
    let file = world.create("f").await;
    world.write(file, 3, "hello").await;
    assert_eq!(world.read(file, 0, 100).await, b"\0\0\0hello");
    world.sync(file).await;
    assert_eq!(world.read(file, 0, 100).await, b"\0\0\0hello");
    assert_eq!(world.read(file, 4, 2).await, b"el");
    assert_eq!(world.read(file, 8, 5).await, b"");
}

#[tokio::test]
async fn a_file_outgrows_its_inode_and_can_go_back() {
    let world = World::new().await;
    let file = world.create("f").await;
    world.write(file, 0, "small").await;
    world.sync(file).await;
    world.write(file, 300_000, "far").await;
    world.sync(file).await;
    let mut expected = vec![0; 300_003];
    expected[..5].copy_from_slice(b"small");
    expected[300_000..].copy_from_slice(b"far");
    assert_eq!(world.read(file, 0, 400_000).await, expected);
    world.files.truncate(&root(), file, 0).await.expect("it may be cut");
    world.sync(file).await;
    let blocks = |world: &World| world.volume.rows().keys().filter(|key| key[0] == 0x20).count();
    assert_eq!(blocks(&world), 0, "no rows are left behind");
    world.write(file, 0, "again").await;
    world.sync(file).await;
    assert_eq!((world.read(file, 0, 10).await, blocks(&world)), (b"again".to_vec(), 0));
}

#[tokio::test]
async fn what_was_cut_off_reads_as_zeros_when_the_file_grows_again() {
    let world = World::new().await;
    let file = world.create("f").await;
    for flush in [false, true] {
        world.write(file, 0, vec![7; 200_000]).await;
        world.sync(file).await;
        world.files.truncate(&root(), file, 130_000).await.expect("it may be cut");
        if flush {
            world.sync(file).await;
        }
        world.files.truncate(&root(), file, 200_000).await.expect("it may grow");
        let read = world.read(file, 129_999, 100).await;
        assert_eq!((read[0], read[1..].iter().all(|byte| *byte == 0)), (7, true));
        world.sync(file).await;
        assert_eq!(world.read(file, 129_999, 100).await, read);
    }
}

#[tokio::test]
async fn only_what_was_synced_must_survive_a_crash() {
    let world = World::new().await;
    let file = world.create("f").await;
    world.write(file, 0, vec![1; 10_000]).await;
    world.sync(file).await;
    world.write(file, 0, vec![2; 10_000]).await;
    let world = world.crash().await;
    let file = world.find("f").await.expect("its name was made before the fsync").ino;
    assert_eq!(world.read(file, 0, 20_000).await, vec![1; 10_000]);
}

#[tokio::test]
async fn an_fsync_makes_earlier_names_durable_too() {
    let world = World::new().await;
    let _first = world.create("first").await;
    let file = world.create("second").await;
    world.sync(file).await;
    let _lost = world.create("third").await;
    let world = world.crash().await;
    assert!(world.find("first").await.is_some() && world.find("second").await.is_some());
    assert!(world.find("third").await.is_none());
}

#[tokio::test]
async fn a_failed_flush_is_told_to_every_handle_once_and_loses_nothing() {
    let world = World::new().await;
    let file = world.create("f").await;
    let first = world.files.open(&root(), file, both()).await.expect("it can be opened");
    let second = world.files.open(&root(), file, both()).await.expect("it can be opened");
    world.write(file, 0, "precious").await;
    world.volume.set_full(true);
    assert!(world.files.fsync(&first).await.is_err());
    assert!(second.check().is_err(), "the other handle hears of it");
    assert!(second.check().is_ok(), "but only once");
    assert!(world.files.fsync(&first).await.is_err(), "nothing is durable yet");
    assert_eq!(world.read(file, 0, 10).await, b"precious");
    let later = world.files.open(&root(), file, Open { read: true, ..Open::default() }).await;
    assert!(later.expect("it can be opened").check().is_ok(), "who opens later was not there");
    world.volume.set_full(false);
    world.files.fsync(&first).await.expect("there is room again");
    let world = world.crash().await;
    assert_eq!(world.read(file, 0, 10).await, b"precious");
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_no_new_data_and_what_it_has_taken() {
    let world = World::new().await;
    let file = world.create("f").await;
    world.write(file, 0, "taken before").await;
    world.volume.set_nearly_full(true);
    let refused = |done: Result<(), Error>| matches!(done, Err(Error::Store(ballast_store::Error::Exhausted(_))));
    assert!(refused(world.files.write(&root(), file, 12, "more".into()).await));
    assert!(refused(world.files.fallocate(&root(), file, 0, 100, Allocate::Extend).await));
    world.files.fallocate(&root(), file, 0, 5, Allocate::PunchHole).await.expect("it frees space");
    world.files.truncate(&root(), file, 8).await.expect("it frees space");
    world.sync(file).await;
    let world = world.crash().await;
    assert_eq!(world.read(file, 0, 100).await, b"\0\0\0\0\0 be");
}

#[tokio::test]
async fn an_open_file_keeps_its_content_when_its_last_name_goes() {
    let world = World::new().await;
    let file = world.create("f").await;
    let handle = world.files.open(&root(), file, both()).await.expect("it can be opened");
    world.write(file, 0, vec![5; 300_000]).await;
    world.files.fsync(&handle).await.expect("the volume works");
    world.tree.unlink(&root(), Ino::ROOT, &name_of("f")).await.expect("it is there");
    world.tree.reap().await.expect("reaping works");
    world.write(file, 300_000, "more").await;
    assert_eq!(world.read(file, 299_999, 10).await, b"\x05more");
    world.files.release(handle).await.expect("closing works");
    assert_eq!(world.tree.reap().await.expect("reaping works"), 1);
    assert!(world.volume.rows().keys().all(|key| key[0] != 0x20), "its blocks are gone");
    assert_eq!(world.files.dirty_bytes(), 0, "and what was dirty of it is forgotten");
    assert!(world.files.read(file, 0, 1).await.is_err());
}

#[tokio::test]
async fn a_time_that_was_set_is_not_moved_by_an_earlier_write() {
    let world = World::new().await;
    let file = world.create("f").await;
    world.write(file, 0, "x").await;
    let set = SetAttributes { mtime: Some(SetTime::At(Timestamp(42))), ..SetAttributes::default() };
    let (shown, _) = world.files.set_attributes(&root(), file, set).await.expect("root may");
    assert_eq!(shown.mtime, Timestamp(42));
    world.clock.advance(Duration::from_secs(1));
    world.sync(file).await;
    assert_eq!(world.files.attributes(file).await.expect("it is there").mtime, Timestamp(42));
    world.write(file, 0, "y").await;
    let written = Timestamp(2_000_000_000);
    assert_eq!(world.files.attributes(file).await.expect("it is there").mtime, written);
    world.sync(file).await;
    assert_eq!(world.tree.inode(file).await.expect("it is there").mtime, written);
}

#[tokio::test]
async fn holes_are_found_and_punched() {
    let world = World::new().await;
    let file = world.create("f").await;
    world.write(file, 0, vec![1; 131_072 * 4]).await;
    let punch = world.files.fallocate(&root(), file, 100_000, 300_000, Allocate::PunchHole).await;
    punch.expect("holes can be punched");
    let seek = async |offset, what| world.files.seek(file, offset, what).await;
    assert_eq!(seek(0, Seek::Hole).await.expect("there is a hole"), 100_000);
    assert_eq!(seek(100_001, Seek::Hole).await.expect("this is a hole"), 100_001);
    assert_eq!(seek(100_000, Seek::Data).await.expect("there is data"), 400_000);
    assert_eq!(seek(400_001, Seek::Hole).await.expect("the end is a hole"), 131_072 * 4);
    assert!(matches!(seek(131_072 * 4, Seek::Data).await, Err(Error::NothingThere(_))));
    assert_eq!(world.size(file).await, 131_072 * 4);
    let read = world.read(file, 99_999, 300_002).await;
    assert_eq!((read[0], read[300_001]), (1, 1));
    assert!(read[1..300_001].iter().all(|byte| *byte == 0));
    let allocated = world.files.allocated(&world.files.attributes(file).await.expect("it is there"));
    assert_eq!(allocated, 131_072 * 4 - 300_000);
}

#[tokio::test]
async fn allocating_extends_the_file_unless_asked_to_keep_its_size() {
    let world = World::new().await;
    let file = world.create("f").await;
    for (how, size) in
        [(Allocate::Keep, 0), (Allocate::Extend, 5000), (Allocate::PunchHole, 5000), (Allocate::Zero, 6000)]
    {
        let offset = if how == Allocate::Zero { 1000 } else { 0 };
        world.files.fallocate(&root(), file, offset, 5000, how).await.expect("it is supported");
        assert_eq!(world.size(file).await, size, "{how:?}");
    }
    assert!(matches!(world.files.fallocate(&root(), file, 0, 0, Allocate::Extend).await, Err(Error::Invalid(_))));
    assert!(matches!(world.files.truncate(&root(), file, u64::MAX).await, Err(Error::TooLarge(_))));
}

#[tokio::test]
async fn many_small_writes_to_one_block_do_not_make_its_row_grow() {
    let world = World::new().await;
    let file = world.create("f").await;
    let mut expected = vec![9; 131_072];
    world.write(file, 0, expected.clone()).await;
    world.sync(file).await;
    for step in 0..100 {
        let at = step * 1300;
        world.write(file, at as u64, "abc").await;
        expected[at..at + 3].copy_from_slice(b"abc");
        world.sync(file).await;
    }
    assert_eq!(world.read(file, 0, 200_000).await, expected);
    let row = world.volume.rows().into_iter().find(|(key, _)| key[0] == 0x20).expect("there is one block").1;
    assert!(row.pointers.len() <= 32, "{} pointers", row.pointers.len());
    let world = world.crash().await;
    let file = world.find("f").await.expect("it was synced").ino;
    assert_eq!(world.read(file, 0, 200_000).await, expected);
}

#[tokio::test]
async fn large_sequential_writes_go_into_segments() {
    let world = World::new().await;
    let file = world.create("f").await;
    let bytes: Vec<u8> = (0..9 << 20).map(|at: u32| (at % 251) as u8).collect();
    for (index, part) in bytes.chunks(1 << 20).enumerate() {
        world.write(file, (index as u64) << 20, Bytes::copy_from_slice(part)).await;
    }
    world.sync(file).await;
    assert_eq!(world.read(file, 0, 10 << 20).await, bytes);
    let rows = world.volume.rows();
    let pointers = rows.iter().filter(|(key, _)| key[0] == 0x20).flat_map(|(_, value)| value.pointers.clone());
    let (segments, logs): (Vec<_>, Vec<_>) =
        pointers.partition(|pointer| matches!(pointer.place, ballast_store::pointer::Place::Segment { .. }));
    assert!(segments.len() >= 64, "{} in segments, {} in the log", segments.len(), logs.len());
}

#[tokio::test]
async fn a_write_by_an_ordinary_user_takes_the_set_id_bits() {
    let world = World::new().await;
    let file = world.create("f").await;
    let set = SetAttributes { mode: Some(0o6777), ..SetAttributes::default() };
    world.files.set_attributes(&root(), file, set).await.expect("root may");
    world.write(file, 0, "by root").await;
    assert_eq!(world.files.attributes(file).await.expect("it is there").mode, 0o6777);
    let user = Call::new(Caller::new(1000, 1000));
    world.files.write(&user, file, 0, Bytes::from_static(b"by another")).await.expect("it was opened before");
    assert_eq!(world.files.attributes(file).await.expect("it is there").mode, 0o777);
}

#[tokio::test]
async fn who_may_not_write_cannot_open_for_writing() {
    let world = World::new().await;
    let file = world.create("f").await;
    let user = Call::new(Caller::new(1000, 1000));
    assert!(world.files.open(&user, file, Open { read: true, ..Open::default() }).await.is_ok());
    assert!(world.files.open(&user, file, both()).await.is_err());
    let truncate = Open { read: true, truncate: true, ..Open::default() };
    assert!(world.files.open(&user, file, truncate).await.is_err());
    assert!(matches!(world.files.open(&root(), Ino::ROOT, both()).await, Err(Error::IsADirectory(_))));
}

#[tokio::test]
async fn a_copied_range_arrives_and_the_source_stays() {
    let world = World::new().await;
    let (from, to) = (world.create("from").await, world.create("to").await);
    let bytes: Vec<u8> = (0..400_000u32).map(|at| (at % 253) as u8).collect();
    world.write(from, 0, bytes.clone()).await;
    let copied = world.files.copy_range(&root(), (from, 100), (to, 7), 1 << 30).await;
    assert_eq!(copied.expect("both are files"), 399_900);
    assert_eq!(world.read(to, 7, 1 << 20).await, bytes[100..]);
    assert!(world.files.copy_range(&root(), (to, 0), (to, 10), 100).await.is_err(), "overlapping ranges");
}

#[tokio::test]
async fn the_background_flushes_old_dirty_files_and_closed_ones() {
    let world = World::new().await;
    let (open, closed) = (world.create("open").await, world.create("closed").await);
    let handle = world.files.open(&root(), open, both()).await.expect("it can be opened");
    world.write(open, 0, "one").await;
    world.write(closed, 0, "two").await;
    world.files.tick().await;
    let size = async |ino| world.tree.inode(ino).await.expect("it is there").size;
    assert_eq!((size(open).await, size(closed).await), (0, 3));
    world.clock.advance(Duration::from_secs(6));
    world.files.tick().await;
    assert_eq!(size(open).await, 3);
    drop(handle);
}

#[tokio::test]
async fn a_volume_that_is_lost_answers_no_read_and_takes_no_write_from_memory() {
    let world = World::new().await;
    let (small, large) = (world.create("small").await, world.create("large").await);
    world.write(small, 0, "few bytes").await;
    world.write(large, 0, vec![7; 300_000]).await;
    let small_handle = world.files.open(&root(), small, both()).await.expect("it can be opened");
    let large_handle = world.files.open(&root(), large, both()).await.expect("it can be opened");
    world.sync(large).await;
    world.read(large, 1, 10).await;
    world.volume.close().await.expect("it closes");
    let lost = |what: &str, result: Result<(), ballast_files::Error>| {
        assert!(matches!(result, Err(Error::Store(_) | Error::Tree(_))), "{what} was answered: {result:?}");
    };
    lost("a read of dirty bytes", world.files.read_at(&small_handle, 0, 9).await.map(drop));
    lost("a read of cached bytes", world.files.read_at(&large_handle, 1, 10).await.map(drop));
    lost("attributes", world.files.attributes(small).await.map(drop));
    lost("a write", world.files.write(&root(), small, 0, "x".into()).await);
    lost("a truncate", world.files.truncate(&root(), small, 0).await);
    lost("a punched hole", world.files.fallocate(&root(), large, 0, 9, Allocate::PunchHole).await);
    lost("a search for data", world.files.seek(small, 0, Seek::Data).await.map(drop));
    lost("fsync", world.files.fsync(&large_handle).await);
}
