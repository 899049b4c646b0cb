//! `ballast doctor`: what this machine lacks, and how to get it.

use crate::{output, up};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Tell what this machine lacks and how to get it
///
/// Exits with 1 if something is missing without which `ballast up` cannot do its job.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ballast doctor\n  ballast doctor --json")]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// Works, but less well or not for everybody.
    Note,
    /// `ballast up` lacks it.
    Missing,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let device = std::fs::File::options().read(true).write(true).open("/dev/fuse");
    let findings = [fuse(device.map(drop)), fusermount(), files_open(), bucket(), clients()];
    if arguments.json {
        output::json(&findings)?;
    } else {
        for finding in &findings {
            let sign = match finding.verdict {
                Verdict::Ok => "ok     ",
                Verdict::Note => "note   ",
                Verdict::Missing => "MISSING",
            };
            output::line(&format!("{sign}  {}: {}", finding.what, finding.found))?;
            if let Some(advice) = &finding.advice {
                output::line(&format!("         {advice}"))?;
            }
        }
    }
    if findings.iter().any(|finding| finding.verdict == Verdict::Missing) {
        std::process::exit(1);
    }
    Ok(())
}

fn fuse(opened: std::io::Result<()>) -> Finding {
    let what = "FUSE device";
    match opened {
        Ok(()) => Finding { what, verdict: Verdict::Ok, found: "/dev/fuse can be opened".to_owned(), advice: None },
        Err(error) => {
            let advice = if error.kind() == std::io::ErrorKind::PermissionDenied {
                "open it to all users, as most distributions do: `sudo chmod 666 /dev/fuse`"
            } else {
                "load the module with `sudo modprobe fuse`"
            };
            Finding {
                what,
                verdict: Verdict::Missing,
                found: format!("/dev/fuse cannot be opened: {error}"),
                advice: Some(format!(
                    "{advice}; in a container, pass --device /dev/fuse --cap-add SYS_ADMIN; or go without a mount: \
                     ballast up --no-mount"
                )),
            }
        }
    }
}

fn fusermount() -> Finding {
    let what = "fusermount3";
    // SAFETY: geteuid takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    match in_path("fusermount3") {
        Some(path) => Finding { what, verdict: Verdict::Ok, found: path.display().to_string(), advice: None },
        None if root => Finding {
            what,
            verdict: Verdict::Ok,
            found: "not there, and root does not need it".to_owned(),
            advice: None,
        },
        None => Finding {
            what,
            verdict: Verdict::Missing,
            found: "not in PATH".to_owned(),
            advice: Some("install it: sudo apt-get install fuse3".to_owned()),
        },
    }
}

/// File descriptors: connections, open files and log files need them.
fn files_open() -> Finding {
    const WANTED: u64 = 65_536;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the structure that it is given.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0;
    let (what, found) = ("open files", format!("up to {}", limit.rlim_max));
    if failed || limit.rlim_max >= WANTED {
        return Finding { what, verdict: Verdict::Ok, found, advice: None };
    }
    let advice = Some(format!("raise the hard limit to {WANTED} in /etc/security/limits.conf"));
    Finding { what, verdict: Verdict::Note, found, advice }
}

/// The file system of the default bucket.
fn bucket() -> Finding {
    let what = "default bucket";
    let Some(directory) = up::defaults::bucket_directory() else {
        let found = "HOME is not set".to_owned();
        return Finding { what, verdict: Verdict::Missing, found, advice: Some("name one: --bucket DIR".to_owned()) };
    };
    let existing = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let (free, kind) = file_system(existing);
    let found = format!("{}, {} free", directory.display(), output::bytes(free));
    const TMPFS: i64 = 0x0102_1994;
    const ROOM_WANTED: u64 = 2_000_000_000;
    let advice = match (kind, free) {
        (TMPFS, _) => "this is memory: a restart of the machine empties it",
        (_, free) if free < ROOM_WANTED => "this is little room: choose another place with --bucket",
        _ => return Finding { what, verdict: Verdict::Ok, found, advice: None },
    };
    Finding { what, verdict: Verdict::Note, found, advice: Some(advice.to_owned()) }
}

/// Free bytes and the type of the file system that holds `path`.
fn file_system(path: &Path) -> (u64, i64) {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return (0, 0) };
    // SAFETY: an all-zero statfs is a valid value, and the kernel fills it.
    let mut stats: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in NUL and the structure outlives the call.
    if unsafe { libc::statfs(path.as_ptr(), &mut stats) } != 0 {
        return (0, 0);
    }
    (stats.f_bavail * u64::try_from(stats.f_bsize).unwrap_or(0), stats.f_type)
}

/// Programs that the README uses.
fn clients() -> Finding {
    let missing: Vec<&str> = ["kcat", "psql", "jq"].into_iter().filter(|program| in_path(program).is_none()).collect();
    let what = "clients";
    if missing.is_empty() {
        return Finding { what, verdict: Verdict::Ok, found: "kcat, psql and jq".to_owned(), advice: None };
    }
    Finding {
        what,
        verdict: Verdict::Note,
        found: format!("{} not in PATH", missing.join(" and ")),
        advice: Some("to try streams and tables: sudo apt-get install kcat postgresql-client jq".to_owned()),
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn a_device_that_is_closed_to_the_user_is_told_from_one_that_is_missing() {
        let advice = |error: ErrorKind| {
            let finding = fuse(Err(Error::from(error)));
            assert_eq!(finding.verdict, Verdict::Missing);
            finding.advice.unwrap()
        };
        assert!(advice(ErrorKind::PermissionDenied).starts_with("open it to all users"));
        assert!(advice(ErrorKind::NotFound).starts_with("load the module"));
        assert_eq!(fuse(Ok(())).verdict, Verdict::Ok);
    }
}
