//! What streams and tables show in the mount: a few virtual children in a directory.
//!
//! This is where engines and the mount meet: the mount knows no engine, and no engine knows a mount.
//! A stream shows `tail.ndjson` (its newest records, one JSON object a line) and `append` (each line that is
//! written becomes a record); a table shows `.schema.sql` and `data.ndjson`. What is shown is bounded.

mod records;
mod stream;
mod table;

pub use table::quoted;

use crate::Engines;
use async_trait::async_trait;
use ballast_fuse::{Virtual, VirtualEntry, VirtualFile};
use ballast_tree::Inode;
use ballast_types::{Call, ErrorKind, Kind};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Open children that are remembered: a program that opens more gets `Exhausted`.
const OPEN_MAX: usize = 1024;

/// The virtual children of one volume.
pub struct Views {
    engines: Engines,
    open: Mutex<HashMap<u64, Open>>,
}

/// What an open child remembers between two calls.
#[derive(Clone, Debug, Default)]
struct Open {
    /// What a reader reads: fixed at its first read, so that the parts fit together.
    content: Option<Bytes>,
    /// The begun line of a writer.
    line: Vec<u8>,
}

impl Views {
    pub fn new(engines: Engines) -> Self {
        Self { engines, open: Mutex::default() }
    }

    /// Changes what is remembered of an open child.
    fn remember<T>(&self, file: &VirtualFile, change: impl FnOnce(&mut Open) -> T) -> Result<T, ErrorKind> {
        let mut open = self.open.lock();
        if open.len() >= OPEN_MAX && !open.contains_key(&file.handle) {
            return Err(ErrorKind::Exhausted);
        }
        Ok(change(open.entry(file.handle).or_default()))
    }

    async fn content(&self, call: &Call, file: &VirtualFile) -> Result<Bytes, ErrorKind> {
        match (file.inode.kind, file.name.as_str()) {
            (Kind::Stream, stream::TAIL) => stream::tail(&self.engines.streams, call, file.inode.ino).await,
            (Kind::Stream, stream::APPEND) => Ok(Bytes::new()),
            (Kind::Table, table::SCHEMA) => table::schema(&self.engines.tables, call, file.inode.ino).await,
            (Kind::Table, table::DATA) => table::data(&self.engines.tables, call, file.inode.ino).await,
            _ => Err(ErrorKind::NotFound),
        }
    }
}

#[async_trait]
impl Virtual for Views {
    async fn list(&self, inode: &Inode) -> Result<Vec<VirtualEntry>, ErrorKind> {
        let entry = |name: &str, mode| VirtualEntry { name: name.to_owned(), mode: mode & inode.mode, size: None };
        Ok(match inode.kind {
            Kind::Stream => vec![entry(stream::APPEND, 0o222), entry(stream::TAIL, 0o444)],
            Kind::Table => vec![entry(table::SCHEMA, 0o444), entry(table::DATA, 0o444)],
            _ => Vec::new(),
        })
    }

    async fn read(&self, call: &Call, file: &VirtualFile, offset: u64, length: u32) -> Result<Bytes, ErrorKind> {
        let known = self.remember(file, |open| open.content.clone())?;
        let content = match known {
            Some(content) if offset > 0 => content,
            _ => {
                let content = self.content(call, file).await?;
                self.remember(file, |open| open.content = Some(content.clone()))?;
                content
            }
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let end = start.saturating_add(length as usize).min(content.len());
        Ok(content.slice(start..end))
    }

    async fn write(&self, call: &Call, file: &VirtualFile, bytes: Bytes) -> Result<(), ErrorKind> {
        if file.inode.kind != Kind::Stream || file.name != stream::APPEND {
            return Err(ErrorKind::Denied);
        }
        let (lines, rest) = self.remember(file, |open| {
            let mut text = std::mem::take(&mut open.line);
            text.extend_from_slice(&bytes);
            stream::whole_lines(text)
        })?;
        stream::append(&self.engines.streams, call, file.inode.ino, lines).await?;
        if rest.len() > stream::LINE_BYTES_MAX {
            return Err(ErrorKind::Exhausted);
        }
        self.remember(file, |open| open.line = rest)
    }

    /// A last line may lack its end. It is a record only now: several programs may have written parts of it, one after the
    /// other, through descriptors of one opening.
    async fn close(&self, file: &VirtualFile) {
        let open = self.open.lock().remove(&file.handle);
        let line = open.map(|open| open.line).unwrap_or_default();
        if line.is_empty() {
            return;
        }
        // The right to write was checked with the line's parts.
        let appended =
            stream::append(&self.engines.streams, &Call::internal(), file.inode.ino, vec![line.into()]).await;
        if let Err(error) = appended {
            tracing::warn!(%error, stream = %file.inode.ino, "a line without an end was not appended");
        }
    }
}
