//! An index object that is written in parts.
//!
//! The parts that come are cut anew, because a page must not be torn between two of them and because some stores want
//! parts of one size. Held in memory: less than one part.

use super::page::Writer;
use super::refused;
use crate::limits;
use async_trait::async_trait;
use futures::FutureExt;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

#[derive(Debug)]
pub struct CheckedUpload {
    inner: Box<dyn MultipartUpload>,
    /// `None` once complete or aborted.
    writer: Option<Writer>,
    /// Pages that are not sent yet.
    part: Vec<u8>,
}

impl CheckedUpload {
    pub fn new(inner: Box<dyn MultipartUpload>, writer: Writer) -> Self {
        Self { inner, writer: Some(writer), part: Vec::new() }
    }
}

#[async_trait]
impl MultipartUpload for CheckedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(writer) = &mut self.writer else {
            return async { Err(refused("the upload is complete or aborted")) }.boxed();
        };
        let mut sent = Vec::new();
        for chunk in &data {
            writer.push(chunk, &mut self.part);
            while self.part.len() >= limits::INDEX_PART_BYTES {
                let later = self.part.split_off(limits::INDEX_PART_BYTES);
                sent.push(self.inner.put_part(std::mem::replace(&mut self.part, later).into()));
            }
        }
        async move { futures::future::try_join_all(sent).await.map(|_| ()) }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let writer = self.writer.take().ok_or_else(|| refused("the upload is complete or aborted"))?;
        writer.finish(&mut self.part);
        self.inner.put_part(std::mem::take(&mut self.part).into()).await?;
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.writer = None;
        self.inner.abort().await
    }
}
