//! What a stream or a table shows in the mount.
//!
//! To programs they are directories with a small, bounded listing: `tail.ndjson` and `append` of a stream, say. The
//! children are no inodes: they are read and written through [`Virtual`], past all caches, and cannot be removed,
//! so that `rm -rf` fails before it drops anything. `rmdir` of the stream or table itself drops it.

use async_trait::async_trait;
use ballast_tree::Inode;
use ballast_types::{Call, ErrorKind, Ino};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;

/// One virtual child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualEntry {
    pub name: String,
    /// Permission bits; the owner is that of the stream or table.
    pub mode: u32,
    /// `None` if it is not known without reading: programs see 0, and read to the end.
    pub size: Option<u64>,
}

/// An open virtual child.
#[derive(Clone, Debug)]
pub struct VirtualFile {
    pub inode: Inode,
    pub name: String,
    /// Unique while it is open: where an implementation keeps what it must remember between two calls.
    pub handle: u64,
}

/// Implemented by whoever knows the engines.
#[async_trait]
pub trait Virtual: Send + Sync + 'static {
    /// The children of a stream or table: few, and cheap to tell.
    async fn list(&self, inode: &Inode) -> Result<Vec<VirtualEntry>, ErrorKind>;

    /// The bytes from `offset`; fewer than `length` only at the end.
    async fn read(&self, call: &Call, file: &VirtualFile, offset: u64, length: u32) -> Result<Bytes, ErrorKind>;

    /// Takes the next bytes of what a program writes, whatever the offset. Durable on return.
    async fn write(&self, call: &Call, file: &VirtualFile, bytes: Bytes) -> Result<(), ErrorKind>;

    /// The last descriptor is closed, and the handle is never used again. Nobody waits for it, and nothing can be refused.
    async fn close(&self, _file: &VirtualFile) {}
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoVirtuals;

#[async_trait]
impl Virtual for NoVirtuals {
    async fn list(&self, _inode: &Inode) -> Result<Vec<VirtualEntry>, ErrorKind> {
        Ok(Vec::new())
    }

    async fn read(&self, _: &Call, _: &VirtualFile, _: u64, _: u32) -> Result<Bytes, ErrorKind> {
        Err(ErrorKind::NotFound)
    }

    async fn write(&self, _: &Call, _: &VirtualFile, _: Bytes) -> Result<(), ErrorKind> {
        Err(ErrorKind::NotFound)
    }
}

/// The first number that is a virtual child's and no inode's.
const FIRST: u64 = 1 << 63;

/// The numbers under which the kernel knows virtual children: given at a lookup, taken back when it forgets.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<(Ino, String), u64>,
    by_number: HashMap<u64, Known>,
    given: u64,
}

#[derive(Debug)]
struct Known {
    parent: Ino,
    name: String,
    lookups: u64,
}

impl Numbers {
    pub fn is_virtual(number: u64) -> bool {
        number >= FIRST
    }

    /// The number of a child, which the kernel will forget once for every call.
    pub fn look_up(&self, parent: Ino, name: &str) -> u64 {
        let mut table = self.table.lock();
        let key = (parent, name.to_owned());
        let number = match table.by_name.get(&key) {
            Some(number) => *number,
            None => {
                let number = FIRST + table.given;
                table.given += 1;
                table.by_name.insert(key, number);
                table.by_number.insert(number, Known { parent, name: name.to_owned(), lookups: 0 });
                number
            }
        };
        if let Some(known) = table.by_number.get_mut(&number) {
            known.lookups += 1;
        }
        number
    }

    pub fn child(&self, number: u64) -> Option<(Ino, String)> {
        self.table.lock().by_number.get(&number).map(|known| (known.parent, known.name.clone()))
    }

    pub fn forget(&self, number: u64, lookups: u64) {
        let mut table = self.table.lock();
        let Some(known) = table.by_number.get_mut(&number) else { return };
        known.lookups = known.lookups.saturating_sub(lookups);
        if known.lookups == 0
            && let Some(gone) = table.by_number.remove(&number)
        {
            table.by_name.remove(&(gone.parent, gone.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_lives_until_its_last_lookup_is_forgotten() {
        let numbers = Numbers::default();
        let first = numbers.look_up(Ino(5), "append");
        assert_eq!(numbers.look_up(Ino(5), "append"), first);
        assert!(Numbers::is_virtual(first));
        numbers.forget(first, 1);
        assert_eq!(numbers.child(first), Some((Ino(5), "append".to_owned())));
        numbers.forget(first, 1);
        assert_eq!(numbers.child(first), None);
        assert_ne!(numbers.look_up(Ino(5), "append"), first, "numbers are not given twice");
    }
}
