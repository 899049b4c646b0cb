//! A bucket in a local directory, as durable and as strict as the object stores of the clouds.
//!
//! Each object is a file of the same name. What a call promises:
//! * `put`, `copy` and a completed upload are on stable storage on return: content, name and every directory above
//!   it. A crash leaves the object as it was before or as it is after, never a part of it.
//! * `Create` has exactly one winner. `Update` compares the tag and replaces in one step, among tasks and among
//!   processes of all machines that share the directory, as far as its `flock` reaches them.
//! * A tag is a version: random, never the same for two writes (see [`meta`] for the fall-back).
//! * A reader sees one version of an object from its first to its last byte, whatever happens meanwhile.
//! * `delete` is durable too, and removes directories that become empty. Removing what is not there succeeds.
//!
//! Cost: a put is two syncs (file, directory) and some ten small calls; 100 deletes in one directory are one sync;
//! a get is `open`, `stat`, two `getxattr` and `pread`.

mod files;
mod meta;
mod names;
mod system;
#[cfg(test)]
mod tests;
mod upload;
mod walk;

pub(crate) use names::OWN;
pub(crate) use system::try_lock;

use crate::limits;
use async_trait::async_trait;
use ballast_runtime::Random;
use bytes::Bytes;
use files::{Files, Publish, Refusal};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use names::Place;
use object_store::path::Path as Location;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walk::Walk;

const STORE: &str = "local bucket";

/// A bucket in a directory. Clones share it.
#[derive(Clone, Debug)]
pub struct LocalStore {
    files: Arc<Files>,
}

impl LocalStore {
    /// Makes the directory if it is not there, and sweeps temporaries that a crash left. Blocks for a few calls.
    pub fn open(directory: &Path, random: Random) -> io::Result<Self> {
        Ok(Self { files: Arc::new(Files::open(directory, random)?) })
    }

    /// The directory, absolute and without symbolic links.
    pub fn directory(&self) -> &Path {
        &self.files.root
    }

    /// The file whose `flock` says which server uses the bucket.
    pub(crate) fn owner_lock(&self) -> PathBuf {
        self.files.root.join(names::OWN).join("owner")
    }

    /// Whether other machines may reach the directory.
    pub fn is_shared(&self) -> io::Result<bool> {
        system::is_shared(&File::open(&self.files.root)?)
    }

    fn place(location: &Location) -> Result<Place> {
        Place::of(location).map_err(|text| unsupported(&text))
    }

    fn relative(location: Option<&Location>) -> Result<PathBuf> {
        location.map_or_else(|| Ok(PathBuf::new()), names::relative_path).map_err(|text| unsupported(&text))
    }

    fn check_attributes(&self, attributes: &object_store::Attributes, tags: &object_store::TagSet) -> Result<()> {
        if !tags.encoded().is_empty() {
            return Err(unsupported("a local bucket keeps no tag sets"));
        }
        if !attributes.is_empty() && !self.files.keeps_attributes() {
            return Err(unsupported("the file system of the bucket keeps no extended attributes"));
        }
        Ok(())
    }

    fn walk(&self, prefix: Option<&Location>, after: Option<&Location>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (files, prefix) = (self.files.clone(), prefix.cloned().unwrap_or_default());
        let after = after.cloned();
        let start = async move {
            let relative = Self::relative(Some(&prefix))?;
            let walk = blocking(move || {
                let walk = Walk::new(&files.root, &prefix, &relative, after.as_ref());
                walk.map_err(|error| refused(&prefix, error.into()))
            });
            Ok::<_, Error>(stream::try_unfold(walk.await?, next_page).map_ok(|page| stream::iter(page).map(Ok)))
        };
        stream::once(start).try_flatten().try_flatten().boxed()
    }
}

async fn next_page(mut walk: Walk) -> Result<Option<(Vec<ObjectMeta>, Walk)>> {
    blocking(move || {
        let page = walk.page(limits::LOCAL_LIST_PAGE).map_err(|error| refused(&Location::default(), error.into()))?;
        Ok(if page.is_empty() { None } else { Some((page, walk)) })
    })
    .await
}

impl std::fmt::Display for LocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "file://{}", self.files.root.display())
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Location, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let place = Self::place(location)?;
        self.check_attributes(&opts.attributes, &opts.tags)?;
        let how = match opts.mode {
            PutMode::Create => Publish::Create,
            PutMode::Overwrite => Publish::Overwrite,
            PutMode::Update(version) => Publish::Update(
                version.e_tag.ok_or_else(|| unsupported("an update of a local bucket needs the object's tag"))?,
            ),
        };
        let (files, location) = (self.files.clone(), location.clone());
        blocking(move || {
            let write = || {
                let mut temporary = files.temporary()?;
                payload.iter().try_for_each(|chunk| temporary.file.write_all(chunk))?;
                files.publish(temporary, &place, &how, &opts.attributes)
            };
            let tag = write().map_err(|refusal| refused(&location, refusal))?;
            Ok(PutResult { e_tag: Some(tag), version: None, extensions: Default::default() })
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Location,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let place = Self::place(location)?;
        self.check_attributes(&opts.attributes, &opts.tags)?;
        let (files, wanted) = (self.files.clone(), location.clone());
        let temporary = blocking(move || files.temporary().map_err(|error| refused(&wanted, error.into()))).await?;
        Ok(Box::new(upload::LocalUpload {
            files: self.files.clone(),
            location: location.clone(),
            place,
            attributes: opts.attributes,
            parts: Some(upload::Parts::new(temporary)),
            end: 0,
        }))
    }

    async fn get_opts(&self, location: &Location, options: GetOptions) -> Result<GetResult> {
        let place = Self::place(location)?;
        if options.version.is_some() {
            return Err(unsupported("a local bucket keeps one version of an object"));
        }
        let (files, location) = (self.files.clone(), location.clone());
        blocking(move || {
            let open = || {
                let (file, metadata) = files.open_object(&place.relative())?;
                let tag = meta::tag(&file, &metadata)?;
                Ok((walk::describe(location.clone(), &metadata, tag), meta::attributes(&file)?, file))
            };
            let (meta, attributes, file) = open().map_err(|error: io::Error| refused(&location, error.into()))?;
            options.check_preconditions(&meta)?;
            let range = match options.range {
                None => 0..meta.size,
                Some(range) => range.as_range(meta.size).map_err(|source| generic(source.into()))?,
            };
            let payload = if options.head {
                GetResultPayload::Stream(stream::empty().boxed())
            } else {
                read(file, &location, range.clone())?
            };
            Ok(GetResult { payload, meta, range, attributes, extensions: Default::default() })
        })
        .await
    }

    async fn get_ranges(&self, location: &Location, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let place = Self::place(location)?;
        let (files, location, ranges) = (self.files.clone(), location.clone(), ranges.to_vec());
        blocking(move || {
            let opened = files.open_object(&place.relative());
            let (mut file, metadata) = opened.map_err(|error| refused(&location, error.into()))?;
            let read_one = |range: Range<u64>| {
                let range = object_store::GetRange::Bounded(range).as_range(metadata.len());
                let range = range.map_err(|source| generic(source.into()))?;
                read_range(&mut file, range).map_err(|error| refused(&location, error.into()))
            };
            ranges.into_iter().map(read_one).collect()
        })
        .await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Location>>) -> BoxStream<'static, Result<Location>> {
        let files = self.files.clone();
        let batches = locations.ready_chunks(limits::LOCAL_DELETE_BATCH_MAX).then(move |batch| {
            let files = files.clone();
            blocking(move || Ok(delete_batch(&files, batch)))
        });
        batches
            .flat_map(|results| match results {
                Ok(results) => stream::iter(results).boxed(),
                Err(error) => stream::once(async { Err(error) }).boxed(),
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Location>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.walk(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Location>, after: &Location) -> BoxStream<'static, Result<ObjectMeta>> {
        self.walk(prefix, Some(after))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Location>) -> Result<ListResult> {
        let relative = Self::relative(prefix)?;
        let (files, prefix) = (self.files.clone(), prefix.cloned().unwrap_or_default());
        blocking(move || {
            let level = walk::level(&files.root, &prefix, &relative);
            let (objects, common_prefixes) = level.map_err(|error| refused(&prefix, error.into()))?;
            Ok(ListResult { common_prefixes, objects, extensions: Default::default() })
        })
        .await
    }

    async fn copy_opts(&self, from: &Location, to: &Location, options: CopyOptions) -> Result<()> {
        let (source, target) = (Self::place(from)?, Self::place(to)?);
        let how = match options.mode {
            CopyMode::Create => Publish::Create,
            CopyMode::Overwrite => Publish::Overwrite,
        };
        let (files, from, to) = (self.files.clone(), from.clone(), to.clone());
        blocking(move || {
            let copied = files.copy_to_temporary(&source).map_err(|error| refused(&from, error.into()));
            let (temporary, attributes) = copied?;
            let published = files.publish(temporary, &target, &how, &attributes);
            published.map(|_| ()).map_err(|refusal| refused(&to, refusal))
        })
        .await
    }
}

/// A short range is read at once, a long one in pieces while the caller takes them.
fn read(mut file: File, location: &Location, range: Range<u64>) -> Result<GetResultPayload> {
    if range.end - range.start <= limits::LOCAL_READ_CHUNK_BYTES {
        let bytes = read_range(&mut file, range).map_err(|error| refused(location, error.into()))?;
        return Ok(GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed()));
    }
    let location = location.clone();
    let chunks = stream::try_unfold((file, range), move |(mut file, range)| {
        let location = location.clone();
        async move {
            if range.is_empty() {
                return Ok(None);
            }
            let end = range.end.min(range.start + limits::LOCAL_READ_CHUNK_BYTES);
            blocking(move || {
                let bytes = read_range(&mut file, range.start..end);
                Ok(Some((bytes.map_err(|error| refused(&location, error.into()))?, (file, end..range.end))))
            })
            .await
        }
    });
    Ok(GetResultPayload::Stream(chunks.boxed()))
}

fn read_range(file: &mut File, range: Range<u64>) -> io::Result<Bytes> {
    let length = range.end.saturating_sub(range.start);
    let capacity = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut bytes = Vec::with_capacity(capacity);
    file.seek(SeekFrom::Start(range.start))?;
    let read = file.take(length).read_to_end(&mut bytes)?;
    if read < capacity {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was when it was opened"));
    }
    Ok(bytes.into())
}

/// Removes the objects directory by directory; the results are in the order of the names given.
fn delete_batch(files: &Files, batch: Vec<Result<Location>>) -> Vec<Result<Location>> {
    let mut results: Vec<Result<(Location, Place)>> = Vec::with_capacity(batch.len());
    for location in batch {
        results.push(location.and_then(|location| Ok((location.clone(), LocalStore::place(&location)?))));
    }
    let mut directories: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
    for (number, result) in results.iter().enumerate() {
        if let Ok((_, place)) = result {
            directories.entry(place.directory.clone()).or_default().push(number);
        }
    }
    let mut failures: BTreeMap<usize, Refusal> = BTreeMap::new();
    for (directory, numbers) in directories {
        let places: Vec<&Place> = numbers.iter().filter_map(|n| results[*n].as_ref().ok().map(|(_, p)| p)).collect();
        match files.remove(&directory, &places) {
            Ok(removed) => {
                let failed = numbers.iter().zip(removed).filter_map(|(n, result)| Some((*n, result.err()?.into())));
                failures.extend(failed);
            }
            Err(error) => {
                let again = |n: &usize| (*n, io::Error::new(error.kind(), error.to_string()).into());
                failures.extend(numbers.iter().map(again));
            }
        }
    }
    let finish = |(number, result): (usize, Result<(Location, Place)>)| {
        let (location, _) = result?;
        failures.remove(&number).map_or(Ok(location.clone()), |refusal| Err(refused(&location, refusal)))
    };
    results.into_iter().enumerate().map(finish).collect()
}

/// Runs blocking work where it may block. Only a shutdown of the runtime can end it before its time.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(source) => Err(generic(source.into())),
    }
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: STORE, source }
}

fn unsupported(text: &str) -> Error {
    Error::NotSupported { source: text.into() }
}

fn refused(location: &Location, refusal: Refusal) -> Error {
    let path = location.to_string();
    match refusal {
        Refusal::Exists => Error::AlreadyExists { path, source: Refusal::Exists.into() },
        Refusal::Tag { .. } => Error::Precondition { path, source: refusal.into() },
        Refusal::Directory => generic(refusal.into()),
        Refusal::Io(source) => match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound { path, source: source.into() },
            io::ErrorKind::PermissionDenied => Error::PermissionDenied { path, source: source.into() },
            io::ErrorKind::Unsupported => Error::NotSupported { source: source.into() },
            _ => generic(source.into()),
        },
    }
}
