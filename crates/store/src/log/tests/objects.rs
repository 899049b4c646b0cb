//! The log of objects, on buckets that behave and buckets that do not.

use super::basics::{all, open_at, small};
use super::faulty_store::{Faults, FaultyStore};
use super::seeds;
use crate::log::format::{FileId, GroupHeader, GroupKind, put_rows_record};
use crate::log::{Log, LogFile, Medium, NoListener, Opened, open};
use crate::{Error, Pointer, Position};
use ballast_runtime::Random;
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn on(store: Arc<dyn ObjectStore>) -> Medium {
    Medium::Object { store, prefix: Path::from("volume/log") }
}

async fn names(store: &dyn ObjectStore) -> Vec<String> {
    use futures::TryStreamExt;
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut names: Vec<String> = listed.into_iter().map(|meta| meta.location.to_string()).collect();
    names.sort();
    names
}

/// Appends payload and a row that says how long it is.
async fn put(log: &Log, seq: u64, payload_bytes: usize) -> crate::Result<(Pointer, Position)> {
    let payload = log.append_payload(&[Bytes::from(vec![seq as u8; payload_bytes])])?;
    let end = log.append_rows(seq, payload_bytes.to_string().as_bytes())?;
    log.durable(end).await?;
    Ok((payload.pointer, end))
}

#[tokio::test]
async fn rows_and_payload_come_back_from_objects() {
    let store = Arc::new(InMemory::new());
    let medium = on(store.clone());
    let Opened { log, replay, .. } = open_at(&medium, 1, Position(0)).await.unwrap();
    assert!(all(replay).await.unwrap().is_empty());
    let mut pointers = Vec::new();
    for seq in 1..=10 {
        // One of them is too large to be read whole for its rows.
        pointers.push(put(&log, seq, if seq == 5 { 700_000 } else { seq as usize * 10 }).await.unwrap().0);
    }
    log.close().await.unwrap();
    let Opened { log, replay, tail } = open_at(&medium, 2, Position(0)).await.unwrap();
    let records = all(replay).await.unwrap();
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    assert!(tail.closed && tail.cut.is_none());
    assert_eq!((tail.rows_seq, tail.rows_end), (10, records[9].group_end));
    for (seq, pointer) in (1u8..).zip(&pointers) {
        let bytes = log.read_payload(pointer).await.unwrap();
        assert!(bytes.iter().all(|byte| *byte == seq) && bytes.len() == pointer.length as usize);
    }
    let mut from_files = 0;
    for file in log.files() {
        from_files += log.read_records(file).await.unwrap().len();
    }
    assert_eq!(from_files, 10);
    put(&log, 11, 10).await.unwrap();
    drop(log);
    let Opened { log, replay, .. } = open_at(&medium, 5, records[4].group_end).await.unwrap();
    let behind = all(replay).await.unwrap();
    assert_eq!(behind.iter().map(|record| record.seq).collect::<Vec<_>>(), (6..=11).collect::<Vec<_>>());

    let mut condemned = log.condemn(records[4].group_end);
    // A snapshot keeps one of them.
    let kept = condemned.remove(3);
    log.remove(&condemned).await;
    assert!(matches!(log.read_payload(&pointers[4]).await, Err(Error::PayloadMoved)));
    log.read_payload(&pointers[5]).await.unwrap();
    drop(log);
    assert!(matches!(open_at(&medium, 6, Position(0)).await, Err(Error::Corrupt(_))), "the start is gone");
    let Opened { log, replay, .. } = open_at(&medium, 7, records[4].group_end).await.unwrap();
    assert_eq!(all(replay).await.unwrap().len(), 6);
    log.read_payload(&pointers[5]).await.unwrap();
    assert_eq!(log.files()[0], LogFile { condemned: false, ..kept });
    log.read_payload(pointers.iter().find(|pointer| pointer.place == kept.place).unwrap()).await.unwrap();
}

/// The log of a dead server.
async fn five_objects() -> Arc<InMemory> {
    let store = Arc::new(InMemory::new());
    let Opened { log, .. } = open_at(&on(store.clone()), 1, Position(0)).await.unwrap();
    for seq in 1..=5 {
        put(&log, seq, 10).await.unwrap();
    }
    store
}

#[tokio::test]
async fn a_lost_or_changed_object_is_named() {
    let store = five_objects().await;
    let objects = names(&*store).await;
    // The last object may be lost without a trace: nothing that is left knows of it.
    for name in &objects[..objects.len() - 1] {
        let path = Path::from(name.as_str());
        let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
        let fork = Arc::new(store.fork());
        fork.delete(&path).await.unwrap();
        match open_at(&on(fork), 2, Position(0)).await {
            Err(Error::Corrupt(text)) => assert!(text.contains("volume/log/"), "{text}"),
            Err(error) => panic!("{name} is gone: {error}"),
            Ok(_) => panic!("{name} is gone, and nothing was said"),
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            let fork = Arc::new(store.fork());
            fork.put(&path, changed.into()).await.unwrap();
            let found = match open_at(&on(fork), 2, Position(0)).await {
                Ok(opened) => all(opened.replay).await,
                Err(error) => Err(error),
            };
            match found {
                // A flip in payload is named when the payload is read.
                Ok(found) => assert!(found.len() == 5 && (104..114).contains(&at), "{name} flipped at {at}"),
                Err(Error::Corrupt(text)) => assert!(text.contains(name), "{name} flipped at {at}: {text}"),
                Err(error) => panic!("{name} flipped at {at}: {error}"),
            }
        }
    }
}

/// An object comes whole or not at all, so that a short one is damage, also if it is the last one.
#[tokio::test]
async fn a_log_object_that_was_cut_is_named() {
    let store = five_objects().await;
    for name in names(&*store).await {
        let path = Path::from(name.as_str());
        let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
        for cut in 0..bytes.len() {
            let fork = Arc::new(store.fork());
            fork.put(&path, bytes.slice(..cut).into()).await.unwrap();
            match open_at(&on(fork), 2, Position(0)).await {
                Err(Error::Corrupt(text)) => assert!(text.contains(&name), "{name} cut at {cut}: {text}"),
                Err(error) => panic!("{name} cut at {cut}: {error}"),
                Ok(_) => panic!("{name} cut at {cut}, and nothing was said"),
            }
        }
    }
}

/// Such an object is damaged while the log is open, which has seen it whole.
#[tokio::test]
async fn a_log_object_that_is_cut_while_it_is_read_is_named() {
    let store = Arc::new(InMemory::new());
    let Opened { log, .. } = open_at(&on(store.clone()), 1, Position(0)).await.unwrap();
    let (pointer, _) = put(&log, 1, 10).await.unwrap();
    put(&log, 2, 10).await.unwrap();
    let name = names(&*store).await.remove(1);
    let path = Path::from(name.as_str());
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    for cut in 0..pointer.offset as usize + 10 {
        store.put(&path, bytes.slice(..cut).into()).await.unwrap();
        let read = log.read_payload(&pointer).await;
        assert!(matches!(&read, Err(Error::Corrupt(text)) if text.contains(&name)), "cut at {cut}: {read:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_settled_by_reading_the_object() {
    let random = Random::from_seed(3);
    let faults = Faults { lost_answer: 2, lost_request: 3, ..Faults::default() };
    let store = FaultyStore::new(random, faults);
    let medium = on(Arc::new(store.clone()));
    let Opened { log, .. } = open_at(&medium, 1, Position(0)).await.unwrap();
    for seq in 1..=20 {
        put(&log, seq, 10).await.unwrap();
    }
    assert!(store.puts() > 25, "some were tried again");
    drop(log);
    let Opened { replay, .. } = open_at(&medium, 2, Position(0)).await.unwrap();
    assert_eq!(all(replay).await.unwrap().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn waiters_wake_in_order_although_creates_finish_in_any_order() {
    let store = FaultyStore::new(Random::from_seed(5), Faults::default());
    let Opened { log, .. } = open_at(&on(Arc::new(store)), 1, Position(0)).await.unwrap();
    let woken = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for seq in 0..50u64 {
        let end = log.append_rows(seq, b"row").unwrap();
        let (log, woken) = (log.clone(), Arc::clone(&woken));
        tasks.push(tokio::spawn(async move {
            log.durable(end).await.unwrap();
            woken.lock().push(seq);
        }));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    futures::future::join_all(tasks).await;
    assert_eq!(*woken.lock(), (0..50).collect::<Vec<_>>());
}

/// A group that the first writer had under way when the second one's fence took number 68.
/// At 20 Mbit/s, four groups of 8 MiB at a time.
#[tokio::test(start_paused = true)]
async fn a_large_group_has_the_time_that_it_takes() {
    let faults = Faults { bytes_per_second: 2_500_000 / 4, ..Faults::default() };
    let store = Arc::new(FaultyStore::new(Random::from_seed(1), faults));
    let Opened { log, .. } = open_at(&on(store.clone()), 1, Position(0)).await.unwrap();
    let before = store.puts();
    put(&log, 1, 8 << 20).await.unwrap();
    assert_eq!(store.puts() - before, 2, "one group of payload and one of rows");
}

fn late(number: u64, start: Position) -> (GroupHeader, Bytes) {
    let mut records = Vec::new();
    put_rows_record(&mut records, 99, &[0; 100]);
    let header = GroupHeader {
        kind: GroupKind::Data,
        id: FileId { epoch: 1, number },
        start,
        acknowledged: Position(0),
        last_seq: 99,
        rows_end: start,
        previous: number - 1,
        next: number + 1,
        nonce: [1; 16],
        payload_bytes: 0,
        record_bytes: records.len() as u32,
        records_crc: crc32c::crc32c(&records),
    };
    (header, Bytes::from([&header.encode()[..], &records].concat()))
}

/// Two writers' logs of which so many of the oldest objects are gone, and what arrives late then: under the number
/// of the second one's fence, and behind it.
#[tokio::test]
async fn what_a_dead_writer_had_under_way_does_no_harm_whenever_it_arrives() {
    let store = Arc::new(InMemory::new());
    let mut rows = Vec::new();
    for (epoch, seqs) in [(1, 1..=3), (2, 4..=9)] {
        let Opened { log, .. } = open_at(&on(store.clone()), epoch, Position(0)).await.unwrap();
        for seq in seqs {
            rows.push(put(&log, seq, 50).await.unwrap());
        }
    }
    let objects = names(&*store).await;
    let numbers: Vec<u64> = objects.iter().map(|name| name[name.len() - 20..].parse().unwrap()).collect();
    assert_eq!(numbers, [1, 65, 66, 67, 68, 132, 133, 134, 135, 136, 137]);
    let (fence_at, replay_after) = (rows[2].1, rows[5].1);
    let (first, bytes) = late(68, fence_at);
    let (second, more) = late(69, first.end());
    let late = [(68, bytes), (69, more), (70, late(70, second.end()).1)];
    // Each of the numbers says which of three objects arrive, and whether the fence is removed later than the others.
    for (settled, arrive, fence_stays) in (0..=8).flat_map(|n| (0..8).flat_map(move |m| [(n, m, false), (n, m, true)]))
    {
        let case = format!("{settled} settled, {arrive:03b} arrive, the fence stays: {fence_stays}");
        let fork = Arc::new(store.fork());
        for (name, number) in objects[..settled].iter().zip(&numbers) {
            if !(fence_stays && *number == 68) {
                fork.delete(&Path::from(name.as_str())).await.unwrap();
            }
        }
        for (_, (number, bytes)) in late.iter().enumerate().filter(|(at, _)| arrive >> at & 1 == 1) {
            let path = Path::from(format!("volume/log/{number:020}"));
            let _ = fork.put_opts(&path, bytes.clone().into(), PutMode::Create.into()).await;
        }
        let opened = open_at(&on(fork.clone()), 3, replay_after).await;
        let Opened { log, replay, .. } = opened.unwrap_or_else(|error| panic!("{case}: {error}"));
        let found: Vec<u64> = all(replay).await.unwrap().iter().map(|record| record.seq).collect();
        assert_eq!(found, [7, 8, 9], "{case}");
        for (number, (pointer, _)) in [65, 66, 67, 132, 133, 134, 135, 136, 137].iter().zip(&rows) {
            let read = log.read_payload(pointer).await;
            match numbers[settled..].contains(number) {
                true => assert!(read.is_ok(), "{case}: {number} is there: {read:?}"),
                false => assert!(matches!(read, Err(Error::PayloadMoved)), "{case}: {number} is gone: {read:?}"),
            }
        }
        log.remove(&log.condemn(log.position())).await;
        assert_eq!(names(&*fork).await, ["volume/log/00000000000000000138"], "{case}");
    }
}

/// Lives of writers that overlap: each is overtaken by the next one while it writes.
async fn lives(seed: u64) {
    let random = Random::from_seed(seed);
    let (lost_request, lost_answer, slow) = (random.below(8), random.below(8), random.below(2) * 20);
    let faults = Faults { lost_request, lost_answer, slow, ..Faults::default() };
    let store = FaultyStore::new(random.clone(), faults);
    let medium = on(Arc::new(store));
    // What each epoch appended is numbered from 1; the highest that it was told to be durable.
    let acknowledged: Arc<Mutex<BTreeMap<u64, u64>>> = Arc::default();
    let mut pointers: Vec<Arc<Mutex<BTreeMap<u64, Pointer>>>> = Vec::new();
    let mut writers = Vec::new();
    for epoch in 1..=4u64 {
        let settings = crate::log::Settings { random: random.clone(), ..small() };
        let opened = open(medium.clone(), epoch, Position(0), Arc::new(NoListener), settings).await;
        let Opened { log, replay, .. } = match opened {
            Ok(opened) => opened,
            Err(Error::Unavailable { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        // Whatever was acknowledged by now by any earlier writer is there, and each epoch's rows have no gap.
        let told = acknowledged.lock().clone();
        let mut found: BTreeMap<u64, u64> = BTreeMap::new();
        for record in all(replay).await.unwrap() {
            let (writer, number) = (record.seq >> 32, record.seq & 0xffff_ffff);
            let last = found.insert(writer, number).unwrap_or(0);
            assert_eq!(number, last + 1, "rows of epoch {writer} are in order");
            if let Some(pointer) = pointers.get(writer as usize - 1).and_then(|p| p.lock().get(&number).copied()) {
                log.read_payload(&pointer).await.unwrap();
            }
        }
        for (writer, number) in told {
            assert!(found.get(&writer).copied().unwrap_or(0) >= number, "epoch {writer} lost row {number}");
        }
        // Nothing is acknowledged to an earlier writer after the fence.
        let (frozen, acknowledged) = (acknowledged.lock().clone(), Arc::clone(&acknowledged));
        let mine: Arc<Mutex<BTreeMap<u64, Pointer>>> = Arc::default();
        pointers.resize_with(epoch as usize, Default::default);
        pointers[epoch as usize - 1] = Arc::clone(&mine);
        let (random, pause) = (random.clone(), random.below(200));
        writers.push(tokio::spawn(async move {
            for number in 1..100u64 {
                let Ok(payload) = log.append_payload(&[Bytes::from(vec![epoch as u8; 100])]) else { return };
                mine.lock().insert(number, payload.pointer);
                let Ok(end) = log.append_rows(epoch << 32 | number, b"row") else { return };
                if random.below(3) == 0 {
                    match log.durable(end).await {
                        Ok(()) => drop(acknowledged.lock().insert(epoch, number)),
                        Err(Error::Fenced(_) | Error::Unavailable { .. }) => return,
                        Err(error) => panic!("{error}"),
                    }
                }
                tokio::time::sleep(Duration::from_millis(random.below(20))).await;
            }
        }));
        drop(frozen);
        tokio::time::sleep(Duration::from_millis(pause * 10)).await;
        if pause % 3 == 0 {
            writers.last().unwrap().abort();
        }
    }
    for writer in writers {
        if let Err(error) = writer.await {
            assert!(error.is_cancelled(), "{error}");
        }
    }
    let epoch = 9;
    let Ok(Opened { replay, .. }) = open_at(&medium, epoch, Position(0)).await else { return };
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    for record in all(replay).await.unwrap() {
        found.insert(record.seq >> 32, record.seq & 0xffff_ffff);
    }
    for (writer, number) in acknowledged.lock().iter() {
        assert!(found.get(writer).copied().unwrap_or(0) >= *number, "epoch {writer} lost row {number}");
    }
}

#[test]
fn writers_that_overtake_each_other_lose_nothing_acknowledged() {
    for seed in seeds(60) {
        let run = std::panic::catch_unwind(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.unwrap().block_on(lives(seed));
        });
        if let Err(panic) = run {
            eprintln!("seed {seed}: replay it with BALLAST_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
