//! Where an object lies: the file that holds it, below the bucket's directory.
//!
//! The parts of an object's name are the names of directories and, the last one, of a file: a person finds what
//! they look for with `ls`. Two kinds of name have no file: those below `.ballast`, which the store keeps for
//! itself, and parts longer than 255 bytes. An object cannot have the name of a directory of other objects.

use object_store::path::Path as Location;
use std::path::{Path, PathBuf};

/// The store's own directory: temporaries, locks. Never listed, never named by an object.
pub(crate) const OWN: &str = ".ballast";

/// Bytes of one part: what Linux file systems take.
const PART_BYTES_MAX: usize = 255;

/// The place of an object, relative to the bucket's directory.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub directory: PathBuf,
    pub name: String,
}

impl Place {
    pub(super) fn of(location: &Location) -> Result<Self, String> {
        let relative = relative_path(location)?;
        let name = location.filename().ok_or("an object needs a name")?.to_owned();
        let directory = relative.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Self { directory, name })
    }

    pub(super) fn relative(&self) -> PathBuf {
        self.directory.join(&self.name)
    }
}

/// The path of an object or of a prefix, checked part by part.
pub(super) fn relative_path(location: &Location) -> Result<PathBuf, String> {
    let mut relative = PathBuf::new();
    for (number, part) in location.as_ref().split_terminator('/').enumerate() {
        let unsafe_part = matches!(part, "" | "." | "..") || part.bytes().any(|byte| byte == 0);
        if unsafe_part {
            return Err(format!("{location} is no name of an object"));
        }
        if number == 0 && part == OWN {
            return Err(format!("{location}: names below {OWN} are the bucket's own"));
        }
        if part.len() > PART_BYTES_MAX {
            return Err(format!("{location}: a part is longer than {PART_BYTES_MAX} bytes"));
        }
        relative.push(part);
    }
    Ok(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_path_below_the_bucket() {
        let place = Place::of(&Location::from("volumes/1/manifest/00000001.manifest")).unwrap();
        assert_eq!(place.relative(), PathBuf::from("volumes/1/manifest/00000001.manifest"));
        assert_eq!(place.directory, PathBuf::from("volumes/1/manifest"));
    }

    #[test]
    fn the_stores_own_directory_and_what_has_no_file_are_refused() {
        assert!(Place::of(&Location::from(".ballast/tmp/x")).is_err());
        assert!(Place::of(&Location::from("a/.ballast")).is_ok(), "only at the root");
        assert!(Place::of(&Location::default()).is_err());
        assert!(Place::of(&Location::from("x".repeat(256))).is_err());
        assert!(Place::of(&Location::from("..")).is_ok_and(|place| place.name == "%2E%2E"));
    }
}
