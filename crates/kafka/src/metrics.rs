//! What the listener counts.

use ballast_runtime::telemetry::{Metrics, durations};
use kafka_protocol::messages::ApiKey;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use std::fmt::{self, Write};
use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct KafkaMetrics {
    pub connections: Gauge,
    request_seconds: Family<Request, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    api: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name(ApiKey);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        write!(encoder, "{:?}", self.0)
    }
}

impl KafkaMetrics {
    /// Counts below `ballast_kafka_`.
    pub fn register(metrics: &Metrics) -> Self {
        let request_seconds = Family::new_with_constructor(durations as fn() -> Histogram);
        let counted = Self { connections: Gauge::default(), request_seconds };
        metrics.register("kafka", |registry| {
            registry.register("connections", "Connections of Kafka clients", counted.connections.clone());
            registry.register(
                "request_seconds",
                "What requests took from their last byte to their answer; those of fetches wait for records",
                counted.request_seconds.clone(),
            );
        });
        // Shown before the first of them comes.
        for key in [ApiKey::Produce, ApiKey::Fetch] {
            drop(counted.request_seconds.get_or_create(&Request { api: Name(key) }));
        }
        counted
    }

    pub fn note_request(&self, key: ApiKey, took: Duration) {
        self.request_seconds.get_or_create(&Request { api: Name(key) }).observe(took.as_secs_f64());
    }
}
