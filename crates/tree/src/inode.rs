//! What an inode and a directory entry are.

use ballast_types::{Ino, Kind, Name, Timestamp};
use bytes::Bytes;

/// Everything about an inode but its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    pub ino: Ino,
    pub kind: Kind,
    /// Permission bits and set-id and sticky bits: 0o7777 at most.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Names of the inode; a directory counts itself and its subdirectories, as on any Unix. 0: it has no name
    /// left and goes when its last user lets go.
    pub links: u32,
    /// Bytes of a file; entries of a directory.
    pub size: u64,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    /// When it was made.
    pub btime: Timestamp,
    /// Device number of a device node.
    pub rdev: u32,
    /// How many extended attributes it has, so that asking for one of none costs no I/O.
    pub attributes: u32,
    /// The directory and name of an inode with one name (directories, streams and tables always): how a path
    /// is found from an inode.
    pub parent: Option<(Ino, Name)>,
    /// The engine's own: the target of a symlink, the settings of a stream, the current schema version of a
    /// table, the bytes of a small file.
    pub descriptor: Bytes,
}

/// What a new inode starts as.
#[derive(Clone, Debug)]
pub struct NewInode {
    pub kind: Kind,
    /// After the umask.
    pub mode: u32,
    pub rdev: u32,
    pub descriptor: Bytes,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: Name,
    pub ino: Ino,
    pub kind: Kind,
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    Now,
    At(Timestamp),
}

/// The attributes to change; `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub atime: Option<SetTime>,
    pub mtime: Option<SetTime>,
}

/// How a rename treats the target, as in renameat2(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rename {
    #[default]
    Replace,
    NoReplace,
    Exchange,
    /// Leaves a character device 0/0 behind.
    Whiteout,
    WhiteoutNoReplace,
}

impl Rename {
    pub(crate) fn refuses_to_replace(self) -> bool {
        matches!(self, Self::NoReplace | Self::WhiteoutNoReplace)
    }

    pub(crate) fn leaves_whiteout(self) -> bool {
        matches!(self, Self::Whiteout | Self::WhiteoutNoReplace)
    }
}
