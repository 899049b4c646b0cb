//! Opening a log.

use super::files::{FileEntry, Files};
use super::format::FileId;
use super::object_recovery;
use super::on_disk::{self, DiskLog};
use super::on_objects::Objects;
use super::recovery::{self, Found, TailReport};
use super::replay::{Replay, Stretch};
use super::shared::{Backend, Shared, blocking};
use super::state::{Layout, State};
use super::{DurableGroup, Log, LogListener, Settings, committer};
use crate::disk::Disk;
use crate::{Error, Position, Result};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a log lies.
#[derive(Clone, Debug)]
pub enum Medium {
    /// Files in a directory of their own, on a disk that every writer reaches through the same kernel.
    Disk { disk: Arc<dyn Disk>, directory: PathBuf },
    /// Objects below a prefix of their own.
    Object { store: Arc<dyn ObjectStore>, prefix: Path },
}

/// What a log is made of. It stays what it began as: rows of the index point into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Files,
    Objects,
}

impl Kind {
    /// Of the log that is there, if there is one: objects below a prefix, where files may have been copied to as well, or
    /// files in a directory. Cost: two listings, at once, and one of the directory.
    pub async fn of(
        store: &Arc<dyn ObjectStore>,
        prefix: &Path,
        files: Option<(Arc<dyn Disk>, PathBuf)>,
        settings: &Settings,
    ) -> Result<Option<Self>> {
        let mut found = store.list(Some(prefix)).map_ok(|object| object.location);
        // Their names are digits and come before those of files.
        let is_file = |path: &Path| path.filename().is_some_and(|name| on_disk::parse_log_name(name).is_some());
        let mut copied = store.list_with_offset(Some(prefix), &prefix.clone().join("log-"));
        let (first, copied) = futures::try_join!(found.try_next(), copied.try_next()).map_err(listing)?;
        let objects = first.is_some_and(|path| Objects::parse(&path).is_some());
        let copied = copied.is_some_and(|object| is_file(&object.location));
        let here = match files {
            Some((disk, directory)) => {
                blocking(settings.drive != super::Drive::Thread, move || has_files(&*disk, &directory)).await??
            }
            None => false,
        };
        match (copied || here, objects) {
            (true, true) => Err(Error::Corrupt(format!("{prefix} has two logs, one of files and one of objects"))),
            (true, false) => Ok(Some(Self::Files)),
            (false, true) => Ok(Some(Self::Objects)),
            (false, false) => Ok(None),
        }
    }
}

fn has_files(disk: &dyn Disk, directory: &std::path::Path) -> Result<bool> {
    match disk.list(directory) {
        Ok(names) => Ok(names.iter().any(|name| on_disk::parse_log_name(name).is_some())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(on_disk::io_error("listing", directory, error)),
    }
}

fn listing(error: object_store::Error) -> Error {
    Error::unavailable("listing the log", error)
}

/// A log that has just been opened.
pub struct Opened {
    pub log: Log,
    /// The rows behind `replay_after`.
    pub replay: Replay,
    pub tail: TailReport,
}

/// Fences older epochs, finds the end, cuts a torn tail, and starts the committer. `epoch` must be higher than
/// any before it and is used once. What replay gives out is on stable storage when this returns.
///
/// Cost on disk: a few calls per file, reading the newest file from `replay_after` on, and writing one new file
/// of a megabyte. After a crash, the rest of the newest file is searched for groups behind the torn one.
pub async fn open(
    medium: Medium,
    epoch: u64,
    replay_after: Position,
    listener: Arc<dyn LogListener>,
    settings: Settings,
) -> Result<Opened> {
    match medium {
        Medium::Disk { disk, directory } => {
            let inline = settings.drive != super::Drive::Thread;
            let work = {
                let settings = settings.clone();
                move || open_disk(disk, directory, epoch, replay_after, &settings)
            };
            let (backend, state, replay, tail) = blocking(inline, work).await??;
            let shared = Arc::new(Shared::new(state, backend, listener, settings));
            committer::start(&shared)?;
            Ok(Opened { log: Log::new(shared), replay, tail })
        }
        Medium::Object { store, prefix } => {
            let (backend, state, replay, tail) =
                open_objects(Objects { store, prefix }, epoch, replay_after, &settings).await?;
            let shared = Arc::new(Shared::new(state, backend, listener, settings));
            committer::start(&shared)?;
            Ok(Opened { log: Log::new(shared), replay, tail })
        }
    }
}

fn open_disk(
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    epoch: u64,
    replay_after: Position,
    settings: &Settings,
) -> Result<(Backend, State, Replay, TailReport)> {
    let recovered = recovery::recover(&disk, &directory, epoch, replay_after)?;
    let right = Arc::clone(&recovered.right);
    let (log, file) = DiskLog::start(Arc::clone(&disk), directory.clone(), recovered.header, right, settings)?;
    recovery::clean(&*disk, &directory, &recovered)?;
    let durable = DurableGroup {
        end: recovered.tail.end,
        rows_end: recovered.tail.rows_end.max(replay_after),
        rows_seq: recovered.tail.rows_seq,
    };
    let mut files = Files::default();
    let mut stretches = Vec::new();
    for Found { source, end, .. } in recovered.files {
        let entry = FileEntry::new(source.start, end, end.0 - source.start.0, Some(Arc::clone(&source.file)));
        files.insert(source.id, entry);
        let from = source.start.max(replay_after);
        if from < end {
            stretches.push(Stretch { source, from, to: end });
        }
    }
    let id = recovered.header.id;
    let mut entry = FileEntry::new(durable.end, durable.end, settings.capacity(id.number), Some(file));
    entry.is_open = true;
    files.insert(id, entry);
    let state = State::new(id, durable, files, on_disk::LAYOUT, settings.clone());
    Ok((Backend::Disk(Arc::new(log)), state, Replay::of_files(stretches, settings), recovered.tail))
}

async fn open_objects(
    objects: Objects,
    epoch: u64,
    replay_after: Position,
    settings: &Settings,
) -> Result<(Backend, State, Replay, TailReport)> {
    let nonce = settings.random.bytes16();
    let recovered = object_recovery::recover(objects.clone(), epoch, nonce, replay_after).await?;
    let durable =
        DurableGroup { end: recovered.tail.end, rows_end: recovered.tail.rows_end, rows_seq: recovered.tail.rows_seq };
    let mut files = Files::default();
    for object in &recovered.objects {
        files.insert(object.id, FileEntry::new(object.start, object.end, object.end.0 - object.start.0, None));
    }
    let tail = recovered.objects.into_iter().filter(|object| object.end > replay_after);
    let replay = Replay::of_objects(objects, tail.collect());
    let id = FileId { epoch, number: recovered.writer.first };
    let state = State::new(id, durable, files, Layout::Objects, settings.clone());
    Ok((Backend::Objects(Arc::new(recovered.writer)), state, replay, recovered.tail))
}
