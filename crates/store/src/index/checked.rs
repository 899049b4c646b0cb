//! The bucket as SlateDB sees it: every byte of an index under a checksum that is compared when it is read.
//!
//! SlateDB has checksums for the blocks of its tables, but none for its manifests, its lists of compactions, its
//! boundaries or the ends of its tables. So each of its objects is stored in pages with checksums of ours ([`page`]),
//! and SlateDB gets to see the content alone: sizes, ranges and parts are translated, names, conditions, tags and
//! attributes pass through. What is damaged is an error that no layer above tries again ([`Damage`]).
//!
//! Cost: 0.1 % more bytes; a read takes whole pages, so up to two of them more than it asks for; CRC32C over what is
//! read and written, at some 10 GB/s; one copy of what is written. No request more, but for a read that failed.

mod page;
#[cfg(test)]
mod tests;
mod upload;

pub(crate) use page::Damage;

use crate::bucket::failure;
use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use page::{PAGE_BYTES, Pages, Writer};
use slatedb_common::retry::NonRetryable;
use std::sync::Arc;
use upload::CheckedUpload;

/// Bytes that [`CheckedStore::damages`] reads at once.
const SCRUB_BYTES: u64 = 1024 * PAGE_BYTES;

/// A bucket for one or more indexes.
#[derive(Clone, Debug)]
pub(crate) struct CheckedStore {
    inner: Arc<dyn ObjectStore>,
}

impl CheckedStore {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner }
    }

    /// Reads every page of an object; those that are not what was written.
    pub async fn damages(&self, location: &Path) -> Result<Vec<Damage>> {
        let stored = self.inner.head(location).await?.size;
        let mut damages = Vec::new();
        if page::content_bytes(stored).is_none() {
            damages.push(cut_off(location, stored));
        }
        for at in (0..stored).step_by(SCRUB_BYTES as usize) {
            let bytes = match self.inner.get_range(location, at..stored.min(at + SCRUB_BYTES)).await {
                Err(error) if failure::is_lost(&error) => {
                    damages.push(lost(location, at));
                    continue;
                }
                read => read?,
            };
            damages.extend(Pages { object: location, stored, at, bytes }.damages());
        }
        Ok(damages)
    }

    /// The error of a range that could not be read: for good, if the disk has lost it or the object ends before it.
    async fn explain(&self, location: &Path, range: &GetRange, error: Error) -> Error {
        let start = match range {
            GetRange::Bounded(range) => range.start,
            GetRange::Offset(start) => *start,
            GetRange::Suffix(_) => 0,
        };
        if failure::is_lost(&error) {
            return damaged(lost(location, start));
        }
        match self.inner.head(location).await {
            Ok(meta) if page::content_bytes(meta.size).is_none_or(|size| start >= size) => {
                damaged(cut_off(location, meta.size))
            }
            _ => error,
        }
    }
}

/// The damage that an error tells of, however deep.
pub(crate) fn damage_in<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Damage> {
    NonRetryable::find(error)?.0.downcast_ref()
}

fn damaged(damage: Damage) -> Error {
    Error::Generic { store: "index", source: Box::new(NonRetryable(damage.into())) }
}

fn cut_off(location: &Path, stored: u64) -> Damage {
    let offset = stored.saturating_sub(1) / PAGE_BYTES * PAGE_BYTES;
    Damage { object: location.clone(), offset, what: "the object ends too early" }
}

fn lost(location: &Path, offset: u64) -> Damage {
    Damage { object: location.clone(), offset, what: "the disk cannot read it" }
}

fn refused(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: "index", source: source.into() }
}

/// With the size of its content. What is no object of an index has none here, and is refused when it is read.
fn with_content_size(meta: ObjectMeta) -> ObjectMeta {
    ObjectMeta { size: page::content_bytes(meta.size).unwrap_or_default(), ..meta }
}

impl std::fmt::Display for CheckedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with checksums", self.inner)
    }
}

#[async_trait]
impl ObjectStore for CheckedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let content = payload.content_length();
        let mut pages = Vec::with_capacity(content + content / 1000 + PAGE_BYTES as usize);
        let mut writer = Writer::new(location);
        payload.iter().for_each(|chunk| writer.push(chunk, &mut pages));
        writer.finish(&mut pages);
        self.inner.put_opts(location, pages.into(), opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(CheckedUpload::new(inner, Writer::new(location))))
    }

    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        let (head, wanted) = (options.head, options.range.take());
        if let Some(range) = wanted.as_ref().filter(|_| !head) {
            range.is_valid().map_err(|error| refused(Box::new(error)))?;
            options.range = Some(match range {
                GetRange::Bounded(range) => GetRange::Bounded(page::stored_range(range.clone())),
                GetRange::Offset(start) => GetRange::Offset(page::stored_range(*start..*start).start),
                GetRange::Suffix(bytes) => GetRange::Suffix(page::stored_suffix(*bytes)),
            });
        }
        let got = match self.inner.get_opts(location, options).await {
            Err(error @ Error::Generic { .. }) => {
                return Err(self.explain(location, wanted.as_ref().unwrap_or(&GetRange::Offset(0)), error).await);
            }
            got => got?,
        };
        let stored = got.meta.size;
        let size = page::content_bytes(stored).ok_or_else(|| damaged(cut_off(location, stored)))?;
        let range = match wanted {
            None => 0..size,
            Some(range) => range.as_range(size).map_err(|_| damaged(cut_off(location, stored)))?,
        };
        let meta = ObjectMeta { size, ..got.meta.clone() };
        let (attributes, extensions) = (got.attributes.clone(), got.extensions.clone());
        let payload = match head {
            true => got.payload,
            false => {
                let read = got.range.clone();
                // Only what was read from the end backwards begins within a page.
                let at = read.start.next_multiple_of(PAGE_BYTES).min(read.end);
                let bytes = match got.bytes().await {
                    Err(error) if failure::is_lost(&error) => return Err(damaged(lost(location, at))),
                    bytes => bytes?.split_off((at - read.start) as usize),
                };
                let pages = Pages { object: location, stored, at, bytes };
                if let Some(damage) = pages.damages().next() {
                    return Err(damaged(damage));
                }
                GetResultPayload::Stream(stream::iter(pages.content(range.clone()).into_iter().map(Ok)).boxed())
            }
        };
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix).map_ok(with_content_size).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset).map_ok(with_content_size).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects = listed.objects.into_iter().map(with_content_size).collect();
        Ok(listed)
    }

    /// Through this machine: an object's checksums are for its own name.
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let got = self.get_opts(from, GetOptions::default()).await?;
        let mode = match options.mode {
            CopyMode::Create => PutMode::Create,
            CopyMode::Overwrite => PutMode::Overwrite,
        };
        let opts = PutOptions { mode, attributes: got.attributes.clone(), ..PutOptions::default() };
        self.put_opts(to, got.bytes().await?.into(), opts).await.map(|_| ())
    }
}
