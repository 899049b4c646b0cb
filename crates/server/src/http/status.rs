//! How the server does: for probes, for Prometheus and for `ballast status`.

use crate::http::State as Server;
use crate::http::failure::Failure;
use crate::metrics::resident_bytes;
use crate::{activity, volume};
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use ballast_api::{Status, Volume, time};
use ballast_types::Timestamp;
use std::sync::Arc;

/// The media type of the Prometheus text format.
const PROMETHEUS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers while the volume does.
pub async fn health(State(server): State<Arc<Server>>) -> Result<&'static str, Failure> {
    volume::check(&**server.tree().volume()).await?;
    Ok("ok\n")
}

pub async fn metrics(State(server): State<Arc<Server>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, PROMETHEUS)], server.metrics.encode())
}

pub async fn status(State(server): State<Arc<Server>>) -> Json<Status> {
    Json(server.status())
}

impl Server {
    pub fn status(&self) -> Status {
        let stats = self.tree().volume().stats();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            started: time::format(Timestamp(self.started)),
            uptime_seconds: seconds(self.clock.now_nanos() - self.started),
            start_seconds: seconds(self.serving - self.started),
            bucket: self.settings.bucket.clone(),
            mount: self.settings.mount.as_ref().map(|mount| mount.display().to_string()),
            listeners: self.listeners.clone(),
            volume: Volume {
                position: stats.position.0,
                durable_position: stats.durable.0,
                log_bytes: stats.log_bytes,
                log_files: stats.log_files,
                tail_bytes: stats.tail_bytes,
                segments: stats.segments,
                segment_bytes: stats.segment_bytes,
                index_bytes: stats.index_bytes,
            },
            activity: activity::of(&self.metrics.encode()),
            resident_bytes: resident_bytes(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration for people")]
fn seconds(nanos: i64) -> f64 {
    (nanos as f64 / 1e9).max(0.0)
}
