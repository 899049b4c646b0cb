use super::*;
use ballast_runtime::Random;
use std::path::PathBuf;

fn put(file: &dyn DiskFile, data: &[u8], offset: u64) -> io::Result<()> {
    write_all_at(file, &mut [IoSlice::new(data)], offset)
}

fn contents(file: &dyn DiskFile) -> Vec<u8> {
    let mut buffer = vec![0; file.byte_len().unwrap() as usize];
    let read = read_full_at(file, &mut buffer, 0).unwrap();
    assert_eq!(read, buffer.len());
    buffer
}

/// The same calls on both disks give the same answers.
fn behaves_as_a_disk(disk: &dyn Disk, directory: PathBuf) {
    disk.create_directory(&directory).unwrap();
    let path = directory.join("a");
    let file = disk.create(&path).unwrap();
    assert_eq!(disk.create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    put(&*file, b"hello", 3).unwrap();
    write_all_at(&*file, &mut [IoSlice::new(b"x"), IoSlice::new(b""), IoSlice::new(b"yz")], 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(contents(&*file), b"xyzhello");
    file.preallocate(20, Fill::Zeros).unwrap();
    assert_eq!(file.byte_len().unwrap(), 20);
    let large = disk.create(&directory.join("large")).unwrap();
    large.preallocate(3 << 20, Fill::ZerosUncached).unwrap();
    assert!(contents(&*large).iter().all(|byte| *byte == 0));
    put(&*large, &[7; 40 << 10], 4096).unwrap();
    large.sync_data().unwrap();
    assert_eq!(contents(&*large)[4095..4097], [0, 7]);
    disk.remove(&directory.join("large")).unwrap();
    let mut buffer = [1; 16];
    assert_eq!(file.read_at(&mut buffer, 12).unwrap(), 8);
    assert_eq!(buffer[..8], [0; 8]);
    assert_eq!(file.read_at(&mut buffer, 20).unwrap(), 0);
    file.truncate(4).unwrap();
    assert_eq!(contents(&*disk.open(&path).unwrap()), b"xyzh");
    disk.rename(&path, &directory.join("b")).unwrap();
    disk.sync_directory(&directory).unwrap();
    assert_eq!(disk.list(&directory).unwrap(), ["b"]);
    assert!(!disk.exists(&path).unwrap());
    let named = file.names().unwrap();
    assert_eq!((named.count, file.names().unwrap()), (1, named));
    disk.remove(&directory.join("b")).unwrap();
    assert_eq!(file.names().unwrap().count, 0);
    assert_ne!(file.names().unwrap().changed, named.changed);
    assert_eq!(contents(&*file), b"xyzh", "an open file outlives its name");
    assert_eq!(disk.open(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn the_real_disk_behaves_as_a_disk() {
    let directory = tempfile::tempdir().unwrap();
    behaves_as_a_disk(&RealDisk, directory.path().join("x/y"));
}

/// Pages of a file that are in memory. A read that does not wait tells less: the disk may answer before it gives up.
fn pages_in_memory(path: &Path) -> usize {
    use std::os::fd::AsRawFd;
    let file = std::fs::File::open(path).unwrap();
    let bytes = file.metadata().unwrap().len() as usize;
    let mut pages = vec![0; bytes.div_ceil(4096)];
    // SAFETY: a new mapping that nothing is read from; there is a byte for each of its pages.
    unsafe {
        let mapped = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(mapped, libc::MAP_FAILED);
        assert_eq!(libc::mincore(mapped, bytes, pages.as_mut_ptr()), 0);
        libc::munmap(mapped, bytes);
    }
    pages.iter().filter(|page| **page & 1 == 1).count()
}

/// Beside the test's program: where temporary files lie may be memory alone.
#[test]
fn what_is_forgotten_is_read_from_the_disk() {
    let program = std::env::current_exe().unwrap();
    let directory = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
    let path = directory.path().join("a");
    let file = RealDisk.create(&path).unwrap();
    file.preallocate(1 << 20, Fill::Zeros).unwrap();
    put(&*file, &[7; 512], 512).unwrap();
    file.sync_data().unwrap();
    assert!(pages_in_memory(&path) > 0);
    file.forget().unwrap();
    assert_eq!(pages_in_memory(&path), 0);
    let mut block = [0; 512];
    assert_eq!((file.read_at(&mut block, 512).unwrap(), block), (512, [7; 512]));
}

#[test]
fn the_simulated_disk_behaves_as_a_disk() {
    let disk = SimDisk::new(Random::from_seed(1), SimFaults { short_write: 2, ..SimFaults::default() });
    behaves_as_a_disk(&disk, PathBuf::from("/log"));
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_only_some_of_the_rest() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..50 {
        let disk = SimDisk::new(Random::from_seed(seed), SimFaults::default());
        let file = disk.create(Path::new("/a")).unwrap();
        put(&*file, &[1; 1024], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_directory(Path::new("/")).unwrap();
        disk.create(Path::new("/b")).unwrap();
        put(&*file, &[2; 1024], 1024).unwrap();
        let after = disk.power_cut();
        assert!(put(&*file, &[3], 0).is_err(), "the old process is dead");
        let found = contents(&*after.open(Path::new("/a")).unwrap());
        assert_eq!(found[..1024], [1; 1024]);
        if found.len() == 2048 && found[1024..] == [2; 1024] {
            kept += 1;
        } else {
            lost += 1;
        }
    }
    assert!(lost > 5 && kept > 5, "{lost} lost, {kept} kept");
}

#[test]
fn the_simulated_disk_fills_up() {
    let disk = SimDisk::new(Random::from_seed(1), SimFaults { capacity_bytes: 100, ..SimFaults::default() });
    let file = disk.create(Path::new("/a")).unwrap();
    put(&*file, &[1; 100], 0).unwrap();
    put(&*file, &[2; 100], 0).unwrap();
    assert!(is_full(&put(&*file, &[1], 100).unwrap_err()));
    assert!(is_full(&file.preallocate(200, Fill::Nothing).unwrap_err()));
}
