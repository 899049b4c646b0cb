//! What a volume counts, and what it can say of itself.

use crate::index::Inner;
use crate::volume::VolumeStats;
use ballast_runtime::telemetry::{Metrics, durations};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What a log counts.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    write_seconds: Histogram,
    written_bytes: Counter,
    waits: Counter,
}

impl Default for LogMetrics {
    fn default() -> Self {
        Self { write_seconds: durations(), written_bytes: Counter::default(), waits: Counter::default() }
    }
}

impl LogMetrics {
    pub(crate) fn note_write(&self, took: Duration, bytes: u64) {
        self.write_seconds.observe(took.as_secs_f64());
        self.written_bytes.inc_by(bytes);
    }

    pub(crate) fn note_wait(&self) {
        self.waits.inc();
    }
}

/// Shows them, and the sizes of the volume while it is there, below `ballast_volume_`.
pub(crate) fn register(metrics: &Metrics, log: &LogMetrics, inner: &Arc<Inner>) {
    metrics.register("volume", |registry| {
        registry.register(
            "log_write_seconds",
            "What writes of the log took until they were durable; each is of all that had gathered",
            log.write_seconds.clone(),
        );
        registry.register("log_written_bytes", "Bytes that were written to the log", log.written_bytes.clone());
        registry.register("log_waits", "Writers that waited until the log had room", log.waits.clone());
        registry.register_collector(Box::new(Sizes(Arc::downgrade(inner))));
    });
}

/// Weak: whoever prints metrics keeps no volume open.
struct Sizes(Weak<Inner>);

impl fmt::Debug for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sizes")
    }
}

impl Collector for Sizes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(inner) = self.0.upgrade() else { return Ok(()) };
        let VolumeStats { position, durable, log_bytes, log_files, tail_bytes, segment_bytes, segments, index_bytes } =
            inner.stats();
        let mut show = |name: &str, help: &str, metric: &dyn Shown| metric.show(&mut encoder, name, help);
        let counter = |value: u64| ConstCounter::new(value);
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        show("appended_bytes", "The end of the log, ever", &counter(position.0))?;
        show("durable_bytes", "How far of it is on stable storage", &counter(durable.0))?;
        show("log_bytes", "Bytes of the log that have not settled", &gauge(log_bytes))?;
        show("log_files", "Files or objects of the log", &gauge(log_files))?;
        show("tail_bytes", "Bytes of rows that a restart would replay", &gauge(tail_bytes))?;
        show("segment_bytes", "Bytes of payload that has settled", &gauge(segment_bytes))?;
        show("segments", "Segments that hold it", &gauge(segments))?;
        show("index_bytes", "Bytes of the index's tables", &gauge(index_bytes))?;
        if let Some(space) = inner.reserve.as_ref().and_then(|reserve| reserve.space().ok()) {
            show("disk_bytes", "Size of the disk below a bucket in a directory", &gauge(space.bytes))?;
            show("disk_available_bytes", "What is left of it for new data", &gauge(space.for_new_data()))?;
        }
        Ok(())
    }
}

/// A metric that is made when it is asked for.
trait Shown {
    fn show(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result;
}

impl<M: EncodeMetric> Shown for M {
    fn show(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result {
        self.encode(encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}
