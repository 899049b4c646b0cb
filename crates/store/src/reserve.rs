//! What is kept free of a local bucket's disk, so that a full disk is an answer and not the end.
//!
//! New data is refused while the disk has little left: what was taken before can still be written, settled and
//! indexed, and anything can be removed. For the case that others fill the disk all the same, a file of the bucket
//! holds some of it back. It is given up when the disk is full, so that the server goes on, or starts, and people can
//! remove what they do not need; it is made again when there is space.

use crate::disk::{Disk, DiskSpace, Fill};
use crate::{Error, Result, limits};
use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::time::Instant;

/// Bytes of a disk of this size that new data may not take.
fn kept_bytes(disk_bytes: u64) -> u64 {
    let share = (disk_bytes / limits::DISK_KEPT_SHARE).min(limits::DISK_KEPT_BYTES);
    share.max(limits::DISK_KEPT_BYTES_MIN.min(disk_bytes / 2))
}

impl DiskSpace {
    /// Bytes that new data may take.
    pub fn for_new_data(&self) -> u64 {
        self.available.saturating_sub(kept_bytes(self.bytes))
    }
}

/// Bytes of a disk of this size that the reserve holds back.
fn reserve_bytes(disk_bytes: u64) -> u64 {
    (disk_bytes / limits::DISK_RESERVE_SHARE).min(limits::DISK_RESERVE_BYTES)
}

/// So little is left that the reserve is needed.
fn is_full(space: &DiskSpace) -> bool {
    space.available < reserve_bytes(space.bytes) / 4
}

/// Watches the disk of one bucket.
#[derive(Debug)]
pub struct Reserve {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    at: Option<Instant>,
    /// Why new data is refused, if it is.
    short: Option<Error>,
}

impl Reserve {
    /// `path` is the file that holds space back; its directory is there.
    pub fn new(disk: Arc<dyn Disk>, directory: PathBuf, path: PathBuf) -> Self {
        Self { disk, directory, path, seen: Mutex::default() }
    }

    /// Refuses new data while the disk has little left. Cost: one look at the disk each [`limits::DISK_LOOK`].
    pub fn check(&self) -> Result<()> {
        let mut seen = self.seen.lock();
        if seen.at.is_none_or(|at| at.elapsed() >= limits::DISK_LOOK) {
            let space = self.space().ok();
            // Some more than was too little, or it would come and go.
            let more = |space: &DiskSpace| if seen.short.is_some() { reserve_bytes(space.bytes) } else { 0 };
            let short = space.filter(|space| space.available < kept_bytes(space.bytes) + more(space));
            let short = short.map(|space| self.nearly_full(space));
            match (&seen.short, &short) {
                (None, Some(error)) => tracing::warn!(%error, "new data is refused"),
                (Some(_), None) => tracing::info!("there is space again: new data is taken"),
                _ => {}
            }
            *seen = Seen { at: Some(Instant::now()), short };
        }
        seen.short.clone().map_or(Ok(()), Err)
    }

    /// What the disk has now.
    pub fn space(&self) -> io::Result<DiskSpace> {
        self.disk.space(&self.directory)
    }

    fn nearly_full(&self, space: DiskSpace) -> Error {
        Error::Exhausted(format!(
            "the disk is nearly full: the last {} MiB are kept for what is stored already; remove something, or free \
             space in {}",
            kept_bytes(space.bytes) >> 20,
            self.directory.display()
        ))
    }

    /// True if [`Reserve::tend`] has something to do. Cost: two calls that wait for no write.
    pub fn is_due(&self) -> bool {
        self.space().map_or(true, |space| is_full(&space) || self.is_missed(&space).unwrap_or(true))
    }

    /// Gives the reserve up if the disk is full, and makes it again if there is space. Blocks for a few calls.
    pub fn tend(&self) -> Result<()> {
        self.try_tend().map_err(|error| Error::unavailable(format!("{} failed", self.path.display()), error))
    }

    fn try_tend(&self) -> io::Result<()> {
        let space = self.give_up_if_full()?;
        if !self.is_missed(&space)? {
            return Ok(());
        }
        // A crash may have left the start of one.
        let _ = self.disk.remove(&self.path);
        let file = self.disk.create(&self.path);
        let made = file.and_then(|file| file.preallocate(reserve_bytes(space.bytes), Fill::Nothing));
        if made.is_err() {
            let _ = self.disk.remove(&self.path);
        }
        made
    }

    /// There is space for the reserve, and not all of it is there.
    fn is_missed(&self, space: &DiskSpace) -> io::Result<bool> {
        let bytes = reserve_bytes(space.bytes);
        if bytes == 0 || space.available < kept_bytes(space.bytes) + bytes {
            return Ok(false);
        }
        match self.disk.open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            file => Ok(file?.byte_len()? < bytes),
        }
    }

    /// To be called before anything is written to a bucket that may lie on a full disk; what is left then.
    pub fn give_up_if_full(&self) -> io::Result<DiskSpace> {
        let space = self.space()?;
        if is_full(&space) && self.give_up() {
            return self.space();
        }
        Ok(space)
    }

    /// True if there was a reserve to give up, so that it is worth trying again.
    pub fn give_up(&self) -> bool {
        // Some file systems have the space only when they have written down that the file is gone.
        let parent = self.path.parent().unwrap_or(&self.directory);
        let given_up = self.disk.remove(&self.path).and_then(|()| self.disk.sync_directory(parent)).is_ok();
        if given_up {
            tracing::warn!(
                "the disk is full: the reserve is given up, and new data is refused; remove something, or free space in {}",
                self.directory.display()
            );
        }
        given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DiskFile, SimDisk, SimFaults};
    use ballast_runtime::Random;
    use std::path::Path;

    const DISK_BYTES: u64 = 1 << 20;

    /// A disk and, on it, others' file and the reserve.
    fn disk() -> (SimDisk, Arc<dyn DiskFile>, Reserve) {
        let faults = SimFaults { capacity_bytes: DISK_BYTES, ..SimFaults::default() };
        let disk = SimDisk::new(Random::from_seed(1), faults);
        let file = disk.create(Path::new("/others")).unwrap();
        let reserve = Reserve::new(Arc::new(disk.clone()), "/bucket".into(), "/bucket/reserve".into());
        (disk, file, reserve)
    }

    fn available(disk: &SimDisk) -> u64 {
        disk.space(Path::new("/bucket")).unwrap().available
    }

    #[tokio::test(start_paused = true)]
    async fn new_data_is_refused_while_little_is_left_and_taken_again_after() {
        let (_disk, others, reserve) = disk();
        assert!(reserve.check().is_ok());
        others.preallocate(DISK_BYTES - kept_bytes(DISK_BYTES) + 1, Fill::Nothing).unwrap();
        tokio::time::advance(limits::DISK_LOOK).await;
        assert!(matches!(reserve.check(), Err(Error::Exhausted(_))));
        let look = async || {
            tokio::time::advance(limits::DISK_LOOK).await;
            reserve.check()
        };
        others.truncate(DISK_BYTES - kept_bytes(DISK_BYTES)).unwrap();
        assert!(look().await.is_err(), "what is just enough would come and go");
        others.truncate(0).unwrap();
        assert!(reserve.check().is_err(), "it is looked at now and then");
        assert!(look().await.is_ok());
        others.preallocate(DISK_BYTES - kept_bytes(DISK_BYTES), Fill::Nothing).unwrap();
        assert!(look().await.is_ok(), "just enough is enough for who has not been refused");
    }

    #[test]
    fn a_full_disk_gets_the_reserve_back_and_one_with_space_gives_another() {
        let (disk, others, reserve) = disk();
        reserve.tend().unwrap();
        reserve.tend().unwrap();
        let held = reserve_bytes(DISK_BYTES);
        assert_eq!(available(&disk), DISK_BYTES - held, "one reserve is held");
        others.preallocate(DISK_BYTES - held, Fill::Nothing).unwrap();
        reserve.tend().unwrap();
        assert_eq!(available(&disk), held);
        reserve.tend().unwrap();
        assert_eq!(available(&disk), held, "what is left is not taken for another");
        others.truncate(0).unwrap();
        reserve.tend().unwrap();
        assert_eq!(available(&disk), DISK_BYTES - held);
        assert!(!reserve.is_due());
        disk.open(Path::new("/bucket/reserve")).unwrap().truncate(1).unwrap();
        assert!(reserve.is_due(), "a crash left the start of one");
        reserve.tend().unwrap();
        assert_eq!(available(&disk), DISK_BYTES - held);
    }
}
