//! An object written in parts, hidden until it is complete.
//!
//! The parts go into one temporary, each to the place that the order of the calls gives it, so that they may be
//! written in any order and at the same time. Dropped before it is complete, nothing is left.

use super::files::{Files, Publish, Temporary};
use super::names::Place;
use super::{blocking, refused};
use async_trait::async_trait;
use futures::FutureExt;
use object_store::path::Path as Location;
use object_store::{Attributes, MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct LocalUpload {
    pub(super) files: Arc<Files>,
    pub(super) location: Location,
    pub(super) place: Place,
    pub(super) attributes: Attributes,
    /// `None` once complete or aborted.
    pub(super) parts: Option<Arc<Parts>>,
    /// Where the next part begins.
    pub(super) end: u64,
}

#[derive(Debug)]
pub(super) struct Parts {
    temporary: Temporary,
    bytes_written: AtomicU64,
}

impl Parts {
    pub(super) fn new(temporary: Temporary) -> Arc<Self> {
        Arc::new(Self { temporary, bytes_written: AtomicU64::new(0) })
    }

    fn write(&self, mut offset: u64, part: &PutPayload) -> io::Result<()> {
        for chunk in part {
            self.temporary.file.write_all_at(chunk, offset)?;
            offset += chunk.len() as u64;
        }
        self.bytes_written.fetch_add(part.content_length() as u64, Ordering::AcqRel);
        Ok(())
    }
}

impl LocalUpload {
    fn over(&self) -> object_store::Error {
        refused(&self.location, io::Error::other("the upload is complete or aborted").into())
    }
}

#[async_trait]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        let offset = self.end;
        self.end += part.content_length() as u64;
        let location = self.location.clone();
        let Some(parts) = self.parts.clone() else {
            let over = self.over();
            return async move { Err(over) }.boxed();
        };
        blocking(move || parts.write(offset, &part).map_err(|error| refused(&location, error.into()))).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let parts = self.parts.take().ok_or_else(|| self.over())?;
        let (files, location, place) = (self.files.clone(), self.location.clone(), self.place.clone());
        let (attributes, end) = (std::mem::take(&mut self.attributes), self.end);
        blocking(move || {
            // A part that failed, or still runs, would leave a hole full of zeros.
            let parts = Arc::into_inner(parts).filter(|parts| parts.bytes_written.load(Ordering::Acquire) == end);
            let parts = parts.ok_or_else(|| io::Error::other("a part of the upload failed or was not waited for"));
            let tag = parts
                .map_err(Into::into)
                .and_then(|parts| files.publish(parts.temporary, &place, &Publish::Overwrite, &attributes));
            let tag = tag.map_err(|refusal| refused(&location, refusal))?;
            Ok(PutResult { e_tag: Some(tag), version: None, extensions: Default::default() })
        })
        .await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts = None;
        Ok(())
    }
}
