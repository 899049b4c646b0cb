//! `ballast up`: a server, from its first line of output to its last.

mod address;
pub mod defaults;
mod greeting;
mod live;

use crate::output;
use address::{Address, bind};
use anyhow::Context as _;
use ballast_runtime::telemetry::{Metrics, init_logging};
use ballast_runtime::{Clock, Random, Shutdown, SystemClock};
use ballast_server::{Components, Identity, Listeners, Server, Settings};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Serve a tree: mounted, over Kafka, over PostgreSQL and over HTTP
///
/// Without options it keeps everything below your data directory, mounts the tree at ~/ballast and listens on
/// this machine only. It may be killed at any instant: everything acknowledged is there after the next start.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ballast up
  ballast up --bucket ./data --mount ./tree
  ballast up --bucket s3://bucket/prefix --kafka 127.0.0.1:19092 --postgres none
  ballast up --bucket memory: --no-mount")]
pub struct Arguments {
    /// Where everything is kept: a directory, file://, s3://, gs://, az://; memory: keeps nothing
    /// [default: ballast/bucket in the data directory]
    #[arg(long, value_name = "URL")]
    bucket: Option<String>,
    /// Where to mount the tree [default: ~/ballast]
    #[arg(long, value_name = "DIR", conflicts_with = "no_mount")]
    mount: Option<PathBuf>,
    /// Do not mount the tree
    #[arg(long)]
    no_mount: bool,
    /// Where Kafka clients connect; none switches it off
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9092")]
    kafka: Address,
    /// Where PostgreSQL clients connect; none switches it off
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5432")]
    postgres: Address,
    /// Where the ballast command and HTTP clients connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8765")]
    http: Address,
    /// Take the bucket from a server that still holds it; that one stops serving at once
    #[arg(long)]
    take_over: bool,
    /// Serve this snapshot, read only, instead of the present
    #[arg(long, value_name = "NAME")]
    snapshot: Option<String>,
    /// Print the status as one line of JSON instead of a greeting, once it serves
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let clock = Arc::new(SystemClock);
    let started = clock.now_nanos();
    init_logging("warn");
    ballast_server::descriptors::raise_limit();
    let stack = ballast_server::postgres::STACK_BYTES;
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(stack).enable_all().build()?;
    let served = runtime.block_on(serve(arguments, clock, started));
    // A query may still compute, and nobody waits for it.
    runtime.shutdown_background();
    served
}

async fn serve(arguments: Arguments, clock: Arc<SystemClock>, started: i64) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let settings = settings(&arguments)?;
    let listeners = Listeners {
        http: bind("http", &arguments.http).await?.ok_or_else(address::http_is_needed)?,
        kafka: bind("kafka", &arguments.kafka).await?,
        postgres: bind("postgres", &arguments.postgres).await?,
    };
    let shutdown = Shutdown::new();
    let metrics = Metrics::default();
    let random = Random::from_system();
    let components = Components { clock, random, metrics, shutdown: shutdown.clone(), listeners };
    let server = tokio::select! {
        server = Server::start(settings, components, started) => server?,
        () = signals.next() => return Ok(()),
    };
    let greeting = match arguments.json {
        true => vec![serde_json::to_string(&server.status())?],
        false => greeting::lines(&server.status()),
    };
    // It serves, whether or not somebody reads this.
    let _ = writeln!(std::io::stdout(), "{}", greeting.join("\n"));
    let live = live::Line::new();
    let failed = loop {
        tokio::select! {
            () = signals.next() => break None,
            why = server.stopped() => break Some(why),
            () = live.tick() => live.show(&server.status()),
        }
    };
    live.clear();
    match &failed {
        Some(_) => output::note("stopping after a failure; Ctrl-C leaves at once"),
        None => output::note("stopping; a second Ctrl-C leaves at once"),
    }
    let stopped = tokio::select! {
        stopped = server.stop() => stopped,
        () = signals.next() => {
            // As after a crash, which loses nothing that was acknowledged.
            output::note("left without waiting");
            std::process::exit(130);
        }
    };
    failed.map_or(stopped, Err)
}

/// The metrics of a server over a bucket of its own, for their reference page.
pub async fn metrics() -> anyhow::Result<String> {
    let any = Address::At(([127, 0, 0, 1], 0).into());
    let listeners = Listeners {
        http: bind("http", &any).await?.ok_or_else(address::http_is_needed)?,
        kafka: bind("kafka", &any).await?,
        postgres: bind("postgres", &any).await?,
    };
    let (clock, shutdown) = (Arc::new(SystemClock), Shutdown::new());
    let (random, metrics) = (Random::from_system(), Metrics::default());
    let components = Components { clock, random, metrics, shutdown, listeners };
    let directory = tempfile::tempdir()?;
    let path = directory.path().to_str().context("the directory for temporary files has no name in UTF-8")?;
    let (bucket, identity) = (defaults::bucket_from(path)?, Identity::of_this_process());
    let settings = Settings { bucket, mount: None, take_over: false, snapshot: None, identity };
    let server = Server::start(settings, components, 0).await?;
    let metrics = server.metrics();
    server.stop().await?;
    Ok(metrics)
}

fn settings(arguments: &Arguments) -> anyhow::Result<Settings> {
    let mount = match (&arguments.mount, arguments.no_mount) {
        (_, true) => None,
        (Some(directory), false) => Some(std::path::absolute(directory)?),
        (None, false) => Some(defaults::mount()?),
    };
    let bucket = match &arguments.bucket {
        Some(bucket) => defaults::bucket_from(bucket)?,
        None => defaults::bucket()?,
    };
    let (take_over, snapshot) = (arguments.take_over, arguments.snapshot.clone());
    Ok(Settings { bucket, mount, take_over, snapshot, identity: Identity::of_this_process() })
}

/// The signals that ask for an end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal is gone. `None` where the process was started to outlive it, as `nohup` does.
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let hangup = if is_ignored(libc::SIGHUP) { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hangup })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            Some(Some(())) = async { Some(self.hangup.as_mut()?.recv().await) } => {}
        }
    }
}

fn is_ignored(signal: i32) -> bool {
    // SAFETY: an all-zero sigaction is a valid value, and the call writes to it only.
    let action = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(signal, std::ptr::null(), &mut action) == 0).then_some(action)
    };
    action.is_some_and(|action| action.sa_sigaction == libc::SIG_IGN)
}
