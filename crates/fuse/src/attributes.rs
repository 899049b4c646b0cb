//! Inodes as the kernel sees them.

use ballast_tree::Inode;
use ballast_types::{Ino, Kind, Timestamp};
use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What `st_blksize` suggests. Our blocks are larger, but so are the requests that the kernel makes of any size.
const BLOCK_SIZE: u32 = 4096;

pub(crate) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::Directory | Kind::Stream | Kind::Table => FileType::Directory,
        Kind::File => FileType::RegularFile,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// The kind of a node to be made by mknod; `None` for what it cannot make.
pub(crate) fn kind_of_mode(mode: u32) -> Option<Kind> {
    Some(match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Kind::File,
        libc::S_IFIFO => Kind::Fifo,
        libc::S_IFSOCK => Kind::Socket,
        libc::S_IFCHR => Kind::CharDevice,
        libc::S_IFBLK => Kind::BlockDevice,
        _ => return None,
    })
}

/// The attributes of an inode whose content takes up so many bytes.
pub(crate) fn attributes(inode: &Inode, allocated: u64) -> FileAttr {
    let size = match inode.kind {
        Kind::Symlink => inode.descriptor.len() as u64,
        _ => inode.size,
    };
    let (mut mode, mut links) = (inode.mode, inode.links);
    if matches!(inode.kind, Kind::Stream | Kind::Table) {
        // Whoever may read it may also look into the directory that it shows as.
        mode |= (mode & 0o444) >> 2;
        links = links.max(2);
    }
    FileAttr {
        ino: INodeNo(inode.ino.0),
        size,
        blocks: allocated.div_ceil(512),
        atime: system_time(inode.atime),
        mtime: system_time(inode.mtime),
        ctime: system_time(inode.ctime),
        crtime: system_time(inode.btime),
        kind: file_type(inode.kind),
        perm: (mode & 0o7777) as u16,
        nlink: links,
        uid: inode.uid,
        gid: inode.gid,
        rdev: inode.rdev,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// What a lookup of a name that is not there answers: no inode has this number.
pub(crate) const ABSENT: FileAttr = FileAttr {
    ino: INodeNo(0),
    size: 0,
    blocks: 0,
    atime: UNIX_EPOCH,
    mtime: UNIX_EPOCH,
    ctime: UNIX_EPOCH,
    crtime: UNIX_EPOCH,
    kind: FileType::RegularFile,
    perm: 0,
    nlink: 0,
    uid: 0,
    gid: 0,
    rdev: 0,
    blksize: 0,
    flags: 0,
};

/// The attributes of a virtual child of a stream or a table.
pub(crate) fn virtual_attributes(parent: &Inode, number: u64, mode: u32, size: u64) -> FileAttr {
    let ino = INodeNo(number);
    let perm = (mode & 0o777) as u16;
    FileAttr { ino, size, kind: FileType::RegularFile, perm, nlink: 1, rdev: 0, ..attributes(parent, 0) }
}

fn system_time(time: Timestamp) -> SystemTime {
    let nanos = Duration::from_nanos(time.0.unsigned_abs());
    if time.0 >= 0 { UNIX_EPOCH + nanos } else { UNIX_EPOCH - nanos }
}

/// A time that the kernel sent.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
        Err(before) => {
            // fuser takes seconds and nanoseconds both away from the epoch; the kernel meant the nanoseconds
            // to be added to the negative seconds.
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            Timestamp::from_seconds(-seconds, before.subsec_nanos())
        }
    }
}

pub(crate) fn set_time(time: TimeOrNow) -> ballast_tree::SetTime {
    match time {
        TimeOrNow::SpecificTime(time) => ballast_tree::SetTime::At(timestamp(time)),
        TimeOrNow::Now => ballast_tree::SetTime::Now,
    }
}

pub(crate) fn ino(number: INodeNo) -> Ino {
    Ino(number.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_epoch_survive_the_way_in() {
        // The kernel sent -2 s and 300 ms; this is what fuser makes of it.
        let sent = UNIX_EPOCH - Duration::new(2, 300_000_000);
        assert_eq!(timestamp(sent), Timestamp::from_seconds(-2, 300_000_000));
        assert_eq!(timestamp(UNIX_EPOCH + Duration::new(5, 6)), Timestamp(5_000_000_006));
    }

    #[test]
    fn times_before_the_epoch_survive_the_way_out() {
        let shown = system_time(Timestamp::from_seconds(-2, 300_000_000));
        assert_eq!(shown, UNIX_EPOCH - Duration::from_millis(1700));
    }
}
