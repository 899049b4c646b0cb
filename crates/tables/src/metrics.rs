//! What the engine counts.

use ballast_runtime::telemetry::durations;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug)]
pub(crate) struct TablesMetrics {
    pub queries_computing: Gauge,
    pub statement_seconds: Histogram,
    pub failed_statements: Counter,
    pub conflicts: Counter,
    pub written_rows: Counter,
    pub written_bytes: Counter,
}

impl Default for TablesMetrics {
    fn default() -> Self {
        Self {
            queries_computing: Gauge::default(),
            statement_seconds: durations(),
            failed_statements: Counter::default(),
            conflicts: Counter::default(),
            written_rows: Counter::default(),
            written_bytes: Counter::default(),
        }
    }
}

impl TablesMetrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("queries_computing", "Queries that hold a thread", self.queries_computing.clone());
        registry.register(
            "statement_seconds",
            "What statements took to their answer, or to the first rows of a long one",
            self.statement_seconds.clone(),
        );
        let mut counter = |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        counter("failed_statements", "Statements that failed", &self.failed_statements);
        counter("conflicts", "Of those, which another transaction was in the way of", &self.conflicts);
        counter("written_rows", "Rows that statements put, changed or deleted", &self.written_rows);
        counter("written_bytes", "Bytes of their keys and values, also where it was rolled back", &self.written_bytes);
    }
}
