//! What fetches hold of memory.

use crate::world::{World, batches, id};
use ballast_streams::testing::BatchBuilder;
use ballast_streams::{Answer, Config, FetchPart, FetchRequest, PartitionId};
use futures::FutureExt;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A world of which readers may hold so much, with 8 batches of 900 KiB in a stream.
async fn world(tail_bytes: usize, fetch_bytes: usize) -> (World, PartitionId) {
    let world = World::with(Config { tail_bytes, fetch_bytes, ..Config::default() }).await;
    let id = id(&world.stream("s", 1).await, 0);
    for _ in 0..8 {
        world.append(id, &BatchBuilder::new().value(vec![7; 900 << 10])).await.unwrap();
    }
    (world, id)
}

async fn fetch(world: &World, id: PartitionId, bytes_max: usize, bytes_min: usize) -> Answer {
    let parts = vec![FetchPart { id, offset: 0, bytes_max }];
    world.streams.fetch(&FetchRequest { parts, bytes_max, bytes_min, wait: Duration::from_secs(3600) }).await
}

fn count(answer: &Answer) -> usize {
    batches(answer.parts[0].as_ref().unwrap()).len()
}

#[tokio::test(start_paused = true)]
async fn readers_who_take_nothing_hold_no_more_than_the_budget() {
    for tail_bytes in [0, 64 * MIB] {
        let (world, id) = world(tail_bytes, 4 * MIB).await;
        let mut held = Vec::new();
        while let Some(answer) = fetch(&world, id, 50 * MIB, 1).now_or_never() {
            assert!(count(&answer) >= 1);
            held.push(answer);
            // One more may go beyond the budget.
            assert!(held.iter().map(count).sum::<usize>() <= 5, "with a tail of {tail_bytes}");
        }
        assert!(held.len() >= 3, "the first has not taken all: {:?}", held.iter().map(count).collect::<Vec<_>>());
        let waiting = fetch(&world, id, 50 * MIB, 1);
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(held[0].share.is_wanted(), "who holds memory hears that others wait");
        held.clear();
        assert!(count(&waiting.await) >= 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_memory_cut_short_does_not_wait_for_its_smallest_size() {
    let (world, id) = world(64 * MIB, 4 * MIB).await;
    let started = tokio::time::Instant::now();
    let answer = fetch(&world, id, 50 * MIB, 6 * MIB).await;
    assert_eq!((count(&answer), started.elapsed().as_secs()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_all_there_is_comes_alone() {
    for tail_bytes in [0, 64 * MIB] {
        let (world, id) = world(tail_bytes, MIB / 2).await;
        let first = fetch(&world, id, 50 * MIB, 1).await;
        assert_eq!(count(&first), 1);
        assert!(fetch(&world, id, 50 * MIB, 1).now_or_never().is_none(), "with a tail of {tail_bytes}");
        drop(first);
        assert_eq!(count(&fetch(&world, id, 50 * MIB, 1).await), 1);
    }
}
