//! Reading what was appended: payload by its pointer, and the rows of whole files.

use super::format::FileId;
use super::on_objects::FoundObject;
use super::replay::{Source, Stretch, read_rows};
use super::shared::{Backend, Shared, blocking};
use super::state::State;
use super::{LogFile, Record};
use crate::disk::{self, DiskFile};
use crate::{Error, Pointer, Result};
use bytes::{Bytes, BytesMut};
use std::path::PathBuf;
use std::sync::Arc;

impl Shared {
    pub async fn read_payload(&self, pointer: &Pointer) -> Result<Bytes> {
        let bytes = self.read_unchecked(pointer).await?;
        let wrong = if bytes.len() < pointer.length as usize {
            "it ends before it"
        } else if crc32c::crc32c(&bytes) != pointer.crc {
            "its checksum is wrong"
        } else {
            return Ok(bytes);
        };
        Err(damaged(&self.name(file_of(pointer)?), pointer, wrong))
    }

    /// What is there of the payload, whatever it is.
    pub async fn read_unchecked(&self, pointer: &Pointer) -> Result<Bytes> {
        let id = file_of(pointer)?;
        let (bytes, handle) = {
            let mut state = self.state.lock();
            if state.files.get(id).is_none() {
                return Err(Error::PayloadMoved);
            }
            let bytes = in_memory(&mut state, id, pointer);
            (bytes, state.files.get(id).and_then(|entry| entry.handle.clone()))
        };
        match (bytes, &self.backend) {
            (Some(bytes), _) => Ok(bytes),
            (None, Backend::Disk(_)) => {
                let handle = handle.ok_or_else(|| damaged(&self.name(id), pointer, "the file is not open"))?;
                self.read_file(|| self.name(id), handle, pointer).await
            }
            (None, Backend::Objects(writer)) => {
                match writer.objects.payload(id, pointer).await {
                    // It may come back: a bucket has been restored before.
                    Err(Error::PayloadMoved) if self.state.lock().files.get(id).is_some() => {
                        Err(damaged(&self.name(id), pointer, "the object is gone"))
                    }
                    read => read,
                }
            }
        }
    }

    /// Reads what is there from a file that may have another name than the log's.
    pub async fn read_file(
        &self,
        name: impl FnOnce() -> String,
        handle: Arc<dyn DiskFile>,
        pointer: &Pointer,
    ) -> Result<Bytes> {
        let (length, offset) = (pointer.length as usize, pointer.offset);
        let mut buffer = BytesMut::zeroed(length);
        // Usually it was written a moment ago, and the system still has it: no thread has to wait then.
        let cached = handle.read_cached_at(&mut buffer, offset);
        let read = match cached {
            Ok(Some(read)) if read == length => Ok(read),
            _ => {
                let done = blocking(self.is_inline(), move || {
                    let read = disk::read_full_at(&*handle, &mut buffer, offset);
                    (read, buffer)
                });
                let (read, filled) = done.await?;
                buffer = filled;
                read
            }
        };
        match read {
            Ok(read) => {
                buffer.truncate(read);
                Ok(buffer.freeze())
            }
            Err(error) if disk::is_damage(&error) => {
                Err(damaged(&name(), pointer, &format!("the disk cannot read it ({error})")))
            }
            Err(error) => Err(Error::unavailable(format!("reading {}", name()), error)),
        }
    }

    pub fn name(&self, id: FileId) -> String {
        match &self.backend {
            Backend::Disk(disk) => disk.name(id),
            Backend::Objects(writer) => writer.objects.path(id.number).to_string(),
        }
    }

    pub async fn read_records(&self, file: LogFile, with_payload: bool) -> Result<Vec<Record>> {
        let id = FileId::of(file.place).ok_or_else(|| Error::Invalid(format!("{} is no file", file.place)))?;
        let (start, end, handle) = {
            let state = self.state.lock();
            let entry = state.files.get(id).ok_or(Error::PayloadMoved)?;
            (entry.start, entry.end.min(state.durable.end).min(file.end), entry.handle.clone())
        };
        match &self.backend {
            Backend::Disk(_) => {
                let Some(file) = handle else { return Ok(Vec::new()) };
                let source = Source { id, path: PathBuf::from(self.name(id)), start, file };
                blocking(self.is_inline(), move || read_rows(Stretch { source, from: start, to: end }, with_payload))
                    .await?
            }
            Backend::Objects(writer) => {
                let group = writer.objects.group(FoundObject { id, start, end }).await?;
                if with_payload {
                    writer.objects.check_payload(&group).await?;
                }
                Ok(group.rows().collect())
            }
        }
    }

    pub async fn remove_file(&self, id: FileId, file: Option<Arc<dyn DiskFile>>) -> Result<()> {
        match &self.backend {
            Backend::Disk(disk) => {
                let disk = Arc::clone(disk);
                blocking(self.is_inline(), move || disk.remove(id, file)).await?
            }
            Backend::Objects(writer) => writer.objects.remove(id.number).await,
        }
    }

    /// Lets go of the medium, after the committer has ended.
    pub async fn let_go(&self) {
        match &self.backend {
            Backend::Disk(disk) => {
                let disk = Arc::clone(disk);
                // If its thread is lost, the next open removes what stayed.
                let _ = blocking(self.is_inline(), move || disk.let_go()).await;
            }
            Backend::Objects(_) => {}
        }
    }
}

fn file_of(pointer: &Pointer) -> Result<FileId> {
    FileId::of(pointer.place).ok_or_else(|| Error::Invalid(format!("{} is no place of the log", pointer.place)))
}

fn damaged(name: &str, Pointer { offset, length, .. }: &Pointer, what: &str) -> Error {
    Error::Corrupt(format!("{name}, the payload of {length} bytes at byte {offset}: {what}"))
}

/// The payload, if its group is not durable yet.
fn in_memory(state: &mut State, id: FileId, pointer: &Pointer) -> Option<Bytes> {
    let (offset, length) = (pointer.offset, pointer.length);
    if state.open.id == id && state.open.offset < offset {
        return state.open.payload(offset, length);
    }
    let mut groups = state.sealed.iter().rev();
    groups.find(|group| group.id == id && group.offset < offset)?.payload(offset, length)
}
