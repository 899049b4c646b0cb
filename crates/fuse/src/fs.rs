//! The kernel's requests, each as a future.
//!
//! The future of a request that asks is polled once on the session thread that received it. If it ends there and then,
//! its answer is out without a hop; else it goes on as a task of the runtime. A request that changes something ends in a
//! commit, which cannot end there and then: it is a task from its start. Begun on the session thread, it would wake the
//! index's task, and a worker with it, only for that one to wait for what the session thread holds.

use crate::attributes::{ABSENT, ino, set_time};
use crate::errno::Fault;
use crate::limits::{BACKGROUND_REQUESTS_MAX, WRITE_BYTES_MAX};
use crate::ops::{Change, Ops, Write, file_flags};
use crate::who::Who;
use ballast_tree::SetAttributes;
use bytes::Bytes;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags,
    ReplyAttr, ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};
use std::ffi::OsStr;
use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::SystemTime;
use tokio_util::task::TaskTracker;

/// Numbers of inodes are never used again.
const GENERATION: Generation = Generation(0);

pub(crate) struct Fs {
    ops: Arc<Ops>,
    runtime: tokio::runtime::Handle,
    tasks: TaskTracker,
}

impl Fs {
    pub fn new(ops: Arc<Ops>, runtime: tokio::runtime::Handle, tasks: TaskTracker) -> Self {
        Self { ops, runtime, tasks }
    }

    fn answer(&self, future: impl Future<Output = ()> + Send + 'static) {
        let _runtime = self.runtime.enter();
        let mut future = Box::pin(future);
        let poll = AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        match std::panic::catch_unwind(poll) {
            Ok(true) => {}
            Ok(false) => drop(self.tasks.spawn_on(future, &self.runtime)),
            // The reply was dropped unanswered, which answers EIO; the other requests of this thread must go on.
            Err(_) => tracing::error!("a request panicked"),
        }
    }

    fn change(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(future, &self.runtime);
    }
}

/// Answers a request that asks: with what `done` makes of the result, or with the errno.
macro_rules! answer {
    ($self:ident, $($rest:tt)*) => { begin!($self, changes: false, $($rest)*) };
}

/// The same for one that changes something.
macro_rules! change {
    ($self:ident, $($rest:tt)*) => { begin!($self, changes: true, $($rest)*) };
}

macro_rules! begin {
    (
        $self:ident, changes: $changes:expr,
        $reply:ident, |$ops:ident| $operation:expr, |$value:pat_param| $done:expr
    ) => {{
        let $ops = Arc::clone(&$self.ops);
        let outcome = async move {
            match $operation.await {
                Ok($value) => $done,
                Err(Fault(errno)) => $reply.error(errno),
            }
        };
        if $changes { $self.change(outcome) } else { $self.answer(outcome) }
    }};
}

impl Filesystem for Fs {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Not FUSE_ATOMIC_O_TRUNC: with it, opening a running program to truncate it has truncated it before the kernel
        // sees that it must not.
        let wanted = [
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_CACHE_SYMLINKS,
            // With it the kernel need not ask for security.capability before every write.
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
        ];
        for flag in wanted {
            // An older kernel does without.
            let _ = config.add_capabilities(flag);
        }
        // What they refuse, they leave at their nearest value.
        let _ = config.set_max_write(WRITE_BYTES_MAX);
        let _ = config.set_max_background(BACKGROUND_REQUESTS_MAX);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (who, name, trust) = (Who::of(request), name.to_owned(), self.ops.settings.trust);
        // That nothing is there is an answer too, which the kernel remembers.
        answer!(self, reply, |ops| ops.lookup(&who, ino(parent), &name), |found| {
            reply.entry(&trust, &found.unwrap_or(ABSENT), GENERATION)
        });
    }

    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        self.ops.forget(ino.0, lookups);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let trust = self.ops.settings.trust;
        answer!(self, reply, |ops| ops.getattr(ino(number)), |found| reply.attr(&trust, &found));
    }

    fn setattr(
        &self,
        request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (who, trust) = (Who::of(request), self.ops.settings.trust);
        let (atime, mtime) = (atime.map(set_time), mtime.map(set_time));
        let attributes = SetAttributes { mode: mode.map(|mode| mode & 0o7777), uid, gid, atime, mtime };
        let change = Change { attributes, size, open: handle.is_some() };
        change!(self, reply, |ops| ops.setattr(&who, ino(number), change), |now| reply.attr(&trust, &now));
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        answer!(self, reply, |ops| ops.readlink(ino(number)), |target| reply.data(&target));
    }

    fn mknod(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, rdev: u32, reply: ReplyEntry) {
        let (who, name, trust) = (Who::of(request), name.to_owned(), self.ops.settings.trust);
        change!(self, reply, |ops| ops.mknod(&who, ino(parent), &name, mode, rdev), |made| {
            reply.entry(&trust, &made, GENERATION)
        });
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let (who, name, trust) = (Who::of(request), name.to_owned(), self.ops.settings.trust);
        change!(self, reply, |ops| ops.mkdir(&who, ino(parent), &name, mode), |made| {
            reply.entry(&trust, &made, GENERATION)
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (who, name) = (Who::of(request), name.to_owned());
        change!(self, reply, |ops| ops.unlink(&who, ino(parent), &name), |()| reply.ok());
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (who, name) = (Who::of(request), name.to_owned());
        change!(self, reply, |ops| ops.rmdir(&who, ino(parent), &name), |()| reply.ok());
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (who, name, trust) = (Who::of(request), name.to_owned(), self.ops.settings.trust);
        let target = Bytes::copy_from_slice(target.as_os_str().as_bytes());
        change!(self, reply, |ops| ops.symlink(&who, ino(parent), &name, target), |made| {
            reply.entry(&trust, &made, GENERATION)
        });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        to_parent: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (who, name, to_name) = (Who::of(request), name.to_owned(), to_name.to_owned());
        let (from, to) = (ino(parent), ino(to_parent));
        change!(self, reply, |ops| ops.rename(&who, (from, &name), (to, &to_name), flags), |()| reply.ok());
    }

    fn link(&self, request: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (who, name, trust) = (Who::of(request), name.to_owned(), self.ops.settings.trust);
        change!(self, reply, |ops| ops.link(&who, ino(number), ino(parent), &name), |linked| {
            reply.entry(&trust, &linked, GENERATION)
        });
    }

    fn open(&self, request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let who = Who::of(request);
        answer!(self, reply, |ops| ops.open(&who, ino(number), flags.0), |(handle, flags)| reply.opened(handle, flags));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (who, name, trust) = (Who::of(request), name.to_owned(), self.ops.settings.trust);
        change!(self, reply, |ops| ops.create(&who, ino(parent), &name, mode, flags), |(made, handle)| {
            reply.created(&trust, &made, GENERATION, handle, file_flags(flags))
        });
    }

    fn read(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let who = Who::of(request);
        answer!(self, reply, |ops| ops.read(&who, handle, offset, size), |bytes| reply.data(&bytes));
    }

    fn write(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let who = Who::of(request);
        // Bytes of a shared mapping come without their writer; the kernel took the privileges when they changed.
        let keep_privileges = !write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let bytes = Bytes::copy_from_slice(data);
        let write = Write { handle, offset, bytes, flags: flags.0, keep_privileges };
        let changes = write.is_synchronous();
        begin!(self, changes: changes, reply, |ops| ops.write(&who, write), |written| reply.written(written));
    }

    fn flush(&self, _: &Request, _: INodeNo, handle: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        let changes = self.ops.is_dirty(handle);
        begin!(self, changes: changes, reply, |ops| ops.flush(handle), |()| reply.ok());
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        answer!(self, reply, |ops| ops.release(handle), |()| reply.ok());
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        let changes = self.ops.is_dirty(handle);
        begin!(self, changes: changes, reply, |ops| ops.fsync(handle), |()| reply.ok());
    }

    fn opendir(&self, request: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let who = Who::of(request);
        answer!(self, reply, |ops| ops.opendir(&who, ino(number)), |handle| reply.opened(handle, FopenFlags::empty()));
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let ops = Arc::clone(&self.ops);
        self.answer(async move {
            let take = |line: crate::ops::Line| {
                let full = reply.add(line.ino, line.next, line.kind, OsStr::from_bytes(&line.name));
                !full
            };
            match ops.readdir(handle, offset, take).await {
                Ok(()) => reply.ok(),
                Err(Fault(errno)) => reply.error(errno),
            }
        });
    }

    fn readdirplus(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let (ops, trust) = (Arc::clone(&self.ops), self.ops.settings.trust);
        self.answer(async move {
            let take = |line: crate::ops::Line, found: &fuser::FileAttr| {
                let name = OsStr::from_bytes(&line.name);
                let full = reply.add(line.ino, line.next, name, &trust, found, GENERATION);
                !full
            };
            match ops.readdirplus(handle, offset, take).await {
                Ok(()) => reply.ok(),
                Err(Fault(errno)) => reply.error(errno),
            }
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        answer!(self, reply, |ops| ops.release(handle), |()| reply.ok());
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(self, reply, |ops| ops.fsync(handle), |()| reply.ok());
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        const INODES: u64 = 1 << 40;
        let (blocks, free, available) = self.ops.space();
        reply.statfs(blocks, free, available, INODES, INODES, 4096, 255, 4096);
    }

    fn setxattr(
        &self,
        request: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let (who, name, value) = (Who::of(request), name.to_owned(), value.to_vec());
        change!(self, reply, |ops| ops.setxattr(&who, ino(number), name.as_bytes(), &value, flags), |()| reply.ok());
    }

    fn getxattr(&self, request: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let (who, name) = (Who::of(request), name.to_owned());
        answer!(self, reply, |ops| ops.getxattr(&who, ino(number), name.as_bytes()), |value| {
            send_xattr(reply, &value, size)
        });
    }

    fn listxattr(&self, request: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        let who = Who::of(request);
        answer!(self, reply, |ops| ops.listxattr(&who, ino(number)), |names| send_xattr(reply, &names, size));
    }

    fn removexattr(&self, request: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (who, name) = (Who::of(request), name.to_owned());
        change!(self, reply, |ops| ops.removexattr(&who, ino(number), name.as_bytes()), |()| reply.ok());
    }

    fn access(&self, request: &Request, number: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let who = Who::of(request);
        answer!(self, reply, |ops| ops.access(&who, ino(number), mask.bits()), |()| reply.ok());
    }

    fn fallocate(
        &self,
        request: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let who = Who::of(request);
        change!(self, reply, |ops| ops.fallocate(&who, ino(number), offset, length, mode), |()| reply.ok());
    }

    fn lseek(&self, _: &Request, number: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        answer!(self, reply, |ops| ops.lseek(ino(number), offset, whence), |found| reply.offset(found));
    }

    fn copy_file_range(
        &self,
        request: &Request,
        from: INodeNo,
        _: FileHandle,
        from_offset: u64,
        to: INodeNo,
        _: FileHandle,
        to_offset: u64,
        length: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let (who, from, to) = (Who::of(request), (ino(from), from_offset), (ino(to), to_offset));
        change!(self, reply, |ops| ops.copy_file_range(&who, from, to, length), |copied| reply.written(copied));
    }

    // The kernel keeps the locks itself: it was not asked to hand them over. See the crate's documentation.

    fn getlk(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        _: u64,
        _: u64,
        _: i32,
        _: u32,
        reply: ReplyLock,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn setlk(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        _: u64,
        _: u64,
        _: i32,
        _: u32,
        _: bool,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn bmap(&self, _: &Request, _: INodeNo, _: u32, _: u64, reply: ReplyBmap) {
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        reply: ReplyPoll,
    ) {
        // After this the kernel answers itself: files are always ready.
        reply.error(Errno::ENOSYS);
    }
}

/// The two steps of reading an attribute: first its length, then its bytes.
fn send_xattr(reply: ReplyXattr, value: &[u8], size: u32) {
    match (u32::try_from(value.len()), size) {
        (Err(_), _) => reply.error(Errno::E2BIG),
        (Ok(length), 0) => reply.size(length),
        (Ok(length), size) if length > size => reply.error(Errno::ERANGE),
        _ => reply.data(value),
    }
}
