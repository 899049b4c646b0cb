//! How a bucket's address becomes a volume.

use crate::{Components, Settings};
use anyhow::bail;
use ballast_store::{MemoryVolume, Space, Volume};
use ballast_types::Ino;
use std::sync::Arc;

/// The address of a volume that keeps nothing: for tests and for a first look.
pub const MEMORY: &str = "memory:";

/// Opens the volume of the bucket that `settings` names.
pub async fn open(settings: &Settings, _components: &Components) -> anyhow::Result<Arc<dyn Volume>> {
    if settings.bucket == MEMORY {
        return Ok(Arc::new(MemoryVolume::new()));
    }
    bail!("the bucket {} cannot be served: only {MEMORY} is built", settings.bucket)
}

/// Whether the volume still answers: one look-up, from memory.
pub async fn check(volume: &dyn Volume) -> ballast_store::Result<()> {
    volume.get(&Space::Inode.key(&[&Ino::ROOT.to_key()])).await.map(|_| ())
}
