//! Finding the files and the end of a log on disk.
//!
//! 1. The right to write is taken: ours is made, then those of older epochs are removed. From here on an older
//!    writer acknowledges nothing that is not found below.
//! 2. The files are put into a chain. A file's header names the last file before its epoch, so a file that a
//!    fenced writer made too late belongs to no chain and is removed.
//! 3. The newest file is read from `replay_after` to its last whole group. What follows was never acknowledged
//!    and is cut, unless a later group says otherwise: each group carries the position up to which the log had
//!    been durable when it was written. A hole that was acknowledged is damage and refuses the open.
//! 4. What was found is synced, because it may be in the memory of the kernel alone; and the groups that no later
//!    one vouches for are read once more, from the disk itself.
//!
//! The cut stands in the header of the new epoch's first file, so it is never made twice.

use super::format::{BLOCK_BYTES, FILE_HEADER_BYTES, Fault, FileHeader, FileId, GroupHeader, GroupKind};
use super::on_disk::{
    io_error, is_free_name, log_name, offset_of, parse_log_name, parse_settled_name, parse_writer_name, read_block,
    read_error, remove_file, writer_name,
};
use super::replay::{GroupReader, ReadGroup, Source};
use crate::disk::{self, Disk, DiskFile};
use crate::{Error, Position, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Bytes read at once in search of groups behind a torn one.
const SEARCH_BYTES: usize = 1 << 20;

/// What was cut off the end of the log: it had not been acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub file: String,
    /// The first byte of the file that does not belong to the log.
    pub offset: u64,
    pub what: String,
}

/// What opening found at the end of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TailReport {
    pub end: Position,
    /// End and last sequence number of the last group with rows behind `replay_after`, if there is any.
    pub rows_end: Position,
    pub rows_seq: u64,
    /// The log was closed in order.
    pub closed: bool,
    pub cut: Option<Cut>,
    pub files: usize,
}

/// A file of the log, with groups in it.
pub struct Found {
    pub source: Source,
    pub end: Position,
    header: FileHeader,
}

pub struct Recovered {
    /// Oldest first.
    pub files: Vec<Found>,
    pub tail: TailReport,
    /// Of the new epoch's first file.
    pub header: FileHeader,
    /// The file whose name is the right to write.
    pub right: Arc<dyn DiskFile>,
    /// Names that belong to no log.
    garbage: Vec<String>,
}

pub fn recover(disk: &Arc<dyn Disk>, directory: &Path, epoch: u64, replay_after: Position) -> Result<Recovered> {
    disk.create_directory(directory).map_err(|error| io_error("making", directory, error))?;
    let mut garbage = Vec::new();
    let right = fence(&**disk, directory, epoch)?;
    let mut headless = Vec::new();
    let headers = read_headers(&**disk, directory, epoch, &mut garbage, &mut headless)?;
    garbage.extend(headless.iter().map(|id| log_name(*id)));
    let chain = chain(&headers);
    garbage.extend(headers.keys().filter(|id| !chain.contains_key(id)).map(|id| log_name(*id)));
    let mut files = Vec::new();
    let mut unstarted: Vec<Source> = Vec::new();
    for (id, opened) in &chain {
        let path = directory.join(log_name(*id));
        match start_of(*id, opened, &path)? {
            Some(start) => {
                if let Some(file) = unstarted.first() {
                    return Err(file.corrupt(file.start, &"it is damaged, and a later file has groups"));
                }
                let source = Source { id: *id, path, start, file: Arc::clone(&opened.file) };
                files.push(Found { source, end: start, header: opened.header });
            }
            None => {
                let source = Source { id: *id, path, start: Position(0), file: Arc::clone(&opened.file) };
                unstarted.push(source);
            }
        }
    }
    if let Some(id) = headless.into_iter().find(|id| was_used(*id, &headers, &files)) {
        let path = directory.join(log_name(id));
        return Err(Error::Corrupt(format!(
            "{}: it has no header, and later files say that it was used",
            path.display()
        )));
    }
    set_ends(&mut files, replay_after)?;
    let tail = find_end(&mut files, &unstarted, replay_after)?;
    garbage.extend(unstarted.iter().map(|source| log_name(source.id)));
    garbage.extend(files.iter().filter(|found| found.source.start == found.end).map(|f| log_name(f.source.id)));
    files.retain(|found| found.source.start < found.end);
    let previous = files.last().map(|found| found.source.id);
    let header = FileHeader {
        id: FileId { epoch, number: 1 },
        epoch_start: tail.end,
        previous,
        rows_end: tail.rows_end.max(replay_after),
        rows_seq: tail.rows_seq,
        reused: false,
    };
    Ok(Recovered { tail: TailReport { files: files.len(), ..tail }, files, header, right, garbage })
}

/// Takes the right to write from every older epoch. First ours is made and then the others are looked for: of
/// two writers that open at once, at least one sees the other.
fn fence(disk: &dyn Disk, directory: &Path, epoch: u64) -> Result<Arc<dyn DiskFile>> {
    let mine = directory.join(writer_name(epoch));
    let right = match disk.create(&mine) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::Fenced(format!("epoch {epoch} has opened the log before")));
        }
        made => made.map_err(|error| io_error("making", &mine, error))?,
    };
    let names = disk.list(directory).map_err(|error| io_error("listing", directory, error))?;
    let logs = names.iter().filter_map(|name| Some(parse_log_name(name)?.epoch)).filter(|other| *other >= epoch);
    let writers = names.iter().filter_map(|name| parse_writer_name(name));
    if let Some(later) = writers.clone().filter(|other| *other > epoch).chain(logs).max() {
        // The right that was just made is of no use to anybody.
        let _ = disk.remove(&mine);
        return Err(Error::Fenced(format!("epoch {later} has taken the log over from epoch {epoch}")));
    }
    for older in writers.filter(|other| *other < epoch) {
        remove_file(disk, &directory.join(writer_name(older)))?;
    }
    Ok(right)
}

struct OpenedFile {
    header: FileHeader,
    file: Arc<dyn DiskFile>,
}

/// Opens every file of the log. One without a header was never used, unless it was damaged: its header is durable
/// before any group is written behind it.
fn read_headers(
    disk: &dyn Disk,
    directory: &Path,
    epoch: u64,
    garbage: &mut Vec<String>,
    headless: &mut Vec<FileId>,
) -> Result<BTreeMap<FileId, OpenedFile>> {
    let mut opened = BTreeMap::new();
    let names = disk.list(directory).map_err(|error| io_error("listing", directory, error))?;
    let settled: BTreeSet<FileId> = names.iter().filter_map(|name| parse_settled_name(name)).collect();
    for name in names {
        if is_free_name(&name) {
            garbage.push(name);
            continue;
        }
        let Some(id) = parse_log_name(&name).filter(|id| id.epoch < epoch) else { continue };
        if settled.contains(&id) {
            garbage.push(name); // It has both names, and is a segment.
            continue;
        }
        let path = directory.join(&name);
        let file = match disk.open(&path) {
            Ok(file) => file,
            // A fenced writer may still be removing what it had condemned.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io_error("opening", &path, error)),
        };
        let block = read_block(&*file, &path, 0)?;
        let fault = match FileHeader::decode(&block) {
            Ok(header) if header.id == id => {
                opened.insert(id, OpenedFile { header, file });
                continue;
            }
            Ok(_) => Fault::Field("it is the header of another file"),
            Err(fault @ Fault::Version(_)) => {
                return Err(Error::Unsupported(format!("{}: {fault}", path.display())));
            }
            Err(fault) => fault,
        };
        let first = GroupHeader::decode(&read_block(&*file, &path, FILE_HEADER_BYTES)?);
        if first.is_ok_and(|group| group.id == id) {
            return Err(Error::Corrupt(format!("{}, the file's header: {fault}", path.display())));
        }
        headless.push(id);
    }
    Ok(opened)
}

/// The files that belong to the log: those of the newest epoch, then back from epoch to epoch.
fn chain(headers: &BTreeMap<FileId, OpenedFile>) -> BTreeMap<FileId, &OpenedFile> {
    let mut chain = BTreeMap::new();
    let mut last = headers.keys().next_back().map(|id| FileId { number: u64::MAX, ..*id });
    while let Some(upper) = last {
        // The file itself may be gone, and older ones still be there.
        let Some((upper, _)) = headers.range(..=upper).next_back() else { break };
        let members = headers.range(FileId { number: 0, ..*upper }..=*upper);
        last = None;
        for (id, opened) in members {
            last = opened.header.previous.filter(|previous| previous.epoch < id.epoch);
            chain.insert(*id, opened);
        }
    }
    chain
}

/// Whether a file must have had groups: files are used in order, and an epoch names the last one before it.
fn was_used(id: FileId, headers: &BTreeMap<FileId, OpenedFile>, files: &[Found]) -> bool {
    let is_later = |other: FileId| other.epoch == id.epoch && other.number > id.number;
    let is_named = headers.values().any(|opened| opened.header.previous == Some(id));
    is_named || files.iter().any(|found| is_later(found.source.id))
}

/// Where the file starts; `None` if no group was ever written to it.
fn start_of(id: FileId, opened: &OpenedFile, path: &Path) -> Result<Option<Position>> {
    let block = read_block(&*opened.file, path, FILE_HEADER_BYTES)?;
    let first = GroupHeader::decode(&block).ok().filter(|group| group.id == id).map(|group| group.start);
    if id.number == 1 {
        // Its header tells, whether or not there is a group.
        return Ok(Some(opened.header.epoch_start));
    }
    Ok(first)
}

/// Every file but the newest ends where the next one starts. Files leave the log from the oldest on, but no directory
/// is synced for it: after a power cut, one may be missing that is younger than one that is there. That is a hole
/// only where replay needs it.
fn set_ends(files: &mut [Found], replay_after: Position) -> Result<()> {
    for i in 1..files.len() {
        let (id, start, header) = (files[i].source.id, files[i].source.start, files[i].header);
        let before = &mut files[i - 1];
        let follows = if id.number == 1 {
            header.previous == Some(before.source.id)
        } else {
            before.source.id == FileId { number: id.number - 1, ..id }
        };
        let bytes = before.source.file.byte_len();
        let bytes = bytes.map_err(|error| io_error("measuring", &before.source.path, error))?;
        before.end = if follows { start } else { end_before_gap(&before.source)? };
        let fits = before.end >= before.source.start && offset_of(before.source.start, before.end) <= bytes;
        if before.end > start || !fits || !follows && start > replay_after {
            let (name, before) = (log_name(id), before.source.path.display());
            return Err(Error::Corrupt(format!("there is a hole in the log between {before} and {name}")));
        }
    }
    Ok(())
}

/// Where a file ends whose successor is gone.
fn end_before_gap(source: &Source) -> Result<Position> {
    let (end, walked) = walk(source, source.start)?;
    check_end(source, end, &walked.fault)?;
    Ok(end)
}

/// Refuses what seems to be the end of a file's groups if a later one says that more had been durable.
pub fn check_end(source: &Source, end: Position, fault: &Fault) -> Result<()> {
    if later_acknowledged(source, offset_of(source.start, end))? > Some(end) {
        return Err(source.corrupt(end, &format!("{fault}, and later groups were acknowledged")));
    }
    Ok(())
}

/// Reads the newest file to its end and syncs it.
fn find_end(files: &mut [Found], unstarted: &[Source], replay_after: Position) -> Result<TailReport> {
    let (Some(first), Some(newest)) = (files.first().map(|found| found.source.clone()), files.last_mut()) else {
        return match replay_after {
            Position(0) => Ok(TailReport::default()),
            Position(at) => Err(Error::Corrupt(format!("the log is gone: the index knows it up to position {at}"))),
        };
    };
    if first.start > replay_after {
        return Err(first.corrupt(first.start, &format!("the log before it is gone, from position {}", replay_after.0)));
    }
    let source = newest.source.clone();
    let (end, walked) = walk(&source, replay_after)?;
    let mut tail = TailReport { end, closed: walked.closed, ..TailReport::default() };
    if !tail.closed {
        check_end(&source, tail.end, &walked.fault)?;
        for file in unstarted {
            if later_acknowledged(file, FILE_HEADER_BYTES)? > Some(tail.end) {
                return Err(file.corrupt(file.start, &"it is damaged, and later groups were acknowledged"));
            }
        }
        tail.cut = torn(&source, newest.header.reused, tail.end, &walked.fault)?;
    }
    source.file.sync_data().map_err(|error| io_error("syncing", &source.path, error))?;
    let mut last = walked.last_before_unsure;
    for group in &walked.unsure {
        if let Err(fault) = check_on_disk(&source, group)? {
            tail.end = group.header.start;
            tail.closed = false;
            tail.cut = Some(cut_at(&source, tail.end, &fault));
            break;
        }
        last = Some(group.header);
    }
    if tail.end < replay_after {
        let (end, after) = (tail.end.0, replay_after.0);
        let what = format!("the log ends here, at position {end}, but the index knows it up to {after}");
        return Err(source.corrupt(tail.end, &what));
    }
    match last {
        Some(header) => (tail.rows_end, tail.rows_seq) = (header.rows_end, header.last_seq),
        None => (tail.rows_end, tail.rows_seq) = (newest.header.rows_end, newest.header.rows_seq),
    }
    newest.end = tail.end;
    Ok(tail)
}

/// What reading a file up to its first fault found.
struct Walked {
    fault: Fault,
    closed: bool,
    /// The header of the last group that a later one says to be durable.
    last_before_unsure: Option<GroupHeader>,
    /// The groups that no later one says to be durable: nearly always the last one alone.
    unsure: Vec<ReadGroup>,
}

/// Reads the groups from `replay_after` on, if a group starts there, else from the start of the file.
fn walk(source: &Source, replay_after: Position) -> Result<(Position, Walked)> {
    let mut reader = GroupReader::new(source.clone(), source.start.max(replay_after))?;
    let mut next = reader.next()?;
    if next.is_err() && replay_after > source.start {
        reader = GroupReader::new(source.clone(), source.start)?;
        next = reader.next()?;
    }
    let (mut closed, mut last_before_unsure, mut unsure) = (false, None, Vec::<ReadGroup>::new());
    loop {
        let group = match next {
            Ok(group) => group,
            Err(fault) => return Ok((reader.at, Walked { fault, closed, last_before_unsure, unsure })),
        };
        let sure = unsure.partition_point(|earlier| earlier.header.end() <= group.header.acknowledged);
        last_before_unsure = unsure.drain(..sure).next_back().map(|earlier| earlier.header).or(last_before_unsure);
        closed = group.header.kind == GroupKind::Close;
        unsure.push(group);
        next = reader.next()?;
    }
}

/// Reads a group, with its payload, once more: now from the disk, which was synced, and not from memory. A sync
/// that failed in the life before may have left the two different.
fn check_on_disk(source: &Source, group: &ReadGroup) -> Result<Result<(), Fault>> {
    let header = &group.header;
    source.file.forget().map_err(|error| io_error("reading", &source.path, error))?;
    let mut reader = GroupReader::new(source.clone(), header.start)?;
    match reader.next()? {
        Ok(again) => reader.check_payload(&again),
        Err(fault) => Ok(Err(fault)),
    }
}

/// Searches a file, from `offset` on, for groups of its own; the highest position that one of them says to have
/// been durable when it was written.
fn later_acknowledged(source: &Source, offset: u64) -> Result<Option<Position>> {
    let (mut highest, mut buffer, mut at) = (None, vec![0; SEARCH_BYTES], offset);
    loop {
        let read = disk::read_full_at(&*source.file, &mut buffer, at);
        let read = read.map_err(|error| read_error(&source.path, error))?;
        for block in buffer[..read].chunks(BLOCK_BYTES as usize) {
            if let Some(header) = GroupHeader::decode(block).ok().filter(|header| header.id == source.id) {
                highest = highest.max(Some(header.acknowledged));
            }
        }
        if read < buffer.len() {
            return Ok(highest);
        }
        at += read as u64;
    }
}

/// The cut, unless there is nothing to be cut: zeros, or what a reused file held before.
fn torn(source: &Source, reused: bool, end: Position, fault: &Fault) -> Result<Option<Cut>> {
    let block = read_block(&*source.file, &source.path, offset_of(source.start, end))?;
    let torn = match reused {
        true => GroupHeader::decode(&block).is_ok_and(|group| group.id == source.id && group.start == end),
        false => block.iter().any(|byte| *byte != 0),
    };
    Ok(torn.then(|| cut_at(source, end, fault)))
}

fn cut_at(source: &Source, end: Position, fault: &Fault) -> Cut {
    let file = source.path.display().to_string();
    Cut { file, offset: offset_of(source.start, end), what: fault.to_string() }
}

/// Removes what does not belong to the log, after the new epoch's first file has made the cut durable.
pub fn clean(disk: &dyn Disk, directory: &Path, recovered: &Recovered) -> Result<()> {
    if let Some(newest) = recovered.files.last() {
        let (source, end) = (&newest.source, offset_of(newest.source.start, newest.end));
        let length = source.file.byte_len().map_err(|error| io_error("measuring", &source.path, error))?;
        if length > end {
            source.file.truncate(end).map_err(|error| io_error("cutting", &source.path, error))?;
        }
    }
    for name in &recovered.garbage {
        remove_file(disk, &directory.join(name))?;
    }
    Ok(())
}
