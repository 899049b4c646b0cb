//! The HTTP API: the routes, and what every handler shares.
//!
//! One connection is one task; a request passes the [`guard`] (whom we talk to), then a time limit, then its
//! handler. Failures of every layer leave as one JSON body ([`failure`]).

pub mod connection;
pub mod failure;
pub mod guard;
pub mod snapshots;
pub mod status;
mod table;
pub mod tree;
pub mod usage;

use crate::metrics::HttpMetrics;
use crate::{Engines, Settings, limits};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use ballast_api::{Listeners, routes};
use ballast_runtime::telemetry::Metrics;
use ballast_runtime::{Clock, Shutdown};
use ballast_tree::Tree;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What the handlers work with.
pub struct State {
    pub engines: Engines,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub counted: HttpMetrics,
    pub settings: Settings,
    pub listeners: Listeners,
    /// Nanoseconds since the epoch at which the process began.
    pub started: i64,
    /// And from which it served.
    pub serving: i64,
}

impl State {
    pub fn tree(&self) -> &Tree {
        &self.engines.tree
    }
}

/// Serves until the shutdown begins, then lets open requests end.
pub async fn serve(listener: TcpListener, state: Arc<State>, shutdown: Shutdown) {
    connection::serve(listener, router(state), shutdown).await;
}

pub fn router(state: Arc<State>) -> Router {
    Router::new()
        .route(routes::HEALTH, get(status::health))
        .route(routes::METRICS, get(status::metrics))
        .route(routes::STATUS, get(status::status))
        .route(routes::LIST, get(tree::list))
        .route(routes::STAT, get(tree::stat))
        .route(routes::USAGE, get(usage::usage))
        .route(routes::CREATE, post(tree::create))
        .route(routes::REMOVE, post(tree::remove))
        .route(routes::SNAPSHOTS, get(snapshots::list))
        .route(routes::SNAPSHOTS_CREATE, post(snapshots::create))
        .route(routes::SNAPSHOTS_REMOVE, post(snapshots::remove))
        .fallback(failure::no_such_route)
        .method_not_allowed_fallback(failure::no_such_method)
        .layer(DefaultBodyLimit::max(limits::HTTP_BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&state), guard::check))
        .with_state(state)
}
