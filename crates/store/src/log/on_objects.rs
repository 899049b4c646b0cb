//! The `object` back end: one object a group, each a conditional create of a name never used before.
//!
//! The objects are `<prefix>/<number>`, the number with 20 digits. A few creates are under way at once, and they
//! are acknowledged strictly in order. A name that is taken means that a later writer has fenced this one, unless
//! the object is our own: a create that timed out or was answered with an error may still have happened, so
//! every answer but success is settled by reading the object and comparing epoch and nonce.
//!
//! A later writer begins with a *fence*: an object under the next name, which leaves [`LOG_FENCE_GAP`] names
//! free behind it. What the earlier writer still has under way ends up in that gap, where nobody looks, or is
//! refused; so a late object never stands in the way of a new one.
//!
//! Cost: one PUT a group; a rejected or failed one, a GET of 104 bytes more.
//!
//! [`LOG_FENCE_GAP`]: limits::LOG_FENCE_GAP

use super::format::{Entry, FileId, GROUP_HEADER_BYTES, GroupHeader};
use super::group::{Group, Writer};
use super::replay::ReadGroup;
use crate::bucket::failure;
use crate::{Error, Pointer, Position, Result, limits};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The objects of a log, whoever wrote them.
#[derive(Clone, Debug)]
pub struct Objects {
    pub store: Arc<dyn ObjectStore>,
    pub prefix: Path,
}

/// An object of the log whose place in it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundObject {
    pub id: FileId,
    pub start: Position,
    pub end: Position,
}

impl From<&GroupHeader> for FoundObject {
    fn from(header: &GroupHeader) -> Self {
        Self { id: header.id, start: header.start, end: header.end() }
    }
}

/// Who a group's object belongs to.
enum Owner {
    Us,
    Nobody,
    Other(GroupHeader),
}

impl Objects {
    pub fn path(&self, number: u64) -> Path {
        self.prefix.clone().join(format!("{number:020}"))
    }

    pub fn parse(path: &Path) -> Option<u64> {
        let name = path.filename()?;
        (name.len() == 20).then(|| name.parse().ok())?
    }

    /// The bytes, all of them; `NotFound` if the object is gone, and `Corrupt` if it ends before them.
    pub async fn read(&self, number: u64, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(number);
        let read = self.store.get_range(&path, range.clone()).await;
        let bytes = match &read {
            Ok(bytes) => Some(range.start + bytes.len() as u64),
            // A store refuses a range that begins behind the end, with the error of any refusal.
            Err(object_store::Error::Generic { .. }) => self.store.head(&path).await.ok().map(|meta| meta.size),
            Err(_) => None,
        };
        match bytes.filter(|bytes| *bytes < range.end) {
            Some(bytes) => Err(self.corrupt(number, &format!("it has {bytes} bytes, and should have {}", range.end))),
            None => read.map_err(|error| failure(&format!("read {path}"), error)),
        }
    }

    /// What is there of a payload; `PayloadMoved` if the object is gone.
    pub async fn payload(&self, id: FileId, pointer: &Pointer) -> Result<Bytes> {
        let end = pointer.offset + u64::from(pointer.length);
        match self.read(id.number, pointer.offset..end).await {
            Err(Error::NotFound(_)) => Err(Error::PayloadMoved),
            Err(Error::Corrupt(_)) => Ok(Bytes::new()),
            read => read,
        }
    }

    pub async fn header(&self, number: u64) -> Result<GroupHeader> {
        let bytes = self.read(number, 0..GROUP_HEADER_BYTES).await?;
        let header = GroupHeader::decode(&bytes).map_err(|fault| self.corrupt(number, &fault))?;
        if header.id.number != number {
            return Err(self.corrupt(number, &"its header belongs elsewhere"));
        }
        Ok(header)
    }

    /// The group of an object, without its payload. Small objects are read in one request.
    pub async fn group(&self, object: FoundObject) -> Result<ReadGroup> {
        let number = object.id.number;
        let size = object.end.0 - object.start.0;
        let first = self.read(number, 0..size.min(limits::LOG_SMALL_OBJECT_BYTES)).await?;
        let header = GroupHeader::decode(&first).map_err(|fault| self.corrupt(number, &fault))?;
        if header.id != object.id || header.start != object.start || header.end() != object.end {
            return Err(self.corrupt(number, &"its header belongs elsewhere"));
        }
        let records = if first.len() as u64 == size {
            first.slice(header.records_at() as usize..)
        } else {
            self.read(number, header.records_at()..size).await?
        };
        // A copy: rows that live on must not keep the object, with the payload in it.
        let records = if header.payload_bytes == 0 { records } else { Bytes::copy_from_slice(&records) };
        ReadGroup::new(header, records).map_err(|fault| self.corrupt(number, &fault))
    }

    /// Compares the payload of a group with its CRCs.
    pub async fn check_payload(&self, group: &ReadGroup) -> Result<()> {
        let GroupHeader { id, payload_bytes, .. } = group.header;
        if payload_bytes == 0 {
            return Ok(());
        }
        let payload = self.read(id.number, GROUP_HEADER_BYTES..group.header.records_at()).await?;
        let wrong = group.entries.iter().any(|entry| match entry {
            Entry::Payload { at, length, crc } => {
                let bytes = payload.get(*at as usize..*at as usize + *length as usize);
                bytes.is_none_or(|bytes| crc32c::crc32c(bytes) != *crc)
            }
            Entry::Rows { .. } => false,
        });
        if wrong { Err(self.corrupt(id.number, &"the checksum of its payload is wrong")) } else { Ok(()) }
    }

    pub async fn remove(&self, number: u64) -> Result<()> {
        let path = self.path(number);
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failure(&format!("remove {path}"), error)),
        }
    }

    pub fn corrupt(&self, number: u64, what: &dyn std::fmt::Display) -> Error {
        Error::Corrupt(format!("{}: {what}", self.path(number)))
    }

    async fn owner(&self, number: u64, writer: &ObjectWriter) -> Result<Owner> {
        match self.header(number).await {
            Ok(header) if header.id.epoch == writer.epoch && header.nonce == writer.nonce => Ok(Owner::Us),
            Ok(header) => Ok(Owner::Other(header)),
            Err(Error::NotFound(_)) => Ok(Owner::Nobody),
            Err(error) => Err(error),
        }
    }
}

/// How long a create of so many bytes may take; those beside it are taken to have as many.
fn put_timeout(bytes: u64) -> Duration {
    let in_flight = bytes * limits::LOG_PUTS_IN_FLIGHT as u64;
    let sent = Duration::from_millis(in_flight * 1000 / limits::LOG_PUT_BYTES_PER_SECOND);
    (limits::LOG_PUT_TIMEOUT + sent).min(limits::BUCKET_REQUEST_TIME_MAX)
}

/// What a conditional create came to.
pub enum Created {
    Ours,
    /// Somebody else's object has the name.
    Taken(GroupHeader),
}

/// One epoch's writer.
#[derive(Clone, Debug)]
pub struct ObjectWriter {
    pub objects: Objects,
    pub epoch: u64,
    pub nonce: [u8; 16],
    /// The fence of this epoch, and its first number behind it.
    pub fence: u64,
    pub first: u64,
}

impl ObjectWriter {
    /// Writes one group; it is durable, and ours, when this returns.
    pub async fn write(&self, group: &Group, acknowledged: Position) -> Result<()> {
        let number = group.id.number;
        let previous = if number == self.first { self.fence } else { number - 1 };
        let writer = Writer { acknowledged, nonce: self.nonce, previous, next: number + 1 };
        let header = group.header(writer).encode();
        let parts = [Bytes::copy_from_slice(&header)].into_iter().chain(group.body().cloned());
        match self.create(number, parts.collect()).await? {
            Created::Ours => Ok(()),
            Created::Taken(header) => Err(self.taken(&header)),
        }
    }

    /// Our own name is somebody else's object.
    pub fn taken(&self, header: &GroupHeader) -> Error {
        let (other, epoch) = (header.id.epoch, self.epoch);
        if other < epoch {
            return self.objects.corrupt(header.id.number, &format!("epoch {other} wrote it, in the place of {epoch}"));
        }
        Error::Fenced(format!("epoch {other} has taken the log over from epoch {epoch}"))
    }

    /// Creates an object and finds out whether it is ours, however the store answers.
    pub async fn create(&self, number: u64, payload: PutPayload) -> Result<Created> {
        let path = self.objects.path(number);
        let mut attempt = 0;
        let timeout = put_timeout(payload.content_length() as u64);
        loop {
            let put = self.objects.store.put_opts(&path, payload.clone(), PutMode::Create.into());
            let failed = match tokio::time::timeout(timeout, put).await {
                Ok(Ok(_)) => return Ok(Created::Ours),
                Ok(Err(error)) => failure(&format!("write {path}"), error),
                Err(_) => Error::Unavailable { what: format!("writing {path} took too long"), source: None },
            };
            match self.objects.owner(number, self).await {
                Ok(Owner::Us) => return Ok(Created::Ours),
                Ok(Owner::Other(header)) => return Ok(Created::Taken(header)),
                Err(error @ Error::Corrupt(_)) => return Err(error),
                // Nobody has it, or nobody knows: the same create again can do no harm.
                Ok(Owner::Nobody) | Err(_) => {}
            }
            attempt += 1;
            if attempt == limits::LOG_PUT_ATTEMPTS {
                return Err(match failed {
                    Error::AlreadyExists(path) => Error::Unavailable {
                        what: format!("the bucket says that {path} is there, and that it is not"),
                        source: None,
                    },
                    failed => failed,
                });
            }
            tracing::warn!(%path, attempt, error = %failed, "writing the log failed: it is tried again");
            tokio::time::sleep(limits::LOG_PUT_RETRY * attempt).await;
        }
    }
}
