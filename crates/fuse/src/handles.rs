//! What the kernel's file handles stand for, and the removed directories that it still knows.

use crate::virtuals::VirtualFile;
use ballast_files::Handle;
use ballast_tree::{Entry, Inode, Pin};
use ballast_types::Ino;
use fuser::{Errno, FileHandle};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// An open file, directory or virtual child.
pub(crate) enum Opened {
    File(Handle),
    Virtual(VirtualFile),
    Directory(Directory),
}

/// An open directory. Its listing is that of the last rewind, so that a program which removes while it lists misses
/// nothing.
pub(crate) struct Directory {
    pub inode: Inode,
    pub listing: Mutex<Option<Arc<Listing>>>,
    pub _pin: Pin,
}

/// A directory's entries, as they were at one moment.
pub(crate) enum Listing {
    Real(Arc<Vec<Entry>>),
    Virtual(Vec<crate::VirtualEntry>),
}

impl Listing {
    pub fn len(&self) -> usize {
        match self {
            Self::Real(entries) => entries.len(),
            Self::Virtual(entries) => entries.len(),
        }
    }
}

#[derive(Default)]
pub(crate) struct Handles {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    opened: HashMap<u64, Arc<Opened>>,
    given: u64,
    removed: HashMap<u64, Pin>,
}

impl Handles {
    pub fn add(&self, opened: Opened) -> FileHandle {
        let mut table = self.table.lock();
        table.given += 1;
        let number = table.given;
        table.opened.insert(number, Arc::new(opened));
        FileHandle(number)
    }

    /// A number that no handle has or will have.
    pub fn number(&self) -> u64 {
        let mut table = self.table.lock();
        table.given += 1;
        table.given
    }

    pub fn get(&self, handle: FileHandle) -> Result<Arc<Opened>, Errno> {
        self.table.lock().opened.get(&handle.0).cloned().ok_or(Errno::EBADF)
    }

    pub fn remove(&self, handle: FileHandle) -> Option<Arc<Opened>> {
        self.table.lock().opened.remove(&handle.0)
    }

    /// Keeps a directory that was removed through the mount until the kernel forgets it: somebody may work in it
    /// without having it open. The kernel has looked it up to remove it, and looks up nothing that has no name: so it
    /// forgets it once, and its lookups need not be counted.
    pub fn keep_removed(&self, pin: Pin) {
        let before = self.table.lock().removed.insert(pin.ino().0, pin);
        drop(before);
    }

    /// The kernel does not know the inode any more.
    pub fn forget(&self, ino: Ino) {
        let pin = self.table.lock().removed.remove(&ino.0);
        drop(pin);
    }

    /// Closes whatever is open: the mount is gone.
    pub fn clear(&self) {
        let mut table = self.table.lock();
        let all = (std::mem::take(&mut table.opened), std::mem::take(&mut table.removed));
        drop(table);
        drop(all);
    }
}
