//! How a bucket's address becomes a volume that this process alone may write.
//!
//! In this order: the superblock says whether this program understands the bucket (a new one is probed first and
//! refused by name if it lies), the lease says whether this process may have it, the volume replays the tail of
//! its log. At the end the volume is closed before the lease is given back.

use crate::advised;
use anyhow::Context;
use ballast_runtime::{Clock, Random};
use ballast_store::bucket::Environment;
use ballast_store::{
    Bucket, Claim, FrozenVolume, Gate, Holder, IndexedVolume, Lease, LeaseGuard, Local, MemoryVolume, Space, Store,
    Superblock, Volume, VolumeId, log,
};
use ballast_types::{ErrorKind, Ino};
use std::path::PathBuf;
use std::sync::Arc;

/// The address of a volume that keeps nothing: for tests and for a first look.
pub const MEMORY: &str = "memory:";

/// The volume that holds the tree.
const ROOT: VolumeId = VolumeId(0);

/// A volume, and what is held for it.
pub struct Opened {
    pub volume: Arc<dyn Volume>,
    /// The same volume, where it lies in a bucket.
    pub indexed: Option<Arc<IndexedVolume>>,
    lease: Option<Lease>,
}

/// Who wants to open a bucket.
#[derive(Clone, Debug)]
pub struct Opener {
    pub clock: Arc<dyn Clock>,
    pub random: Random,
    /// Where the server answers, for the people whom the lease refuses.
    pub server: String,
    /// Take the bucket from a server that still holds it.
    pub take_over: bool,
    /// Make a bucket where there is none.
    pub make: bool,
}

/// Opens the volume of the bucket at `address`.
pub async fn open(address: &str, opener: &Opener) -> anyhow::Result<Opened> {
    if address == MEMORY {
        return Ok(Opened { volume: Arc::new(MemoryVolume::new()), indexed: None, lease: None });
    }
    let missing = || {
        advised(
            format!("there is no bucket of Ballast at {address}"),
            "see that the address is right; `ballast up` makes one",
        )
    };
    // To open a directory as a bucket makes what is missing.
    if !opener.make && local_directory(address).is_some_and(|directory| !directory.join(Superblock::NAME).exists()) {
        return Err(missing());
    }
    let (address_owned, random) = (address.to_owned(), opener.random.clone());
    let bucket = move || Bucket::open(&address_owned, &Environment::of_process(), &random);
    let bucket = tokio::task::spawn_blocking(bucket).await.context("open the bucket")?;
    let bucket = bucket.with_context(|| format!("open the bucket {address}"))?;
    let local = Local::of(&bucket)?;
    // Before anything is written: a start on a full disk is how people come to remove something.
    if let Some(local) = &local {
        local.reserve().give_up_if_full().context("look at the space of the bucket's disk")?;
    }
    match opener.make {
        true => drop(Superblock::open(&bucket, &*opener.clock, &opener.random).await?),
        false => drop(Superblock::read(&bucket).await?.ok_or_else(missing)?),
    }
    let claim = Claim { take_over: opener.take_over, ..Claim::new(Holder::this_process(&opener.server)) };
    let lease = Lease::acquire(&bucket, &claim, Arc::clone(&opener.clock), &opener.random).await.map_err(refused)?;
    let store = Store::new(ballast_store::Components {
        bucket: Arc::clone(bucket.store()),
        local,
        clock: Arc::clone(&opener.clock),
        random: opener.random.clone(),
        gate: Arc::new(LeaseGate(lease.guard())),
        log: log::Settings { random: opener.random.clone(), ..log::Settings::default() },
    });
    let volume = store.open_volume(ROOT).await.map_err(refused)?;
    Ok(Opened { volume: Arc::<IndexedVolume>::clone(&volume), indexed: Some(volume), lease: Some(lease) })
}

/// The directory of a bucket's address, if it is one of this machine.
pub fn local_directory(address: &str) -> Option<PathBuf> {
    let url = url::Url::parse(address).ok().filter(|url| url.scheme() == "file")?;
    url.to_file_path().ok()
}

impl Opened {
    /// Makes everything durable and lets go, so that another process may open the bucket at once.
    pub async fn close(self) -> anyhow::Result<()> {
        let closed = self.volume.close().await;
        if let Some(lease) = self.lease {
            // Whoever lost it has nothing to give back.
            if let Err(error) = lease.release().await {
                tracing::warn!(%error, "the lease could not be given back; the next server waits until it runs out");
            }
        }
        match closed {
            Err(error) if error.kind() != ErrorKind::Fenced => Err(error).context("close the volume"),
            _ => Ok(()),
        }
    }
}

fn refused(error: ballast_store::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::Fenced => {
            advised(error.to_string(), "stop that server, or take the bucket from it: ballast up --take-over")
        }
        _ => error.into(),
    }
}

/// Serving needs the lease.
struct LeaseGate(LeaseGuard);

impl Gate for LeaseGate {
    fn check(&self) -> ballast_store::Result<()> {
        self.0.check()
    }
}

/// A snapshot of a volume, as a volume that takes no writes.
pub async fn frozen(volume: &dyn Volume, name: &str) -> anyhow::Result<Arc<dyn Volume>> {
    let reader = match volume.open_snapshot(name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(advised(error.to_string(), "see which there are: ballast snapshot ls"));
        }
        opened => opened?,
    };
    Ok(Arc::new(FrozenVolume::new(reader)))
}

/// Whether a volume that answers so will never answer again. A lease that is late and a bucket that does not
/// answer are waited for.
pub fn is_final(error: &ballast_store::Error) -> bool {
    !matches!(error, ballast_store::Error::Unavailable { .. })
}

/// Whether the volume still answers: one look-up, from memory.
pub async fn check(volume: &dyn Volume) -> ballast_store::Result<()> {
    volume.get(&Space::Inode.key(&[&Ino::ROOT.to_key()])).await.map(|_| ())
}
