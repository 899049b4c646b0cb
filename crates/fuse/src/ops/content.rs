//! Content: open, read, write, sync, space.

use super::names::open_of;
use super::{Done, Ops};
use crate::handles::Opened;
use crate::limits::WRITE_BYTES_MAX;
use crate::virtuals::{Numbers, VirtualFile};
use crate::who::{Who, as_caller};
use ballast_files::read::join;
use ballast_files::space::{Allocate, Seek};
use ballast_types::{Call, Ino};
use bytes::Bytes;
use fuser::{Errno, FileHandle, FopenFlags};
use std::sync::Arc;

impl Ops {
    pub async fn open(&self, who: &Who, ino: Ino, flags: i32) -> Done<(FileHandle, FopenFlags)> {
        if Numbers::is_virtual(ino.0) {
            return self.open_virtual(ino).await;
        }
        // The kernel opens a program to be executed with a flag of its own (FMODE_EXEC); who may execute it need
        // not be allowed to read it.
        let how = open_of(flags);
        let mut answer = file_flags(flags);
        if !how.write && self.files.may_be_mapped(ino) {
            // The kernel looks for holes without writing first what came through a mapping. When it is told to drop
            // what it has cached, it writes that before this open returns, and who copies sparsely opens to read.
            answer.remove(FopenFlags::FOPEN_KEEP_CACHE);
        }
        let executed = flags & FLAG_EXECUTE != 0;
        let handle = if executed {
            self.files.open(&Call::internal(), ino, how).await?
        } else {
            as_caller!(who, call => self.files.open(&call, ino, how))?
        };
        Ok((self.handles.add(Opened::File(handle)), answer))
    }

    pub async fn read(&self, who: &Who, handle: FileHandle, offset: u64, length: u32) -> Done<Bytes> {
        let opened = self.handles.get(handle)?;
        match &*opened {
            Opened::File(file) => Ok(join(self.files.read_at(file, offset, u64::from(length)).await?)),
            Opened::Virtual(file) => Ok(self.virtuals.read(&who.call_with_groups(), file, offset, length).await?),
            Opened::Directory(_) => Err(Errno::EISDIR.into()),
        }
    }

    /// `keep_privileges`: the kernel has seen that the writer may leave the set-id bits as they are.
    pub async fn write(&self, who: &Who, write: Write) -> Done<u32> {
        let is_synchronous = write.is_synchronous();
        let Write { handle, offset, bytes, flags: _, keep_privileges } = write;
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::EINVAL)?;
        debug_assert!(length <= WRITE_BYTES_MAX, "the kernel was told how much it may send");
        let opened = self.handles.get(handle)?;
        match &*opened {
            Opened::File(file) => {
                let call = if keep_privileges { Call::internal() } else { self.changer(who, file.ino()).await };
                self.files.write(&call, file.ino(), offset, bytes).await?;
                if is_synchronous {
                    self.files.fsync(file).await?;
                }
            }
            Opened::Virtual(file) => self.virtuals.write(&who.call_with_groups(), file, bytes).await?,
            Opened::Directory(_) => return Err(Errno::EISDIR.into()),
        }
        Ok(length)
    }

    /// Whether the file has content that is in memory only.
    pub fn is_dirty(&self, handle: FileHandle) -> bool {
        self.handles.get(handle).is_ok_and(|opened| matches!(&*opened, Opened::File(file) if file.is_dirty()))
    }

    /// Called when a descriptor is closed that may have been written to: the last word on that.
    pub async fn flush(&self, handle: FileHandle) -> Done<()> {
        let opened = self.handles.get(handle)?;
        match &*opened {
            Opened::File(file) => Ok(self.files.hand_over(file).await?),
            // Other descriptors may share this opening, and write the rest of a line.
            Opened::Virtual(_) | Opened::Directory(_) => Ok(()),
        }
    }

    pub async fn release(&self, handle: FileHandle) -> Done<()> {
        let Some(opened) = self.handles.remove(handle) else { return Ok(()) };
        match Arc::try_unwrap(opened) {
            Ok(Opened::File(file)) => self.files.release(file).await?,
            Ok(Opened::Virtual(file)) => self.virtuals.close(&file).await,
            // Directories need nothing; a file that a read ahead still uses is closed by the last of them.
            _ => {}
        }
        Ok(())
    }

    pub async fn fsync(&self, handle: FileHandle) -> Done<()> {
        let opened = self.handles.get(handle)?;
        match &*opened {
            Opened::File(file) => Ok(self.files.fsync(file).await?),
            Opened::Virtual(_) => Ok(()),
            Opened::Directory(directory) => Ok(self.files.fsync_directory(directory.inode.ino).await?),
        }
    }

    pub async fn fallocate(&self, who: &Who, ino: Ino, offset: u64, length: u64, mode: i32) -> Done<()> {
        const PUNCH_AND_KEEP: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        const ZERO_AND_KEEP: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
        let how = match mode {
            0 => Allocate::Extend,
            libc::FALLOC_FL_KEEP_SIZE => Allocate::Keep,
            // Below the end of the file, zeros that stay are a hole.
            PUNCH_AND_KEEP | ZERO_AND_KEEP => Allocate::PunchHole,
            libc::FALLOC_FL_ZERO_RANGE => Allocate::Zero,
            _ => return Err(Errno::EOPNOTSUPP.into()),
        };
        Ok(self.files.fallocate(&self.changer(who, ino).await, ino, offset, length, how).await?)
    }

    pub async fn lseek(&self, ino: Ino, offset: i64, whence: i32) -> Done<i64> {
        let what = match whence {
            libc::SEEK_DATA => Seek::Data,
            libc::SEEK_HOLE => Seek::Hole,
            _ => return Err(Errno::EINVAL.into()),
        };
        let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        let found = self.files.seek(ino, offset, what).await?;
        Ok(i64::try_from(found).map_err(|_| Errno::EOVERFLOW)?)
    }

    pub async fn copy_file_range(&self, who: &Who, from: (Ino, u64), to: (Ino, u64), length: u64) -> Done<u32> {
        if Numbers::is_virtual(from.0.0) || Numbers::is_virtual(to.0.0) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let copied = self.files.copy_range(&self.changer(who, to.0).await, from, to, length).await?;
        Ok(u32::try_from(copied).map_err(|_| Errno::EOVERFLOW)?)
    }

    /// Free space: that of the local bucket, or as good as endless.
    pub fn space(&self) -> (u64, u64, u64) {
        const ENDLESS: u64 = 1 << 38;
        let known = self.settings.space_of.as_deref().and_then(crate::mount::space);
        known.unwrap_or((ENDLESS, ENDLESS, ENDLESS))
    }

    async fn open_virtual(&self, ino: Ino) -> Done<(FileHandle, FopenFlags)> {
        let (parent, name) = self.numbers.child(ino.0).ok_or(Errno::ESTALE)?;
        let inode = self.tree.inode(parent).await?;
        let file = VirtualFile { inode, name, handle: self.handles.number() };
        let handle = self.handles.add(Opened::Virtual(file));
        // Its size is not known and its bytes change by themselves: nothing of it is cached.
        Ok((handle, FopenFlags::FOPEN_DIRECT_IO))
    }
}

/// A write request.
pub(crate) struct Write {
    pub handle: FileHandle,
    pub offset: u64,
    pub bytes: Bytes,
    pub flags: i32,
    pub keep_privileges: bool,
}

impl Write {
    /// Whether it is to be durable when it is answered.
    pub fn is_synchronous(&self) -> bool {
        self.flags & (libc::O_SYNC | libc::O_DSYNC) != 0
    }
}

/// Set by the kernel in the flags of an open by execve(2).
const FLAG_EXECUTE: i32 = 0x20;

/// The mount is the only way to a file's bytes, so what the kernel has cached stays true; and a close need not be told
/// of by who only reads.
pub(crate) fn file_flags(flags: i32) -> FopenFlags {
    let reads = flags & libc::O_ACCMODE == libc::O_RDONLY;
    FopenFlags::FOPEN_KEEP_CACHE | if reads { FopenFlags::FOPEN_NOFLUSH } else { FopenFlags::empty() }
}
