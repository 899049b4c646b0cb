//! Logs and metrics.

use parking_lot::Mutex;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// The metrics of a process. Each crate registers its own under a prefix; `/metrics` prints them all.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Registry::with_prefix("ballast"))))
    }
}

impl Metrics {
    /// Lets `register` add its metrics below `ballast_<prefix>_`.
    pub fn register(&self, prefix: &str, register: impl FnOnce(&mut Registry)) {
        register(self.0.lock().sub_registry_with_prefix(prefix));
    }

    /// All metrics in the Prometheus text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0.lock()).expect("writing to a string cannot fail");
        text
    }
}

/// For durations in seconds: from 100 µs, which a write and its sync take on a good disk, to 3.3 s, each twice the last.
pub fn durations() -> Histogram {
    Histogram::new(exponential_buckets(100e-6, 2.0, 16))
}

/// Sends logs to standard error. `RUST_LOG` chooses what is logged; without it, `default` does.
pub fn init_logging(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    // A terminal that is gone takes no lines, and is no reason to end: a failure to log is not reported there in turn.
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    // A second call, as in tests, keeps the first.
    let _ = subscriber.try_init();
}
