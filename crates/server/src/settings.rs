//! What a server is told (values) and what it is given (components).

use crate::Identity;
use ballast_runtime::telemetry::Metrics;
use ballast_runtime::{Clock, Random, Shutdown};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What a server is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `file:///…`, `s3://bucket/prefix`, `gs://…`, `az://…`; `memory:` keeps nothing.
    pub bucket: String,
    /// Where to mount the tree, if anywhere.
    pub mount: Option<PathBuf>,
    /// Take the volume from a server that still holds it.
    pub take_over: bool,
    /// Serve this snapshot, read only, instead of the present.
    pub snapshot: Option<String>,
    /// Who the server acts for.
    pub identity: Identity,
}

/// What a server is given. Whatever touches the world is made by the caller, so that a test can make it of
/// something else.
pub struct Components {
    pub clock: Arc<dyn Clock>,
    pub random: Random,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
    pub listeners: Listeners,
}

/// Bound sockets; `None` where a protocol is not served.
pub struct Listeners {
    pub http: TcpListener,
    pub kafka: Option<TcpListener>,
    pub postgres: Option<TcpListener>,
}
