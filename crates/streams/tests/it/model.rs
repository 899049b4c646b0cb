//! Random appends, repeats, gaps, reads, deletions and crashes, compared with a model of a few lines.

use crate::world::{World, batches, id};
use ballast_streams::testing::BatchBuilder;
use ballast_streams::{AppendPart, Config, Error, PartitionId};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

#[derive(Clone, Debug)]
enum Step {
    /// Appends records to a partition.
    Append {
        partition: u32,
        records: usize,
        size: usize,
    },
    /// An idempotent producer sends its next batch, or one again, or one too far on.
    Produce {
        partition: u32,
        producer: i64,
        records: usize,
        what: Sequence,
    },
    /// One request to both partitions.
    Both {
        records: usize,
    },
    Fetch {
        partition: u32,
        offset: i64,
        bytes: usize,
    },
    Delete {
        partition: u32,
        offset: i64,
    },
    Crash,
    /// The server dies while an append is on its way: it may or may not be there.
    CrashInFlight {
        partition: u32,
        records: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Sequence {
    Next,
    Repeat(usize),
    Gap,
}

fn step() -> impl Strategy<Value = Step> {
    let sequence =
        prop_oneof![5 => Just(Sequence::Next), 2 => (0usize..8).prop_map(Sequence::Repeat), 1 => Just(Sequence::Gap)];
    prop_oneof![
        4 => (0u32..2, 1usize..5, 0usize..9_000).prop_map(|(partition, records, size)| Step::Append { partition, records, size }),
        5 => (0u32..2, 0i64..3, 1usize..4, sequence).prop_map(|(partition, producer, records, what)| Step::Produce { partition, producer, records, what }),
        2 => (1usize..3).prop_map(|records| Step::Both { records }),
        4 => (0u32..2, 0i64..60, 0usize..20_000).prop_map(|(partition, offset, bytes)| Step::Fetch { partition, offset, bytes }),
        1 => (0u32..2, 0i64..60).prop_map(|(partition, offset)| Step::Delete { partition, offset }),
        1 => Just(Step::Crash),
        1 => (0u32..2, 1usize..4).prop_map(|(partition, records)| Step::CrashInFlight { partition, records }),
    ]
}

/// A partition as it should be.
#[derive(Clone, Debug, Default)]
struct Model {
    start: i64,
    /// Base offset, records, bytes.
    batches: Vec<(i64, i64, usize)>,
    /// Of each producer, every batch: first sequence number, records, base offset.
    producers: std::collections::BTreeMap<i64, Vec<(i32, usize, i64)>>,
}

impl Model {
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, |(base, records, _)| base + records)
    }

    fn append(&mut self, records: usize, bytes: usize) -> i64 {
        let base = self.end();
        self.batches.push((base, records as i64, bytes));
        base
    }

    /// What a fetch gives.
    fn fetch(&self, offset: i64, bytes_max: usize) -> Vec<(i64, i64)> {
        let mut room = bytes_max;
        let mut found = Vec::new();
        for (base, records, bytes) in self.batches.iter().filter(|(base, records, _)| base + records > offset) {
            if *bytes > room && !found.is_empty() {
                break;
            }
            room = room.saturating_sub(*bytes);
            found.push((*base, *records));
            if room == 0 {
                break;
            }
        }
        found
    }
}

async fn run(steps: Vec<Step>, tail_bytes: usize) -> Result<(), TestCaseError> {
    let mut world = World::with(Config { tail_bytes, ..Config::default() }).await;
    let stream = world.stream("s", 2).await;
    let mut models = [Model::default(), Model::default()];
    for step in steps {
        match step {
            Step::Append { partition, records, size } => {
                let batch = BatchBuilder::new().records(records).value(vec![7; size]).build();
                let base = models[partition as usize].append(records, batch.len());
                let appended = world.append_bytes(id(&stream, partition), batch).await.unwrap();
                prop_assert_eq!(appended.base_offset, base);
            }
            Step::Produce { partition, producer, records, what } => {
                let model = &mut models[partition as usize];
                produce(&world, model, id(&stream, partition), producer, records, what).await?;
            }
            Step::Both { records } => {
                let batch = BatchBuilder::new().records(records).build();
                let parts = (0..2).map(|n| AppendPart { id: id(&stream, n), records: batch.clone() }).collect();
                let results = world.streams.append(parts).await.durable().await;
                for (model, result) in models.iter_mut().zip(results) {
                    prop_assert_eq!(result.unwrap().base_offset, model.append(records, batch.len()));
                }
            }
            Step::Fetch { partition, offset, bytes } => {
                let model = &models[partition as usize];
                let fetched = world.fetch(id(&stream, partition), offset, bytes).await;
                if (model.start..=model.end()).contains(&offset) {
                    let fetched = fetched.unwrap();
                    prop_assert_eq!(batches(&fetched), model.fetch(offset, bytes));
                    prop_assert_eq!((fetched.log_start, fetched.high_watermark), (model.start, model.end()));
                } else {
                    prop_assert!(matches!(fetched, Err(Error::OffsetOutOfRange { .. })), "out of range");
                }
            }
            Step::Delete { partition, offset } => {
                let model = &mut models[partition as usize];
                let deleted = world.streams.delete_records(id(&stream, partition), Some(offset)).await;
                prop_assert_eq!(deleted.is_ok(), offset <= model.end());
                if offset <= model.end() {
                    model.start = model.start.max(offset);
                }
            }
            Step::Crash => world = world.crash().await,
            Step::CrashInFlight { partition, records } => {
                let batch = BatchBuilder::new().records(records).build();
                let part = AppendPart { id: id(&stream, partition), records: batch.clone() };
                let pending = world.streams.append(vec![part]).await;
                let after = world.crash().await;
                drop(pending);
                world = after;
                let model = &mut models[partition as usize];
                let end = world.fetch(id(&stream, partition), model.start, 1).await.unwrap().high_watermark;
                if end != model.end() {
                    model.append(records, batch.len());
                    prop_assert_eq!(end, model.end(), "all of it or nothing");
                }
            }
        }
    }
    Ok(())
}

async fn produce(
    world: &World,
    model: &mut Model,
    id: PartitionId,
    producer: i64,
    records: usize,
    what: Sequence,
) -> Result<(), TestCaseError> {
    let sent = model.producers.entry(producer).or_default().clone();
    let next = sent.last().map_or(0, |(first, records, _)| first + *records as i32);
    let (sequence, records) = match what {
        Sequence::Next => (next, records),
        Sequence::Gap => (next + 3, records),
        Sequence::Repeat(back) => match sent.iter().rev().nth(back) {
            Some((first, records, _)) => (*first, *records),
            None => (next, records),
        },
    };
    let batch = BatchBuilder::new().records(records).producer(producer, 0, sequence).build();
    let length = batch.len();
    let result = world.append_bytes(id, batch).await;
    let remembered = sent.iter().rev().take(5).find(|(first, count, _)| (*first, *count) == (sequence, records));
    if let Some((_, _, base)) = remembered {
        prop_assert_eq!(result.unwrap().base_offset, *base);
    } else if sequence == next || sent.is_empty() {
        let base = model.append(records, length);
        model.producers.entry(producer).or_default().push((sequence, records, base));
        prop_assert_eq!(result.unwrap().base_offset, base);
    } else {
        prop_assert!(matches!(result, Err(Error::OutOfOrderSequence { .. })), "out of order");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn streams_do_what_the_model_does(steps in proptest::collection::vec(step(), 1..60), tail in prop_oneof![Just(0usize), Just(4_000), Just(1 << 20)]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(steps, tail))?;
    }
}
