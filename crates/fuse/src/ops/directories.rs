//! Listing directories.

use super::{Done, Ops};
use crate::attributes::file_type;
use crate::handles::{Directory, Listing, Opened};
use crate::who::{Who, as_caller};
use ballast_tree::{Access, Inode};
use ballast_types::{Call, Ino, Kind, Name};
use bytes::Bytes;
use fuser::{Errno, FileAttr, FileHandle, FileType, INodeNo};
use parking_lot::Mutex;
use std::sync::Arc;

/// One line of a listing.
pub(crate) struct Line {
    pub ino: INodeNo,
    /// Where the listing goes on behind it.
    pub next: u64,
    pub kind: FileType,
    pub name: Bytes,
}

impl Ops {
    pub async fn opendir(&self, who: &Who, ino: Ino) -> Done<FileHandle> {
        let (inode, pin) = self.tree.pin_live(ino).await?;
        if !inode.kind.looks_like_directory() {
            return Err(Errno::ENOTDIR.into());
        }
        as_caller!(who, call => self.tree.access(&call, ino, Access::READ))?;
        Ok(self.handles.add(Opened::Directory(Directory { inode, listing: Mutex::default(), _pin: pin })))
    }

    /// The lines behind `offset`, one by one: `take` returns false when it has no room for one.
    pub async fn readdir(
        &self,
        handle: FileHandle,
        offset: u64,
        mut take: impl FnMut(Line) -> bool + Send,
    ) -> Done<()> {
        let opened = self.handles.get(handle)?;
        let Opened::Directory(directory) = &*opened else { return Err(Errno::ENOTDIR.into()) };
        let listing = self.listing(directory, offset).await?;
        let inode = &directory.inode;
        let above = if offset < 2 { self.above(inode).await } else { inode.ino };
        for (at, ino, name) in [(1, inode.ino, "."), (2, above, "..")] {
            let name = Bytes::from_static(name.as_bytes());
            if offset < at && !take(Line { ino: INodeNo(ino.0), next: at, kind: FileType::Directory, name }) {
                return Ok(());
            }
        }
        // The first two lines are not in the listing.
        let skip = usize::try_from(offset.saturating_sub(2)).map_err(|_| Errno::EINVAL)?;
        for at in skip..listing.len() {
            let next = at as u64 + 3;
            let line = match &*listing {
                Listing::Real(entries) => {
                    let entry = &entries[at];
                    let name = Bytes::copy_from_slice(entry.name.as_bytes());
                    Line { ino: INodeNo(entry.ino.0), next, kind: file_type(entry.kind), name }
                }
                Listing::Virtual(entries) => {
                    let name = Bytes::copy_from_slice(entries[at].name.as_bytes());
                    // Numbers are given by lookups; to a listing any number but 0 will do.
                    Line { ino: INodeNo(u64::MAX), next, kind: FileType::RegularFile, name }
                }
            };
            if !take(line) {
                break;
            }
        }
        Ok(())
    }

    /// Where `..` leads: the directory may have moved since it was opened.
    async fn above(&self, opened: &Inode) -> Ino {
        let now = self.tree.inode(opened.ino).await;
        let parent = now.map_or_else(|_| opened.parent.clone(), |now| now.parent);
        parent.map_or(opened.ino, |(parent, _)| parent)
    }

    /// As [`Ops::readdir`], with the attributes of what each name leads to now; names that are gone are left out.
    pub async fn readdirplus(
        &self,
        handle: FileHandle,
        offset: u64,
        mut take: impl FnMut(Line, &FileAttr) -> bool + Send,
    ) -> Done<()> {
        let opened = self.handles.get(handle)?;
        let Opened::Directory(directory) = &*opened else { return Err(Errno::ENOTDIR.into()) };
        let mut lines = Vec::new();
        // Each line takes more than 150 bytes of the kernel's buffer of a page or some: no need to collect more.
        const LINES_AT_ONCE: usize = 1024;
        self.readdir(handle, offset, |line| {
            lines.push(line);
            lines.len() < LINES_AT_ONCE
        })
        .await?;
        let mut taken = false;
        for mut line in lines {
            let attributes = match self.line_attributes(&directory.inode, &line).await {
                Ok(attributes) => attributes,
                Err(crate::errno::Fault(Errno::ENOENT | Errno::ESTALE)) => continue,
                // A listing without it would say that it is not there. The kernel asks for the rest, and hears of it.
                Err(_) if taken => break,
                Err(error) => return Err(error),
            };
            let number = attributes.ino;
            line.ino = number;
            if !take(line, &attributes) {
                // The kernel was not told of this one: it will not forget it either.
                self.forget(number.0, 1);
                break;
            }
            taken = true;
        }
        Ok(())
    }

    /// The kernel makes the line's name lead to the inode that it is told. The listing is older than that: a name that
    /// was renamed or replaced since would come back. The kernel holds the directory's lock while it asks, so no rename
    /// of the mount comes between this look and the answer; one of another protocol is told of behind it.
    async fn line_attributes(&self, directory: &Inode, line: &Line) -> Done<FileAttr> {
        match (&line.name[..], line.ino) {
            // Of these the kernel takes the numbers alone.
            (b"." | b"..", ino) => Ok(FileAttr { ino, ..self.shown(directory.clone()).await? }),
            (_, INodeNo(u64::MAX)) => {
                let name = String::from_utf8_lossy(&line.name).into_owned();
                self.lookup_virtual_name(directory, &name).await
            }
            _ => {
                let name = Name::new(line.name.clone())?;
                let inode = self.tree.lookup(&Call::internal(), directory.ino, &name).await?;
                self.shown(inode).await
            }
        }
    }

    async fn listing(&self, directory: &Directory, offset: u64) -> Done<Arc<Listing>> {
        let known = directory.listing.lock().clone();
        if let Some(known) = known.filter(|_| offset > 0) {
            return Ok(known);
        }
        let listing = match directory.inode.kind {
            Kind::Stream | Kind::Table => Listing::Virtual(self.virtual_entries(&directory.inode).await?),
            // The right to read was checked when it was opened.
            _ => match self.tree.list(&Call::internal(), directory.inode.ino).await {
                Ok(entries) => Listing::Real(entries),
                // It was removed while it was open: it is empty.
                Err(ballast_tree::Error::Stale(_) | ballast_tree::Error::NotFound(_)) => Listing::Real(Arc::default()),
                Err(error) => return Err(error.into()),
            },
        };
        let listing = Arc::new(listing);
        *directory.listing.lock() = Some(Arc::clone(&listing));
        Ok(listing)
    }

    pub fn forget(&self, number: u64, lookups: u64) {
        if crate::virtuals::Numbers::is_virtual(number) {
            self.numbers.forget(number, lookups);
        } else {
            self.handles.forget(Ino(number));
        }
    }
}
