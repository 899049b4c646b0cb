//! The files (or objects) of the log: where each starts and ends, and which may go.

use super::LogFile;
use super::format::FileId;
use crate::Position;
use crate::disk::DiskFile;
use crate::pointer::{Hold, Place};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug)]
pub struct FileEntry {
    pub start: Position,
    /// Where its last group ends; moves while `is_open`.
    pub end: Position,
    /// What it takes of the budget.
    pub bytes: u64,
    /// Groups may still be added.
    pub is_open: bool,
    pub condemned: bool,
    /// Payloads in flight have clones of it.
    pub hold: Arc<()>,
    /// `disk` only; none until the file has been made.
    pub handle: Option<Arc<dyn DiskFile>>,
}

impl FileEntry {
    pub fn new(start: Position, end: Position, bytes: u64, handle: Option<Arc<dyn DiskFile>>) -> Self {
        Self { start, end, bytes, is_open: false, condemned: false, hold: Arc::new(()), handle }
    }

    pub fn hold(&self) -> Hold {
        Some(Arc::clone(&self.hold) as _)
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.hold) > 1
    }
}

impl FileId {
    pub fn place(self) -> Place {
        Place::Log { epoch: self.epoch, number: self.number }
    }

    pub fn of(place: Place) -> Option<Self> {
        match place {
            Place::Log { epoch, number } => Some(Self { epoch, number }),
            Place::Segment { .. } => None,
        }
    }
}

/// Files in the order of the log, which is the order of their ids.
#[derive(Debug, Default)]
pub struct Files {
    entries: BTreeMap<FileId, FileEntry>,
    bytes: u64,
}

impl Files {
    pub fn insert(&mut self, id: FileId, entry: FileEntry) {
        self.bytes += entry.bytes;
        let replaced = self.entries.insert(id, entry);
        assert!(replaced.is_none(), "a file of the log was made twice: {id:?}");
    }

    pub fn get(&self, id: FileId) -> Option<&FileEntry> {
        self.entries.get(&id)
    }

    pub fn get_mut(&mut self, id: FileId) -> Option<&mut FileEntry> {
        self.entries.get_mut(&id)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// All files, oldest first, none that ends where it starts.
    pub fn list(&self, durable: Position) -> Vec<LogFile> {
        let filled = self.entries.iter().filter(|(_, entry)| entry.start < entry.end.min(durable));
        let shown = |(id, entry): (&FileId, &FileEntry)| LogFile {
            place: id.place(),
            start: entry.start,
            end: entry.end.min(durable),
            condemned: entry.condemned,
        };
        filled.map(shown).collect()
    }

    /// The ids of what a [`LogFile`] stands for.
    pub fn inside(&self, file: LogFile) -> Vec<FileId> {
        let inside = |entry: &FileEntry| entry.start >= file.start && entry.start < file.end;
        self.entries.iter().filter(|(_, entry)| inside(entry)).map(|(id, _)| *id).collect()
    }

    /// Condemns, from the oldest on, what ends at or before `position`, up to the first file that is held.
    /// The newest file with durable groups always stays: without it, nobody would know where the log ends.
    pub fn condemn(&mut self, position: Position, durable: Position) -> Vec<LogFile> {
        let mut condemned = Vec::new();
        let newest = self.entries.iter().rfind(|(_, entry)| entry.start < durable).map(|(id, _)| *id);
        for (id, entry) in &mut self.entries {
            if entry.condemned {
                continue;
            }
            if Some(*id) >= newest || entry.is_open || entry.end > position || entry.is_held() {
                break;
            }
            entry.condemned = true;
            condemned.push(LogFile { place: id.place(), start: entry.start, end: entry.end, condemned: true });
        }
        condemned
    }

    /// Takes a condemned file out; `None` if it is not condemned.
    pub fn take_condemned(&mut self, id: FileId) -> Option<FileEntry> {
        self.entries.get(&id).filter(|entry| entry.condemned)?;
        self.remove(id)
    }

    /// Takes back that it condemned these.
    pub fn pardon(&mut self, files: &[LogFile]) {
        for id in files.iter().filter_map(|file| FileId::of(file.place)) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.condemned = false;
            }
        }
    }

    /// The oldest file, to make it a segment. `None` if it must stay in the log.
    pub fn for_segment(&self, id: FileId) -> Option<&FileEntry> {
        let oldest = self.entries.first_key_value().filter(|(oldest, _)| **oldest == id);
        oldest.map(|(_, entry)| entry).filter(|entry| !entry.condemned && !entry.is_open)
    }

    pub fn remove(&mut self, id: FileId) -> Option<FileEntry> {
        let entry = self.entries.remove(&id)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    /// A file turned out to take another part of the budget.
    pub fn resize(&mut self, id: FileId, bytes: u64) {
        if let Some(entry) = self.entries.get_mut(&id) {
            self.bytes = self.bytes - entry.bytes + bytes;
            entry.bytes = bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> FileId {
        FileId { epoch: 1, number }
    }

    fn files() -> Files {
        let mut files = Files::default();
        for number in 1..=4 {
            let (start, end) = (Position((number - 1) * 10), Position(number * 10));
            files.insert(id(number), FileEntry::new(start, end, 10, None));
        }
        files.get_mut(id(4)).unwrap().is_open = true;
        files
    }

    #[test]
    fn files_are_condemned_from_the_oldest_up_to_one_that_is_held() {
        let mut files = files();
        let hold = files.get(id(2)).unwrap().hold();
        let condemn = |files: &mut Files, position| files.condemn(Position(position), Position(40)).len();
        assert_eq!(condemn(&mut files, 100), 1);
        assert!(files.get(id(1)).unwrap().condemned && !files.get(id(2)).unwrap().condemned);
        drop(hold);
        assert_eq!(condemn(&mut files, 29), 1, "the third ends behind the position");
        assert_eq!(files.condemn(Position(100), Position(30)).len(), 0, "nothing newer than the third is durable");
        assert_eq!(condemn(&mut files, 100), 1, "the fourth is open");
        assert!(files.take_condemned(id(4)).is_none());
        assert!(files.take_condemned(id(1)).is_some());
        assert_eq!(files.bytes(), 30);
    }
}
