//! What the volume must hold: every state that it had since the last one known to be durable.

use crate::index::fsck::hex;
use crate::{Error, KeyRange, Read, Result, limits};
use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Keys with the engine's bytes and the content of all payloads.
pub type State = BTreeMap<Bytes, Row>;
pub type Row = (Bytes, Vec<Bytes>);

/// What a commit does to one row.
#[derive(Clone, Debug)]
pub struct Change {
    pub key: Bytes,
    pub row: Option<Row>,
}

/// Stands for the content of a payload that cannot be read.
const UNREADABLE: Bytes = Bytes::from_static(b"unreadable");

/// A named snapshot, as far as the run knows.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it may hold: one state, unless others were committed while it was made.
    pub states: Vec<Arc<State>>,
    /// It was acknowledged and nobody tried to delete it.
    pub certain: bool,
}

#[derive(Debug, Default)]
pub struct Model {
    /// The states, oldest first.
    history: Vec<Arc<State>>,
    /// This one was acknowledged as durable.
    durable: usize,
    /// Commits under way, of which nobody knows whether they happen; they touch different rows.
    pub pending: Vec<Vec<Change>>,
    pub snapshots: BTreeMap<String, Snapshot>,
    /// Contents of payloads that the disk lost: where they were not copied before, they cannot be read.
    pub lost: BTreeSet<Bytes>,
}

pub fn apply(state: &State, changes: &[Change]) -> State {
    let mut state = state.clone();
    for Change { key, row } in changes {
        match row {
            Some(row) => drop(state.insert(key.clone(), row.clone())),
            None => drop(state.remove(key)),
        }
    }
    state
}

impl Model {
    pub fn new() -> Self {
        Self { history: vec![Arc::default()], ..Self::default() }
    }

    pub fn now(&self) -> &Arc<State> {
        self.history.last().expect("there is always a state")
    }

    /// The number of the present state.
    pub fn number(&self) -> usize {
        self.history.len() - 1
    }

    pub fn committed(&mut self, changes: &[Change]) {
        let next = apply(self.now(), changes);
        self.history.push(Arc::new(next));
    }

    /// The state with this number was acknowledged as durable.
    pub fn acknowledged(&mut self, number: usize) {
        self.durable = self.durable.max(number);
    }

    /// The volume was opened and found to hold this: one of the states since the last one acknowledged, with any
    /// of the commits under way behind it.
    pub fn recovered(&mut self, found: State) -> anyhow::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let found_masked = self.masked(&found);
        let after = (1u32..1 << pending.len()).map(|chosen| {
            let happened = pending.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1);
            happened.fold((**self.now()).clone(), |state, (_, changes)| apply(&state, changes))
        });
        let known = self.history[self.durable..].iter().any(|state| self.masked(state) == found_masked);
        let known = known || after.into_iter().any(|state| self.masked(&state) == found_masked);
        ensure!(
            known,
            "recovered {}\nnone of {} states:\n{}",
            show(&found),
            self.history.len() - self.durable,
            self.history[self.durable..].iter().map(|state| show(state)).collect::<Vec<_>>().join("\n")
        );
        self.history = vec![Arc::new(found)];
        self.durable = 0;
        Ok(())
    }

    /// A state without what the disk has lost of it, whether or not that was read.
    fn masked<'a>(&self, state: &'a State) -> Cow<'a, State> {
        if self.lost.is_empty() {
            return Cow::Borrowed(state);
        }
        let mut masked = state.clone();
        let contents = masked.values_mut().flat_map(|(_, contents)| contents);
        contents.filter(|content| self.lost.contains(*content)).for_each(|content| *content = UNREADABLE);
        Cow::Owned(masked)
    }

    pub fn is_same(&self, found: &State, wanted: &State) -> bool {
        self.masked(found) == self.masked(wanted)
    }

    /// Compares what a volume holds with what it must hold.
    pub fn same(&self, found: &State, wanted: &State, what: &str) -> anyhow::Result<()> {
        ensure!(self.is_same(found, wanted), "{what} holds {}\nand not {}", show(found), show(wanted));
        Ok(())
    }
}

/// Payload is told by its number.
pub fn content(number: u64, length: u64) -> Bytes {
    let mut bytes = BytesMut::with_capacity(length as usize);
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while bytes.len() < length as usize {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.put_u8((state >> 56) as u8);
    }
    bytes.freeze()
}

/// A state for people: keys, values, and length and checksum of each payload.
pub fn show(state: &State) -> String {
    let payload = |bytes: &Bytes| format!("{}/{:08x}", bytes.len(), crc32c::crc32c(bytes));
    let row = |(key, (bytes, contents)): (&Bytes, &Row)| {
        let contents: Vec<String> = contents.iter().map(payload).collect();
        format!("{}={}[{}]", hex(key), hex(bytes), contents.join(" "))
    };
    format!("{{{}}}", state.iter().map(row).collect::<Vec<_>>().join(", "))
}

/// Repeats a read that the bucket did not answer. The simulated way to it has no retries of its own.
pub async fn patient<T>(mut read: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut attempts = 0;
    loop {
        match read().await {
            Err(Error::Unavailable { .. }) if attempts < 40 => attempts += 1,
            other => return other,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Everything that engines have written, with the content of all payloads that can be read. A row of the present may
/// move under the read: then it is read again. `still` says that this is a cut, under which nothing moves.
pub async fn dump(read: &dyn Read, still: bool) -> anyhow::Result<State> {
    let all = KeyRange { start: Bytes::from_static(&[0x03]), end: None };
    let mut scan = patient(async || read.scan(all.clone()).await).await.context("scan")?;
    let mut state = State::new();
    loop {
        let rows = scan.next(7).await.context("scan on")?;
        if rows.is_empty() {
            return Ok(state);
        }
        for row in rows {
            let mut value = row.value;
            let mut contents = Vec::new();
            let mut again = 0;
            while contents.len() < value.pointers.len() {
                let pointer = value.pointers[contents.len()];
                match patient(async || read.read_payload(&pointer).await).await {
                    Ok(bytes) => contents.push(bytes),
                    Err(Error::Corrupt(text)) if text.contains("the disk cannot read it") => contents.push(UNREADABLE),
                    Err(Error::PayloadMoved) if !still && again < 20 => {
                        again += 1;
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        let found = patient(async || read.get(&row.key).await).await?;
                        value = found.with_context(|| format!("row {} went away", hex(&row.key)))?;
                        contents.clear();
                    }
                    Err(error) => {
                        return Err(error).with_context(|| format!("{pointer:?} of row {}", hex(&row.key)));
                    }
                }
            }
            state.insert(row.key, (value.bytes, contents));
        }
    }
}

/// The same of a cut that was made at `made`; `None` if it is so old that what it points at may have gone.
pub async fn dump_cut(cut: &dyn Read, made: Instant) -> anyhow::Result<Option<State>> {
    let dumped = dump(cut, true).await;
    match dumped {
        Err(error)
            if matches!(error.downcast_ref(), Some(Error::PayloadMoved))
                && made.elapsed() >= limits::CUT_PAYLOAD_KEPT =>
        {
            Ok(None)
        }
        dumped => dumped.map(Some),
    }
}
