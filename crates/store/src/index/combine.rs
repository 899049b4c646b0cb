//! Commits of many callers, handed to the index as one batch.
//!
//! A batch costs SlateDB two changes of task, whatever is in it. So whoever commits while others do joins the next batch:
//! a task leads, and hands over what waits, again and again while there is something. Alone, a commit goes at once and
//! without a task, which would take it longer.
//!
//! Each commit stays what it is. It was checked, and holds what it points at, before it joined; nothing for which the
//! index refuses a batch is the fault of one of them. All of a batch become visible together and end at one position.
//! What has begun happens, whether or not its caller stays, and waits for nobody's caller.

use super::writing::{Writing, to_the_end};
use super::{Inner, value};
use crate::{Batch, Error, Mutation, Position, Result, limits};
use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use slatedb::WriteBatch;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

#[derive(Default)]
pub(crate) struct Combiner(Mutex<State>);

#[derive(Default)]
struct State {
    /// One commit is on its way by itself.
    is_alone: bool,
    is_led: bool,
    waiting: VecDeque<Commit>,
    /// What the rows of short commits share.
    pieces: Pieces,
    /// How many commits a batch had of late: as many as the last one, or half of what this was before it.
    together: usize,
}

struct Commit {
    rows: Vec<(Bytes, Option<Bytes>)>,
    bytes: usize,
    writing: Writing,
    done: oneshot::Sender<Result<Position>>,
}

impl Inner {
    /// Does not wait for room in the log: settling makes room by commits, and others hold it up by theirs.
    pub async fn commit(self: &Arc<Self>, batch: &Batch) -> Result<Position> {
        self.ready().await?;
        batch.check()?;
        if batch.is_empty() {
            return Ok(self.log().position());
        }
        let rows = batch.mutations().iter().map(|mutation| (mutation.key(), mutation.pointers()));
        let writing = Writing::new(self, rows)?;
        let (end, turn) = self.join(batch, writing);
        match turn {
            Turn::Alone(alone, commit) => to_the_end(alone.run(commit)).await,
            Turn::Lead(lead) => drop(tokio::spawn(lead.run())),
            Turn::Joined => {}
        }
        end.await.unwrap_or_else(|_| Err(Error::Closed("its server is ending".to_owned())))
    }

    /// Where the end of this commit will be told, and what its caller has to do for it.
    fn join(self: &Arc<Self>, batch: &Batch, writing: Writing) -> (oneshot::Receiver<Result<Position>>, Turn) {
        let (done, end) = oneshot::channel();
        let long = Pieces::for_long(batch).map(|mut pieces| rows_of(batch, &mut pieces));
        let mut state = self.combiner.0.lock();
        let rows = long.unwrap_or_else(|| rows_of(batch, &mut state.pieces));
        let commit = Commit { rows, bytes: batch.byte_len(), writing, done };
        // In company the others are about to come as well.
        if !state.is_led && !state.is_alone && state.together <= 1 {
            state.is_alone = true;
            return (end, Turn::Alone(Alone(Arc::clone(self)), commit));
        }
        state.waiting.push_back(commit);
        let is_led = std::mem::replace(&mut state.is_led, true);
        let turn = if is_led { Turn::Joined } else { Turn::Lead(Lead { inner: Arc::clone(self), is_over: false }) };
        (end, turn)
    }

    async fn write(&self, mut commits: Vec<Commit>) {
        let mut batch = WriteBatch::new();
        for (key, value) in commits.iter_mut().flat_map(|commit| commit.rows.drain(..)) {
            match value {
                Some(value) => batch.put_bytes(key, value),
                None => batch.delete(key),
            }
        }
        let written = self.db.write(batch).await;
        let end = written.map(|handle| self.shared.end_of(handle.seqnum())).map_err(|error| self.error(error));
        for Commit { mut writing, done, .. } in commits {
            if end.is_ok() {
                writing.is_visible();
            }
            // Whoever has gone away waits no more.
            let _ = done.send(end.clone());
        }
    }
}

/// What the caller of a commit has to do.
enum Turn {
    Alone(Alone, Commit),
    Lead(Lead),
    Joined,
}

/// The rows as the index takes them. Short ones share pieces of memory, also with other commits: to ask for memory for
/// every key and value costs more than to copy them, and so does to count who uses it. Who keeps one keeps its piece: so
/// pieces are small, and keys, which the index keeps for open transactions, lie apart from values.
fn rows_of(batch: &Batch, pieces: &mut Pieces) -> Vec<(Bytes, Option<Bytes>)> {
    let Pieces { keys, values } = pieces;
    let row = |mutation: &Mutation| {
        let key = take(keys, mutation.key().len(), |piece| piece.put_slice(mutation.key()));
        let value = mutation.value();
        (key, value.map(|value| take(values, value::size_hint(value), |piece| value::put(value, piece))))
    };
    batch.mutations().iter().map(row).collect()
}

/// Where the next keys and values go.
#[derive(Default)]
struct Pieces {
    keys: BytesMut,
    values: BytesMut,
}

impl Pieces {
    /// Pieces for a commit alone, if it is too long to be copied under a lock.
    fn for_long(batch: &Batch) -> Option<Self> {
        let sizes = batch.mutations().iter().map(|row| (row.key().len(), row.value().map_or(0, value::size_hint)));
        let all: usize = sizes.clone().map(|(key, value)| key + value).sum();
        let piece = |of: fn((usize, usize)) -> usize| {
            let bytes: usize = sizes.clone().map(of).filter(|bytes| !is_long(*bytes)).sum();
            BytesMut::with_capacity(bytes.min(limits::ROWS_PIECE_BYTES))
        };
        (all > limits::ROWS_PIECE_BYTES).then(|| Self { keys: piece(|row| row.0), values: piece(|row| row.1) })
    }
}

/// Whether a key or value has memory of its own.
fn is_long(bytes: usize) -> bool {
    bytes > limits::ROWS_PIECE_BYTES / 4
}

/// What `put` puts, some `bytes`, into the piece.
fn take(piece: &mut BytesMut, bytes: usize, put: impl FnOnce(&mut BytesMut)) -> Bytes {
    if is_long(bytes) {
        let mut own = BytesMut::with_capacity(bytes);
        put(&mut own);
        return own.freeze();
    }
    if piece.capacity() < bytes {
        *piece = BytesMut::with_capacity(limits::ROWS_PIECE_BYTES);
    }
    put(piece);
    piece.split().freeze()
}

impl State {
    /// The next batch, in the order of coming.
    fn take(&mut self) -> Vec<Commit> {
        let count = fitting(self.waiting.iter().map(|commit| (commit.rows.len(), commit.bytes)));
        self.together = count.max(self.together / 2);
        self.waiting.drain(..count).collect()
    }
}

/// How many commits of these rows and bytes go into one batch. One that is larger than a batch goes alone.
fn fitting(mut commits: impl Iterator<Item = (usize, usize)>) -> usize {
    let Some(mut sum) = commits.next() else { return 0 };
    let fits = |(rows, bytes): &(usize, usize)| {
        sum = (sum.0 + rows, sum.1 + bytes);
        sum.0 <= limits::COMBINED_ROWS_MAX && sum.1 <= limits::COMBINED_BYTES_MAX
    };
    1 + commits.take_while(fits).count()
}

/// One commit that goes by itself. Others do not wait for it.
struct Alone(Arc<Inner>);

impl Alone {
    async fn run(self, commit: Commit) {
        self.0.write(vec![commit]).await;
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.combiner.0.lock().is_alone = false;
    }
}

/// The right to hand over what waits.
struct Lead {
    inner: Arc<Inner>,
    is_over: bool,
}

impl Lead {
    async fn run(mut self) {
        // Those who waited for one group of the log wake together, and commit again together.
        let mut in_company = self.inner.combiner.0.lock().together > 1;
        while !self.is_over {
            if in_company {
                tokio::task::yield_now().await;
            }
            in_company = true;
            let commits = self.inner.combiner.0.lock().take();
            self.inner.write(commits).await;
            let mut state = self.inner.combiner.0.lock();
            state.is_led = !state.waiting.is_empty();
            self.is_over = !state.is_led;
        }
    }
}

impl Drop for Lead {
    /// A leader that does not come to its end, because its runtime ends, leaves nobody waiting and the lead to the next.
    fn drop(&mut self) {
        if !self.is_over {
            let mut state = self.inner.combiner.0.lock();
            state.is_led = false;
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            drop(waiting);
        }
    }
}

#[cfg(test)]
mod tests;
