//! The client of the API.

use crate::error::{ErrorBody, kind_from_str};
use crate::messages::{Create, Entry, Listing, Remove, Removed, Snapshot, SnapshotName, Snapshots, Status, Usage};
use crate::{Error, Result, routes};
use ballast_types::TreePath;
use reqwest::{Method, RequestBuilder, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long a server may take to accept a connection. It is on this machine or on the next one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request may take. A recursive removal is the longest.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Bytes of an answer. The largest is a page of a listing.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Speaks to one server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    server: Url,
    http: reqwest::Client,
}

impl Client {
    /// Opens no connection yet.
    pub fn new(server: &str) -> Result<Self> {
        let url = Url::parse(server).map_err(|_| Error::Address(server.to_owned()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(Error::Address(server.to_owned()));
        }
        // A second call finds a provider there and keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A proxy of the environment is for the world outside, not for the server named here.
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).timeout(REQUEST_TIMEOUT);
        let http = http.build().map_err(|error| unreachable(&url, error))?;
        Ok(Self { server: url, http })
    }

    pub fn server(&self) -> &Url {
        &self.server
    }

    pub async fn status(&self) -> Result<Status> {
        self.get(routes::STATUS, &[]).await
    }

    /// One page of a directory's entries, those behind `after`.
    pub async fn list(&self, path: &TreePath, after: Option<&str>) -> Result<Listing> {
        self.part(routes::LIST, path, after).await
    }

    /// A part of the space used below a path, from `after` on.
    pub async fn usage(&self, path: &TreePath, after: Option<&str>) -> Result<Usage> {
        self.part(routes::USAGE, path, after).await
    }

    pub async fn stat(&self, path: &TreePath) -> Result<Entry> {
        self.get(routes::STAT, &[("path", &routes::encode_path(path))]).await
    }

    /// Durable on return, as are the other changes.
    pub async fn create(&self, create: &Create) -> Result<Entry> {
        self.post(routes::CREATE, create).await
    }

    pub async fn remove(&self, remove: &Remove) -> Result<Removed> {
        self.post(routes::REMOVE, remove).await
    }

    pub async fn snapshots(&self) -> Result<Snapshots> {
        self.get(routes::SNAPSHOTS, &[]).await
    }

    pub async fn create_snapshot(&self, name: &str) -> Result<Snapshot> {
        self.post(routes::SNAPSHOTS_CREATE, &SnapshotName { name: name.to_owned() }).await
    }

    pub async fn remove_snapshot(&self, name: &str) -> Result<Snapshot> {
        self.post(routes::SNAPSHOTS_REMOVE, &SnapshotName { name: name.to_owned() }).await
    }

    async fn part<A: DeserializeOwned>(&self, route: &str, path: &TreePath, after: Option<&str>) -> Result<A> {
        let path = routes::encode_path(path);
        let mut query = vec![("path", path.as_str())];
        query.extend(after.map(|after| ("after", after)));
        self.get(route, &query).await
    }

    async fn get<A: DeserializeOwned>(&self, route: &str, query: &[(&str, &str)]) -> Result<A> {
        let mut url = self.url(route);
        // Encoded here and not by the URL's own form encoding, which would write a space as a plus.
        let pairs = query.iter().map(|(key, value)| {
            let mut text = format!("{key}=");
            routes::encode(value.as_bytes(), &mut text);
            text
        });
        let pairs: Vec<String> = pairs.collect();
        url.set_query((!pairs.is_empty()).then(|| pairs.join("&")).as_deref());
        self.answer(self.http.request(Method::GET, url)).await
    }

    async fn post<Q: Serialize, A: DeserializeOwned>(&self, route: &str, body: &Q) -> Result<A> {
        self.answer(self.http.request(Method::POST, self.url(route)).json(body)).await
    }

    fn url(&self, route: &str) -> Url {
        let mut url = self.server.clone();
        url.set_path(route);
        url
    }

    async fn answer<A: DeserializeOwned>(&self, request: RequestBuilder) -> Result<A> {
        let answer = request.send().await.map_err(|error| unreachable(&self.server, error))?;
        let status = answer.status();
        let body = self.body(answer).await?;
        let not_ours = |what: String| Error::NotOurs { server: self.server.to_string(), what };
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| not_ours(error.to_string()));
        }
        let error: ErrorBody =
            serde_json::from_slice(&body).map_err(|_| not_ours(format!("it answered with status {status}")))?;
        Err(Error::Refused { kind: kind_from_str(&error.kind), message: error.message })
    }

    async fn body(&self, mut answer: reqwest::Response) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&self.server, error))? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                let what = format!("its answer is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(Error::NotOurs { server: self.server.to_string(), what });
            }
        }
        Ok(body)
    }
}

fn unreachable(server: &Url, error: reqwest::Error) -> Error {
    let server = server.as_str().trim_end_matches('/').to_owned();
    Error::Unreachable { server, source: Box::new(error.without_url()) }
}
