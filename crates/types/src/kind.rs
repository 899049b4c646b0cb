//! The kinds of inode.

/// What an inode is. The numbers are persisted: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Directory = 1,
    File = 2,
    Symlink = 3,
    Stream = 4,
    Table = 5,
    Fifo = 6,
    Socket = 7,
    CharDevice = 8,
    BlockDevice = 9,
}

impl Kind {
    pub fn from_u8(tag: u8) -> Option<Self> {
        Some(match tag {
            1 => Self::Directory,
            2 => Self::File,
            3 => Self::Symlink,
            4 => Self::Stream,
            5 => Self::Table,
            6 => Self::Fifo,
            7 => Self::Socket,
            8 => Self::CharDevice,
            9 => Self::BlockDevice,
            _ => return None,
        })
    }

    /// The kind as one lower-case word: what `ballast ls`, the API and the xattr `user.ballast.kind` show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File => "file",
            Self::Symlink => "symlink",
            Self::Stream => "stream",
            Self::Table => "table",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice => "char-device",
            Self::BlockDevice => "block-device",
        }
    }

    /// True for the kinds that a mount shows as a directory.
    pub fn looks_like_directory(self) -> bool {
        matches!(self, Self::Directory | Self::Stream | Self::Table)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
