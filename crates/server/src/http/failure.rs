//! Failures as answers: one kind, one status, one JSON body.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ballast_api::ErrorBody;
use ballast_types::ErrorKind;

/// Why a request is not answered with what it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: ErrorKind,
    pub message: String,
}

impl Failure {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn invalid(message: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, message.to_string())
    }
}

/// The status of each kind.
pub fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::AlreadyExists | ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::Exhausted => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Fenced => StatusCode::MISDIRECTED_REQUEST,
        ErrorKind::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if self.kind == ErrorKind::Corrupt {
            tracing::error!(message = self.message, "stored bytes are not what was written");
        }
        (status_of(self.kind), Json(ErrorBody::new(self.kind, self.message))).into_response()
    }
}

impl From<ballast_tree::Error> for Failure {
    fn from(error: ballast_tree::Error) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<ballast_files::Error> for Failure {
    fn from(error: ballast_files::Error) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<ballast_streams::Error> for Failure {
    fn from(error: ballast_streams::Error) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<ballast_tables::Error> for Failure {
    fn from(error: ballast_tables::Error) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<ballast_store::Error> for Failure {
    fn from(error: ballast_store::Error) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<ballast_api::routes::PathError> for Failure {
    fn from(error: ballast_api::routes::PathError) -> Self {
        let source = std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
        Self::invalid(format!("{error}{source}"))
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

pub async fn no_such_route() -> Failure {
    Failure::new(ErrorKind::NotFound, "there is nothing at this address; the API begins at /v1/status")
}

pub async fn no_such_method() -> Failure {
    Failure::invalid("this address does not take this method: read with GET, change with POST")
}
