//! What the engine counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Default)]
pub(crate) struct FilesMetrics {
    pub open: Gauge,
    pub read_bytes: Counter,
    pub written_bytes: Counter,
    pub flushes: Counter,
    pub flush_failures: Counter,
    pub flushed_bytes: Counter,
    pub syncs: Counter,
}

impl FilesMetrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("open", "Files that are open", self.open.clone());
        registry.register("read_bytes", "Bytes read from files", self.read_bytes.clone());
        registry.register("written_bytes", "Bytes written to files", self.written_bytes.clone());
        registry.register("flushes", "Flushes of one file's changes", self.flushes.clone());
        registry.register("flush_failures", "Flushes that failed", self.flush_failures.clone());
        registry.register(
            "flushed_bytes",
            "Bytes of files handed to the log or to segments",
            self.flushed_bytes.clone(),
        );
        registry.register("syncs", "Calls of fsync and fdatasync", self.syncs.clone());
    }
}
