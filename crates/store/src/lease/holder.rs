//! Who holds a lease, and whether that process still runs.
//!
//! A process is known by the boot of its machine, its namespace of process ids, its id and its start time: the
//! first two say whether this machine can judge at all, the last two that the id was not given to another one.

use crate::Result;
use crate::bucket::record::Record;
use serde_json::{Value, json};

/// A server process somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The machine's name, for people.
    pub host: String,
    /// Random, given by the kernel at each boot; empty if unknown.
    pub boot: String,
    /// The namespace of process ids (a container has its own); empty if unknown.
    pub namespace: String,
    pub pid: u32,
    /// Start time of the process in the kernel's ticks since boot; 0 if unknown.
    pub started: u64,
    /// Where the server answers, for people.
    pub url: String,
}

impl Holder {
    /// This process.
    pub fn this_process(url: &str) -> Self {
        let pid = std::process::id();
        Self {
            host: kernel_text("/proc/sys/kernel/hostname"),
            boot: kernel_text("/proc/sys/kernel/random/boot_id"),
            namespace: std::fs::read_link("/proc/self/ns/pid").map(|n| n.display().to_string()).unwrap_or_default(),
            pid,
            started: start_time(pid).unwrap_or(0),
            url: url.to_owned(),
        }
    }

    /// True if `this` process can see that the holder no longer runs. False also when it cannot tell.
    pub fn is_gone(&self, this: &Self) -> bool {
        let comparable = !self.boot.is_empty()
            && self.boot == this.boot
            && !self.namespace.is_empty()
            && self.namespace == this.namespace
            && self.started != 0
            && this.started != 0;
        comparable && start_time(self.pid) != Some(self.started)
    }

    pub(super) fn fields(&self) -> Value {
        json!({
            "host": self.host, "boot": self.boot, "namespace": self.namespace,
            "pid": self.pid, "started": self.started, "url": self.url,
        })
    }

    pub(super) fn of(record: &Record) -> Result<Self> {
        Ok(Self {
            host: record.text("host")?,
            boot: record.text("boot")?,
            namespace: record.text("namespace")?,
            pid: u32::try_from(record.unsigned("pid")?).unwrap_or(0),
            started: record.unsigned("started")?,
            url: record.text("url")?,
        })
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)?;
        if self.url.is_empty() { Ok(()) } else { write!(f, " ({})", self.url) }
    }
}

fn kernel_text(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The 22nd field of `/proc/<pid>/stat`; `None` if there is no such process, or if it is only waited for.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_process_is_gone_and_a_running_one_is_not() {
        let this = Holder::this_process("");
        assert!(!this.is_gone(&this));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let other = Holder { pid: child.id(), started: start_time(child.id()).unwrap(), ..this.clone() };
        assert!(!other.is_gone(&this));
        assert!(Holder { started: other.started + 1, ..other.clone() }.is_gone(&this), "the id was given anew");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(other.is_gone(&this));
        assert!(!Holder { boot: "another".into(), ..other.clone() }.is_gone(&this), "cannot tell");
        assert!(!Holder { namespace: "another".into(), ..other }.is_gone(&this), "cannot tell");
    }
}
