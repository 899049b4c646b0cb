//! What a log does when nothing goes wrong.

use crate::disk::{Disk, Fill, PAGE_BYTES, RealDisk, SimDisk, SimFaults};
use crate::log::format::{BLOCK_BYTES, GROUP_HEADER_BYTES};
use crate::log::on_disk::offset_of;
use crate::log::{
    Drive, DurableGroup, Entrant, Log, LogFile, LogListener, Medium, NoListener, Opened, Record, Replay, Settings, open,
};
use crate::{Error, Position};
use ballast_runtime::Random;
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub fn small() -> Settings {
    Settings {
        file_bytes: 64 << 10,
        first_file_bytes: 16 << 10,
        budget_bytes: 1 << 20,
        group_bytes_max: 32 << 10,
        flush_bytes: 16 << 10,
        pending_bytes_max: 64 << 10,
        random: Random::from_seed(1),
        ..Settings::default()
    }
}

pub fn on_disk(directory: &Path) -> Medium {
    Medium::Disk { disk: Arc::new(RealDisk), directory: directory.to_path_buf() }
}

pub async fn open_at(medium: &Medium, epoch: u64, replay_after: Position) -> crate::Result<Opened> {
    open(medium.clone(), epoch, replay_after, Arc::new(NoListener), small()).await
}

pub async fn all(mut replay: Replay) -> crate::Result<Vec<Record>> {
    let mut records = Vec::new();
    while let Some(more) = replay.next().await? {
        records.extend(more);
    }
    Ok(records)
}

async fn put(log: &Log, seq: u64, rows: &str) -> Position {
    let end = log.append_rows(seq, rows.as_bytes()).unwrap();
    log.durable(end).await.unwrap();
    end
}

#[tokio::test]
async fn rows_and_payload_come_back_after_a_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let medium = on_disk(directory.path());
    let Opened { log, replay, tail } = open_at(&medium, 1, Position(0)).await.unwrap();
    assert_eq!((all(replay).await.unwrap(), tail.end), (vec![], Position(0)));
    let payload = log.append_payload(&[Bytes::from("hello "), Bytes::from(vec![7; 5000])]).unwrap();
    assert_eq!(log.read_payload(&payload.pointer).await.unwrap().len(), 5006, "from memory");
    put(&log, 1, "one").await;
    put(&log, 2, "two").await;
    let read = log.read_payload(&payload.pointer).await.unwrap();
    assert!(read.starts_with(b"hello \x07"), "from the file");
    assert_eq!((log.pending_bytes(), log.durable_position()), (0, log.position()));
    log.close().await.unwrap();
    log.close().await.unwrap();
    assert!(matches!(log.append_rows(3, b"x"), Err(Error::Closed(_))));

    let Opened { log, replay, tail } = open_at(&medium, 2, Position(0)).await.unwrap();
    let records = all(replay).await.unwrap();
    let seen: Vec<(u64, &[u8])> = records.iter().map(|record| (record.seq, &record.rows[..])).collect();
    assert_eq!(seen, [(1, &b"one"[..]), (2, b"two")]);
    assert!(tail.closed && tail.cut.is_none());
    assert_eq!((tail.rows_seq, tail.rows_end), (2, records[1].group_end));
    assert_eq!(log.read_payload(&payload.pointer).await.unwrap(), read);
    drop(log);

    let Opened { replay, .. } = open_at(&medium, 3, records[0].group_end).await.unwrap();
    assert_eq!(all(replay).await.unwrap(), records[1..], "only what is behind the position");
}

#[tokio::test]
async fn large_groups_end_at_pages_and_small_ones_at_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let medium = on_disk(directory.path());
    let settings = Settings { first_file_bytes: 1 << 20, file_bytes: 1 << 20, ..Settings::default() };
    let opened = open(medium.clone(), 1, Position(0), Arc::new(NoListener), settings).await.unwrap();
    let log = opened.log;
    let end_in_file = || offset_of(Position(0), log.durable_position());
    put(&log, 1, "one").await;
    assert_eq!(end_in_file(), 2 * BLOCK_BYTES, "a header of the file, and a group");
    let large = Bytes::from(vec![7; crate::limits::PAGED_BYTES_MIN as usize]);
    let first = log.append_payload(std::slice::from_ref(&large)).unwrap();
    put(&log, 2, "two").await;
    assert_eq!(end_in_file() % PAGE_BYTES, 0);
    let second = log.append_payload(std::slice::from_ref(&large)).unwrap();
    put(&log, 3, "three").await;
    assert_eq!(second.pointer.offset % PAGE_BYTES, GROUP_HEADER_BYTES, "it starts at a page as well");
    drop(log);
    let Opened { log, replay, .. } = open_at(&medium, 2, Position(0)).await.unwrap();
    assert_eq!(all(replay).await.unwrap().len(), 3);
    for payload in [first, second] {
        assert_eq!(log.read_payload(&payload.pointer).await.unwrap(), large);
    }
}

#[tokio::test]
async fn many_writers_fill_many_files_and_find_everything_again() {
    let directory = tempfile::tempdir().unwrap();
    let medium = on_disk(directory.path());
    let Opened { log, .. } = open_at(&medium, 1, Position(0)).await.unwrap();
    let writer = |n: u64| {
        let log = log.clone();
        async move {
            let mut written = Vec::new();
            for i in 0..40u64 {
                log.room(Entrant::Payload).await.unwrap();
                let bytes = Bytes::from(vec![(n * 40 + i) as u8; 100 * (i as usize % 7) * (n as usize + 1)]);
                let payload = log.append_payload(std::slice::from_ref(&bytes)).unwrap();
                let end = log.append_rows(n * 40 + i, &bytes[..bytes.len().min(200)]).unwrap();
                log.durable(end).await.unwrap();
                written.push((payload.pointer, bytes));
            }
            written
        }
    };
    let written = futures::future::join_all((0..8).map(|n| tokio::spawn(writer(n)))).await;
    assert!(log.files().len() > 3, "{:?}", log.files());
    drop(log);
    let Opened { log, replay, tail } = open_at(&medium, 9, Position(0)).await.unwrap();
    let mut seqs: Vec<u64> = all(replay).await.unwrap().iter().map(|record| record.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (0..320).collect::<Vec<_>>());
    let files = log.files();
    assert_eq!((files[0].start, files.last().unwrap().end), (Position(0), tail.end));
    assert!(files.windows(2).all(|pair| pair[0].end == pair[1].start));
    let mut from_files = 0;
    for file in files {
        from_files += log.read_records(file).await.unwrap().len();
    }
    assert_eq!(from_files, 320);
    for (pointer, bytes) in written.into_iter().flat_map(Result::unwrap) {
        assert_eq!(log.read_payload(&pointer).await.unwrap(), bytes);
    }
}

/// What a listener hears: a group, or that the log is idle.
struct Tell(tokio::sync::mpsc::Sender<Option<DurableGroup>>);

impl LogListener for Tell {
    fn durable(&self, group: DurableGroup) {
        self.0.try_send(Some(group)).unwrap();
    }
    fn idle(&self) {
        self.0.try_send(None).unwrap();
    }
    fn closed(&self, _reason: Error) {}
}

#[tokio::test]
async fn rows_that_nobody_waits_for_are_written_after_a_while_and_then_the_log_is_idle() {
    for drive in [Drive::Thread, Drive::Task] {
        let directory = tempfile::tempdir().unwrap();
        let (sender, mut receiver) = tokio::sync::mpsc::channel(10);
        let (medium, listener) = (on_disk(directory.path()), Arc::new(Tell(sender)));
        let settings = Settings { drive, ..small() };
        let Opened { log, .. } = open(medium, 1, Position(0), listener, settings).await.unwrap();
        for seq in 1..3 {
            log.append_rows(seq, b"rows").unwrap();
            let group = loop {
                // It may have been idle before.
                if let Some(group) = receiver.recv().await.unwrap() {
                    break group;
                }
            };
            assert_eq!((group.rows_seq, group.rows_end, group.end), (seq, log.position(), log.position()));
            assert_eq!(receiver.recv().await.unwrap(), None);
        }
        log.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_later_writer_fences_an_earlier_one() {
    let directory = tempfile::tempdir().unwrap();
    let medium = on_disk(directory.path());
    let Opened { log: old, .. } = open_at(&medium, 1, Position(0)).await.unwrap();
    put(&old, 1, "one").await;
    let Opened { log: new, replay, .. } = open_at(&medium, 2, Position(0)).await.unwrap();
    assert_eq!(all(replay).await.unwrap().len(), 1);
    let late = old.append_rows(2, b"late").unwrap();
    assert!(matches!(old.durable(late).await, Err(Error::Fenced(_))));
    assert!(matches!(old.append_rows(3, b"later"), Err(Error::Fenced(_))));
    put(&new, 2, "two").await;
    assert!(matches!(open_at(&medium, 2, Position(0)).await, Err(Error::Fenced(_))));
    assert!(matches!(open_at(&medium, 1, Position(0)).await, Err(Error::Fenced(_))));
    drop(new);
    let Opened { replay, .. } = open_at(&medium, 3, Position(0)).await.unwrap();
    let rows: Vec<Bytes> = all(replay).await.unwrap().into_iter().map(|record| record.rows).collect();
    assert_eq!(rows, ["one", "two"]);
    let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let markers = names.filter(|name| name.to_string_lossy().starts_with("writer-")).count();
    assert_eq!(markers, 1);
}

#[tokio::test]
async fn a_writer_is_fenced_although_its_right_has_another_name() {
    let directory = tempfile::tempdir().unwrap();
    let log = open_at(&on_disk(directory.path()), 1, Position(0)).await.unwrap().log;
    put(&log, 1, "seen").await;
    // A system's clock for files may move by ten milliseconds at a time.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let right = directory.path().join("writer-0000000001");
    std::fs::hard_link(&right, directory.path().join("copy")).unwrap();
    std::fs::remove_file(&right).unwrap();
    let end = log.append_rows(2, b"too late").unwrap();
    assert!(matches!(log.durable(end).await, Err(Error::Fenced(_))));
}

#[tokio::test]
async fn many_restarts_leave_no_more_behind_than_one() {
    let directory = tempfile::tempdir().unwrap();
    let medium = on_disk(directory.path());
    for epoch in 1..20 {
        let Opened { log, tail, .. } = open_at(&medium, epoch, Position(0)).await.unwrap();
        assert_eq!(tail.end, log.position());
        if epoch == 3 {
            put(&log, 1, "one").await;
        }
    }
    let Opened { replay, .. } = open_at(&medium, 30, Position(0)).await.unwrap();
    assert_eq!(all(replay).await.unwrap().len(), 1);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3, "two files and one right to write");
}

#[tokio::test]
async fn condemned_files_are_freed_but_not_while_a_write_is_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let medium = on_disk(directory.path());
    let Opened { log, .. } = open_at(&medium, 1, Position(0)).await.unwrap();
    let held = log.append_payload(&[Bytes::from(vec![1; 9000])]).unwrap();
    for seq in 0..20 {
        log.append_payload(&[Bytes::from(vec![seq; 9000])]).unwrap();
        put(&log, u64::from(seq), "rows").await;
    }
    let (files, end) = (log.files(), log.position());
    assert!(files.len() > 3);
    assert_eq!(log.condemn(end), [], "the oldest file is held");
    assert!(log.hold(&held.pointer).is_some());
    let pointer = held.pointer;
    drop(held);
    let condemned = log.condemn(end);
    let older = files[..files.len() - 1].iter().map(|file| LogFile { condemned: true, ..*file });
    assert_eq!(condemned, older.collect::<Vec<_>>(), "the newest stays");
    assert!(log.hold(&pointer).is_none());
    assert_eq!(log.read_payload(&pointer).await.unwrap().len(), 9000, "until it is removed");
    let before = log.bytes();
    log.remove(&condemned).await;
    assert!(log.bytes() < before);
    assert!(matches!(log.read_payload(&pointer).await, Err(Error::PayloadMoved)));
    assert!(matches!(log.read_records(condemned[0]).await, Err(Error::PayloadMoved)));
    assert_eq!(log.files().len(), 1);
    drop(log);
    let position = condemned.last().unwrap().end;
    assert!(matches!(open_at(&medium, 2, Position(0)).await, Err(Error::Corrupt(_))), "the start is gone");
    let Opened { log, .. } = open_at(&medium, 3, position).await.unwrap();
    assert_eq!(log.position(), end);
}

/// A log that writers have to wait for.
async fn over_budget(directory: &std::path::Path) -> Log {
    let Opened { log, .. } = open_at(&on_disk(directory), 1, Position(0)).await.unwrap();
    let mut seq = 0;
    while log.bytes() <= small().budget_bytes {
        seq += 1;
        log.append_payload(&[Bytes::from(vec![1; 30_000])]).unwrap();
        put(&log, seq, "rows").await;
    }
    log
}

#[tokio::test]
async fn writers_wait_while_the_log_is_over_its_budget() {
    let directory = tempfile::tempdir().unwrap();
    let log = over_budget(directory.path()).await;
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move { log.room(Entrant::Payload).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    let condemned = log.condemn(log.position());
    log.remove(&condemned).await;
    for task in waiting {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn room_goes_to_whoever_asked_first() {
    let directory = tempfile::tempdir().unwrap();
    let log = over_budget(directory.path()).await;
    let (mut first, mut second) = (Box::pin(log.room(Entrant::Payload)), Box::pin(log.room(Entrant::Payload)));
    let (given_up, mut third) = (Box::pin(log.room(Entrant::Payload)), Box::pin(log.room(Entrant::Payload)));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    drop(given_up);
    log.remove(&log.condemn(log.position())).await;
    assert!(futures::poll!(&mut third).is_pending() && futures::poll!(&mut second).is_pending());
    assert!(futures::poll!(&mut first).is_ready());
    assert!(futures::poll!(&mut third).is_pending());
    assert!(futures::poll!(&mut second).is_ready());
    assert!(futures::poll!(&mut third).is_ready());
    log.room(Entrant::Payload).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_stops_the_log_and_says_what_to_do() {
    let disk = SimDisk::new(Random::from_seed(1), SimFaults { capacity_bytes: 40_000, ..SimFaults::default() });
    let medium = Medium::Disk { disk: Arc::new(disk), directory: PathBuf::from("/log") };
    let settings = Settings { drive: Drive::Task, ..small() };
    let Opened { log, .. } = open(medium, 1, Position(0), Arc::new(NoListener), settings).await.unwrap();
    let mut failed = None;
    for seq in 0..10 {
        let Ok(end) = log.append_rows(seq, &[1; 9000]) else { break };
        if let Err(error) = log.durable(end).await {
            failed = Some(error);
        }
    }
    let text = failed.unwrap().to_string();
    assert!(text.contains("free space in /log"), "{text}");
    assert!(matches!(log.room(Entrant::Payload).await, Err(Error::Exhausted(_))));
}

#[tokio::test]
async fn a_file_that_could_not_be_made_leaves_nothing_and_is_made_when_there_is_space_again() {
    let disk = SimDisk::new(Random::from_seed(1), SimFaults { capacity_bytes: 200_000, ..SimFaults::default() });
    let others = disk.create(Path::new("/others")).unwrap();
    let medium = Medium::Disk { disk: Arc::new(disk.clone()), directory: PathBuf::from("/log") };
    let settings = Settings { drive: Drive::Task, ..small() };
    let Opened { log, .. } = open(medium, 1, Position(0), Arc::new(NoListener), settings).await.unwrap();
    let append = async |seq| log.durable(log.append_rows(seq, &[1; 900]).unwrap()).await;
    let files = || disk.list(Path::new("/log")).unwrap().iter().filter(|name| name.starts_with("log-")).count();
    others.preallocate(disk.space(Path::new("/log")).unwrap().available, Fill::Nothing).unwrap();
    // Past the middle of the first file, where the next one is wanted.
    for seq in 1..12 {
        append(seq).await.unwrap();
    }
    assert_eq!(files(), 1);
    others.truncate(0).unwrap();
    for seq in 12..30 {
        append(seq).await.unwrap();
    }
    assert_eq!(files(), 2);
}

#[tokio::test]
async fn a_file_takes_little_of_what_the_disk_has_left_before_it_is_written_to() {
    let disk = SimDisk::new(Random::from_seed(1), SimFaults { capacity_bytes: 40_000, ..SimFaults::default() });
    let medium = Medium::Disk { disk: Arc::new(disk.clone()), directory: PathBuf::from("/log") };
    let settings = Settings { drive: Drive::Task, ..small() };
    let Opened { log, .. } = open(medium.clone(), 1, Position(0), Arc::new(NoListener), settings).await.unwrap();
    let left = || disk.space(Path::new("/log")).unwrap().available;
    assert!(left() >= 28_000, "{}", left());
    // It goes on behind what it had.
    for seq in 1..20 {
        log.durable(log.append_rows(seq, &[1; 900]).unwrap()).await.unwrap();
    }
    log.close().await.unwrap();
    let settings = Settings { drive: Drive::Task, ..small() };
    let Opened { replay, .. } = open(medium, 2, Position(0), Arc::new(NoListener), settings).await.unwrap();
    assert_eq!(all(replay).await.unwrap().len(), 19);
}
