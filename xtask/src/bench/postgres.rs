//! PostgreSQL with its own defaults, on a directory of its own.

use super::peer::{self, Peer};
use crate::program::Program;
use anyhow::Context;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A running server and how to reach it.
#[derive(Debug)]
pub struct Postgres {
    pub peer: Peer,
    pub address: SocketAddr,
    /// `PostgreSQL 15.18`.
    pub name: String,
}

impl Postgres {
    /// It refuses to run as root; then it is the user that its package made.
    pub fn start(directory: &Path) -> anyhow::Result<Self> {
        let (server, initialise) = (peer::program("postgres", "postgresql")?, peer::program("initdb", "postgresql")?);
        let version = Program::new(&server).arguments(&["--version"]).quiet()?;
        let version = version.split_whitespace().find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()));
        let name = format!("PostgreSQL {}", version.unwrap_or_default());
        // SAFETY: geteuid takes nothing and cannot fail.
        let root = unsafe { libc::geteuid() } == 0;
        let user = if root { Some((number("-u")?, number("-g")?)) } else { None };
        if let Some((user, group)) = user {
            std::os::unix::fs::chown(directory, Some(user), Some(group))?;
        }
        let command = |program: &Path| {
            let mut command = Command::new(program);
            command.current_dir("/");
            if let Some((user, group)) = user {
                command.uid(user).gid(group);
            }
            command
        };
        let data = directory.join("data");
        let made = command(&initialise)
            .arg("-D")
            .arg(&data)
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"])
            .output()?;
        anyhow::ensure!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        let address = peer::free_address()?;
        let mut server = command(&server);
        server.arg("-D").arg(&data).args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        server.args(["-c", &format!("port={}", address.port())]);
        let peer = Peer::start(server, address, &directory.with_extension("log"), libc::SIGINT)?;
        Ok(Self { peer, address, name })
    }
}

/// A number of the user `postgres`.
fn number(which: &str) -> anyhow::Result<u32> {
    let text = Program::new("id").arguments(&[which, "postgres"]).quiet().context("find the user postgres")?;
    text.trim().parse().context("read the user's number")
}
