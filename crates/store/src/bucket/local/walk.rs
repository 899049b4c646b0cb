//! Lists objects in the order of their names, a page at a time.
//!
//! Names are ordered by their bytes as a whole, as S3 orders them. A directory therefore takes the place of its
//! name with `/` behind it: `a b/x` comes before `a/x`, and that before `ab`. Memory: the names of the
//! directories on the way down, not of the whole tree.

use super::meta;
use super::names::OWN;
use object_store::ObjectMeta;
use object_store::path::Path as Location;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug)]
struct Entry {
    /// The whole name; with `/` at its end for a directory.
    name: String,
    path: PathBuf,
}

/// A walk under way. Cost of an object: one `stat` and one `getxattr`.
#[derive(Debug)]
pub(super) struct Walk {
    after: Option<String>,
    /// What is still to be looked at, the next one last.
    ahead: Vec<Entry>,
}

impl Walk {
    /// Of all objects below `prefix`, the name of a directory, whose names are greater than `after`.
    pub(super) fn new(root: &Path, prefix: &Location, relative: &Path, after: Option<&Location>) -> io::Result<Self> {
        let mut walk = Self { after: after.map(ToString::to_string), ahead: Vec::new() };
        let name = if prefix.is_root() { String::new() } else { format!("{prefix}/") };
        walk.descend(&Entry { name, path: root.join(relative) })?;
        Ok(walk)
    }

    /// Up to `objects_max` further objects; none at the end.
    pub(super) fn page(&mut self, objects_max: usize) -> io::Result<Vec<ObjectMeta>> {
        let mut page = Vec::new();
        while page.len() < objects_max {
            let Some(entry) = self.ahead.pop() else { break };
            if entry.name.ends_with('/') {
                self.descend(&entry)?;
            } else if let Some(object) = object_at(&entry.name, &entry.path)? {
                page.push(object);
            }
        }
        Ok(page)
    }

    fn descend(&mut self, directory: &Entry) -> io::Result<()> {
        let mut entries = entries(&directory.name, &directory.path)?;
        entries.retain(|entry| self.after.as_ref().is_none_or(|after| reaches_behind(&entry.name, after)));
        entries.sort_unstable_by(|a, b| b.name.cmp(&a.name));
        self.ahead.append(&mut entries);
        Ok(())
    }
}

/// True if the object, or some object in the directory, may have a name greater than `after`.
fn reaches_behind(name: &str, after: &str) -> bool {
    name > after || (name.ends_with('/') && after.starts_with(name))
}

/// What lies directly below a directory, in no order. A directory that is gone is empty.
fn entries(name: &str, path: &Path) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let directory = match fs::read_dir(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(found);
        }
        directory => directory?,
    };
    for entry in directory {
        let entry = entry?;
        // Something that has no name as an object was not put here by a store.
        let Ok(part) = entry.file_name().into_string() else { continue };
        if (name.is_empty() && part == OWN) || Location::parse(&part).is_err() {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.push(Entry { name: format!("{name}{part}/"), path: entry.path() });
        } else if kind.is_file() {
            found.push(Entry { name: format!("{name}{part}"), path: entry.path() });
        }
    }
    Ok(found)
}

/// `None` if it has been removed meanwhile.
fn object_at(name: &str, path: &Path) -> io::Result<Option<ObjectMeta>> {
    let described = fs::symlink_metadata(path).and_then(|metadata| Ok((meta::tag_of_path(path, &metadata)?, metadata)));
    match described {
        Ok((tag, metadata)) => Ok(Some(describe(Location::parse(name).map_err(io::Error::other)?, &metadata, tag))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn describe(location: Location, metadata: &Metadata, tag: String) -> ObjectMeta {
    let last_modified = metadata.modified().map(Into::into).unwrap_or_default();
    ObjectMeta { location, last_modified, size: metadata.len(), e_tag: Some(tag), version: None }
}

/// The objects directly below `prefix`, and the directories that hold at least one object, both in order.
pub(super) fn level(root: &Path, prefix: &Location, relative: &Path) -> io::Result<(Vec<ObjectMeta>, Vec<Location>)> {
    let name = if prefix.is_root() { String::new() } else { format!("{prefix}/") };
    let mut below = entries(&name, &root.join(relative))?;
    below.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let (mut objects, mut directories) = (Vec::new(), Vec::new());
    for entry in below {
        if !entry.name.ends_with('/') {
            objects.extend(object_at(&entry.name, &entry.path)?);
        } else if holds_an_object(entry.clone())? {
            directories.push(Location::parse(&entry.name).map_err(io::Error::other)?);
        }
    }
    Ok((objects, directories))
}

fn holds_an_object(directory: Entry) -> io::Result<bool> {
    let mut walk = Walk { after: None, ahead: vec![directory] };
    Ok(!walk.page(1)?.is_empty())
}
