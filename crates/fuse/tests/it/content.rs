//! Content: reads and writes of every sort that the kernel knows.

use crate::{checked, errno, on_mount};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn what_is_written_is_read_at_every_size() {
    on_mount(|world| {
        for length in [0, 1, 2047, 2049, 4096, 131_071, 131_073, 3_000_001] {
            let (path, bytes) = (world.at("file"), pattern(length));
            fs::write(&path, &bytes).expect("it can be written");
            assert!(fs::read(&path).expect("it can be read") == bytes, "{length} bytes");
            File::open(&path).expect("it can be opened").sync_all().expect("it can be synced");
            assert_eq!(fs::metadata(&path).expect("it is there").len(), length as u64);
            // From the daemon, not from the kernel's cache.
            fs::copy(&path, world.at("copy")).expect("it can be copied");
            assert!(fs::read(world.at("copy")).expect("it can be read") == bytes, "{length} bytes");
        }
    });
}

#[test]
fn appends_go_to_the_end_and_truncates_cut() {
    on_mount(|world| {
        let path = world.at("file");
        for part in ["one ", "two ", "three"] {
            let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("it can be opened");
            file.write_all(part.as_bytes()).expect("it can be written");
        }
        assert_eq!(fs::read_to_string(&path).expect("it can be read"), "one two three");
        let file = OpenOptions::new().write(true).open(&path).expect("it can be opened");
        file.set_len(3).expect("it can be cut");
        file.set_len(5).expect("it can grow");
        assert_eq!(fs::read(&path).expect("it can be read"), b"one\0\0");
        File::create(&path).expect("it can be emptied");
        assert_eq!(fs::metadata(&path).expect("it is there").len(), 0);
    });
}

#[test]
fn an_unlinked_file_lives_until_it_is_closed() {
    on_mount(|world| {
        let path = world.at("file");
        let mut file = OpenOptions::new().create(true).read(true).write(true).truncate(true).open(&path);
        let file = file.as_mut().expect("it can be made");
        file.write_all(b"before").expect("it can be written");
        fs::remove_file(&path).expect("it can be removed");
        file.write_all(b" and after").expect("it can be written");
        file.sync_all().expect("it can be synced");
        file.seek(SeekFrom::Start(0)).expect("files can be sought in");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("it can be read");
        assert_eq!(text, "before and after");
        assert_eq!(file.metadata().expect("it is open").nlink(), 0);
    });
}

#[test]
fn a_shared_mapping_is_one_with_the_file() {
    on_mount(|world| {
        let path = world.at("file");
        let length = 300_000;
        fs::write(&path, pattern(length)).expect("it can be written");
        let file = OpenOptions::new().read(true).write(true).open(&path).expect("it can be opened");
        // SAFETY: a fresh mapping of an open file, used within its length and unmapped once.
        unsafe {
            let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
            let map = libc::mmap(std::ptr::null_mut(), length, access, shared, file.as_raw_fd(), 0);
            assert_ne!(map, libc::MAP_FAILED, "files can be mapped");
            let bytes = std::slice::from_raw_parts_mut(map.cast::<u8>(), length);
            assert_eq!(bytes[1000], (1000 % 251) as u8);
            bytes[200_000..200_005].copy_from_slice(b"hello");
            checked(libc::msync(map, length, libc::MS_SYNC)).expect("it can be synced");
            file.write_all_at(b"there", 100).expect("it can be written");
            assert_eq!(&bytes[100..105], b"there");
            checked(libc::munmap(map, length)).expect("it is mapped");
        }
        let mut expected = pattern(length);
        expected[200_000..200_005].copy_from_slice(b"hello");
        expected[100..105].copy_from_slice(b"there");
        assert!(fs::read(&path).expect("it can be read") == expected);
        drop(file);
        let inode = fs::metadata(&path).expect("it is there").ino();
        let files = world.files.clone();
        let read = world.runtime.block_on(async move { files.read(ballast_types::Ino(inode), 0, 1 << 20).await });
        assert!(read.expect("it can be read").concat() == expected, "the daemon has it too");
    });
}

/// Set for a process that maps a file and writes to it, until its input ends: a process that waits in its own mapping
/// of a mount cannot serve that mount.
const MAPS: &str = "BALLAST_TEST_MAPS";
const LENGTH: usize = 1 << 20;

#[test]
fn what_was_written_through_a_mapping_is_in_a_sparse_copy() {
    if let Some(path) = std::env::var_os(MAPS) {
        return write_through_a_mapping(Path::new(&path));
    }
    on_mount(|world| {
        let run = |script: &str| {
            let output = Command::new("timeout").args(["20", "sh", "-c", script]).current_dir(&world.path).output();
            let output = output.expect("there is a shell");
            assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let mut expected = vec![0; LENGTH];
        expected[500_000..500_004].copy_from_slice(b"text");
        for copy in [
            "cp file copy",
            "cp --sparse=always file copy",
            "tar -S -cf tar file && mkdir out && tar -xf tar -C out && mv out/file copy && rmdir out",
        ] {
            let mut mapping = a_process_that_maps(&world.at("file"));
            run(copy);
            assert!(fs::read(world.at("copy")).expect("it was made") == expected, "{copy}");
            drop(mapping.stdin.take());
            assert!(mapping.wait().expect("it is a child").success());
            run("rm file copy");
        }
        let mut mapping = a_process_that_maps(&world.at("file"));
        let file = File::open(world.at("file")).expect("it can be opened");
        // SAFETY: a call on an open descriptor.
        let found = checked(unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_DATA) });
        let data = found.expect("there is data");
        assert!(0 < data && data <= 500_000, "what is before it is still a hole: {data}");
        drop(mapping.stdin.take());
        assert!(mapping.wait().expect("it is a child").success());
    });
}

fn a_process_that_maps(path: &Path) -> Child {
    let this = std::env::current_exe().expect("it runs");
    let test = "content::what_was_written_through_a_mapping_is_in_a_sparse_copy";
    let mut command = Command::new("timeout");
    command.arg("60").arg(this).args(["--exact", test, "--nocapture"]).env(MAPS, path);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let written = lines.map_while(Result::ok).any(|line| line == "written");
    assert!(written, "it has written");
    child
}

fn write_through_a_mapping(path: &Path) {
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path);
    let file = file.expect("it can be made");
    file.set_len(LENGTH as u64).expect("it can grow");
    let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a fresh mapping of an open file.
    let map = unsafe { libc::mmap(std::ptr::null_mut(), LENGTH, access, shared, file.as_raw_fd(), 0) };
    assert_ne!(map, libc::MAP_FAILED, "files can be mapped");
    // As many programs do: the mapping outlives the descriptor.
    drop(file);
    // SAFETY: within the mapping, which nobody else uses.
    unsafe { std::ptr::copy_nonoverlapping(b"text".as_ptr(), map.cast::<u8>().add(500_000), 4) };
    eprintln!("written");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("it ends");
}

#[test]
fn direct_input_and_output_agree_with_the_cached_sort() {
    on_mount(|world| {
        let path = world.at("file");
        let mut direct = OpenOptions::new();
        direct.create(true).truncate(false).read(true).write(true).custom_flags(libc::O_DIRECT);
        let direct = direct.open(&path).expect("it can be opened");
        // Aligned as O_DIRECT may ask for.
        let layout = std::alloc::Layout::from_size_align(16_384, 4096).expect("it is a layout");
        // SAFETY: the layout has a size; the memory is initialised, used within its length and freed once.
        let buffer = unsafe { std::slice::from_raw_parts_mut(std::alloc::alloc_zeroed(layout), 16_384) };
        buffer.copy_from_slice(&pattern(16_384));
        direct.write_all_at(buffer, 8192).expect("it can be written");
        assert_eq!(fs::read(&path).expect("it can be read")[8192..], pattern(16_384));
        fs::write(&path, vec![7; 32_768]).expect("it can be written");
        assert_eq!(direct.read_at(buffer, 16_384).expect("it can be read"), 16_384);
        assert!(buffer.iter().all(|byte| *byte == 7));
        // SAFETY: allocated above with the same layout.
        unsafe { std::alloc::dealloc(buffer.as_mut_ptr(), layout) };
    });
}

#[test]
fn holes_read_as_zeros_and_can_be_found() {
    on_mount(|world| {
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(world.at("file"));
        let file = file.expect("it can be made");
        file.write_all_at(b"end", 10 << 20).expect("it can be written");
        let found = file.metadata().expect("it is open");
        assert_eq!(found.len(), (10 << 20) + 3);
        assert!(found.blocks() < 100, "{} blocks", found.blocks());
        let seek = |offset: i64, whence| {
            // SAFETY: a call on an open descriptor.
            checked(unsafe { libc::lseek(file.as_raw_fd(), offset, whence) })
        };
        assert_eq!(seek(0, libc::SEEK_DATA), Ok(10 << 20));
        assert_eq!(seek(0, libc::SEEK_HOLE), Ok(0));
        assert_eq!(seek(11 << 20, libc::SEEK_DATA), Err(libc::ENXIO));
        let mut bytes = [1; 10];
        file.read_exact_at(&mut bytes, 5 << 20).expect("it can be read");
        assert_eq!(bytes, [0; 10]);
        let allocate = |mode, offset, length| {
            // SAFETY: a call on an open descriptor.
            checked(unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, length) })
        };
        assert_eq!(allocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 10 << 20, 2), Ok(0));
        file.read_exact_at(&mut bytes[..3], 10 << 20).expect("it can be read");
        assert_eq!(&bytes[..3], b"\0\0d");
        assert_eq!(allocate(0, 0, 20 << 20), Ok(0));
        assert_eq!(file.metadata().expect("it is open").len(), 20 << 20);
        assert_eq!(allocate(libc::FALLOC_FL_COLLAPSE_RANGE, 0, 4096), Err(libc::EOPNOTSUPP));
    });
}

#[test]
fn locks_of_both_sorts_exclude() {
    on_mount(|world| {
        fs::write(world.at("file"), "x").expect("it can be written");
        let open = || OpenOptions::new().read(true).write(true).open(world.at("file")).expect("it can be opened");
        let (first, second) = (open(), open());
        let flock = |file: &File, how| {
            // SAFETY: a call on an open descriptor.
            checked(unsafe { libc::flock(file.as_raw_fd(), how | libc::LOCK_NB) })
        };
        assert_eq!(flock(&first, libc::LOCK_EX), Ok(0));
        assert_eq!(flock(&second, libc::LOCK_SH), Err(libc::EWOULDBLOCK));
        drop(first);
        assert_eq!(flock(&second, libc::LOCK_SH), Ok(0));
        let third = open();
        let range = |file: &File, kind: libc::c_int| {
            let (l_type, l_whence) = (kind as i16, libc::SEEK_SET as i16);
            let lock = libc::flock { l_type, l_whence, l_start: 0, l_len: 1, l_pid: 0 };
            // SAFETY: the lock outlives the call. Locks of open file descriptions are their own owners.
            checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) })
        };
        assert_eq!(range(&second, libc::F_WRLCK), Ok(0));
        assert_eq!(range(&third, libc::F_WRLCK), Err(libc::EAGAIN));
        assert_eq!(range(&second, libc::F_UNLCK), Ok(0));
        assert_eq!(range(&third, libc::F_WRLCK), Ok(0));
    });
}

#[test]
fn times_are_kept_to_the_nanosecond() {
    on_mount(|world| {
        let path = world.at("file");
        let file = File::create(&path).expect("it can be made");
        (&file).write_all(b"x").expect("it can be written");
        for (seconds, nanos) in [(1_234_567_890, 123_456_789), (-5, 250_000_000), (0, 1)] {
            let time = libc::timespec { tv_sec: seconds, tv_nsec: nanos };
            // SAFETY: the array outlives the call.
            checked(unsafe { libc::futimens(file.as_raw_fd(), [time, time].as_ptr()) }).expect("it is ours");
            let found = fs::metadata(&path).expect("it is there");
            assert_eq!((found.mtime(), found.mtime_nsec()), (seconds, nanos));
        }
        file.sync_all().expect("it can be synced");
        assert_eq!(fs::metadata(&path).expect("it is there").mtime_nsec(), 1);
        (&file).write_all(b"y").expect("it can be written");
        assert!(fs::metadata(&path).expect("it is there").mtime() > 1_000_000_000);
    });
}

#[test]
fn a_directory_has_no_bytes() {
    on_mount(|world| {
        fs::create_dir(world.at("d")).expect("directories can be made");
        assert_eq!(errno(fs::write(world.at("d"), "x")), libc::EISDIR);
        assert_eq!(errno(fs::read(world.at("d"))), libc::EISDIR);
        File::open(world.at("d")).expect("it can be opened").sync_all().expect("directories can be synced");
    });
}
