//! The bucket: where everything durable lies. A local directory, or a prefix in an object store of a cloud.
//!
//! [`Bucket::open`] turns a URL into an [`ObjectStore`] whose names start at the URL's path, so that nobody else
//! knows where in the world a bucket is:
//!
//! | URL | store |
//! |---|---|
//! | `/path`, `path`, `file:///path` | [`LocalStore`], our own: durable and with real conditional writes |
//! | `s3://`, `gs://`, `az://`, `abfss://` | that of the cloud, see `cloud` |
//!
//! What every store must do is in [`crate::probe`], which checks it.

mod cloud;
#[cfg(all(test, feature = "conformance"))]
pub(crate) mod conformance;
pub mod environment;
pub mod failure;
pub mod local;
mod profile;
pub(crate) mod record;
#[cfg(test)]
mod servers;
pub mod simulated;

pub use environment::Environment;
pub use failure::failure;
pub use local::LocalStore;

use crate::{Error, Result};
use ballast_runtime::Random;
use object_store::ObjectStore;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

/// An open bucket. Clones share it.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    /// One store for each way to the same bucket, the first of which is `store`.
    endpoints: Vec<Arc<dyn ObjectStore>>,
    local: Option<LocalStore>,
    display: String,
}

impl Bucket {
    /// Opens the bucket that the URL names; a local one is made if it is not there. Asks no server yet. Blocks for
    /// some file-system calls if it is local.
    pub fn open(url: &str, environment: &Environment, random: &Random) -> Result<Self> {
        match parse(url)? {
            Address::Directory(path) => Self::open_directory(&path, random),
            Address::Cloud(url) => {
                let (endpoints, display) = cloud::open(&url, environment)?;
                Ok(Self { store: endpoints[0].clone(), endpoints, local: None, display })
            }
        }
    }

    fn open_directory(path: &Path, random: &Random) -> Result<Self> {
        let opened = LocalStore::open(path, random.clone());
        let local = opened.map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                Error::Invalid(format!("the bucket {} cannot be written by this user", path.display()))
            }
            std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
                Error::Invalid(format!("the bucket {} is not a directory", path.display()))
            }
            _ => {
                let source = object_store::Error::Generic { store: "local bucket", source: error.into() };
                failure(&format!("open the bucket {}", path.display()), source)
            }
        })?;
        let bucket = Self::over(Arc::new(local.clone()), &local.to_string());
        Ok(Self { local: Some(local), ..bucket })
    }

    /// A bucket over any store, for simulations and tests.
    pub fn over(store: Arc<dyn ObjectStore>, display: &str) -> Self {
        Self { endpoints: vec![store.clone()], store, local: None, display: display.to_owned() }
    }

    /// The store; its names start at the bucket's root.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The directory of a local bucket: where the disk log lies. Absolute.
    pub fn directory(&self) -> Option<&Path> {
        self.local.as_ref().map(LocalStore::directory)
    }

    pub(crate) fn local(&self) -> Option<&LocalStore> {
        self.local.as_ref()
    }

    /// Every way to the bucket that is known, at least one: what the probe lets race with each other.
    pub fn endpoints(&self) -> &[Arc<dyn ObjectStore>] {
        &self.endpoints
    }
}

impl std::fmt::Display for Bucket {
    /// The URL, without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.display)
    }
}

enum Address {
    Directory(PathBuf),
    Cloud(Url),
}

fn parse(text: &str) -> Result<Address> {
    if text.is_empty() {
        return Err(Error::Invalid("the bucket's URL is empty".into()));
    }
    if !text.contains("://") {
        return Ok(Address::Directory(PathBuf::from(text)));
    }
    let url = Url::parse(text).map_err(|error| Error::Invalid(format!("the bucket's URL makes no sense: {error}")))?;
    if url.scheme() != "file" {
        return Ok(Address::Cloud(url));
    }
    let path = url.to_file_path();
    path.map(Address::Directory).map_err(|()| {
        Error::Invalid("a file:// URL of a bucket needs an absolute path, as in file:///var/lib/ballast".into())
    })
}
