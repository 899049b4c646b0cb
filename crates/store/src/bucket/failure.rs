//! What an error of a bucket means to its caller, and what a person can do about it.

use crate::{Error, disk};
use std::error::Error as Source;
use std::io;

/// Turns an error of the object store into one of ours. `doing` says what was tried, as in `read lease/000001`.
pub fn failure(doing: &str, error: object_store::Error) -> Error {
    use object_store::Error as Store;
    if let Some(full) = full_disk(&error) {
        return Error::Exhausted(format!(
            "could not {doing}: {full}: free space on the bucket's disk, or give it more"
        ));
    }
    match error {
        Store::NotFound { path, .. } => Error::NotFound(path),
        Store::AlreadyExists { path, .. } => Error::AlreadyExists(path),
        Store::Precondition { .. } | Store::NotModified { .. } => Error::Conflict,
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => Error::Invalid(format!(
            "could not {doing}: the bucket refuses these credentials ({}): check them and their rights",
            root_cause(&error)
        )),
        Store::InvalidPath { .. } | Store::UnknownConfigurationKey { .. } => {
            Error::Invalid(format!("could not {doing}: {error}"))
        }
        Store::NotSupported { .. } | Store::NotImplemented { .. } => {
            Error::Unsupported(format!("could not {doing}: {error}"))
        }
        error => Error::unavailable(format!("could not {doing}"), error),
    }
}

/// The first error of the chain that says that a disk or a quota is used up.
fn full_disk(error: &(dyn Source + 'static)) -> Option<io::Error> {
    let is_full = |io: &&io::Error| matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    io_errors(error).find(is_full).map(|io| io.kind().into())
}

/// True if the disk under a local bucket does not have what was written: to wait does not help.
pub(crate) fn is_lost(error: &(dyn Source + 'static)) -> bool {
    io_errors(error).any(disk::is_damage)
}

fn io_errors<'a>(error: &'a (dyn Source + 'static)) -> impl Iterator<Item = &'a io::Error> {
    let chain = std::iter::successors(Some(error), |error: &&'a (dyn Source + 'static)| (*error).source());
    chain.filter_map(|error| error.downcast_ref())
}

/// The last error of the chain: the outer ones mostly repeat it.
pub(crate) fn root_cause(error: &(dyn Source + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ballast_types::ErrorKind;

    fn generic(kind: io::ErrorKind) -> object_store::Error {
        object_store::Error::Generic { store: "test", source: Box::new(io::Error::from(kind)) }
    }

    #[test]
    fn a_full_disk_is_exhaustion_and_says_what_to_do() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let error = failure("write segment/1", generic(kind));
            assert_eq!(error.kind(), ErrorKind::Exhausted);
            assert!(error.to_string().contains("free space"), "{error}");
        }
    }

    #[test]
    fn what_may_pass_is_unavailable() {
        assert_eq!(failure("read", generic(io::ErrorKind::ConnectionReset)).kind(), ErrorKind::Unavailable);
    }
}
