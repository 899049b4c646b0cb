//! A server that we did not write, for the time that it is compared with.

use crate::program::{deadline, past, pause, tail, wait};
use crate::test::machine;
use anyhow::{Context, bail};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A running peer; it ends with the value, and with this process however that ends.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    stop: libc::c_int,
}

impl Peer {
    /// Starts it and waits until it accepts on `address`. `stop` is the signal that ends it in order.
    pub fn start(mut command: Command, address: SocketAddr, log: &Path, stop: libc::c_int) -> anyhow::Result<Self> {
        let output = std::fs::File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // SAFETY: prctl is one system call, which a forked child may make.
        unsafe {
            command.pre_exec(move || match libc::prctl(libc::PR_SET_PDEATHSIG, stop) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let child = command.spawn().with_context(|| format!("start {}", command.get_program().display()))?;
        let mut peer = Self { child, stop };
        let end = deadline(START_LIMIT);
        while TcpStream::connect(address).is_err() {
            if peer.child.try_wait()?.is_some() || past(end) {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("{} did not start:\n{}", command.get_program().display(), tail(&said));
            }
            pause(Duration::from_millis(50));
        }
        Ok(peer)
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Ok(process) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: the process is our own child and was not waited for, so that its number is not used again.
            unsafe { libc::kill(process, self.stop) };
        }
        let _ = wait(&mut self.child, STOP_LIMIT);
    }
}

/// A port of this machine that nobody listens on.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Where `program` lies; its Debian package is installed if that is allowed here.
pub fn program(program: &str, package: &str) -> anyhow::Result<PathBuf> {
    let find = || crate::program::find(program).or_else(|| postgresql_program(program));
    if let Some(path) = find() {
        return Ok(path);
    }
    machine::install(&[package]);
    find().with_context(|| format!("{program} is missing (Debian's package {package})"))
}

/// Debian keeps the programs of PostgreSQL's server out of the PATH; those of the newest version.
fn postgresql_program(program: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let found = versions.filter_map(|version| {
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        Some((number, version.path().join("bin").join(program)))
    });
    found.filter(|(_, path)| path.is_file()).max().map(|(_, path)| path)
}
