use super::{Pieces, Turn, Writing, fitting, rows_of, value};
use crate::simulation::{PATIENCE, World, dump};
use crate::{Batch, Error, IndexedVolume, Mutation, Pointer, Position, Result, Space, Volume, limits};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

fn key(number: u8) -> Bytes {
    Space::Block.key(&[&[number]])
}

fn row(number: u8) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(number), vec![number]);
    batch
}

async fn volume() -> Arc<IndexedVolume> {
    World::new(1, None).open().await.unwrap()
}

/// Commits of one row each, which have begun and wait.
fn begun(volume: &IndexedVolume, numbers: std::ops::Range<u8>) -> Vec<BoxFuture<'_, Result<Position>>> {
    let begin = |number| {
        let mut commit = volume.commit(row(number)).boxed();
        assert!(commit.as_mut().now_or_never().is_none(), "the rows are on their way");
        commit
    };
    numbers.map(begin).collect()
}

#[test]
fn a_batch_takes_what_fits_and_one_that_is_larger_alone() {
    let (rows, bytes) = (limits::COMBINED_ROWS_MAX, limits::COMBINED_BYTES_MAX);
    assert_eq!(fitting([].into_iter()), 0);
    assert_eq!(fitting([(1, 1), (rows - 1, 1), (1, 1)].into_iter()), 2);
    assert_eq!(fitting([(1, 1), (1, bytes - 1), (1, 1)].into_iter()), 2);
    assert_eq!(fitting([(rows + 1, bytes + 1), (1, 1)].into_iter()), 1);
    assert_eq!(fitting([(1, 1), (rows + 1, 1), (1, 1)].into_iter()), 1);
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_another_commits_joins_the_next_batch() {
    let volume = volume().await;
    let ends = join_all(begun(&volume, 0..10)).await;
    let ends: Vec<Position> = ends.into_iter().map(Result::unwrap).collect();
    assert!(ends[0] < ends[1], "the first waits for nobody");
    assert!(ends[1..].iter().all(|end| *end == ends[1]), "and the others are one record of the log: {ends:?}");
    assert_eq!(dump(&*volume, true).await.unwrap().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn of_commits_in_one_batch_the_later_one_wins() {
    let volume = volume().await;
    let mut commits = begun(&volume, 0..1);
    for value in 1..9 {
        let mut batch = Batch::new();
        if value % 2 == 0 {
            batch.delete(key(1))
        } else {
            batch.put(key(1), vec![value])
        }
        batch.put(key(2), vec![value]);
        commits.push(volume.commit(batch).boxed());
    }
    let ends: BTreeSet<Position> = join_all(commits).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(ends.len(), 2, "all but the first are in one batch");
    let found = dump(&*volume, true).await.unwrap();
    assert_eq!(found.get(&key(1)), None);
    assert_eq!(found[&key(2)].0, vec![8]);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_takes_no_other_commit_along() {
    for gone in [&[0][..], &[5], &[0, 1, 2, 3, 4, 5, 6, 7, 8]] {
        let volume = volume().await;
        let mut commits = begun(&volume, 0..10);
        gone.iter().rev().for_each(|gone| drop(commits.remove(*gone)));
        let done = join_all(commits).await;
        assert!(done.iter().all(Result::is_ok), "{done:?}");
        // What had begun happens all the same.
        assert_eq!(dump(&*volume, true).await.unwrap().len(), 10, "{gone:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_commit_takes_no_other_along() {
    let volume = volume().await;
    let mut commits = begun(&volume, 0..5);
    let mut long = row(100);
    long.put(vec![Space::Block as u8; limits::KEY_BYTES_MAX + 1], Bytes::new());
    let mut moved = row(101);
    let place = crate::pointer::Place::Segment { epoch: 1, number: 1 };
    moved.put_with_payload(key(102), Bytes::new(), [Pointer { place, offset: 0, length: 1, crc: 0 }]);
    let (long, moved) = (volume.commit(long), volume.commit(moved));
    commits.extend(begun(&volume, 5..10));
    let (long, moved, others) = futures::join!(long, moved, join_all(commits));
    assert!(matches!(long, Err(Error::Invalid(_))), "{long:?}");
    assert!(matches!(moved, Err(Error::PayloadMoved)), "{moved:?}");
    assert!(others.iter().all(Result::is_ok), "{others:?}");
    assert_eq!(dump(&*volume, true).await.unwrap().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn everybody_hears_that_the_volume_has_stopped() {
    let world = World::on_disk();
    let volume = world.open().await.unwrap();
    let writer = |number| {
        let volume = Arc::clone(&volume);
        tokio::spawn(async move {
            loop {
                let end = volume.commit(row(number)).await?;
                volume.durable(end).await?;
            }
        })
    };
    let writers: Vec<tokio::task::JoinHandle<Result<()>>> = (0..64).map(writer).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.disk.as_ref().unwrap().cut_power_after(10);
    let stopped = tokio::time::timeout(PATIENCE, join_all(writers)).await.expect("nobody waits for ever");
    for reason in stopped {
        let reason = reason.unwrap().unwrap_err();
        assert!(matches!(reason, Error::Unavailable { .. }), "{reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_nobody_polls_holds_up_no_other() {
    let volume = volume().await;
    let unpolled = begun(&volume, 0..3);
    for number in 3..6 {
        let done = tokio::time::timeout(PATIENCE, volume.commit(row(number))).await;
        done.expect("it waits for nobody's caller").unwrap();
    }
    assert_eq!(dump(&*volume, true).await.unwrap().len(), 6);
    drop(unpolled);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_gone_leaves_the_lead_to_the_next() {
    let volume = volume().await;
    let join = |number| {
        let writing = Writing::new(&volume.inner, std::iter::empty()).unwrap();
        volume.inner.join(&row(number), writing)
    };
    let ((first, alone), (second, lead), (third, joined)) = (join(0), join(1), join(2));
    assert!(matches!((&alone, &lead, &joined), (Turn::Alone(..), Turn::Lead(_), Turn::Joined)));
    drop((alone, lead));
    assert!(first.await.is_err() && second.await.is_err() && third.await.is_err(), "nobody waits for it");
    let next = tokio::time::timeout(PATIENCE, join_all((3..6).map(|number| volume.commit(row(number))))).await;
    assert!(next.expect("the next one leads").iter().all(Result::is_ok));
    assert_eq!(dump(&*volume, true).await.unwrap().len(), 3);
}

#[test]
fn long_values_have_memory_of_their_own_and_short_ones_share_small_pieces() {
    let long = Bytes::from(vec![7; limits::ROWS_PIECE_BYTES / 4]);
    let batch = |number| {
        let mut batch = Batch::new();
        batch.put(key(number), if number % 2 == 0 { long.clone() } else { Bytes::from(vec![number; 100]) });
        batch.delete(key(number));
        batch
    };
    // Of one commit or of many.
    let mut pieces = Pieces::default();
    let (mut rows, mut mutations) = (Vec::new(), Vec::new());
    for batch in (0..200).map(batch) {
        rows.extend(rows_of(&batch, &mut pieces));
        mutations.extend_from_slice(batch.mutations());
    }
    let same = |(row, mutation): (&(Bytes, Option<Bytes>), &Mutation)| {
        let value = row.1.clone().map(|value| value::decode(value).unwrap());
        row.0 == mutation.key() && value.as_ref() == mutation.value()
    };
    assert!(rows.len() == 400 && rows.iter().zip(&mutations).all(same));
    let values = rows.iter().filter_map(|(_, value)| value.as_ref());
    let (longer, shorter): (Vec<&Bytes>, Vec<&Bytes>) = values.partition(|value| value.len() > long.len());
    assert_eq!((longer.len(), shorter.len()), (100, 100));
    // One behind the other, but for where a piece ends; and no long one between two short ones.
    let follows = |pair: &[&Bytes]| pair[0].as_ptr_range().end == pair[1].as_ptr();
    let pieces = 1 + shorter.windows(2).filter(|pair| !follows(pair)).count();
    assert_eq!(pieces, (100 * 101usize).div_ceil(limits::ROWS_PIECE_BYTES));
}

#[test]
fn a_long_commit_takes_no_more_memory_than_its_rows() {
    assert!(Pieces::for_long(&row(1)).is_none());
    let mut batch = row(1);
    batch.put(key(2), vec![7; limits::ROWS_PIECE_BYTES]);
    let pieces = Pieces::for_long(&batch).unwrap();
    let (keys, short) = (2 * key(1).len(), value::size_hint(row(1).mutations()[0].value().unwrap()));
    assert_eq!((pieces.keys.capacity(), pieces.values.capacity()), (keys, short));
}
