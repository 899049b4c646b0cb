//! Keeps web pages out.
//!
//! A page in the user's browser can make the browser connect to 127.0.0.1. Two headers, which a page cannot
//! forge, tell such a request: `Host` still names the page's site when its name was made to point at us (DNS
//! rebinding), and `Origin` names the page where the browser sends it. A change is a POST in JSON, for which a
//! browser asks first, and nobody here answers that.

use crate::http::State as Server;
use crate::http::failure::Failure;
use crate::limits;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ballast_types::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;

/// Refuses foreign requests, and bounds the time of the others.
pub async fn check(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let response = answer(request, next).await;
    server.counted.note(response.status());
    response
}

async fn answer(request: Request, next: Next) -> Response {
    if let Err(failure) = admit(request.method(), request.uri(), request.headers()) {
        return failure.into_response();
    }
    match tokio::time::timeout(limits::HTTP_REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failure::new(ErrorKind::Unavailable, "the request took too long").into_response(),
    }
}

fn admit(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
    let denied = |what: &str| Err(Failure::new(ErrorKind::Denied, what));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_loopback) || uri.authority().is_some_and(|named| !is_loopback(named.as_str())) {
        return denied("the Host header must name this machine, as in 127.0.0.1 or localhost");
    }
    for origin in headers.get_all(ORIGIN) {
        let same = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")) == host;
        if !same {
            return denied("requests of web pages are refused");
        }
    }
    if let Some(site) = headers.get("sec-fetch-site")
        && !matches!(site.as_bytes(), b"same-origin" | b"none")
    {
        return denied("requests of web pages are refused");
    }
    if method == Method::POST && !headers.get(CONTENT_TYPE).is_some_and(|kind| is_json(kind.as_bytes())) {
        return Err(Failure::new(ErrorKind::Invalid, "a change needs the header Content-Type: application/json"));
    }
    Ok(())
}

fn is_json(content_type: &[u8]) -> bool {
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// Whether an authority (`host` or `host:port`) names this machine by a name that nobody else can give away.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(method: Method, headers: &[(&'static str, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        admit(&method, &Uri::from_static("/v1/status"), &headers.collect()).is_ok()
    }

    #[test]
    fn requests_that_name_this_machine_are_admitted() {
        for host in ["127.0.0.1:8765", "localhost:8765", "LOCALHOST", "[::1]:8765", "127.0.0.2"] {
            assert!(admitted(Method::GET, &[("host", host)]), "{host}");
        }
    }

    #[test]
    fn a_rebound_name_is_refused() {
        for host in ["evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "", "[::2]"] {
            assert!(!admitted(Method::GET, &[("host", host)]), "{host}");
        }
        assert!(!admitted(Method::GET, &[]));
    }

    #[test]
    fn a_foreign_page_is_refused_and_our_own_is_not() {
        let with = |origin| admitted(Method::GET, &[("host", "127.0.0.1:8765"), ("origin", origin)]);
        assert!(with("http://127.0.0.1:8765"));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:3000", "https://127.0.0.1:8765"] {
            assert!(!with(origin), "{origin}");
        }
        assert!(!admitted(Method::GET, &[("host", "127.0.0.1"), ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn a_change_needs_json() {
        let with = |kind| admitted(Method::POST, &[("host", "localhost"), ("content-type", kind)]);
        assert!(with("application/json"));
        assert!(with("Application/JSON; charset=utf-8"));
        assert!(!with("text/plain"));
        assert!(!admitted(Method::POST, &[("host", "localhost")]));
    }
}
