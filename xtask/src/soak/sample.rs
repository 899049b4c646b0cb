//! What a server holds at one instant, seen from outside.

use crate::program::Program;
use crate::served::Served;
use crate::workspace;
use anyhow::Context;
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub const MIB: u64 = 1 << 20;

#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub resident_bytes: u64,
    pub threads: u64,
    pub open_files: u64,
    pub log_bytes: u64,
    pub segments: u64,
    pub segment_bytes: u64,
    pub index_bytes: u64,
    /// What the bucket's directory takes on the disk.
    pub bucket_bytes: u64,
}

impl Sample {
    pub const HEADING: &'static str =
        "         memory MiB  threads  open files  log MiB  segments  (MiB)  index MiB  bucket MiB";

    pub fn take(served: &Served, directory: &Path) -> anyhow::Result<Self> {
        let process = served.status["process"].as_u64().context("the status names the process")?;
        let process = Path::new("/proc").join(process.to_string());
        let kernel = std::fs::read_to_string(process.join("status")).context("read /proc: has the server ended?")?;
        let line = |name: &str| {
            let value = kernel.lines().find_map(|line| line.strip_prefix(name))?;
            value.split_whitespace().next()?.parse::<u64>().ok()
        };
        let server = format!("http://{}", served.http());
        let status = Program::new(workspace::ballast()).arguments(&["status", "--json"]);
        let status: Value = serde_json::from_str(&status.variable("BALLAST_SERVER", server).quiet()?)?;
        let volume = |name: &str| status["volume"][name].as_u64().with_context(|| format!("the status has no {name}"));
        Ok(Self {
            resident_bytes: line("VmRSS:").context("VmRSS")? * 1024,
            threads: line("Threads:").context("Threads")?,
            open_files: std::fs::read_dir(process.join("fd"))?.count() as u64,
            log_bytes: volume("log_bytes")?,
            segments: volume("segments")?,
            segment_bytes: volume("segment_bytes")?,
            index_bytes: volume("index_bytes")?,
            bucket_bytes: size(&directory.join("bucket")),
        })
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { threads, open_files, segments, .. } = self;
        let [memory, log, segment, index, bucket] =
            [self.resident_bytes, self.log_bytes, self.segment_bytes, self.index_bytes, self.bucket_bytes]
                .map(|bytes| bytes / MIB);
        write!(f, "{memory:>10}  {threads:>7}  {open_files:>10}  {log:>7}  ")?;
        write!(f, "{segments:>8}  {segment:>5}  {index:>9}  {bucket:>10}")
    }
}

/// What a directory takes on the disk. What goes while it is counted counts nothing.
fn size(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
