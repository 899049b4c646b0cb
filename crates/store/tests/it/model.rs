//! The real volume against the model: the same random operations on both must give the same answers, through
//! settling, collecting, snapshots, crashes and restarts.

use crate::volumes::{Dump, World, dump};
use anyhow::{Context, Result, bail, ensure};
use ballast_runtime::Random;
use ballast_store::{Batch, Error, IndexedVolume, Isolation, MemoryVolume, Position, Read, Space, Value, Volume};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

const STEPS: u64 = 60;

#[tokio::test(flavor = "current_thread")]
async fn the_real_volume_answers_like_the_model() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = number("BALLAST_SEED").map_or(0..number("BALLAST_SEEDS").unwrap_or(24), |seed| seed..seed + 1);
    for seed in seeds {
        run(seed).await.unwrap_or_else(|error| panic!("BALLAST_SEED={seed}: {error:?}"));
    }
}

struct Pair {
    random: Random,
    world: World,
    real: Arc<IndexedVolume>,
    model: MemoryVolume,
    snapshots: BTreeMap<String, Dump>,
    /// What a crash may leave: the state as of the last durable commit and after each one since.
    possible: Vec<Dump>,
}

async fn run(seed: u64) -> Result<()> {
    let world = World::new(seed.is_multiple_of(2), seed)?;
    let real = world.open().await.context("open")?;
    let random = Random::from_seed(seed);
    let possible = vec![Dump::new()];
    let mut pair = Pair { random, world, real, model: MemoryVolume::new(), snapshots: BTreeMap::new(), possible };
    for step in 0..STEPS {
        pair.step().await.with_context(|| format!("step {step}"))?;
    }
    pair.restart(true).await.context("the last restart")?;
    pair.real.close().await.context("the last close")
}

impl Pair {
    async fn step(&mut self) -> Result<()> {
        match self.random.below(20) {
            0..=7 => self.commit().await.context("commit"),
            8..=9 => self.transaction().await.context("transaction"),
            10 => self.durable().await.context("durable"),
            11 => self.snapshot().await.context("snapshot"),
            12 => self.read_snapshots().await.context("read snapshots"),
            13 => self.delete_snapshot().await.context("delete snapshot"),
            14 => self.real.settle().await.map(drop).context("settle"),
            15 => self.real.collect().await.map(drop).context("collect"),
            16 => self.real.flush_index().await.context("flush the index"),
            17 => self.restart(false).await.context("crash"),
            18 => self.restart(true).await.context("restart"),
            _ => self.compare().await.context("compare"),
        }
    }

    fn key(&self) -> Bytes {
        let space = if self.random.below(2) == 0 { Space::Block } else { Space::Inode };
        space.key(&[&[self.random.below(12) as u8]])
    }

    fn bytes(&self, most: u64) -> Bytes {
        let (length, fill) = (self.random.below(most), self.random.below(256) as u8);
        vec![fill; length as usize].into()
    }

    /// One or more random rows for both volumes.
    async fn batches(&self) -> Result<(Batch, Batch)> {
        let (mut real, mut model) = (Batch::new(), Batch::new());
        for _ in 0..=self.random.below(4) {
            let key = self.key();
            if self.random.below(4) == 0 {
                real.delete(key.clone());
                model.delete(key);
                continue;
            }
            let bytes = self.bytes(40);
            let payloads = if key[0] == Space::Block as u8 { self.random.below(3) } else { 0 };
            let contents: Vec<Bytes> = (0..payloads).map(|_| self.bytes(9000)).collect();
            let segment = self.random.below(4) == 0;
            for (volume, batch) in [(&*self.real as &dyn Volume, &mut real), (&self.model, &mut model)] {
                let mut pointers = Vec::new();
                if segment {
                    for payload in volume.write_segment(contents.clone()).await? {
                        batch.hold(&payload);
                        pointers.push(payload.pointer);
                    }
                } else {
                    let room = volume.room().await?;
                    for content in &contents {
                        let payload = volume.append_payload(&room, &[content.slice(..0), content.clone()]).await?;
                        batch.hold(&payload);
                        pointers.push(payload.pointer);
                    }
                }
                batch.put_with_payload(key.clone(), bytes.clone(), pointers);
            }
        }
        Ok((real, model))
    }

    async fn commit(&mut self) -> Result<()> {
        let (real, model) = self.batches().await?;
        let position = self.real.commit(real).await?;
        self.model.commit(model).await?;
        self.committed(position).await
    }

    async fn committed(&mut self, position: Position) -> Result<()> {
        self.possible.push(dump(&self.model).await?);
        if self.random.below(3) == 0 {
            self.real.durable(position).await?;
            self.possible.drain(..self.possible.len() - 1);
        }
        Ok(())
    }

    async fn durable(&mut self) -> Result<()> {
        self.real.durable(self.real.position()).await?;
        self.possible.drain(..self.possible.len() - 1);
        Ok(())
    }

    /// The same transaction on both, with a commit of somebody else in between.
    async fn transaction(&mut self) -> Result<()> {
        let isolation = if self.random.below(2) == 0 { Isolation::Snapshot } else { Isolation::Serializable };
        let (real, model) = (self.real.begin(isolation).await?, self.model.begin(isolation).await?);
        let (read, written, other) = (self.key(), self.key(), self.key());
        ensure!(real.get(&read).await?.map(|value| value.bytes) == model.get(&read).await?.map(|value| value.bytes));
        let bytes = self.bytes(20);
        real.put(written.clone(), Value::from(bytes.clone()))?;
        model.put(written.clone(), Value::from(bytes.clone()))?;
        ensure!(real.get(&written).await?.map(|value| value.bytes) == Some(bytes.clone()), "own writes are visible");
        if self.random.below(2) == 0 {
            for volume in [&*self.real as &dyn Volume, &self.model] {
                let mut batch = Batch::new();
                batch.put(other.clone(), Bytes::from_static(b"other"));
                volume.commit(batch).await?;
            }
            self.possible.push(dump(&self.model).await?);
        }
        let (real, model) = (real.commit(Batch::new()).await, model.commit(Batch::new()).await);
        let position = match (real, model) {
            (Ok(position), Ok(_)) => position,
            (Err(Error::Conflict), Err(Error::Conflict)) => return Ok(()),
            // Settling, which runs beside the steps, moves rows with payload, and no others; who is refused tries again.
            (Err(Error::Conflict), Ok(_))
                if [&read, &written].iter().any(|key| Space::with_payload_of(key).is_some()) =>
            {
                let mut again = Batch::new();
                again.put(written, bytes);
                self.real.commit(again).await?
            }
            (real, model) => bail!("{real:?} against {model:?}"),
        };
        self.committed(position).await
    }

    async fn compare(&self) -> Result<()> {
        let (real, model) = (dump(&*self.real).await?, dump(&self.model).await?);
        ensure!(real == model, "{real:?}\nagainst {model:?}");
        let cut = self.real.cut().await?;
        ensure!(dump(cut.as_ref()).await? == model, "a cut differs");
        for key in model.keys() {
            ensure!(self.real.get(key).await?.map(|value| value.bytes) == Some(model[key].0.clone()));
        }
        Ok(())
    }

    async fn snapshot(&mut self) -> Result<()> {
        let name = format!("s{}", self.random.below(3));
        let made = self.real.create_snapshot(&name).await;
        ensure!(made.is_ok() != self.snapshots.contains_key(&name), "{made:?}");
        if made.is_ok() {
            self.possible.drain(..self.possible.len() - 1);
            self.snapshots.insert(name, dump(&self.model).await?);
        }
        Ok(())
    }

    async fn read_snapshots(&self) -> Result<()> {
        let listed: Vec<String> = self.real.snapshots().await?.into_iter().map(|entry| entry.name).collect();
        ensure!(listed == self.snapshots.keys().cloned().collect::<Vec<_>>(), "{listed:?}");
        for (name, expected) in &self.snapshots {
            let read = self.real.open_snapshot(name).await?;
            let found = dump(read.as_ref()).await.with_context(|| format!("snapshot {name}"))?;
            ensure!(&found == expected, "snapshot {name} changed: {found:?}\nagainst {expected:?}");
        }
        Ok(())
    }

    async fn delete_snapshot(&mut self) -> Result<()> {
        let Some(name) = self.snapshots.keys().next().cloned() else { return Ok(()) };
        self.snapshots.remove(&name);
        Ok(self.real.delete_snapshot(&name).await?)
    }

    /// A restart loses nothing after a close; without one it may lose what was not durable, from the end.
    async fn restart(&mut self, close: bool) -> Result<()> {
        if close {
            self.real.close().await.context("close")?;
            self.possible.drain(..self.possible.len() - 1);
        }
        self.real = self.world.open().await.context("open")?;
        let found = dump(&*self.real).await?;
        ensure!(self.possible.contains(&found), "found {found:?}\nof {:?}", self.possible);
        self.read_snapshots().await?;
        let report = self.real.fsck(&mut |_| {}).await?;
        ensure!(report.problems.is_empty(), "{:?}", report.problems);
        self.model = MemoryVolume::new();
        let (mut batch, room) = (Batch::new(), self.model.room().await?);
        for (key, (bytes, contents)) in &found {
            let mut pointers = Vec::new();
            for content in contents {
                pointers.push(self.model.append_payload(&room, std::slice::from_ref(content)).await?.pointer);
            }
            batch.put_with_payload(key.clone(), bytes.clone(), pointers);
        }
        self.model.commit(batch).await?;
        self.possible = vec![found];
        Ok(())
    }
}
