//! `cargo xtask crash full`: the disk below the bucket is filled to the last byte under load.
//!
//! The server must say so, and acknowledge nothing that is not there once space is free again. After each
//! filling it is started on the full disk as well: it may refuse, in words, but spoil nothing. At last Ballast fills
//! the disk by itself: it must go on, start where no byte is left, and give space back when something is removed.

use super::dice::Dice;
use super::writers::Writers;
use crate::program::{Program, deadline, past, pause};
use crate::report::Outcome;
use crate::served::{Place, Served};
use crate::test;
use anyhow::Context;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The size of the disk, filled within a second or two. The log settles when it has 128 MiB and makes a file of 64 MiB
/// before it needs it; beside that there is room for segments, or Ballast itself would fill the disk.
const DISK_BYTES: u64 = 512 << 20;

/// Fillings between two renewals of the objects, so that what was acknowledged fits.
const FILLS_PER_GENERATION: u32 = 5;

/// The longest time under load before the disk is filled, in milliseconds.
const LOAD_MS_MAX: u64 = 1500;

/// Of each file with which Ballast fills the disk.
const OWN_FILE_BYTES: usize = 4 << 20;

/// What a server says whose log cannot go on.
const LOG_STOPPED: &str = "the log has stopped";

/// How long writers may go on in the space that the server had taken before.
const GO_ON_LIMIT: Duration = Duration::from_secs(60);

pub fn fill(fills: u32, dice: &mut Dice, keep: Option<&Path>) -> anyhow::Result<Outcome> {
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(Outcome::Absent("a small disk can be mounted by root alone".to_owned()));
    }
    let python = match test::python() {
        Ok(python) => python,
        Err(error) => return Ok(Outcome::Absent(format!("no Python clients: {error:#}"))),
    };
    let temporary = tempfile::tempdir()?;
    let directory = keep.unwrap_or(temporary.path());
    std::fs::create_dir_all(directory)?;
    let disk = match Disk::mount(directory) {
        Ok(disk) => disk,
        Err(error) => return Ok(Outcome::Absent(format!("no small disk: {error:#}"))),
    };
    let bucket = disk.path.join("bucket").to_str().context("a path of a test is text")?.to_owned();
    let mut place = Place::new(directory)?.with_bucket(bucket);
    let log = directory.join("server.log");
    let (mut passed, mut failed) = (0, 0);
    let mut writers = Writers::new(&python, directory, 0);
    for fill in 0..=fills {
        let mut count = |what: &str, problems: &[String]| {
            let word = if problems.is_empty() { "ok" } else { "not ok" };
            println!(
                "{word} - filling {fill}: {what}{}",
                problems.iter().map(|text| format!(": {text}")).collect::<String>()
            );
            passed += usize::from(problems.is_empty());
            failed += usize::from(!problems.is_empty());
        };
        let said_before = std::fs::metadata(&log).map_or(Ok(0), |log| usize::try_from(log.len()))?;
        let mut served = place.start()?;
        if fill > 0 {
            count(&format!("what was acknowledged is there: {}", writers.progress()), &writers.check(&served, &place)?);
        }
        if fill == fills {
            let served = match place.mount.clone() {
                Some(mount) => by_itself(&mut place, served, &disk, &mount.join("own"), &mut count)?,
                None => served,
            };
            served.stop()?;
            let (clean, said) = place.fsck()?;
            count("fsck finds nothing", if clean { &[] } else { std::slice::from_ref(&said) });
            break;
        }
        if fill % FILLS_PER_GENERATION == 0 {
            writers = Writers::new(&python, directory, fill / FILLS_PER_GENERATION);
            writers.prepare(&served)?;
        }
        let mut load = writers.start(&served, &place)?;
        pause(Duration::from_millis(300 + dice.below(LOAD_MS_MAX)));
        let end = deadline(GO_ON_LIMIT);
        while !load.has_ended()? && !past(end) {
            disk.fill()?;
            pause(Duration::from_millis(20));
        }
        load.end()?;
        // While the log finds room in a file that it has, the server waits for space.
        if std::fs::read_to_string(&log)?.get(said_before..).is_some_and(|said| said.contains(LOG_STOPPED)) {
            let stays = if served.has_ended() { Vec::new() } else { vec!["it still runs".to_owned()] };
            count("a server whose log has stopped ends by itself", &stays);
        }
        served.kill()?;
        let said = std::fs::read(&log)?;
        let said = String::from_utf8_lossy(&said[said_before..]).into_owned();
        let silent = if names_the_cause(&said) { Vec::new() } else { vec![format!("the server said: {said}")] };
        count("the server says that the disk is full", &silent);
        disk.fill()?;
        let refused = match place.start() {
            Ok(served) => served.kill().map(|()| Vec::new())?,
            Err(error) if names_the_cause(&format!("{error:#}")) => Vec::new(),
            Err(error) => vec![format!("{error:#}")],
        };
        count("a start on the full disk works, or names the cause", &refused);
        disk.clear()?;
    }
    Ok(Outcome::Counted { passed, failed })
}

/// Files fill the disk, others take the rest while the server is down, and the files are removed. The server that runs then.
fn by_itself(
    place: &mut Place,
    mut served: Served,
    disk: &Disk,
    directory: &Path,
    count: &mut dyn FnMut(&str, &[String]),
) -> anyhow::Result<Served> {
    std::fs::create_dir_all(directory)?;
    let write = |number: u64| -> std::io::Result<()> {
        let mut file = std::fs::File::create(directory.join(number.to_string()))?;
        file.write_all(&vec![number as u8; OWN_FILE_BYTES])?;
        file.sync_all()
    };
    let refused_as_full = |written: std::io::Result<()>| match written {
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => Vec::new(),
        other => vec![format!("{other:?}")],
    };
    let (mut files, mut refused) = (0, Ok(()));
    while refused.is_ok() && files < DISK_BYTES / OWN_FILE_BYTES as u64 {
        refused = write(files);
        files += u64::from(refused.is_ok());
    }
    count(&format!("after {files} files writers hear that there is no space"), &refused_as_full(refused));
    let goes_on = if served.is_running()? { Vec::new() } else { vec!["it has ended".to_owned()] };
    count("and the server goes on", &goes_on);
    served.kill()?;
    disk.fill()?;
    served = place.start().context("start on a disk without a free byte")?;
    let mut damaged = Vec::new();
    for number in 0..files {
        let whole = std::fs::read(directory.join(number.to_string()))?.iter().eq(&vec![number as u8; OWN_FILE_BYTES]);
        damaged.extend((!whole).then(|| format!("file {number}")));
    }
    count("it starts on a disk without a free byte, and has all files", &damaged);
    count("writers hear it there as well", &refused_as_full(write(files)));
    std::fs::remove_dir_all(directory)?;
    let (end, mut written) = (deadline(GO_ON_LIMIT), Err(std::io::ErrorKind::StorageFull.into()));
    while written.is_err() && !past(end) {
        pause(Duration::from_millis(500));
        written = std::fs::create_dir_all(directory).and_then(|()| write(0));
    }
    count(
        "once they are removed, there is space",
        &written.err().map(|error| error.to_string()).into_iter().collect::<Vec<_>>(),
    );
    Ok(served)
}

fn names_the_cause(text: &str) -> bool {
    ["the disk is full", "the disk is nearly full", "no storage space"].iter().any(|cause| text.contains(cause))
}

/// A small file system of its own, unmounted with the value.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn mount(directory: &Path) -> anyhow::Result<Self> {
        let (image, path) = (directory.join("disk.img"), directory.join("disk"));
        std::fs::create_dir_all(&path)?;
        std::fs::File::create(&image)?.set_len(DISK_BYTES)?;
        Program::new("mkfs.ext4").arguments(&["-q", "-m", "0"]).arguments(&[&image]).quiet()?;
        Program::new("mount").arguments(&["-o", "loop"]).arguments(&[&image, &path]).quiet()?;
        Ok(Self { path })
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Takes every free byte: large pieces first, single bytes at the end.
    fn fill(&self) -> anyhow::Result<()> {
        let mut filler = std::fs::File::options().create(true).append(true).open(self.filler())?;
        let zeros = vec![0; 1 << 20];
        let mut piece = zeros.len();
        while piece > 0 {
            match filler.write(&zeros[..piece]) {
                Ok(written) if written > 0 => {}
                _ => piece /= 16,
            }
        }
        // What was not written yet may still be refused: then it was not free.
        let _ = filler.sync_all();
        Ok(())
    }

    fn clear(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.filler())?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = Program::new("umount").arguments(&[&self.path]).quiet() {
            println!("{error:#}");
        }
    }
}
