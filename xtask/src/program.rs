//! Running other programs: shown when they fail, bounded in time.

use anyhow::{Context, bail, ensure};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Characters of a failed program's output that are shown.
const SHOWN_BYTES_MAX: usize = 8 << 10;

/// How long a killed process may take to be gone.
const KILLED_LIMIT: Duration = Duration::from_secs(30);

/// A program to run.
#[derive(Debug)]
pub struct Program {
    command: Command,
    input: Option<Vec<u8>>,
    limit: Duration,
}

impl Program {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        // Whoever needs longer says so.
        Self { command: Command::new(program), input: None, limit: Duration::from_secs(3600) }
    }

    pub fn arguments(mut self, arguments: &[impl AsRef<OsStr>]) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn directory(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    pub fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Without a variable of ours.
    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub fn variables(mut self, variables: &[(String, OsString)]) -> Self {
        self.command.envs(variables.iter().map(|(name, value)| (name, value)));
        self
    }

    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub fn name(&self) -> String {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    /// Runs it with our own output; an exit status other than 0 is an error.
    pub fn run(mut self) -> anyhow::Result<()> {
        let name = self.name();
        let mut child = self.command.stdin(Stdio::null()).spawn().with_context(|| format!("start {name}"))?;
        let status = wait(&mut child, self.limit)?;
        if !status.success() {
            bail!("{name}: {status}");
        }
        Ok(())
    }

    /// Runs it and hands each line of its output to `line`; what it says on standard error is shown.
    pub fn run_with_lines(mut self, mut line: impl FnMut(&str)) -> anyhow::Result<ExitStatus> {
        let name = self.name();
        self.command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = self.command.spawn().with_context(|| format!("start {name}"))?;
        let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        for text in output.lines() {
            line(&text?);
        }
        wait(&mut child, self.limit)
    }

    /// Runs it and returns whether it succeeded, with standard output and standard error in one text.
    pub fn capture(mut self) -> anyhow::Result<(bool, String)> {
        let name = self.name();
        let input = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        let (mut reader, writer) = std::io::pipe()?;
        self.command.stdin(input).stdout(writer.try_clone()?).stderr(writer);
        let mut child = self.command.spawn().with_context(|| format!("start {name}"))?;
        // Our own copies of the pipe's end would keep the reader waiting.
        drop(self.command);
        if let (Some(input), Some(mut stdin)) = (self.input, child.stdin.take()) {
            stdin.write_all(&input)?;
        }
        let reading = std::thread::spawn(move || {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).map(|_| text)
        });
        let status = wait(&mut child, self.limit).with_context(|| format!("wait for {name}"))?;
        let text = reading.join().map_err(|_| anyhow::anyhow!("the reader of {name} panicked"))??;
        Ok((status.success(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// Runs it quietly; a failure shows the end of what it said.
    pub fn quiet(self) -> anyhow::Result<String> {
        let name = self.name();
        let (succeeded, text) = self.capture()?;
        if !succeeded {
            bail!("{name} failed:\n{}", tail(&text));
        }
        Ok(text)
    }

    pub fn command(self) -> Command {
        self.command
    }
}

/// The end of a long text.
pub fn tail(text: &str) -> &str {
    let mut start = text.len().saturating_sub(SHOWN_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].trim_end()
}

/// Waits for the end of `child`; one that takes longer than `limit` is killed.
pub fn wait(child: &mut Child, limit: Duration) -> anyhow::Result<ExitStatus> {
    if let Some(status) = ended(child, limit)? {
        return Ok(status);
    }
    kill(child)?;
    bail!("it ran longer than {} s and was killed", limit.as_secs());
}

/// kill -9. Only a thread that waits in the kernel, where no signal reaches it, outlives that: then the process keeps its
/// ports and its mount for ever.
pub fn kill(child: &mut Child) -> anyhow::Result<()> {
    child.kill()?;
    let (process, ended) = (child.id(), ended(child, KILLED_LIMIT)?);
    ensure!(ended.is_some(), "process {process} was killed and does not end: see /proc/{process}/task/*/stack");
    Ok(())
}

/// How it ended, if it did within `limit`.
fn ended(child: &mut Child, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
    let end = deadline(limit);
    loop {
        let status = child.try_wait()?;
        if status.is_some() || past(end) {
            return Ok(status);
        }
        pause(Duration::from_millis(5));
    }
}

/// A point of time to give up at.
#[expect(clippy::disallowed_methods, reason = "chores wait for real programs in real time")]
pub fn deadline(limit: Duration) -> std::time::Instant {
    std::time::Instant::now() + limit
}

#[expect(clippy::disallowed_methods, reason = "chores wait for real programs in real time")]
pub fn past(end: std::time::Instant) -> bool {
    std::time::Instant::now() >= end
}

#[expect(clippy::disallowed_methods, reason = "chores wait for real programs in real time")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Where `program` lies, if it is in the PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}
