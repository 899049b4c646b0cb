//! Files of the log that became segments where they are: `settled-<epoch>-<number>`, beside the log's files.
//!
//! A full file whose bytes are mostly payload that is still used need not be copied into segments: it gets another
//! name and is a segment from then on. Pointers into it stay as they are, and the log, which looks for `log-…` alone,
//! knows it no more. Its rows were in the index before, so that no replay needs them.
//!
//! So does a file, whatever it holds, out of which something cannot be moved because it cannot be read: it is kept,
//! as a disk may give it back, and the log goes on without it. So does an object of a log of objects, for as long as
//! the volume is open: it keeps its name, and is the log's again when that is opened.
//!
//! Nothing but the name changes, so that a server that was fenced and does it late does no harm: who opened the log
//! after it has the file open already, or finds it under its other name. A crash leaves one of the two names, or both
//! if the file system renames in two steps: then the log lets go of its own when it is opened.

use super::Log;
use super::files::FileEntry;
use super::format::{Entry, FILE_HEADER_BYTES, FileHeader, FileId, GROUP_HEADER_BYTES, GroupHeader};
use super::on_disk::{self, io_error, offset_of, parse_settled_name, read_error};
use super::recovery::check_end;
use super::replay::{GroupReader, Source};
use super::shared::{Backend, Shared, blocking};
use crate::disk::DiskFile;
use crate::pointer::Place;
use crate::{Error, Pointer, Result, limits};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// See the module.
pub struct SettledFiles {
    shared: Arc<Shared>,
    /// A few that were read of late.
    open: Mutex<BTreeMap<FileId, Arc<dyn DiskFile>>>,
}

impl Log {
    pub(crate) fn settled_files(&self) -> SettledFiles {
        SettledFiles { shared: Arc::clone(&self.shared), open: Mutex::default() }
    }

    /// True if the log is files.
    pub(crate) fn is_files(&self) -> bool {
        matches!(self.shared.backend, Backend::Disk(_))
    }

    /// How many reads are made at a time: objects are small and far away, files the opposite.
    pub(crate) fn reads_at_once(&self) -> usize {
        if self.is_files() { 1 } else { limits::LOG_GETS_IN_FLIGHT }
    }

    /// Makes the oldest file or object a segment, a file durably if it can be renamed: its bytes, and what writes
    /// under way hold of it. `None` if it must stay, as every file must while an older one is to be removed: a log
    /// without one of its middle is taken for damaged. It remains readable here until [`Log::forget`], which is to be
    /// called when the segment is known.
    pub(crate) async fn settle_file(&self, place: Place) -> Result<Option<(u64, Arc<()>)>> {
        let Some(id) = FileId::of(place).filter(|_| !self.shared.begins_to_remove()) else { return Ok(None) };
        let parts = |entry: &FileEntry| (entry.bytes, entry.handle.clone(), Arc::clone(&entry.hold));
        let found = self.shared.state.lock().files.for_segment(id).map(parts);
        let Some((bytes, handle, hold)) = found else { return Ok(None) };
        let (Backend::Disk(disk), Some(handle)) = (&self.shared.backend, handle) else {
            return Ok(Some((bytes, hold)));
        };
        let (disk, shared) = (Arc::clone(disk), Arc::clone(&self.shared));
        let settle = move || {
            let bytes = handle.byte_len().map_err(|error| io_error("measuring", &disk.settled_path(id), error))?;
            if let Err(error) = disk.settle(id) {
                tracing::warn!(%error, "a file of the log becomes a segment under its old name, until the next open");
                shared.unnamed.lock().insert(id, handle);
            }
            Ok(bytes)
        };
        let bytes = blocking(self.shared.is_inline(), settle).await??;
        Ok(Some((bytes, hold)))
    }

    /// Takes a file that is a segment now out of the log and its budget.
    pub(crate) fn forget(&self, place: Place) {
        if let Some(id) = FileId::of(place) {
            drop(self.shared.state.lock().files.remove(id));
            self.shared.wake_room();
        }
    }

    /// True if the place is a file or an object of the log.
    pub(crate) fn contains(&self, place: Place) -> bool {
        FileId::of(place).is_some_and(|id| self.shared.state.lock().files.get(id).is_some())
    }
}

impl SettledFiles {
    /// Those that are not known and not files of the log as well, with their sizes. The log may still have one that
    /// an earlier server was renaming when this one opened.
    pub async fn look(&self, known: impl Fn(Place) -> bool + Send + 'static) -> Result<Vec<(Place, u64)>> {
        let Backend::Disk(disk) = &self.shared.backend else { return Ok(Vec::new()) };
        let (disk, shared) = (Arc::clone(disk), Arc::clone(&self.shared));
        let look = move || {
            let names = disk.disk().list(disk.directory());
            let names = names.map_err(|error| io_error("listing", disk.directory(), error))?;
            let mut found = Vec::new();
            for id in names.iter().filter_map(|name| parse_settled_name(name)) {
                if known(id.place()) || shared.state.lock().files.get(id).is_some() {
                    continue;
                }
                let bytes = match disk.open_settled(id) {
                    // An earlier server may be removing it.
                    Ok(None) => continue,
                    Ok(Some(file)) => file.byte_len().map_err(|error| read_error(&disk.settled_path(id), error)),
                    Err(error) => Err(error),
                };
                // Who reads it is told so, and who does not is not held up.
                let bytes = bytes.unwrap_or_else(|error| {
                    tracing::error!(%error, "what lies there cannot be read");
                    shared.settings.file_bytes
                });
                found.push((id.place(), bytes));
            }
            Ok(found)
        };
        blocking(self.shared.is_inline(), look).await?
    }

    /// What is there of the payload, or `PayloadMoved` if the file is gone. To check it is the caller's.
    pub async fn read(&self, pointer: &Pointer) -> Result<Bytes> {
        let id = FileId::of(pointer.place).ok_or(Error::PayloadMoved)?;
        if let Backend::Objects(writer) = &self.shared.backend {
            return writer.objects.payload(id, pointer).await;
        }
        let file = self.file(id).await?;
        self.shared.read_file(|| self.name(pointer.place), file, pointer).await
    }

    async fn file(&self, id: FileId) -> Result<Arc<dyn DiskFile>> {
        let open = self.shared.unnamed.lock().get(&id).or(self.open.lock().get(&id)).cloned();
        if let Some(open) = open {
            return Ok(open);
        }
        let Backend::Disk(disk) = &self.shared.backend else { return Err(Error::PayloadMoved) };
        let disk = Arc::clone(disk);
        let file = blocking(self.shared.is_inline(), move || disk.open_settled(id)).await??;
        let file = file.ok_or(Error::PayloadMoved)?;
        let mut open = self.open.lock();
        if open.len() >= limits::SETTLED_FILES_OPEN_MAX {
            open.pop_first();
        }
        open.insert(id, Arc::clone(&file));
        Ok(file)
    }

    pub async fn remove(&self, place: Place) -> Result<()> {
        let Some(id) = FileId::of(place) else { return Ok(()) };
        let disk = match &self.shared.backend {
            Backend::Disk(disk) => Arc::clone(disk),
            Backend::Objects(writer) => return writer.objects.remove(id.number).await,
        };
        let unnamed = self.shared.unnamed.lock().remove(&id);
        if let Some(handle) = unnamed {
            // It still has the name of a file of the log, and goes like one.
            self.shared.remove_later(id, Some(handle));
            return Ok(());
        }
        self.open.lock().remove(&id);
        blocking(self.shared.is_inline(), move || disk.remove_settled(id)).await?
    }

    /// The payloads that the file's groups name, for `fsck` and `inspect`, after all of the file was compared with its
    /// checksums but payload, and the header and the records of its last group: no later one tells of that.
    pub async fn payloads(&self, place: Place) -> Result<Vec<Pointer>> {
        let (Some(id), Backend::Disk(_)) = (FileId::of(place), &self.shared.backend) else { return Ok(Vec::new()) };
        let (file, path) = (self.file(id).await?, PathBuf::from(self.name(place)));
        blocking(self.shared.is_inline(), move || {
            let header = FileHeader::decode(&on_disk::read_block(&*file, &path, 0)?);
            let first = GroupHeader::decode(&on_disk::read_block(&*file, &path, FILE_HEADER_BYTES)?);
            let start = match (header, first) {
                (Ok(header), Ok(first)) if header.id == id && first.id == id => first.start,
                _ => return Err(Error::Corrupt(format!("{} does not begin with a group of its own", path.display()))),
            };
            let mut reader = GroupReader::new(Source { id, path, start, file }, start)?;
            let mut payloads = Vec::new();
            loop {
                let offset = offset_of(start, reader.at) + GROUP_HEADER_BYTES;
                let group = match reader.next()? {
                    Ok(group) => group,
                    // It ends where no further group is.
                    Err(fault) => return check_end(&reader.source, reader.at, &fault).map(|()| payloads),
                };
                for entry in group.entries {
                    if let Entry::Payload { at, length, crc } = entry {
                        payloads.push(Pointer { place, offset: offset + at, length, crc });
                    }
                }
            }
        })
        .await?
    }

    pub fn name(&self, place: Place) -> String {
        match (FileId::of(place), &self.shared.backend) {
            (Some(id), Backend::Disk(disk)) if !self.shared.unnamed.lock().contains_key(&id) => {
                disk.settled_path(id).display().to_string()
            }
            (Some(id), _) => self.shared.name(id),
            (None, _) => place.to_string(),
        }
    }
}
