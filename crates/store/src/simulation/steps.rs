//! What a server is asked to do, one step after the other, with background work beside it.

use super::Simulation;
use super::model::{Change, Row, Snapshot, content, dump, dump_cut, patient};
use crate::index::fsck::hex;
use crate::{Batch, Error, IndexedVolume, Isolation, Payload, Position, Read, Result, Room, Space, Value, Volume};
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// Attempts to write a row whose payload moves, before it is said to move for ever.
const MOVES_MAX: usize = 200;

/// A cut that a reader holds, and what it must show.
struct Held {
    made: Instant,
    cut: Arc<dyn Read>,
    number: usize,
    state: Arc<super::model::State>,
}

/// What a server has under way: gone when it dies.
#[derive(Default)]
pub struct UnderWay {
    /// Those who wait until a state is durable.
    waits: Vec<(usize, JoinHandle<Result<()>>)>,
    /// Settling, collecting and flushing.
    work: Vec<(&'static str, JoinHandle<Result<()>>)>,
    cuts: Vec<Held>,
    /// Writers that append payload and never commit it.
    orphans: JoinSet<()>,
    position: Position,
}

impl UnderWay {
    pub fn set_position(&mut self, position: Position) {
        self.position = position;
    }

    /// Lets go of what a reader or writer holds; background work goes on.
    pub fn let_go(&mut self) {
        self.cuts.clear();
        self.orphans = JoinSet::new();
        self.waits.clear();
        self.work.clear();
    }

    /// As if the process had died: nothing of it runs on.
    pub fn die(&mut self) {
        self.waits.iter().for_each(|(_, task)| task.abort());
        self.work.iter().for_each(|(_, task)| task.abort());
        *self = Self::default();
    }
}

impl Simulation {
    pub async fn step(&mut self, volume: &Arc<IndexedVolume>) -> anyhow::Result<()> {
        self.harvest()?;
        let step = self.world.random.below(40);
        self.world.trace.note(format_args!("step {step}, {} rows", self.model.now().len()));
        match step {
            0..=8 => self.commit(volume).await.context("commit"),
            9..=12 => self.extend(volume).await.context("extend"),
            13..=14 => self.commit_together(volume).await.context("commit together"),
            15..=16 => self.transaction(volume).await.context("transaction"),
            17..=18 => self.wait_durable(volume).await.context("durable"),
            19..=20 => self.wait_later(volume),
            21 => self.snapshot(volume).await.context("snapshot"),
            22 => self.read_snapshots(volume).await.context("read snapshots"),
            23 => self.delete_snapshot(volume).await.context("delete a snapshot"),
            24..=25 => self.work("settle", volume, |volume| async move { volume.settle().await.map(drop) }),
            26 => self.work("collect", volume, |volume| async move { volume.collect().await.map(drop) }),
            27 => self.work("flush", volume, |volume| async move { volume.flush_index().await }),
            28 => self.open_cut(volume).await.context("cut"),
            29 => self.read_cut().await,
            30..=32 => self.compare(volume).await.context("compare"),
            33 => self.orphan(volume).await.context("orphan"),
            34 => self.sleep(Duration::from_secs(60)).await,
            35 => self.commit_beside(volume).await.context("commit beside"),
            36 => self.leave_snapshot(volume).await.context("leave a snapshot"),
            37 if self.world.loses => self.lose(volume).await.context("lose"),
            _ => self.sleep(Duration::from_millis(400)).await,
        }
    }

    /// Notes what has finished meanwhile.
    pub fn harvest(&mut self) -> anyhow::Result<()> {
        let mut waits = Vec::new();
        for (number, mut task) in std::mem::take(&mut self.under_way.waits) {
            match (&mut task).now_or_never() {
                None => waits.push((number, task)),
                Some(done) => match done.context("a waiter died")? {
                    Ok(()) => self.model.acknowledged(number),
                    Err(error) => self.tolerate("a waiter", &error)?,
                },
            }
        }
        self.under_way.waits = waits;
        let mut work = Vec::new();
        for (what, mut task) in std::mem::take(&mut self.under_way.work) {
            match (&mut task).now_or_never() {
                None => work.push((what, task)),
                Some(done) => {
                    if let Err(error) = done.with_context(|| format!("{what} died"))? {
                        self.world.trace.note(format_args!("{what} failed: {error}"));
                        self.tolerate(what, &error)?;
                    }
                }
            }
        }
        self.under_way.work = work;
        Ok(())
    }

    fn key(&self) -> Bytes {
        let (space, keys) = [(Space::Block, 12), (Space::StreamIndex, 4), (Space::Inode, 8)]
            [[0, 0, 1, 2][self.world.random.below(4) as usize]];
        space.key(&[&[self.world.random.below(keys) as u8]])
    }

    fn length(&self) -> u64 {
        match self.world.random.below(12) {
            0 => 0,
            1 => self.world.random.below(20_000),
            2 | 3 => self.world.random.below(6_000),
            _ => self.world.random.below(600),
        }
    }

    /// New payload, in the log or in a segment. `None` if the bucket did not take it.
    async fn payload(&mut self, volume: &IndexedVolume, room: &Room) -> anyhow::Result<Option<(Payload, Bytes)>> {
        self.payloads += 1;
        let bytes = content(self.payloads, self.length());
        if self.world.one_in(5) {
            return match volume.write_segment(vec![bytes.clone()]).await {
                Ok(mut written) => Ok(Some((written.remove(0), bytes))),
                Err(error) => self.tolerate("write a segment", &error).map(|()| None),
            };
        }
        let middle = self.world.random.below(bytes.len() as u64 + 1) as usize;
        let payload = volume.append_payload(room, &[bytes.slice(..middle), bytes.slice(middle..)]).await?;
        Ok(Some((payload, bytes)))
    }

    /// One row to be put or deleted, in the batch and as a change of the model.
    async fn change(
        &mut self,
        volume: &IndexedVolume,
        room: &Room,
        key: Bytes,
        batch: &mut Batch,
    ) -> anyhow::Result<Change> {
        if self.world.one_in(4) {
            batch.delete(key.clone());
            return Ok(Change { key, row: None });
        }
        let count = if Space::with_payload_of(&key).is_some() { self.world.random.below(3) } else { 0 };
        let (mut pointers, mut contents) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let Some((payload, bytes)) = self.payload(volume, room).await? else { continue };
            batch.hold(&payload);
            pointers.push(payload.pointer);
            contents.push(bytes);
        }
        let bytes = Bytes::from(self.world.random.next_u64().to_le_bytes().to_vec());
        batch.put_with_payload(key.clone(), bytes.clone(), pointers);
        Ok(Change { key, row: Some((bytes, contents)) })
    }

    async fn commit(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        let mut batch = Batch::new();
        let mut changes = Vec::new();
        let room = volume.room().await?;
        for _ in 0..=self.world.random.below(4) {
            let key = self.key();
            changes.push(self.change(volume, &room, key, &mut batch).await?);
        }
        self.model.pending = vec![changes];
        let position = volume.commit(batch).await?;
        self.committed(volume, position).await
    }

    /// All that is under way was committed, and all before `position`.
    async fn committed(&mut self, volume: &IndexedVolume, position: Position) -> anyhow::Result<()> {
        for changes in std::mem::take(&mut self.model.pending) {
            self.model.committed(&changes);
        }
        let before = std::mem::replace(&mut self.under_way.position, position);
        ensure!(position >= before, "position {position:?} comes after {before:?}");
        ensure!(position <= volume.position(), "position {position:?} is behind the end");
        if self.world.one_in(4) { self.wait_durable(volume).await } else { Ok(()) }
    }

    /// Rewrites a row and keeps its pointers, in the row itself or in another one: as engines do.
    async fn extend(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        let (from, to) = (self.key(), self.key());
        if Space::with_payload_of(&to).is_none() {
            return Ok(());
        }
        let to = if self.world.one_in(2) { from.clone() } else { to };
        for _ in 0..MOVES_MAX {
            let found = patient(async || volume.get(&from).await).await?;
            let (Some(value), Some((_, contents))) = (found, self.model.now().get(&from).cloned()) else {
                return Ok(());
            };
            ensure!(value.pointers.len() == contents.len(), "row {} has other payload", hex(&from));
            if value.pointers.len() > 8 || Space::with_payload_of(&from).is_none() {
                return Ok(());
            }
            let (mut pointers, mut contents) = (value.pointers.to_vec(), contents);
            let mut batch = Batch::new();
            let room = volume.room().await?;
            if let Some((payload, bytes)) = self.payload(volume, &room).await? {
                batch.hold(&payload);
                pointers.push(payload.pointer);
                contents.push(bytes);
            }
            let bytes = Bytes::from(self.world.random.next_u64().to_le_bytes().to_vec());
            batch.put_with_payload(to.clone(), bytes.clone(), pointers);
            self.model.pending = vec![vec![Change { key: to.clone(), row: Some((bytes, contents)) }]];
            match volume.commit(batch).await {
                Ok(position) => return self.committed(volume, position).await,
                Err(Error::PayloadMoved) => self.model.pending.clear(),
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the payload of row {} moves for ever", hex(&from))
    }

    /// Several commits at once, of different rows.
    async fn commit_together(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        let (mut batches, mut pending) = (Vec::new(), Vec::new());
        let room = volume.room().await?;
        for at in 0..2 + self.world.random.below(6) {
            let key = Space::Block.key(&[&[100 + at as u8]]);
            let mut batch = Batch::new();
            pending.push(vec![self.change(volume, &room, key, &mut batch).await?]);
            batches.push(batch);
        }
        self.model.pending = pending;
        let done = futures::future::join_all(batches.into_iter().map(|batch| volume.commit(batch))).await;
        let mut last = self.under_way.position;
        for position in done {
            last = last.max(position?);
        }
        self.committed(volume, last).await
    }

    /// Two writers at once, each with several payloads for one commit.
    async fn commit_beside(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        let mut writers = Vec::new();
        for number in [110, 111] {
            let mut contents = Vec::new();
            for _ in 0..=self.world.random.below(5) {
                self.payloads += 1;
                contents.push(content(self.payloads, self.length()));
            }
            let bytes = Bytes::from(self.world.random.next_u64().to_le_bytes().to_vec());
            writers.push(Change { key: Space::Block.key(&[&[number]]), row: Some((bytes, contents)) });
        }
        self.model.pending = writers.iter().map(|change| vec![change.clone()]).collect();
        let done = futures::future::join_all(writers.into_iter().map(|change| write_all(volume, change))).await;
        let mut done = done.into_iter().collect::<Result<Vec<_>>>()?;
        done.sort_by_key(|(position, _)| *position);
        let last = done.last().map_or(self.under_way.position, |(position, _)| *position);
        self.model.pending = done.into_iter().map(|(_, change)| vec![change]).collect();
        self.committed(volume, last.max(self.under_way.position)).await
    }

    /// A transaction, perhaps with a commit of somebody else in between.
    async fn transaction(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        let isolation = if self.world.one_in(2) { Isolation::Snapshot } else { Isolation::Serializable };
        let (read, written, other) = (self.key(), self.key(), self.key());
        let transaction = volume.begin(isolation).await?;
        let found = patient(async || transaction.get(&read).await).await?.map(|value| value.bytes);
        let wanted = self.model.now().get(&read).map(|(bytes, _)| bytes.clone());
        ensure!(found == wanted, "a transaction reads {found:?} and not {wanted:?}");
        let bytes = Bytes::from(self.world.random.next_u64().to_le_bytes().to_vec());
        transaction.put(written.clone(), Value::from(bytes.clone()))?;
        let mut conflict = false;
        if self.world.one_in(2) {
            let mut batch = Batch::new();
            let room = volume.room().await?;
            let change = self.change(volume, &room, other.clone(), &mut batch).await?;
            self.model.pending = vec![vec![change]];
            let position = volume.commit(batch).await?;
            self.committed(volume, position).await?;
            conflict = other == written || isolation == Isolation::Serializable && other == read;
        }
        // Settling moves rows with payload, and that conflicts as well.
        let moves = [&read, &written].into_iter().any(|key| Space::with_payload_of(key).is_some());
        self.model.pending = vec![vec![Change { key: written, row: Some((bytes, Vec::new())) }]];
        match transaction.commit(Batch::new()).await {
            Ok(position) => {
                ensure!(!conflict, "a transaction overlooked a conflict");
                self.committed(volume, position).await
            }
            Err(Error::Conflict) if conflict || moves => {
                self.model.pending.clear();
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn wait_durable(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        let position = volume.position();
        volume.durable(position).await?;
        ensure!(volume.stats().durable >= position, "what was acknowledged is not durable");
        self.model.acknowledged(self.model.number());
        Ok(())
    }

    fn wait_later(&mut self, volume: &Arc<IndexedVolume>) -> anyhow::Result<()> {
        let (volume, position) = (Arc::clone(volume), volume.position());
        let task = tokio::spawn(async move { volume.durable(position).await });
        self.under_way.waits.push((self.model.number(), task));
        Ok(())
    }

    async fn snapshot(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        if self.model.snapshots.len() >= 3 {
            return Ok(());
        }
        self.payloads += 1;
        let name = format!("s{}", self.payloads);
        self.world.trace.note(format_args!("snapshot {name}"));
        let snapshot = Snapshot { states: vec![Arc::clone(self.model.now())], certain: false };
        self.model.snapshots.insert(name.clone(), snapshot);
        match volume.create_snapshot(&name).await {
            Ok(_) => {
                self.model.acknowledged(self.model.number());
                self.model.snapshots.entry(name).and_modify(|snapshot| snapshot.certain = true);
                Ok(())
            }
            Err(error) => self.tolerate("create a snapshot", &error),
        }
    }

    /// Compares every snapshot with what it must hold.
    pub async fn read_snapshots(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        let listed: Vec<String> = volume.snapshots().await?.into_iter().map(|entry| entry.name).collect();
        for (name, snapshot) in &self.model.snapshots {
            ensure!(listed.contains(name) || !snapshot.certain, "snapshot {name} is gone");
        }
        for name in listed {
            let Some(snapshot) = self.model.snapshots.get(&name) else { bail!("snapshot {name} is back") };
            let read = patient(async || volume.open_snapshot(&name).await).await.context("open a snapshot")?;
            let found = dump(read.as_ref(), false).await.with_context(|| format!("snapshot {name}"))?;
            let Some(state) = snapshot.states.iter().find(|state| self.model.is_same(&found, state)).cloned() else {
                let wanted = snapshot.states.first().expect("a snapshot has a state");
                return self.model.same(&found, wanted, &format!("snapshot {name}"));
            };
            self.model.snapshots.entry(name).and_modify(|snapshot| snapshot.states = vec![state]);
        }
        Ok(())
    }

    async fn delete_snapshot(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        let certain = self.model.snapshots.iter().find(|(_, snapshot)| snapshot.certain);
        let Some(name) = certain.map(|(name, _)| name.clone()) else { return Ok(()) };
        self.world.trace.note(format_args!("delete snapshot {name}"));
        self.model.snapshots.entry(name.clone()).and_modify(|snapshot| snapshot.certain = false);
        match volume.delete_snapshot(&name).await {
            Ok(()) => {
                self.model.snapshots.remove(&name);
                Ok(())
            }
            Err(error) => self.tolerate("delete a snapshot", &error),
        }
    }

    /// Begins to make or to delete a snapshot and goes away: it is done all the same, or not at all.
    async fn leave_snapshot(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        let certain = self.model.snapshots.iter().find(|(_, snapshot)| snapshot.certain).map(|(name, _)| name.clone());
        let deleted = certain.filter(|_| self.world.one_in(2) || self.model.snapshots.len() >= 3);
        if deleted.is_none() && self.model.snapshots.len() >= 3 {
            return Ok(());
        }
        self.payloads += 1;
        let name = deleted.clone().unwrap_or_else(|| format!("s{}", self.payloads));
        self.world.trace.note(format_args!("leave snapshot {name}, deleted: {}", deleted.is_some()));
        let new = Snapshot { states: vec![Arc::clone(self.model.now())], certain: false };
        self.model.snapshots.entry(name.clone()).or_insert(new).certain = false;
        let mut change = match deleted {
            None => volume.create_snapshot(&name).map(|made| made.map(drop)).boxed(),
            Some(_) => volume.delete_snapshot(&name).boxed(),
        };
        for _ in 0..=self.world.random.below(20) {
            if (&mut change).now_or_never().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(change);
        // One waits for the other.
        match volume.delete_snapshot("no such").await {
            Err(Error::NotFound(_)) => {}
            Err(error) => return self.tolerate("look for a snapshot", &error),
            Ok(()) => bail!("a snapshot was deleted that nobody made"),
        }
        let is_there = volume.snapshots().await?.iter().any(|entry| entry.name == name);
        match deleted {
            None => drop(self.model.snapshots.entry(name).and_modify(|snapshot| snapshot.certain = is_there)),
            Some(_) if !is_there => drop(self.model.snapshots.remove(&name)),
            Some(_) => {}
        }
        Ok(())
    }

    /// Starts background work beside the steps; one of each at a time.
    fn work<F: Future<Output = Result<()>> + Send + 'static>(
        &mut self,
        what: &'static str,
        volume: &Arc<IndexedVolume>,
        work: impl FnOnce(Arc<IndexedVolume>) -> F,
    ) -> anyhow::Result<()> {
        if !self.under_way.work.iter().any(|(other, _)| *other == what) {
            self.world.trace.note(what);
            self.under_way.work.push((what, tokio::spawn(work(Arc::clone(volume)))));
        }
        Ok(())
    }

    async fn open_cut(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        if self.under_way.cuts.len() < 2 {
            let (made, cut) = (Instant::now(), volume.cut().await?);
            let (number, state) = (self.model.number(), Arc::clone(self.model.now()));
            self.under_way.cuts.push(Held { made, cut, number, state });
        }
        Ok(())
    }

    /// A cut shows the state in which it was made, whatever happened since.
    async fn read_cut(&mut self) -> anyhow::Result<()> {
        let Some(held) = self.under_way.cuts.pop() else { return Ok(()) };
        let what = format!("the cut of state {}", held.number);
        let found = dump_cut(held.cut.as_ref(), held.made).await.context(what.clone())?;
        found.map_or(Ok(()), |found| self.model.same(&found, &held.state, &what))?;
        if self.world.one_in(2) {
            self.under_way.cuts.push(held);
        }
        Ok(())
    }

    pub async fn compare(&self, volume: &IndexedVolume) -> anyhow::Result<()> {
        self.model.same(&dump(volume, false).await?, self.model.now(), "the present")?;
        let (made, cut) = (Instant::now(), volume.cut().await?);
        let found = dump_cut(cut.as_ref(), made).await.context("a cut")?;
        found.map_or(Ok(()), |found| self.model.same(&found, self.model.now(), "a cut of the present"))?;
        let key = self.key();
        let found = patient(async || volume.get(&key).await).await?.map(|value| value.bytes);
        ensure!(found == self.model.now().get(&key).map(|(bytes, _): &Row| bytes.clone()), "row {}", hex(&key));
        Ok(())
    }

    /// Payload that no row will ever point at: its writer holds it for a while and gives up.
    async fn orphan(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        let room = volume.room().await?;
        if let Some((payload, _)) = self.payload(volume, &room).await? {
            let held = Duration::from_millis(self.world.random.below(60_000));
            self.under_way.orphans.spawn(async move {
                tokio::time::sleep(held).await;
                drop(payload);
            });
        }
        Ok(())
    }

    /// The disk loses the payload of a row. Not in the newest file: what opening needs is another matter.
    async fn lose(&mut self, volume: &IndexedVolume) -> anyhow::Result<()> {
        let key = self.key();
        let row = patient(async || volume.get(&key).await).await?;
        let (Some(row), Some((_, contents))) = (row, self.model.now().get(&key).cloned()) else { return Ok(()) };
        let newest = volume.log_files().last().map(|file| file.place);
        for (pointer, content) in row.pointers.iter().zip(contents) {
            if pointer.length > 0 && Some(pointer.place) < newest && self.world.lose(pointer) {
                self.world.trace.note(format_args!("lost: {pointer:?}"));
                self.model.lost.insert(content);
            }
        }
        Ok(())
    }

    async fn sleep(&mut self, most: Duration) -> anyhow::Result<()> {
        let nanos = self.world.random.below(most.as_nanos() as u64);
        tokio::time::sleep(Duration::from_nanos(nanos)).await;
        Ok(())
    }
}

/// Appends the payloads of a row, one after the other, and commits it.
async fn write_all(volume: &IndexedVolume, change: Change) -> Result<(Position, Change)> {
    let room = volume.room().await?;
    let (mut batch, mut pointers) = (Batch::new(), Vec::new());
    let Some((bytes, contents)) = &change.row else { return Ok((volume.position(), change)) };
    for content in contents {
        let payload = volume.append_payload(&room, std::slice::from_ref(content)).await?;
        batch.hold(&payload);
        pointers.push(payload.pointer);
        tokio::task::yield_now().await;
    }
    batch.put_with_payload(change.key.clone(), bytes.clone(), pointers);
    Ok((volume.commit(batch).await?, change))
}
