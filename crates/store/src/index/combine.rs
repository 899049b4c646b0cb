//! Commits of many callers, handed to the index as one batch.
//!
//! A batch costs SlateDB two changes of task, whatever is in it. So the first who comes leads: it hands over what
//! waits, and who comes meanwhile joins the next batch. Alone, a commit waits for nobody.
//!
//! Each commit stays what it is. It was checked, and holds what it points at, before it joined; nothing for which the
//! index refuses a batch is the fault of one of them. All of a batch become visible together and end at one position.

use super::writing::{Writing, to_the_end};
use super::{Inner, value};
use crate::{Batch, Error, Mutation, Position, Result, limits};
use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use slatedb::WriteBatch;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Who waits is bounded by who calls: each caller waits for its commit.
#[derive(Default)]
pub(crate) struct Combiner(Mutex<State>);

#[derive(Default)]
struct State {
    is_led: bool,
    waiting: VecDeque<Commit>,
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
        self.settling.note_churn(batch.mutations());
        let (end, lead) = self.join(batch, writing);
        if let Some(lead) = lead {
            to_the_end(lead.first()).await;
        }
        end.await.unwrap_or_else(|_| Err(Error::Closed("its server is ending".to_owned())))
    }

    /// Lines a commit up: where its end will be told, and the lead, if nobody has it.
    fn join(self: &Arc<Self>, batch: &Batch, writing: Writing) -> (oneshot::Receiver<Result<Position>>, Option<Lead>) {
        let (done, end) = oneshot::channel();
        let commit = Commit { rows: rows_of(batch), bytes: batch.byte_len(), writing, done };
        let mut state = self.combiner.0.lock();
        state.waiting.push_back(commit);
        let is_led = std::mem::replace(&mut state.is_led, true);
        (end, (!is_led).then(|| Lead { inner: Arc::clone(self), is_over: false }))
    }
}

/// The rows as the index takes them. Short ones share pieces of memory: to ask for memory for every key and value costs
/// more than to copy them. The pieces are small, because whoever keeps one row keeps the whole piece.
fn rows_of(batch: &Batch) -> Vec<(Bytes, Option<Bytes>)> {
    let size_of = |mutation: &Mutation| mutation.key().len() + mutation.value().map_or(0, value::size_hint);
    let mut left: usize = batch.mutations().iter().map(size_of).sum();
    let mut piece = BytesMut::new();
    let row = |mutation: &Mutation| {
        let size = size_of(mutation);
        if piece.capacity() < size {
            piece = BytesMut::with_capacity(size.max(limits::ROWS_PIECE_BYTES.min(left)));
        }
        left -= size;
        piece.put_slice(mutation.key());
        let key = piece.split().freeze();
        let value = mutation.value().map(|value| {
            value::put(value, &mut piece);
            piece.split().freeze()
        });
        (key, value)
    };
    batch.mutations().iter().map(row).collect()
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

/// The right to hand commits to the index.
struct Lead {
    inner: Arc<Inner>,
    is_over: bool,
}

impl Lead {
    /// The batch that the leader's own commit begins. What comes after it is for a task of its own: a leader does not
    /// wait for others.
    async fn first(mut self) {
        // Those who waited for one group of the log wake together: the others are about to commit as well.
        if self.inner.combiner.0.lock().together > 1 {
            tokio::task::yield_now().await;
        }
        self.write().await;
        if !self.is_over {
            tokio::spawn(self.others());
        }
    }

    async fn others(mut self) {
        while !self.is_over {
            tokio::task::yield_now().await;
            self.write().await;
        }
    }

    async fn write(&mut self) {
        let inner = &self.inner;
        let mut commits = inner.combiner.0.lock().take();
        let mut batch = WriteBatch::new();
        for (key, value) in commits.iter_mut().flat_map(|commit| commit.rows.drain(..)) {
            match value {
                Some(value) => batch.put_bytes(key, value),
                None => batch.delete(key),
            }
        }
        let written = inner.db.write(batch).await;
        let end = written.map(|handle| inner.shared.end_of(handle.seqnum())).map_err(|error| inner.error(error));
        for Commit { mut writing, done, .. } in commits {
            if end.is_ok() {
                writing.is_visible();
            }
            // Whoever has gone away waits no more.
            let _ = done.send(end.clone());
        }
        let mut state = inner.combiner.0.lock();
        state.is_led = !state.waiting.is_empty();
        self.is_over = !state.is_led;
    }
}

impl Drop for Lead {
    /// A leader that does not come to its end, because its runtime ends, leaves nobody waiting and the lead to the next.
    fn drop(&mut self) {
        if !self.is_over {
            let State { waiting, .. } = std::mem::take(&mut *self.inner.combiner.0.lock());
            drop(waiting);
        }
    }
}

#[cfg(test)]
mod tests;
