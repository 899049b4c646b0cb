//! Appending: one commit for a whole request.
//!
//! 1. Without a lock: check every batch (format, CRC, size).
//! 2. Let in by the volume, and with the writers of all its partitions locked, in one order for everybody: judge
//!    sequence numbers and timestamps, give out offsets, append each partition's batches as one payload, and commit
//!    all index and producer rows at once.
//! 3. Without a lock again: wait until the commit is durable, move the high watermarks, wake readers, answer.
//!
//! So the next append to a partition goes to the log while the last one waits for the disk. If a crash takes a
//! commit, it takes all later ones too: there is never a hole, and nothing of it had been answered or shown.
//!
//! Cost: one payload append a partition, one commit, one wait; a row each for index and producer.

use super::producers::{ProducerBatch, ProducerState, Verdict, judge};
use super::{Partition, PartitionId, Writer};
use crate::batch::{RecordBatch, StoredBatch, split_produced};
use crate::keys::index::{self, IndexRow};
use crate::keys::producer;
use crate::stream::{Settings, Stream, TimestampType};
use crate::streams::{Inner, Streams, stream_of};
use crate::{Error, Result, limits};
use ballast_store::{Batch, Position, Room};
use ballast_tree::Pin;
use ballast_types::Ino;
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::task::JoinHandle;

/// Record batches for one partition, as the producer sent them.
#[derive(Clone, Debug)]
pub struct AppendPart {
    pub id: PartitionId,
    pub records: Bytes,
}

/// Where a part was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    pub log_start: i64,
    /// The time that the records were stamped with; `None` if they keep the producer's.
    pub append_ms: Option<i64>,
}

/// An append that has its offsets and its place in the log, but is not durable yet.
#[derive(Debug)]
pub struct PendingAppend {
    parts: usize,
    task: JoinHandle<Vec<Result<Appended>>>,
}

impl PendingAppend {
    /// Returns when all of it is durable: for each part where it is, or why it is not.
    /// Dropping it instead changes nothing about the append.
    pub async fn durable(self) -> Vec<Result<Appended>> {
        self.task.await.unwrap_or_else(|_| vec![Err(Error::Stopping); self.parts])
    }
}

impl Streams {
    /// Appends to partitions; all that is accepted is one commit. Returns when the order is fixed: an append that
    /// is started afterwards comes behind it. Runs to its end also when the caller goes away.
    pub async fn append(&self, parts: Vec<AppendPart>) -> PendingAppend {
        let (ordered, order) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let count = parts.len();
        let task = tokio::spawn(async move { run(&inner, parts, ordered).await });
        // An error means that the task is through, or that it failed: `durable` tells.
        let _ = order.await;
        PendingAppend { parts: count, task }
    }
}

/// A part on its way.
struct Work {
    index: usize,
    id: PartitionId,
    batches: SmallVec<[RecordBatch; 1]>,
}

/// A part with its place.
struct Placed {
    index: usize,
    partition: Arc<Partition>,
    writer: OwnedMutexGuard<Writer>,
    batches: SmallVec<[StoredBatch; 1]>,
    row: Option<IndexRow>,
    producers: SmallVec<[(i64, ProducerState); 1]>,
    appended: Appended,
}

async fn run(inner: &Inner, parts: Vec<AppendPart>, ordered: oneshot::Sender<()>) -> Vec<Result<Appended>> {
    let mut results: Vec<Result<Appended>> = vec![Err(Error::Stopping); parts.len()];
    let request_bytes = parts.iter().map(|part| part.records.len()).sum();
    let mut work = check(parts, &mut results);
    // The same order for everybody, so that two requests never wait for each other.
    work.sort_by_key(|work| work.id);
    let mut pins = Vec::new();
    let mut settings = HashMap::new();
    let mut placed: Vec<Placed> = Vec::with_capacity(work.len());
    let mut batch = Batch::new();
    // Before any writer's lock: whoever holds one must not wait for room.
    let room = async {
        inner.volume.check_space()?;
        inner.volume.room().await
    };
    let room = match room.await {
        Ok(room) => room,
        Err(error) => {
            work.iter().for_each(|work| results[work.index] = Err(error.clone().into()));
            inner.counters.refused.inc_by(results.len() as u64);
            return results;
        }
    };
    for work in work {
        // The pin keeps the stream from being emptied between the look at its inode and the commit.
        if let std::collections::hash_map::Entry::Vacant(entry) = settings.entry(work.id.ino) {
            entry.insert(pin(inner, work.id.ino, &mut pins).await);
        }
        let index = work.index;
        let result = match &settings[&work.id.ino] {
            Err(error) => Err(error.clone()),
            Ok(_) if placed.last().is_some_and(|last| last.partition.id == work.id) => {
                Err(Error::InvalidBatch("the request names a partition twice"))
            }
            Ok(stream) if work.id.partition >= stream.partitions() => {
                Err(Error::UnknownPartition(work.id.partition.into()))
            }
            Ok(stream) => place(inner, work, stream.settings(), &room, &mut batch).await,
        };
        match result {
            Ok(part) => placed.push(part),
            Err(error) => results[index] = Err(error),
        }
    }
    inner.counters.refused.inc_by((results.len() - placed.len()) as u64);
    let committed = commit(inner, batch).await;
    if let Err(error) = &committed {
        return fail(inner, placed, error, results);
    }
    release(&mut placed, request_bytes);
    let ends: Vec<(Arc<Partition>, i64)> = placed
        .into_iter()
        .map(|part| {
            results[part.index] = Ok(part.appended);
            part.apply(inner)
        })
        .collect();
    drop(pins);
    let _ = ordered.send(());
    // A repeated batch may still be on its way to the disk: wait for everything so far.
    let position = committed.ok().flatten().unwrap_or_else(|| inner.volume.position());
    if let Err(error) = inner.volume.durable(position).await {
        results.iter_mut().filter(|result| result.is_ok()).for_each(|result| *result = Err(error.clone().into()));
        return results;
    }
    ends.into_iter().for_each(|(partition, end)| partition.advance(end));
    results
}

/// Lets go of the request where little of it was accepted: what is kept for readers counts the accepted bytes alone.
fn release(placed: &mut [Placed], request_bytes: usize) {
    let accepted: usize = placed.iter().flat_map(|part| &part.batches).map(StoredBatch::len).sum();
    if request_bytes > limits::REQUEST_KEPT_TIMES * accepted {
        placed.iter_mut().flat_map(|part| &mut part.batches).for_each(StoredBatch::copy_out);
    }
}

async fn pin(inner: &Inner, ino: Ino, pins: &mut Vec<Pin>) -> Result<Stream> {
    let (inode, pin) = inner.tree.pin_live(ino).await?;
    pins.push(pin);
    stream_of(&inode)
}

/// Takes the batches apart and checks them; the errors of those that are refused go to `results`.
fn check(parts: Vec<AppendPart>, results: &mut [Result<Appended>]) -> Vec<Work> {
    let mut work = Vec::with_capacity(parts.len());
    for (index, part) in parts.into_iter().enumerate() {
        match split_produced(part.records) {
            _ if index >= limits::APPEND_PARTITIONS_MAX => {
                results[index] = Err(Error::InvalidBatch("the request names too many partitions"));
            }
            Ok(batches) => work.push(Work { index, id: part.id, batches }),
            Err(error) => results[index] = Err(error),
        }
    }
    work
}

/// Locks the partition's writer, which has been loaded.
async fn lock(inner: &Inner, id: PartitionId) -> Result<(Arc<Partition>, OwnedMutexGuard<Writer>)> {
    for _ in 0..limits::RELOAD_RETRIES {
        let partition = inner.partition(id).await?;
        let writer = Arc::clone(&partition.writer).lock_owned().await;
        if !writer.gone {
            return Ok((partition, writer));
        }
    }
    Err(Error::Stopping)
}

/// Gives a part its offsets, appends its payload and adds its rows to the batch.
async fn place(inner: &Inner, work: Work, settings: &Settings, room: &Room, batch: &mut Batch) -> Result<Placed> {
    let max = settings.batch_bytes_max();
    if let Some(large) = work.batches.iter().find(|batch| batch.header.length > max) {
        return Err(Error::BatchTooLarge { bytes: large.header.length, max });
    }
    let (partition, mut writer) = lock(inner, work.id).await?;
    let now = inner.now_ms();
    let append_ms = (settings.timestamp_type() == TimestampType::LogAppendTime).then_some(now);
    let mut repeated: Option<ProducerBatch> = None;
    let mut producers: SmallVec<[(i64, ProducerState); 1]> = SmallVec::new();
    let mut batches = SmallVec::new();
    let mut max_timestamp = -1;
    let mut next_offset = writer.next_offset;
    let log_start = partition.shared.lock().log_start;
    for produced in work.batches {
        let header = produced.header;
        let timestamp = append_ms.unwrap_or_else(|| produced.max_timestamp());
        if header.is_idempotent() {
            let known = known_producer(inner, work.id, &mut writer, &mut producers, header.producer_id).await?;
            if let Verdict::Repeated(batch) = judge(known, &header)? {
                repeated.get_or_insert(batch);
                continue;
            }
        }
        settings.check_timestamp(timestamp, now)?;
        if header.is_idempotent() {
            remember(&mut producers, &writer, &header, next_offset, now, append_ms);
        }
        max_timestamp = max_timestamp.max(timestamp);
        let stored = produced.place(next_offset, append_ms);
        next_offset = stored.last_offset + 1;
        batches.push(stored);
    }
    let base_offset = repeated.map_or(writer.next_offset, |batch| batch.base_offset);
    let append_ms = repeated.map_or(append_ms, |batch| (batch.timestamp >= 0).then_some(batch.timestamp));
    let appended = Appended { base_offset, log_start, append_ms };
    let row = match batches.is_empty() {
        true => None,
        false => Some(write(inner, work.id, &writer, &batches, (max_timestamp, now), room, batch).await?),
    };
    for (id, state) in &producers {
        batch.put(producer::key(work.id, *id), producer::encode(state));
    }
    Ok(Placed { index: work.index, partition, writer, batches, row, producers, appended })
}

/// Appends the payload of a part; its index row.
async fn write(
    inner: &Inner,
    id: PartitionId,
    writer: &Writer,
    batches: &[StoredBatch],
    (max_timestamp, now): (i64, i64),
    room: &Room,
    batch: &mut Batch,
) -> Result<IndexRow> {
    let mut parts = Vec::with_capacity(2 * batches.len());
    batches.iter().for_each(|batch| batch.push_to(&mut parts));
    let payload = inner.volume.append_payload(room, &parts).await?;
    let last_offset = batches.last().map_or(0, |batch| batch.last_offset);
    let newer = max_timestamp > writer.max_timestamp_so_far;
    let row = IndexRow {
        base_offset: writer.next_offset,
        appended_ms: now,
        max_timestamp,
        max_timestamp_so_far: writer.max_timestamp_so_far.max(max_timestamp),
        max_timestamp_at: if newer { last_offset } else { writer.max_timestamp_at },
        bytes_so_far: writer.bytes_so_far + u64::from(payload.pointer.length),
    };
    batch.put_with_payload(index::key(id, last_offset), row.encode(), [payload.pointer]);
    batch.hold(&payload);
    Ok(row)
}

/// What is known of a producer: from this very request, from memory or from its row.
async fn known_producer<'a>(
    inner: &Inner,
    id: PartitionId,
    writer: &'a mut Writer,
    fresh: &'a mut [(i64, ProducerState)],
    producer_id: i64,
) -> Result<Option<&'a ProducerState>> {
    if let Some((_, state)) = fresh.iter().find(|(id, _)| *id == producer_id) {
        return Ok(Some(state));
    }
    if !writer.producers.contains_key(&producer_id) {
        let Some(value) = inner.volume.get(&producer::key(id, producer_id)).await? else { return Ok(None) };
        writer.keep_producer(producer_id, producer::decode(&value.bytes)?);
    }
    Ok(writer.producers.get(&producer_id))
}

fn remember(
    fresh: &mut SmallVec<[(i64, ProducerState); 1]>,
    writer: &Writer,
    header: &crate::batch::BatchHeader,
    base_offset: i64,
    now: i64,
    append_ms: Option<i64>,
) {
    let at = fresh.iter().position(|(id, _)| *id == header.producer_id).unwrap_or_else(|| {
        let known = writer.producers.get(&header.producer_id).cloned().unwrap_or_default();
        fresh.push((header.producer_id, known));
        fresh.len() - 1
    });
    fresh[at].1.remember(header, base_offset, now, append_ms.unwrap_or(-1));
}

/// Commits the rows; `None` if there is nothing to write.
async fn commit(inner: &Inner, batch: Batch) -> Result<Option<Position>> {
    if batch.is_empty() { Ok(None) } else { Ok(Some(inner.volume.commit(batch).await?)) }
}

/// After a failed commit nobody knows whether it happened: the partitions are read anew before the next append.
fn fail(
    inner: &Inner,
    placed: Vec<Placed>,
    error: &Error,
    mut results: Vec<Result<Appended>>,
) -> Vec<Result<Appended>> {
    for mut part in placed {
        part.writer.gone = true;
        let mut shared = part.partition.shared.lock();
        shared.gone = true;
        shared.wake();
        drop(shared);
        inner.partitions.forget(&part.partition);
        results[part.index] = Err(error.clone());
    }
    results
}

impl Placed {
    /// Takes what was committed into memory and lets the next append in; the partition and its end.
    fn apply(mut self, inner: &Inner) -> (Arc<Partition>, i64) {
        for (id, state) in self.producers {
            self.writer.keep_producer(id, state);
        }
        let Some((row, last)) = self.row.zip(self.batches.last()) else {
            return (self.partition, self.writer.next_offset);
        };
        let last_offset = last.last_offset;
        self.writer.next_offset = last_offset + 1;
        self.writer.bytes_so_far = row.bytes_so_far;
        self.writer.max_timestamp_so_far = row.max_timestamp_so_far;
        self.writer.max_timestamp_at = row.max_timestamp_at;
        let bytes: usize = self.batches.iter().map(StoredBatch::len).sum();
        inner.counters.appends.inc();
        inner.counters.appended_bytes.inc_by(bytes as u64);
        {
            let mut shared = self.partition.shared.lock();
            shared.next_offset = last_offset + 1;
            shared.tail.push(self.batches);
        }
        inner.tail.kept(&self.partition, last_offset, bytes);
        (self.partition, last_offset + 1)
    }
}

impl Writer {
    /// Keeps a producer's state in memory; makes room by dropping the one that has been silent longest.
    fn keep_producer(&mut self, id: i64, state: ProducerState) {
        if self.producers.len() >= limits::PRODUCERS_CACHED_MAX && !self.producers.contains_key(&id) {
            let oldest = self.producers.iter().min_by_key(|(_, state)| state.appended_ms).map(|(id, _)| *id);
            oldest.map(|id| self.producers.remove(&id));
        }
        self.producers.insert(id, state);
    }
}
