//! What the engine counts.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Default)]
pub(crate) struct TablesMetrics {
    pub queries_computing: Gauge,
}

impl TablesMetrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("queries_computing", "Queries that hold a thread", self.queries_computing.clone());
    }
}
