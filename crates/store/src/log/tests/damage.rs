//! A small log, cut or flipped at every byte: cuts recover a prefix, flips are always named.

use crate::disk::{Disk, SimDisk, SimFaults, read_full_at, write_all_at};
use crate::log::format::FileHeader;
use crate::log::{Drive, Medium, NoListener, Opened, Settings, TailReport, open};
use crate::{Error, Pointer, Position, Result};
use ballast_runtime::Random;
use bytes::Bytes;
use futures::executor::block_on;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn settings() -> Settings {
    Settings {
        file_bytes: 4 << 10,
        first_file_bytes: 2 << 10,
        drive: Drive::Manual,
        random: Random::from_seed(1),
        ..Settings::default()
    }
}

fn open_on(disk: &SimDisk, epoch: u64) -> Result<Opened> {
    let medium = Medium::Disk { disk: Arc::new(disk.clone()), directory: PathBuf::from("/log") };
    block_on(open(medium, epoch, Position(0), Arc::new(NoListener), settings()))
}

/// Two epochs with five groups each, in several files; payload at the front of each group.
fn small_log(close: bool) -> (SimDisk, Vec<Pointer>) {
    let disk = SimDisk::new(Random::from_seed(1), SimFaults::default());
    let mut pointers = Vec::new();
    for epoch in 1..3 {
        let log = open_on(&disk, epoch).unwrap().log;
        for i in 0..5 {
            let payload = log.append_payload(&[Bytes::from(vec![i; 300])]).unwrap();
            pointers.push(payload.pointer);
            log.append_rows(pointers.len() as u64, format!("row {}", pointers.len()).as_bytes()).unwrap();
            assert!(log.round(true));
        }
        if close {
            block_on(log.close()).unwrap();
        }
    }
    (disk, pointers)
}

/// The rows found, the report, and how many payloads could be read; or what was said instead.
fn look(disk: &SimDisk, pointers: &[Pointer]) -> Result<(usize, TailReport, usize)> {
    let Opened { log, mut replay, tail } = open_on(disk, 9)?;
    let mut rows = 0;
    while let Some(records) = block_on(replay.next())? {
        for record in records {
            rows += 1;
            assert_eq!((record.seq, &record.rows[..]), (rows as u64, format!("row {rows}").as_bytes()));
        }
    }
    let mut payloads = 0;
    for (i, pointer) in pointers[..rows].iter().enumerate() {
        match block_on(log.read_payload(pointer)) {
            Ok(bytes) => assert_eq!(bytes, vec![i as u8 % 5; 300]),
            Err(Error::Corrupt(_)) => continue,
            Err(error) => panic!("{error}"),
        }
        payloads += 1;
    }
    Ok((rows, tail, payloads))
}

fn log_files(disk: &SimDisk) -> Vec<(PathBuf, usize)> {
    let names = disk.list(Path::new("/log")).unwrap().into_iter().filter(|name| name.starts_with("log-"));
    let paths = names.map(|name| Path::new("/log").join(name));
    paths.map(|path| (path.clone(), disk.open(&path).unwrap().byte_len().unwrap() as usize)).collect()
}

fn flip(disk: &SimDisk, path: &Path, at: usize, bit: u8) {
    let file = disk.open(path).unwrap();
    let mut byte = [0];
    read_full_at(&*file, &mut byte, at as u64).unwrap();
    byte[0] ^= 1 << bit;
    write_all_at(&*file, &mut [IoSlice::new(&byte)], at as u64).unwrap();
    file.sync_data().unwrap();
}

fn is_named(error: &Error, path: &Path) -> bool {
    matches!(error, Error::Corrupt(_)) && error.to_string().contains(path.file_name().unwrap().to_str().unwrap())
}

#[test]
fn a_cut_at_any_byte_recovers_a_prefix_or_is_named() {
    let (disk, pointers) = small_log(false);
    let files = log_files(&disk);
    assert!(files.len() > 3, "{files:?}");
    let newest = files.len() - 1;
    let mut prefixes = std::collections::BTreeSet::new();
    for (i, (path, length)) in files.iter().enumerate() {
        for at in (0..*length).step_by(3) {
            let disk = disk.copy();
            disk.open(path).unwrap().truncate(at as u64).unwrap();
            match look(&disk, &pointers) {
                Ok((rows, tail, payloads)) => {
                    assert_eq!(payloads, rows, "{path:?} cut at {at}");
                    let whole = rows == pointers.len();
                    assert!(whole || i + 1 >= newest, "{path:?} cut at {at}: {rows} rows, {tail:?}");
                    prefixes.insert(rows);
                }
                Err(error) => assert!(matches!(error, Error::Corrupt(_)), "{path:?} cut at {at}: {error}"),
            }
        }
    }
    assert!(prefixes.len() > 2, "{prefixes:?}");
}

#[test]
fn a_flip_at_any_byte_is_named_or_harms_nothing_that_a_later_group_vouches_for() {
    for closed in [false, true] {
        let (disk, pointers) = small_log(closed);
        for (path, length) in log_files(&disk) {
            for at in 0..length {
                let disk = disk.copy();
                flip(&disk, &path, at, (at % 8) as u8);
                let place = format!("{path:?} flipped at {at}");
                match look(&disk, &pointers) {
                    // A flip in payload is named when the payload is read.
                    Ok((rows, _, payloads)) if rows == pointers.len() => assert!(payloads + 1 >= rows, "{place}"),
                    // Without a group behind it, the last one looks as if it had been torn: that is reported.
                    Ok((rows, tail, payloads)) => {
                        assert!(!closed && rows + 1 == pointers.len() && payloads == rows, "{place}: {rows}, {tail:?}");
                        assert!(tail.cut.is_some_and(|cut| cut.file == path.to_str().unwrap()), "{place}");
                    }
                    Err(error) => assert!(is_named(&error, &path), "{place}: {error}"),
                }
            }
        }
    }
}

#[test]
fn a_file_cut_within_its_header_is_named_even_if_replay_does_not_need_it() {
    let (disk, _) = small_log(true);
    let files = log_files(&disk);
    let end = open_on(&disk.copy(), 9).unwrap().tail.end;
    for (path, _) in &files[..files.len() - 1] {
        for at in [0, 1, 300, 511, 512] {
            let disk = disk.copy();
            disk.open(path).unwrap().truncate(at).unwrap();
            let medium = Medium::Disk { disk: Arc::new(disk), directory: PathBuf::from("/log") };
            let error = block_on(open(medium, 9, end, Arc::new(NoListener), settings())).err();
            assert!(error.as_ref().is_some_and(|error| is_named(error, path)), "{path:?} cut at {at}: {error:?}");
        }
    }
}

/// Where a file system renames in two steps, a crash between them leaves both names.
#[test]
fn a_file_with_the_name_of_a_segment_as_well_is_one_and_stands_in_the_way_of_no_open() {
    let (disk, _) = small_log(true);
    let end = open_on(&disk.copy(), 9).unwrap().tail.end;
    let (path, _) = &log_files(&disk)[0];
    let settled = path.to_str().unwrap().replace("log-", "settled-");
    disk.rename(path, Path::new(&settled)).unwrap();
    disk.create(path).unwrap();
    let medium = Medium::Disk { disk: Arc::new(disk.clone()), directory: PathBuf::from("/log") };
    block_on(open(medium, 9, end, Arc::new(NoListener), settings())).unwrap();
    assert!(!disk.exists(path).unwrap(), "the log lets go of its name");
}

#[test]
fn a_missing_file_is_a_hole() {
    let (disk, pointers) = small_log(true);
    let files = log_files(&disk);
    // Of the newest file nothing that is left knows; unless the index does, see `basics`.
    for (path, _) in &files[..files.len() - 1] {
        let disk = disk.copy();
        disk.remove(path).unwrap();
        let found = look(&disk, &pointers);
        assert!(matches!(found, Err(Error::Corrupt(_))), "{path:?}: {found:?}");
    }
}

#[test]
fn a_file_used_again_shows_nothing_of_what_it_was() {
    let disk = SimDisk::new(Random::from_seed(1), SimFaults::default());
    let log = open_on(&disk, 1).unwrap().log;
    let is_reused = |path: &Path| {
        let mut block = vec![0; 512];
        read_full_at(&*disk.open(path).unwrap(), &mut block, 0).unwrap();
        FileHeader::decode(&block).unwrap().reused
    };
    let (mut rows, mut freed) = (0, Position(0));
    // Until the newest file is an old one, and half of what it was before still stands in it.
    while !log_files(&disk).last().is_some_and(|(path, _)| is_reused(path)) || rows % 3 != 0 {
        rows += 1;
        assert!(rows < 1000, "no file is ever used again");
        log.append_payload(&[Bytes::from(vec![1; 300])]).unwrap();
        log.append_rows(rows, format!("row {rows}").as_bytes()).unwrap();
        assert!(log.round(true));
        let condemned = log.condemn(log.durable_position());
        freed = condemned.last().map_or(freed, |file| file.end);
        block_on(log.remove(&condemned));
    }
    let mut disk = disk.kill();
    for epoch in [2, 3] {
        let medium = Medium::Disk { disk: Arc::new(disk.clone()), directory: PathBuf::from("/log") };
        let opened = block_on(open(medium, epoch, freed, Arc::new(NoListener), settings())).unwrap();
        assert_eq!((opened.tail.rows_seq, opened.tail.cut), (rows, None), "epoch {epoch}");
        assert!(disk.list(Path::new("/log")).unwrap().iter().all(|name| !name.starts_with("free-")), "free files go");
        disk = disk.power_cut();
    }
}
