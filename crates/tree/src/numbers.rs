//! Inode numbers: never given out twice, also not after a crash.
//!
//! A counter row names the first number that is not reserved. Numbers come in blocks; a block is given out only
//! when its reservation is durable, so that a crash cannot bring back a number that somebody has seen. The
//! next block is reserved while the current one is half full, so that nobody waits for the disk but the
//! first maker after an open.

use crate::{Result, keys, limits};
use ballast_store::{Batch, Position, Read, Volume};
use ballast_types::Ino;
use parking_lot::Mutex;

pub struct Numbers {
    ready: Mutex<Block>,
    /// Held while the counter is written.
    reserving: tokio::sync::Mutex<Reserved>,
}

/// Numbers that may be given out: `next` up to, not including, `end`.
struct Block {
    next: u64,
    end: u64,
}

struct Reserved {
    /// The counter as it is stored.
    counter: u64,
    /// A block that is reserved and not yet given out, and the position that makes it safe.
    ahead: Option<(Block, Position)>,
}

/// The root has number 1; 2 is left free for a second fixed inode.
const FIRST: u64 = 16;

impl Numbers {
    pub async fn open(volume: &dyn Read) -> Result<Self> {
        let stored = volume.get(&keys::counter::key()).await?;
        let counter = stored.map(|value| keys::counter::decode(value.bytes)).transpose()?.unwrap_or(FIRST);
        let ready = Mutex::new(Block { next: 0, end: 0 });
        Ok(Self { ready, reserving: tokio::sync::Mutex::new(Reserved { counter, ahead: None }) })
    }

    /// A number that no inode has or ever had.
    pub async fn next(&self, volume: &dyn Volume) -> Result<Ino> {
        loop {
            let taken = {
                let mut ready = self.ready.lock();
                (ready.next < ready.end).then(|| {
                    ready.next += 1;
                    (ready.next - 1, ready.end - ready.next)
                })
            };
            match taken {
                Some((number, left)) => {
                    if left == limits::INO_BLOCK / 2 {
                        self.reserving.lock().await.reserve(volume).await?;
                    }
                    return Ok(Ino(number));
                }
                None => self.refill(volume).await?,
            }
        }
    }

    async fn refill(&self, volume: &dyn Volume) -> Result<()> {
        let mut reserved = self.reserving.lock().await;
        let refilled = {
            let ready = self.ready.lock();
            ready.next < ready.end
        };
        if refilled {
            return Ok(());
        }
        reserved.reserve(volume).await?;
        if let Some((block, position)) = reserved.ahead.take() {
            volume.durable(position).await?;
            *self.ready.lock() = block;
        }
        Ok(())
    }
}

impl Reserved {
    async fn reserve(&mut self, volume: &dyn Volume) -> Result<()> {
        if self.ahead.is_some() {
            return Ok(());
        }
        let next = self.counter;
        let end = next + limits::INO_BLOCK;
        let mut batch = Batch::new();
        batch.put(keys::counter::key(), keys::counter::encode(end));
        // Counted before the commit: if this future is dropped, the commit may still happen.
        self.counter = end;
        let position = volume.commit(batch).await?;
        self.ahead = Some((Block { next, end }, position));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ballast_store::MemoryVolume;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn numbers_of_several_blocks_are_given_out_once_also_over_a_crash() {
        let volume = MemoryVolume::new();
        let mut seen = BTreeSet::new();
        for crashed in [false, true] {
            let left = if crashed { volume.crash() } else { volume.clone() };
            let numbers = Arc::new(Numbers::open(&left).await.unwrap());
            let tasks: Vec<_> = (0..8)
                .map(|_| {
                    let (numbers, volume) = (Arc::clone(&numbers), left.clone());
                    tokio::spawn(async move {
                        let mut own = Vec::new();
                        for _ in 0..2000 {
                            own.push(numbers.next(&volume).await.unwrap());
                        }
                        own
                    })
                })
                .collect();
            for task in tasks {
                for ino in task.await.unwrap() {
                    assert!(seen.insert(ino), "{ino} was given out twice");
                }
            }
        }
        assert!(seen.first().is_some_and(|first| *first > Ino::ROOT));
    }
}
