//! `cargo xtask soak`: one server under load of all three kinds for long, whose state must stay flat.
//!
//! Clients that we did not write (`tests/soak/*.py`) make, change, read back and remove what is bounded in size,
//! so that memory, threads, open files, the log and the bucket have no reason to grow. They are sampled all the
//! while. At the end everything is removed; the bucket must give its space back, the server stop in order and
//! `ballast fsck` find nothing.

mod judge;
mod sample;

use crate::program::{Program, deadline, kill, past, pause, wait};
use crate::report::now;
use crate::served::{KINDS, Place, Served};
use crate::{test, workspace};
use judge::Verdict;
use sample::Sample;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// Load a server for long and judge whether its memory, log and bucket stay flat
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How long the load lasts
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// What the clients do follows from this
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep what is left here, for a look at it
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// How long clients may take to check and remove what they have left.
const FINISH_LIMIT: Duration = Duration::from_secs(120);

/// How long the server may take to give space back after the last removal: the index keeps the files that
/// compaction replaced for 15 minutes, for reads that began before, and looks once a minute; collecting runs twice
/// a minute.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(20 * 60);

pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    workspace::build()?;
    let temporary = tempfile::tempdir()?;
    let directory = arguments.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&directory)?;
    let python = test::python()?;
    let mut place = Place::new(&directory)?;
    anyhow::ensure!(place.mount.is_some(), "a soak needs a mount: /dev/fuse, and fusermount3 or root");
    let mut served = place.start()?;
    let mut verdict = Verdict::default();
    let mut writers = Writers::start(arguments, &python, &served, &place)?;
    let samples = watch(arguments, &mut served, &directory, &mut writers)?;
    writers.finish(&directory, &mut verdict)?;
    judge::steady(&samples, &mut verdict);
    give_back(&served, &directory, &mut verdict)?;
    let stopped = served.stop();
    verdict.add("the server stops in order", stopped.is_ok(), format!("{stopped:?}"));
    let (clean, said) = place.fsck()?;
    verdict.add("fsck finds nothing", clean, said);
    Ok(verdict.finish())
}

/// Samples until the writers end by themselves.
fn watch(
    arguments: &Arguments,
    served: &mut Served,
    directory: &Path,
    writers: &mut Writers,
) -> anyhow::Result<Vec<Sample>> {
    let begun = now();
    let end = deadline(Duration::from_secs(60 * arguments.minutes));
    let mut samples = Vec::new();
    let mut minute = 0;
    println!("{}", Sample::HEADING);
    while !past(end) && writers.all_run()? {
        anyhow::ensure!(served.is_running()?, "the server ended by itself: see {}/server.log", directory.display());
        samples.push(Sample::take(served, directory)?);
        let minutes = begun.elapsed().as_secs() / 60;
        if minutes >= minute {
            minute = minutes + 1;
            println!("{:>4} min {}", minutes, samples[samples.len() - 1]);
        }
        pause(SAMPLE_INTERVAL);
    }
    Ok(samples)
}

/// Waits until the bucket has given back the space of what was removed.
fn give_back(served: &Served, directory: &Path, verdict: &mut Verdict) -> anyhow::Result<()> {
    let begun = now();
    let end = deadline(GIVE_BACK_LIMIT);
    let mut sample = Sample::take(served, directory)?;
    while !judge::is_given_back(&sample) && !past(end) {
        pause(SAMPLE_INTERVAL);
        sample = Sample::take(served, directory)?;
    }
    println!("   empty {sample}");
    judge::given_back(&sample, begun.elapsed(), verdict);
    Ok(())
}

/// One client of each kind.
struct Writers(Vec<(&'static str, Child)>);

impl Writers {
    fn start(arguments: &Arguments, python: &Path, served: &Served, place: &Place) -> anyhow::Result<Self> {
        let mut writers = Vec::new();
        for kind in KINDS {
            let script = workspace::root().join("tests/soak").join(format!("{kind}.py"));
            let words = [(60 * arguments.minutes).to_string(), arguments.seed.to_string()];
            let mut program = Program::new(python).arguments(&[&script]).arguments(&words);
            program = program.variable("BALLAST_KAFKA", served.kafka()).variable("BALLAST_POSTGRES", served.postgres());
            program = program.variable("PYTHONDONTWRITEBYTECODE", "1");
            if let Some(mount) = &place.mount {
                program = program.variable("BALLAST_MOUNT", mount);
            }
            let log = std::fs::File::create(log(&place.directory, kind))?;
            let mut command = program.command();
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            writers.push((kind, command.spawn()?));
        }
        Ok(Self(writers))
    }

    fn all_run(&mut self) -> anyhow::Result<bool> {
        for (_, child) in &mut self.0 {
            if child.try_wait()?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for their own checks, and takes over what they say.
    fn finish(mut self, directory: &Path, verdict: &mut Verdict) -> anyhow::Result<()> {
        for (kind, mut child) in std::mem::take(&mut self.0) {
            let succeeded = wait(&mut child, FINISH_LIMIT).is_ok_and(|status| status.success());
            let said = std::fs::read_to_string(log(directory, kind))?;
            let said = crate::program::tail(&said).trim_start_matches("ok - ").to_owned();
            verdict.add(&format!("the client of {kind} saw no error"), succeeded, said);
        }
        Ok(())
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            let _ = kill(child);
        }
    }
}

fn log(directory: &Path, kind: &str) -> PathBuf {
    directory.join(format!("{kind}.log"))
}
