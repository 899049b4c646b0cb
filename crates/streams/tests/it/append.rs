//! Appending and reading.

use crate::world::{World, batches, id};
use ballast_streams::testing::BatchBuilder;
use ballast_streams::{AppendPart, Config, Error, FetchPart, FetchRequest, OffsetAt, Settings, TimestampType};
use std::time::Duration;

fn no_tail() -> Config {
    Config { tail_bytes: 0, ..Config::default() }
}

#[tokio::test]
async fn what_was_appended_is_read_from_memory_and_from_the_log() {
    for config in [Config::default(), no_tail()] {
        let world = World::with(config).await;
        let id = id(&world.stream("s", 1).await, 0);
        for (records, base) in [(3, 0), (1, 3), (5, 4)] {
            let appended = world.append(id, &BatchBuilder::new().records(records)).await.unwrap();
            assert_eq!((appended.base_offset, appended.log_start), (base, 0));
        }
        let all = world.fetch(id, 0, 1 << 20).await.unwrap();
        assert_eq!(batches(&all), [(0, 3), (3, 1), (4, 5)]);
        assert_eq!((all.high_watermark, all.log_start), (9, 0));
        // From the middle of a batch the whole batch comes.
        assert_eq!(batches(&world.fetch(id, 1, 1 << 20).await.unwrap())[0], (0, 3));
        assert_eq!(batches(&world.fetch(id, 6, 1 << 20).await.unwrap()), [(4, 5)]);
        // At least one batch, however small the limit; no more than fit.
        assert_eq!(batches(&world.fetch(id, 0, 1).await.unwrap()), [(0, 3)]);
        assert_eq!(batches(&world.fetch(id, 9, 1 << 20).await.unwrap()), []);
        assert!(matches!(world.fetch(id, 10, 1).await, Err(Error::OffsetOutOfRange { start: 0, end: 9, .. })));
        assert!(matches!(world.fetch(id, -1, 1).await, Err(Error::OffsetOutOfRange { .. })));
    }
}

#[tokio::test]
async fn large_bodies_and_several_batches_in_one_request_come_back_as_they_were() {
    for config in [Config::default(), no_tail()] {
        let world = World::with(config).await;
        let id = id(&world.stream("s", 1).await, 0);
        let large = BatchBuilder::new().records(7).value(vec![b'x'; 100_000]);
        let two = [large.build(), BatchBuilder::new().records(2).build()].concat();
        world.append_bytes(id, two.into()).await.unwrap();
        assert_eq!(batches(&world.fetch(id, 0, 10 << 20).await.unwrap()), [(0, 7), (7, 2)]);
        assert_eq!(batches(&world.fetch(id, 8, 10 << 20).await.unwrap()), [(7, 2)]);
        assert_eq!(batches(&world.fetch(id, 0, large.build().len() + 10).await.unwrap()), [(0, 7)]);
    }
}

#[tokio::test]
async fn a_request_is_one_commit_over_its_partitions_and_each_has_its_own_outcome() {
    let world = World::new().await;
    let stream = world.stream("s", 2).await;
    let good = BatchBuilder::new().records(2).build();
    let mut damaged = good.to_vec();
    damaged[70] ^= 1;
    let part = |partition, records: bytes::Bytes| AppendPart { id: id(&stream, partition), records };
    let parts = vec![
        part(1, good.clone()),
        part(0, damaged.into()),
        part(5, good.clone()),
        part(1, good.clone()),
        part(0, good),
    ];
    let results = world.streams.append(parts).await.durable().await;
    assert_eq!(results[0].as_ref().unwrap().base_offset, 0);
    assert!(matches!(results[1], Err(Error::DamagedBatch(_))));
    assert!(matches!(results[2], Err(Error::UnknownPartition(5))));
    assert!(matches!(results[3], Err(Error::InvalidBatch(_))), "one partition twice");
    assert_eq!(results[4].as_ref().unwrap().base_offset, 0);
}

#[tokio::test]
async fn what_producers_may_not_send_is_refused() {
    let world = World::new().await;
    let id = id(&world.stream("s", 1).await, 0);
    let builder = BatchBuilder::new();
    let with_all = |changes: &[(usize, u8)]| {
        let mut bytes = builder.build().to_vec();
        changes.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes::Bytes::from(bytes)
    };
    let with = |at: usize, byte: u8| with_all(&[(at, byte)]);
    assert!(matches!(world.append_bytes(id, bytes::Bytes::new()).await, Err(Error::InvalidBatch(_))));
    assert!(matches!(world.append_bytes(id, with(16, 1)).await, Err(Error::InvalidBatch(_))), "an old format");
    assert!(matches!(world.append_bytes(id, with(22, 0x20)).await, Err(Error::InvalidBatch(_))), "a control batch");
    assert!(
        matches!(world.append_bytes(id, with(60, 2)).await, Err(Error::InvalidBatch(_))),
        "a wrong number of records"
    );
    for records in [3, 200] {
        let more = with_all(&[(26, records - 1), (60, records)]);
        assert!(matches!(world.append_bytes(id, more).await, Err(Error::InvalidBatch(_))), "{records} in a few bytes");
    }
    assert!(matches!(world.append_bytes(id, with(11, 255)).await, Err(Error::DamagedBatch(_))), "too long");
    let cut = builder.build().slice(..40);
    assert!(matches!(world.append_bytes(id, cut).await, Err(Error::DamagedBatch(_))));
    let large = BatchBuilder::new().value(vec![0; 2 << 20]);
    assert!(matches!(world.append(id, &large).await, Err(Error::BatchTooLarge { .. })));
    assert_eq!(world.fetch(id, 0, 1).await.unwrap().high_watermark, 0);
}

#[tokio::test]
async fn log_append_time_replaces_the_timestamps_and_the_crc_fits() {
    let world = World::new().await;
    let settings = Settings { timestamp_type: Some(TimestampType::LogAppendTime), ..Settings::default() };
    let stream = world.streams.create(&world.call, "s", 1, settings).await.unwrap();
    for value in [10, 100_000] {
        let batch = BatchBuilder::new().records(2).value(vec![1; value]);
        let appended = world.append(id(&stream, 0), &batch).await.unwrap();
        assert_eq!(appended.append_ms, Some(world.streams.now_ms()));
    }
    let fetched = world.fetch(id(&stream, 0), 0, 1 << 20).await.unwrap();
    assert_eq!(batches(&fetched).len(), 2);
    let header = ballast_streams::batch::BatchHeader::parse(&fetched.records.concat()).unwrap();
    assert!(header.is_log_append_time() && header.max_timestamp == world.streams.now_ms());
}

#[tokio::test]
async fn records_that_are_too_old_or_too_far_in_the_future_are_refused() {
    let world = World::new().await;
    let limits = [("message.timestamp.before.max.ms", "2000"), ("message.timestamp.after.max.ms", "3000")];
    let notes = limits.map(|(name, ms)| (name.to_owned(), ms.to_owned()));
    let narrow = Settings { notes: notes.into_iter().collect(), ..Settings::default() };
    let stamped = Settings { timestamp_type: Some(TimestampType::LogAppendTime), ..narrow.clone() };
    let narrow = id(&world.streams.create(&world.call, "narrow", 1, narrow).await.unwrap(), 0);
    let stamped = id(&world.streams.create(&world.call, "stamped", 1, stamped).await.unwrap(), 0);
    let usual = id(&world.stream("usual", 1).await, 0);
    let now = world.streams.now_ms();
    for (id, time, is_taken) in [
        (usual, now + 3_600_000, true),
        (usual, now + 3_600_001, false),
        (usual, now * 1_000, false),
        (usual, i64::MAX, false),
        (usual, 0, true),
        (usual, -1, true),
        (narrow, now + 3_000, true),
        (narrow, now + 3_001, false),
        (narrow, now - 2_000, true),
        (narrow, now - 2_001, false),
        (narrow, -1, true),
        (stamped, i64::MAX, true),
    ] {
        let done = world.append(id, &BatchBuilder::new().timestamps(&[time])).await;
        assert_eq!(done.is_ok(), is_taken, "{id:?} takes {} ms", i128::from(time) - i128::from(now));
    }
    // A producer that repeats what was taken in time is answered where it is.
    let batch = BatchBuilder::new().timestamps(&[now]).producer(9, 0, 0);
    let first = world.append(narrow, &batch).await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.append(narrow, &batch).await.unwrap().base_offset, first.base_offset);
}

#[tokio::test]
async fn nothing_is_shown_before_it_is_durable_and_a_crash_takes_only_that() {
    let world = World::new().await;
    let id = id(&world.stream("s", 1).await, 0);
    world.append(id, &BatchBuilder::new().records(2)).await.unwrap();
    let after = world.crash().await;
    assert_eq!(batches(&after.fetch(id, 0, 1 << 20).await.unwrap()), [(0, 2)]);
    let appended = after.append(id, &BatchBuilder::new().records(1)).await.unwrap();
    assert_eq!(appended.base_offset, 2);
}

#[tokio::test]
async fn a_producer_that_repeats_itself_is_recognised_also_after_a_crash() {
    let mut world = World::new().await;
    let id = id(&world.stream("s", 1).await, 0);
    let batch = |sequence: i32| BatchBuilder::new().records(2).producer(9, 0, sequence);
    for restart in [false, true] {
        for (sequence, base) in [(0, 0), (2, 2), (4, 4)] {
            assert_eq!(world.append(id, &batch(sequence)).await.unwrap().base_offset, base);
        }
        assert!(matches!(world.append(id, &batch(8)).await, Err(Error::OutOfOrderSequence { got: 8, last: 5 })));
        assert_eq!(world.fetch(id, 6, 1).await.unwrap().high_watermark, 6);
        if !restart {
            world = world.crash().await;
        }
    }
    let newer = BatchBuilder::new().producer(9, 1, 0);
    assert_eq!(world.append(id, &newer).await.unwrap().base_offset, 6);
    let world = world.crash().await;
    assert!(matches!(world.append(id, &batch(6)).await, Err(Error::FencedProducer { got: 0, current: 1 })));
}

#[tokio::test]
async fn a_producer_of_whom_nothing_is_known_begins_with_any_sequence() {
    let world = World::new().await;
    let stream = world.stream("s", 1).await;
    let batch = |epoch, sequence| BatchBuilder::new().producer(9, epoch, sequence);
    let partition = id(&stream, 0);
    assert_eq!(world.append(partition, &batch(3, 5)).await.unwrap().base_offset, 0);
    assert_eq!(world.append(partition, &batch(3, 6)).await.unwrap().base_offset, 1);
    // What it began with is known from then on, also by a server that has not read the partition yet.
    for world in [&world, &world.crash().await] {
        assert_eq!(world.append(partition, &batch(3, 5)).await.unwrap().base_offset, 0, "it is there already");
        assert!(matches!(
            world.append(partition, &batch(3, 8)).await,
            Err(Error::OutOfOrderSequence { got: 8, last: 6 })
        ));
        assert!(matches!(
            world.append(partition, &batch(2, 7)).await,
            Err(Error::FencedProducer { got: 2, current: 3 })
        ));
        assert!(matches!(world.append(partition, &batch(4, 7)).await, Err(Error::OutOfOrderSequence { got: 7, .. })));
    }
    // A stream that is made again under a producer that goes on.
    world.streams.remove(&world.call, &stream).await.unwrap();
    let again = world.stream("s", 1).await;
    assert_eq!(world.append(id(&again, 0), &batch(3, 7)).await.unwrap().base_offset, 0);
}

#[tokio::test]
async fn producer_ids_are_never_given_twice() {
    let world = World::new().await;
    let first = world.streams.new_producer_id().await.unwrap();
    let second = world.streams.new_producer_id().await.unwrap();
    let third = world.crash().await.streams.new_producer_id().await.unwrap();
    assert!(first < second && second < third, "{first} {second} {third}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_at_the_end_is_woken_by_the_append_and_by_nothing_else() {
    let world = World::new().await;
    let stream = world.stream("s", 3).await;
    let parts =
        (0..3).map(|partition| FetchPart { id: id(&stream, partition), offset: 0, bytes_max: 1 << 20 }).collect();
    let request = FetchRequest { parts, bytes_max: 1 << 20, bytes_min: 1, wait: Duration::from_secs(3600) };
    let streams = world.streams.clone();
    let started = tokio::time::Instant::now();
    let reader = tokio::spawn(async move { streams.fetch(&request).await });
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.append(id(&stream, 2), &BatchBuilder::new()).await.unwrap();
    let results = reader.await.unwrap().parts;
    assert_eq!(results[2].as_ref().unwrap().high_watermark, 1);
    assert_eq!(started.elapsed().as_secs(), 10, "the reader was woken at once");
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_for_as_many_bytes_as_it_wants_and_no_longer_than_it_wants() {
    let world = World::new().await;
    let id = id(&world.stream("s", 1).await, 0);
    let parts = vec![FetchPart { id, offset: 0, bytes_max: 1 << 20 }];
    let request = FetchRequest { parts, bytes_max: 1 << 20, bytes_min: 500, wait: Duration::from_secs(60) };
    let started = tokio::time::Instant::now();
    let (answer, ()) = tokio::join!(world.streams.fetch(&request), async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            world.append(id, &BatchBuilder::new().value(vec![0; 150])).await.unwrap();
        }
    });
    assert_eq!(batches(answer.parts[0].as_ref().unwrap()).len(), 3);
    assert_eq!(started.elapsed().as_secs(), 30);
    let late = FetchRequest { bytes_min: 1 << 19, ..request };
    let results = world.streams.fetch(&late).await.parts;
    assert_eq!((batches(results[0].as_ref().unwrap()).len(), started.elapsed().as_secs()), (3, 90));
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    for config in [Config::default(), no_tail()] {
        let world = World::with(config).await;
        let id = id(&world.stream("s", 1).await, 0);
        let found = async |at| world.streams.find_offset(id, at).await.unwrap().map(|found| found.offset);
        assert_eq!(found(OffsetAt::Time(0)).await, None);
        assert_eq!(found(OffsetAt::MaxTimestamp).await, None);
        assert_eq!((found(OffsetAt::Earliest).await, found(OffsetAt::Latest).await), (Some(0), Some(0)));
        for n in 0..200 {
            world.append(id, &BatchBuilder::new().timestamps(&[n * 10, n * 10 + 5])).await.unwrap();
        }
        world.append(id, &BatchBuilder::new().timestamps(&[50, 9_000, 60])).await.unwrap();
        for (time, offset) in [(0, 0), (1, 1), (5, 1), (6, 2), (1_000, 200), (1_994, 399), (1_996, 401), (9_000, 401)] {
            assert_eq!(found(OffsetAt::Time(time)).await, Some(offset), "time {time}");
        }
        assert_eq!(found(OffsetAt::Time(9_001)).await, None);
        assert_eq!(found(OffsetAt::MaxTimestamp).await, Some(401));
        world.append(id, &BatchBuilder::new().timestamps(&[70])).await.unwrap();
        world.streams.delete_records(id, Some(402)).await.unwrap();
        assert_eq!(found(OffsetAt::MaxTimestamp).await, Some(403), "of what is left");
        assert_eq!(found(OffsetAt::Time(1)).await, Some(402));
        assert_eq!(found(OffsetAt::Time(71)).await, None);
    }
}

#[tokio::test]
async fn records_of_a_batch_that_does_not_say_its_largest_timestamp_are_found_by_time() {
    for config in [Config::default(), no_tail()] {
        let world = World::with(config).await;
        let id = id(&world.stream("s", 1).await, 0);
        let found = async |at| world.streams.find_offset(id, at).await.unwrap().map(|found| found.offset);
        world.append(id, &BatchBuilder::new().timestamps(&[10, 40, 20]).max_timestamp(-1)).await.unwrap();
        for (time, offset) in [(10, Some(0)), (15, Some(1)), (41, None)] {
            assert_eq!(found(OffsetAt::Time(time)).await, offset, "time {time}");
        }
        assert_eq!(found(OffsetAt::MaxTimestamp).await, Some(1));
        // Of a compressed batch the header tells the first timestamp alone.
        let compressed = BatchBuilder::new().timestamps(&[50, 60]).max_timestamp(-1).attributes(1);
        world.append(id, &compressed).await.unwrap();
        assert_eq!((found(OffsetAt::Time(45)).await, found(OffsetAt::MaxTimestamp).await), (Some(3), Some(3)));
    }
}

#[tokio::test]
async fn a_small_batch_does_not_keep_the_large_request_that_brought_it() {
    let world = World::new().await;
    let stream = world.stream("s", 2).await;
    let good = BatchBuilder::new().value(vec![7; 5_000]).build();
    let mut damaged = BatchBuilder::new().value(vec![7; 900 << 10]).build().to_vec();
    damaged[70] ^= 1;
    for (refused, is_kept) in [(damaged, false), (Vec::new(), true)] {
        let request = bytes::Bytes::from([&refused[..], &good].concat());
        let memory = request.as_ptr_range();
        let parts = vec![
            AppendPart { id: id(&stream, 1), records: request.slice(..refused.len()) },
            AppendPart { id: id(&stream, 0), records: request.slice(refused.len()..) },
        ];
        let results = world.streams.append(parts).await.durable().await;
        let offset = results[1].as_ref().unwrap().base_offset;
        let fetched = world.fetch(id(&stream, 0), offset, 1 << 20).await.unwrap();
        let body = fetched.records.last().unwrap();
        assert_eq!(memory.contains(&body.as_ptr()), is_kept);
        batches(&fetched);
    }
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_no_records_and_lets_them_be_deleted() {
    let world = World::new().await;
    let id = id(&world.stream("s", 1).await, 0);
    world.append(id, &BatchBuilder::new().records(3)).await.unwrap();
    world.volume.set_nearly_full(true);
    let refused = world.append(id, &BatchBuilder::new()).await;
    assert!(matches!(refused, Err(Error::Store(ballast_store::Error::Exhausted(_)))));
    assert_eq!(batches(&world.fetch(id, 0, 1 << 20).await.unwrap()), [(0, 3)]);
    assert_eq!(world.streams.delete_records(id, Some(3)).await.unwrap(), 3);
    world.volume.set_nearly_full(false);
    assert_eq!(world.append(id, &BatchBuilder::new()).await.unwrap().base_offset, 3);
}
