//! The `disk` back end: files in a directory.
//!
//! `log-<epoch>-<number>` are the files; see `format` for their bytes. `writer-<epoch>` is the right of an epoch
//! to write: a later writer removes it before it looks for the end of the log, and this one looks for it after
//! every sync and before it acknowledges. Either the later writer finds the group, or this one finds its right
//! gone. So there is at most one such file, and fencing leaves nothing behind. It holds where both processes
//! share a kernel; elsewhere, use the object log.
//!
//! A file is written with zeros before it is used: writes into it then change no metadata, and a sync is one
//! flush of the disk. The next file is made by a thread of its own while the last one fills. Behind large
//! groups it is not: metadata costs little beside them, and every byte would be written twice. From 32 KiB on,
//! groups and the zeros before them go past the system's page cache. A file that is not needed any more is kept
//! as `free-<epoch>-<number>` and becomes a later one: that spares the zeros, half of all that would be written.
//! What it held belongs to another file by its headers, so nobody takes it for the log's.
//! For `settled-<epoch>-<number>` see `settled`.

use super::format::{BLOCK_BYTES, FILE_HEADER_BYTES, FileHeader, FileId};
use super::group::{Group, Writer};
use super::settings::{Drive, Settings};
use crate::disk::{self, Disk, DiskFile, Fill, Names};
use crate::{Error, Position, Result, limits};
use parking_lot::Mutex;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub fn log_name(id: FileId) -> String {
    format!("log-{:010}-{:010}", id.epoch, id.number)
}

pub fn parse_log_name(name: &str) -> Option<FileId> {
    let (epoch, number) = name.strip_prefix("log-")?.split_once('-')?;
    Some(FileId { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
}

pub fn writer_name(epoch: u64) -> String {
    format!("writer-{epoch:010}")
}

fn free_name(id: FileId) -> String {
    format!("free-{:010}-{:010}", id.epoch, id.number)
}

fn settled_name(id: FileId) -> String {
    format!("settled-{:010}-{:010}", id.epoch, id.number)
}

pub fn parse_settled_name(name: &str) -> Option<FileId> {
    parse_log_name(&format!("log-{}", name.strip_prefix("settled-")?))
}

pub fn is_free_name(name: &str) -> bool {
    name.strip_prefix("free-").is_some_and(|rest| parse_log_name(&format!("log-{rest}")).is_some())
}

pub fn parse_writer_name(name: &str) -> Option<u64> {
    name.strip_prefix("writer-")?.parse().ok()
}

/// The error for a failed call on the log's files.
pub fn io_error(doing: &str, path: &Path, error: io::Error) -> Error {
    if disk::is_full(&error) {
        let place = path.parent().unwrap_or(path).display();
        return Error::Exhausted(format!(
            "the disk is full, so the log has stopped: free space in {place}, then start again"
        ));
    }
    Error::unavailable(format!("{doing} {} failed", path.display()), error)
}

/// The error for bytes of a file that cannot be read: damage, if the disk has lost them.
pub fn read_error(path: &Path, error: io::Error) -> Error {
    if disk::is_damage(&error) {
        return Error::Corrupt(format!("{}: the disk cannot read it ({error})", path.display()));
    }
    io_error("reading", path, error)
}

pub struct DiskLog {
    maker: Arc<Maker>,
    /// Its name is the right to write.
    right: Arc<dyn DiskFile>,
    /// Taken by the committer alone.
    writer: Mutex<DiskWriter>,
    nonce: [u8; 16],
    #[cfg(test)]
    pub mutant: Option<super::tests::Mutant>,
}

/// Makes the files of one epoch.
#[derive(Debug)]
struct Maker {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// Of the epoch's first file; the others repeat all but the number.
    header: FileHeader,
    settings: Settings,
    stopped: AtomicBool,
    free: Mutex<Vec<Free>>,
}

/// A file that is no part of the log any more and may become one again.
#[derive(Debug)]
struct Free {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

#[derive(Debug, Default)]
struct DiskWriter {
    current: Option<(FileId, Arc<dyn DiskFile>)>,
    /// Groups written to the current file.
    groups: u64,
    next: Option<Next>,
    /// The names of the right when it was last looked for by its own.
    seen: Option<Names>,
}

/// The file after the current one.
#[derive(Debug)]
enum Next {
    Made(FileId, Result<Arc<dyn DiskFile>>),
    Making(FileId, std::thread::JoinHandle<Result<Arc<dyn DiskFile>>>),
}

impl Maker {
    fn path(&self, id: FileId) -> PathBuf {
        self.directory.join(log_name(id))
    }

    /// Makes a file that holds its header and else zeros, durably.
    fn make(&self, id: FileId, fill: Fill) -> Result<Arc<dyn DiskFile>> {
        let path = self.path(id);
        // What there is of one that could not be made takes space that others need.
        let try_once = || self.try_make(&path, id, fill).inspect_err(|_| drop(self.disk.remove(&path)));
        let made = try_once().or_else(|error| {
            if !disk::is_full(&error) {
                return Err(error);
            }
            // If it is gone already, there is space now all the same.
            self.settings.reserve.as_ref().map(|reserve| reserve.give_up());
            try_once()
        });
        made.map_err(|error| io_error("making", &path, error))
    }

    fn try_make(&self, path: &Path, id: FileId, fill: Fill) -> io::Result<Arc<dyn DiskFile>> {
        if self.stopped.load(Ordering::SeqCst) {
            return Err(io::Error::other("the log has stopped"));
        }
        let free = self.free.lock().pop();
        if let Some(free) = free {
            match self.reuse(&free, path, id) {
                Ok(true) => return Ok(free.file),
                Ok(false) => {}
                Err(error) => tracing::debug!(path = %free.path.display(), %error, "not reused"),
            }
            let _ = self.disk.remove(&free.path);
        }
        let file = self.disk.create(path)?;
        file.preallocate(self.bytes_ahead(id.number), fill)?;
        let header = FileHeader { id, ..self.header }.encode();
        disk::write_all_at(&*file, &mut [IoSlice::new(&header)], 0)?;
        file.sync_data()?;
        self.disk.sync_directory(&self.directory)?;
        Ok(file)
    }
}

impl Maker {
    /// Bytes that a file gets before they are needed: all that it may have, but never much of what the disk has left,
    /// which may be the reserve that was just given up. A file grows where these end.
    fn bytes_ahead(&self, number: u64) -> u64 {
        let available = self.disk.space(&self.directory).map_or(u64::MAX, |space| space.available);
        self.settings.capacity(number).min(available / limits::LOG_AHEAD_SHARE)
    }

    /// Makes a free file the one with this id, durably; false if the fence is gone.
    ///
    /// Each step is durable before the next, so that no crash leaves a name of the log on another file's bytes.
    /// A later writer lists the files after it has taken the fence: with the fence still there after the file
    /// got its free name, that writer will not have opened it under its old one.
    fn reuse(&self, free: &Free, path: &Path, id: FileId) -> io::Result<bool> {
        self.disk.sync_directory(&self.directory)?;
        if !self.disk.exists(&self.directory.join(writer_name(id.epoch)))? {
            return Ok(false);
        }
        let header = FileHeader { id, reused: true, ..self.header }.encode();
        disk::write_all_at(&*free.file, &mut [IoSlice::new(&header)], 0)?;
        free.file.sync_data()?;
        self.disk.rename(&free.path, path)?;
        self.disk.sync_directory(&self.directory)?;
        Ok(true)
    }

    /// Keeps a file of the log, which nobody reads any more, for a later one; false if it is of no use.
    fn keep(&self, id: FileId, file: Arc<dyn DiskFile>) -> io::Result<bool> {
        let mut free = self.free.lock();
        let useful = Arc::strong_count(&file) == 1 && file.byte_len()? == self.settings.file_bytes;
        if !useful || free.len() >= limits::LOG_FREE_FILES_MAX || self.stopped.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let path = self.directory.join(free_name(id));
        self.disk.rename(&self.path(id), &path)?;
        free.push(Free { path, file });
        Ok(true)
    }
}

impl DiskLog {
    /// Makes the first file of an epoch.
    pub fn start(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        header: FileHeader,
        right: Arc<dyn DiskFile>,
        settings: &Settings,
    ) -> Result<(Self, Arc<dyn DiskFile>)> {
        let settings = settings.clone();
        let nonce = settings.random.bytes16();
        #[cfg(test)]
        let mutant = settings.mutant;
        let maker = Arc::new(Maker {
            disk,
            directory,
            header,
            settings,
            stopped: AtomicBool::new(false),
            free: Mutex::default(),
        });
        let file = maker.make(header.id, Fill::Zeros)?;
        let current = Some((header.id, Arc::clone(&file)));
        let writer = Mutex::new(DiskWriter { current, ..DiskWriter::default() });
        let log = Self {
            maker,
            right,
            writer,
            nonce,
            #[cfg(test)]
            mutant,
        };
        Ok((log, file))
    }

    /// Writes and syncs one group and checks the fence: it is durable, and ours, when this returns. Tells
    /// `opened` when it goes on to another file.
    pub fn write(
        &self,
        group: &Group,
        acknowledged: Position,
        opened: impl FnOnce(FileId, Arc<dyn DiskFile>),
    ) -> Result<()> {
        let mut writer = self.writer.lock();
        let file = match &writer.current {
            Some((id, file)) if *id == group.id => Arc::clone(file),
            _ => {
                let file = self.take_next(&mut writer, group.id)?;
                writer.current = Some((group.id, Arc::clone(&file)));
                writer.groups = 0;
                opened(group.id, Arc::clone(&file));
                file
            }
        };
        let header = group.header(Writer { acknowledged, nonce: self.nonce, previous: 0, next: 0 }).encode();
        let written = disk::write_all_at(&*file, &mut group.slices(&header), group.offset);
        let failed = |doing: &str, error| io_error(doing, &self.maker.path(group.id), error);
        written.map_err(|error| failed("writing", error))?;
        #[cfg(test)]
        if self.mutant == Some(super::tests::Mutant::AcknowledgeBeforeSync) {
            return Ok(());
        }
        file.sync_data().map_err(|error| failed("syncing", error))?;
        self.check_fence(&mut writer.seen)?;
        writer.groups += 1;
        self.prepare_next(&mut writer, group);
        Ok(())
    }

    /// Looks for the right by its name, unless it has been seen and no name of the file was made or removed since.
    fn check_fence(&self, seen: &mut Option<Names>) -> Result<()> {
        let Maker { disk, directory, header, .. } = &*self.maker;
        let path = || directory.join(writer_name(header.id.epoch));
        let looked = self.right.names().and_then(|names| {
            if *seen == Some(names) {
                return Ok(true);
            }
            let there = disk.exists(&path())?;
            *seen = there.then_some(names);
            Ok(there)
        });
        match looked {
            Ok(true) => Ok(()),
            Ok(false) => Err(fenced(&**disk, directory, header.id.epoch)),
            Err(error) => Err(io_error("looking for", &path(), error)),
        }
    }

    fn take_next(&self, writer: &mut DiskWriter, id: FileId) -> Result<Arc<dyn DiskFile>> {
        let (made, file) = match writer.next.take() {
            Some(Next::Made(made, file)) => (made, file),
            Some(Next::Making(made, thread)) => {
                let lost = |_| Error::Closed("the thread that makes files died".to_owned());
                (made, thread.join().map_err(lost)?)
            }
            None => return self.maker.make(id, Fill::Zeros),
        };
        assert_eq!(made, id, "the file that was prepared is the one that comes next");
        // That was some time ago: what was wrong then may have passed.
        file.or_else(|_| self.maker.make(id, Fill::Zeros))
    }

    /// Begins to make the next file when the current one is half full.
    fn prepare_next(&self, writer: &mut DiskWriter, group: &Group) {
        let half = self.maker.settings.capacity(group.id.number) / 2;
        if writer.next.is_some() || group.offset + group.byte_len() <= half {
            return;
        }
        let id = FileId { number: group.id.number + 1, ..group.id };
        let fill = match group.offset / writer.groups.max(1) {
            limits::LOG_LARGE_GROUP_BYTES.. => Fill::Nothing,
            limits::PAGED_BYTES_MIN.. => Fill::ZerosUncached,
            _ => Fill::Zeros,
        };
        writer.next = Some(if self.maker.settings.drive == Drive::Thread {
            let maker = Arc::clone(&self.maker);
            let builder = std::thread::Builder::new().name("ballast-log-file".to_owned());
            match builder.spawn(move || maker.make(id, fill)) {
                Ok(thread) => Next::Making(id, thread),
                Err(error) => Next::Made(id, Err(Error::unavailable("starting a thread", error))),
            }
        } else {
            Next::Made(id, self.maker.make(id, fill))
        });
    }

    /// The log has stopped: no file is made any more.
    pub fn stop(&self) {
        self.maker.stopped.store(true, Ordering::SeqCst);
    }

    /// Removes what a closed log needs no more: the prepared file and the right to write.
    pub fn let_go(&self) {
        let next = self.writer.lock().next.take();
        let made = match next {
            Some(Next::Made(id, _)) => Some(id),
            Some(Next::Making(id, thread)) => thread.join().is_ok().then_some(id),
            None => None,
        };
        let Maker { disk, directory, header, .. } = &*self.maker;
        let free = std::mem::take(&mut *self.maker.free.lock());
        let paths = made.map(|id| self.maker.path(id)).into_iter().chain(free.into_iter().map(|free| free.path));
        for path in paths.chain([directory.join(writer_name(header.id.epoch))]) {
            // What stays is removed by the next open.
            if let Err(error) = disk.remove(&path) {
                tracing::debug!(path = %path.display(), %error, "not removed");
            }
        }
    }

    /// Takes a file out of the directory; `file` is its handle, if it was open.
    pub fn remove(&self, id: FileId, file: Option<Arc<dyn DiskFile>>) -> Result<()> {
        let path = self.maker.path(id);
        if let Some(file) = file {
            match self.maker.keep(id, file) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => tracing::debug!(path = %path.display(), %error, "not kept"),
            }
        }
        remove_file(self.disk(), &path)
    }

    pub fn disk(&self) -> &dyn Disk {
        &*self.maker.disk
    }

    pub fn directory(&self) -> &Path {
        &self.maker.directory
    }

    /// Gives a file of the log the name of a segment, durably. Done again after it failed half-way, it does no harm.
    pub fn settle(&self, id: FileId) -> Result<()> {
        let (from, to) = (self.maker.path(id), self.settled_path(id));
        let settle = || {
            match self.disk().rename(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.disk().exists(&to)? => {}
                renamed => renamed?,
            }
            self.disk().sync_directory(self.directory())
        };
        settle().map_err(|error| io_error("renaming", &from, error))
    }

    pub fn settled_path(&self, id: FileId) -> PathBuf {
        self.directory().join(settled_name(id))
    }

    /// `None` if it is gone.
    pub fn open_settled(&self, id: FileId) -> Result<Option<Arc<dyn DiskFile>>> {
        let path = self.settled_path(id);
        match self.disk().open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some).map_err(|error| read_error(&path, error)),
        }
    }

    pub fn remove_settled(&self, id: FileId) -> Result<()> {
        remove_file(self.disk(), &self.settled_path(id))
    }

    pub fn name(&self, id: FileId) -> String {
        self.maker.path(id).display().to_string()
    }
}

/// Removes a file, unless it is gone.
pub fn remove_file(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("removing", path, error)),
        _ => Ok(()),
    }
}

pub fn read_block(file: &dyn DiskFile, path: &Path, offset: u64) -> Result<Vec<u8>> {
    let mut block = vec![0; BLOCK_BYTES as usize];
    let read = disk::read_full_at(file, &mut block, offset).map_err(|error| read_error(path, error))?;
    block.truncate(read);
    Ok(block)
}

/// The error of a writer whose right is gone.
pub fn fenced(disk: &dyn Disk, directory: &Path, epoch: u64) -> Error {
    let names = disk.list(directory).unwrap_or_default();
    let owner = names.iter().filter_map(|name| parse_writer_name(name)).max();
    Error::Fenced(match owner {
        Some(owner) => format!("epoch {owner} has taken the log over from epoch {epoch}"),
        None => format!("the right of epoch {epoch} to write the log was taken"),
    })
}

pub const LAYOUT: super::state::Layout = super::state::Layout::Files { block: BLOCK_BYTES };

/// Where a position of a file lies in it.
pub fn offset_of(file_start: Position, position: Position) -> u64 {
    FILE_HEADER_BYTES + (position.0 - file_start.0)
}
