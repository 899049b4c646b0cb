//! A `ballast up` for tests: on free ports, over a bucket of its own, ended with the value.

use crate::program::{Program, kill, pause, wait};
use crate::workspace;
use anyhow::{Context, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

/// What clients load a server with.
pub const KINDS: [&str; 3] = ["files", "streams", "tables"];

/// How long a start may take. It takes 0.3 s; a loaded machine and a long replay get time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long an orderly end may take.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Where a server of a test keeps its things, and where it listens from its first start on.
#[derive(Clone, Debug)]
pub struct Place {
    /// The `ballast` that is started.
    pub binary: PathBuf,
    pub directory: PathBuf,
    pub mount: Option<PathBuf>,
    /// A directory or a URL.
    bucket: String,
    ports: Option<[String; 3]>,
}

impl Place {
    /// Below `directory`; with a mount if this machine can mount.
    pub fn new(directory: &Path) -> anyhow::Result<Self> {
        let mount = can_mount().then(|| directory.join("mount"));
        let bucket = directory.join("bucket").to_str().context("a path of a test is text")?.to_owned();
        Ok(Self { binary: workspace::ballast(), directory: directory.to_owned(), mount, bucket, ports: None })
    }

    /// With its bucket elsewhere.
    pub fn with_bucket(self, bucket: String) -> Self {
        Self { bucket, ..self }
    }

    /// What `ballast fsck` says of the bucket that no server serves, and whether it found nothing.
    pub fn fsck(&self) -> anyhow::Result<(bool, String)> {
        let (clean, said) = Program::new(workspace::ballast()).arguments(&["fsck", &self.bucket]).capture()?;
        Ok((clean, said.trim().replace('\n', "; ")))
    }

    /// Starts a server here. The second start listens where the first did.
    pub fn start(&mut self) -> anyhow::Result<Served> {
        let served = Served::start(&self.binary, &self.words()?, &self.directory)?;
        self.ports = Some([served.http(), served.kafka(), served.postgres()]);
        Ok(served)
    }

    /// Starts a server and kills it a moment later, wherever it is then.
    pub fn start_and_kill(&self, after: Duration) -> anyhow::Result<()> {
        let mut command = Program::new(&self.binary).arguments(&self.words()?).command();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        pause(after);
        kill(&mut child)
    }

    /// The arguments of `ballast up`.
    fn words(&self) -> anyhow::Result<Vec<String>> {
        let any = || "127.0.0.1:0".to_owned();
        let [http, kafka, postgres] = self.ports.clone().unwrap_or_else(|| [any(), any(), any()]);
        let text = |path: &Path| Ok::<_, anyhow::Error>(path.to_str().context("a path of a test is text")?.to_owned());
        let words =
            ["up", "--json", "--bucket", &self.bucket, "--http", &http, "--kafka", &kafka, "--postgres", &postgres];
        let mut words: Vec<String> = words.map(ToOwned::to_owned).into();
        match &self.mount {
            Some(mount) => words.extend(["--mount".to_owned(), text(mount)?]),
            None => words.push("--no-mount".to_owned()),
        }
        Ok(words)
    }
}

/// A server that serves.
pub struct Served {
    child: Child,
    pub status: Value,
}

impl Served {
    fn start(binary: &Path, words: &[String], directory: &Path) -> anyhow::Result<Self> {
        let mut command = Program::new(binary).arguments(words).command();
        let log = std::fs::File::options().create(true).append(true).open(directory.join("server.log"))?;
        let said_before = usize::try_from(log.metadata()?.len())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().context("start ballast up")?;
        let output = child.stdout.take().expect("standard output is piped");
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(output).read_line(&mut line);
            let _ = send.send(read.map(|_| line));
        });
        let line = receive.recv_timeout(START_LIMIT);
        let status = line.ok().and_then(Result::ok).and_then(|line| serde_json::from_str::<Value>(&line).ok());
        let Some(status) = status else {
            kill(&mut child)?;
            let said = std::fs::read_to_string(directory.join("server.log")).unwrap_or_default();
            bail!("ballast up did not serve:\n{}", crate::program::tail(said.get(said_before..).unwrap_or_default()));
        };
        Ok(Self { child, status })
    }

    fn listener(&self, name: &str) -> Option<&str> {
        self.status["listeners"][name].as_str()
    }

    /// `127.0.0.1:PORT` of each listener; `none` where it is off.
    pub fn http(&self) -> String {
        self.listener("http").unwrap_or("none").trim_start_matches("http://").to_owned()
    }

    pub fn kafka(&self) -> String {
        self.listener("kafka").unwrap_or("none").to_owned()
    }

    pub fn postgres(&self) -> String {
        self.listener("postgres").unwrap_or("none").to_owned()
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits until it ends by itself; whether it did, within a minute.
    pub fn has_ended(&mut self) -> bool {
        wait(&mut self.child, START_LIMIT).is_ok()
    }

    /// kill -9.
    pub fn kill(mut self) -> anyhow::Result<()> {
        kill(&mut self.child)
    }

    /// SIGTERM, and kill -9 a moment later, wherever it is then; how it had ended, if it had.
    pub fn stop_and_kill(mut self, after: Duration) -> anyhow::Result<Option<ExitStatus>> {
        self.signal(libc::SIGTERM)?;
        pause(after);
        let ended = self.child.try_wait()?;
        if ended.is_none() {
            self.kill()?;
        }
        Ok(ended)
    }

    /// SIGTERM; it must leave with 0.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.signal(libc::SIGTERM)?;
        let status = wait(&mut self.child, STOP_LIMIT).context("stop ballast up")?;
        if !status.success() {
            bail!("ballast up left with {status}");
        }
        Ok(())
    }

    fn signal(&self, signal: libc::c_int) -> anyhow::Result<()> {
        let process = libc::pid_t::try_from(self.child.id())?;
        // SAFETY: the process is our own child and was not waited for, so that its number is not used again.
        let failed = unsafe { libc::kill(process, signal) } != 0;
        if failed { Err(std::io::Error::last_os_error()).context("signal ballast up") } else { Ok(()) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal(libc::SIGTERM);
            let _ = wait(&mut self.child, STOP_LIMIT);
        }
    }
}

/// Whether this process can mount a FUSE file system.
pub fn can_mount() -> bool {
    let device = std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok();
    // SAFETY: geteuid takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    device && (root || crate::program::find("fusermount3").is_some())
}
