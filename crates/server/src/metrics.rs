//! What the server counts of itself, beside its engines and listeners.

use ballast_runtime::telemetry::Metrics;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use std::fmt;

/// Requests of the HTTP API by the status of their answers.
#[derive(Clone, Debug, Default)]
pub struct HttpMetrics(Family<Answered, Counter>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    status: u16,
}

impl HttpMetrics {
    pub fn note(&self, status: axum::http::StatusCode) {
        self.0.get_or_create(&Answered { status: status.as_u16() }).inc();
    }
}

/// Shows what the process takes, and which it is; what is to be counted of HTTP.
pub fn register(metrics: &Metrics) -> HttpMetrics {
    let http = HttpMetrics::default();
    metrics.register("http", |registry| {
        registry.register("requests", "Requests by the status of their answers", http.0.clone());
    });
    metrics.register("server", |registry| {
        registry.register("build", "Which Ballast it is", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    });
    metrics.register("process", |registry| registry.register_collector(Box::new(Process)));
    // Shown before the first of them comes.
    drop(http.0.get_or_create(&Answered { status: 200 }));
    http
}

/// What Linux tells of this process.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let resident = ConstGauge::new(i64::try_from(resident_bytes()).unwrap_or(i64::MAX));
        let of_memory = encoder.encode_descriptor("resident_bytes", "Memory in RAM", None, resident.metric_type())?;
        resident.encode(of_memory)?;
        if let Some(seconds) = cpu_seconds() {
            let cpu = ConstCounter::new(seconds);
            let of_cpu = encoder.encode_descriptor("cpu_seconds", "Processor time", None, cpu.metric_type())?;
            cpu.encode(of_cpu)?;
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            let files = ConstGauge::new(i64::try_from(open.count()).unwrap_or(i64::MAX));
            files.encode(encoder.encode_descriptor("open_fds", "Open descriptors", None, files.metric_type())?)?;
        }
        Ok(())
    }
}

/// Memory of this process that is in RAM; 0 where the system does not tell.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    // SAFETY: sysconf takes a constant and cannot fail for the page size.
    pages * u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

fn cpu_seconds() -> Option<f64> {
    // SAFETY: all-zero is a value of this plain structure, and the call fills it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to live memory of the right type.
    let told = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) } == 0;
    #[expect(clippy::cast_precision_loss, reason = "microseconds of years are exact enough")]
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    told.then(|| seconds(usage.ru_utime) + seconds(usage.ru_stime))
}
