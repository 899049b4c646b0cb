use super::Teller;
use crate::replace::{self, Placed};
use crate::{Settings, stale};
use ballast_types::Ino;
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, INodeNo, ReplyAttr, ReplyEntry, Request, Session,
    SessionACL,
};
use parking_lot::Mutex;
use std::ffi::{CString, OsStr};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

/// Longer than anything takes that does not wait for ever.
const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(20);
/// Where the test, run once more as a server, mounts.
const MOUNT: &str = "BALLAST_TEST_MOUNT";

/// Says that `mkdir` came, and never answers it.
struct Silent {
    asked: SyncSender<()>,
    unanswered: Mutex<Vec<ReplyEntry>>,
}

impl Filesystem for Silent {
    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let now = SystemTime::UNIX_EPOCH;
        let root = FileAttr {
            ino,
            size: 0,
            blocks: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            kind: FileType::Directory,
            perm: 0o755,
            nlink: 2,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        };
        reply.attr(&Duration::from_secs(1), &root);
    }

    fn lookup(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::ENOENT);
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        self.unanswered.lock().push(reply);
        let _ = self.asked.send(());
    }
}

/// Serves until it is killed, and tells the kernel of a name as soon as a request holds the lock that this takes.
fn serve(path: &Path) {
    let Placed { device, .. } = replace::mount(&Settings::new(path)).unwrap();
    let (asked, is_asked) = sync_channel(1);
    let silent = Silent { asked, unanswered: Mutex::default() };
    let session = Session::from_fd(silent, device, SessionACL::Owner, Config::default()).unwrap();
    let teller = Teller::start(session.as_fd()).unwrap();
    let _session = session.spawn().unwrap();
    println!("serves");
    is_asked.recv().unwrap();
    teller.forget_name(Ino::ROOT, &"name".parse().unwrap()).unwrap();
}

/// Ends all requests of a mount.
fn abort(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the pointer is to a NUL-terminated string that outlives the call.
    let _ = unsafe { libc::umount2(path.as_ptr(), libc::MNT_FORCE) };
}

fn wait_until(mut is_so: impl FnMut() -> bool) -> bool {
    let (_never, wait) = sync_channel::<()>(0);
    let steps = PATIENCE.as_millis() / STEP.as_millis();
    (0..steps).any(|_| is_so() || wait.recv_timeout(STEP).is_ok())
}

/// The state of the process's thread of this name: `D` if it waits in the kernel and no signal reaches it.
fn state_of(server: &Child, thread: &str) -> Option<char> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.id())).ok()?;
    let stats = threads.flatten().filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let after = format!("({thread}) ");
    stats.filter_map(|stat| stat.split_once(&after)?.1.chars().next()).next()
}

#[test]
fn a_server_that_is_killed_while_it_tells_of_a_name_is_gone_and_its_mount_is_dead() {
    if let Some(path) = std::env::var_os(MOUNT) {
        return serve(Path::new(&path));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    match replace::mount(&Settings::new(&path)) {
        Ok(_) => stale::detach(&path).unwrap(),
        Err(_) => return eprintln!("skipped: mounting needs /dev/fuse and root"),
    }
    let this = "teller::tests::a_server_that_is_killed_while_it_tells_of_a_name_is_gone_and_its_mount_is_dead";
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", this, "--nocapture"]).env(MOUNT, &path).stdout(Stdio::piped());
    let mut server = again.spawn().unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let (serves, is_serving) = sync_channel(1);
    std::thread::spawn(move || serves.send(lines.map_while(Result::ok).any(|line| line.contains("serves"))));
    let is_serving = is_serving.recv_timeout(PATIENCE) == Ok(true);
    let made = path.join("made");
    let client = std::thread::spawn(move || std::fs::create_dir(made));
    let waits = wait_until(|| state_of(&server, "ballast-teller") == Some('D'));
    server.kill().unwrap();
    let is_gone = wait_until(|| server.try_wait().unwrap().is_some());
    let is_dead = is_gone && stale::is_dead(&path).unwrap();
    // Whatever happened, nobody waits for ever.
    abort(&path);
    let made = client.join().unwrap();
    // The abort may have unmounted it.
    let _ = stale::detach(&path);
    assert!(is_serving, "the server has mounted");
    assert!(waits, "the kernel waits for the lock of the directory");
    assert!(is_gone, "the killed server is still there");
    assert!(is_dead, "the mount has no server and is not dead");
    assert!(made.is_err(), "nobody made it");
}
