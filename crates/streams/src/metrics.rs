//! What is counted.

use ballast_runtime::telemetry::Metrics;
use prometheus_client::metrics::counter::Counter;

#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    pub appends: Counter,
    pub appended_bytes: Counter,
    pub refused: Counter,
    pub fetches: Counter,
    pub fetched_bytes: Counter,
    pub log_reads: Counter,
}

impl Counters {
    pub fn register(&self, metrics: &Metrics) {
        metrics.register("streams", |registry| {
            let mut counter =
                |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
            counter("appends", "Appends to a partition that were accepted", &self.appends);
            counter("appended_bytes", "Bytes of record batches that were appended", &self.appended_bytes);
            counter("refused_appends", "Appends to a partition that were refused", &self.refused);
            counter("fetches", "Fetches that were answered", &self.fetches);
            counter("fetched_bytes", "Bytes of record batches that were given out", &self.fetched_bytes);
            counter("log_reads", "Reads of a partition that the memory could not serve", &self.log_reads);
        });
    }
}
