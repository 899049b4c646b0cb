//! Buckets in the object stores of the clouds, through `object_store`.
//!
//! | URL | store | settings from |
//! |---|---|---|
//! | `s3://bucket/prefix` | Amazon S3 and what speaks its protocol | `AWS_*`, then `~/.aws` (see [`super::profile`]), then the machine's role |
//! | `gs://bucket/prefix` | Google Cloud Storage | `GOOGLE_*`, then the files of `gcloud`, then the machine's account |
//! | `az://container/prefix`, `abfss://container@account…/prefix` | Azure Blob Storage | `AZURE_*`, then the machine's identity |
//!
//! `AWS_ENDPOINT_URL` (or `BALLAST_ENDPOINTS`, for any of them) names another server than the cloud's; several of
//! them, comma-separated, are ways to the same bucket, and the probe lets them race. A client is made per endpoint;
//! nothing is asked of a server before the first request.

use super::{Environment, profile};
use crate::{Error, Result, bucket::failure::root_cause, limits};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use std::sync::{Arc, Once};
use url::Url;

/// The stores of a cloud bucket, one for each endpoint, and what to show of its URL.
pub(super) fn open(url: &Url, environment: &Environment) -> Result<(Vec<Arc<dyn ObjectStore>>, String)> {
    install_tls();
    let scheme = url.scheme();
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() {
        return Err(Error::Invalid(format!(
            "{scheme}:// needs the name of a bucket, as in {scheme}://my-bucket/ballast"
        )));
    }
    let account_in_url = scheme == "abfss" && url.password().is_none();
    if (!url.username().is_empty() && !account_in_url) || url.password().is_some() || url.query().is_some() {
        return Err(Error::Invalid(format!(
            "the URL of a bucket is {scheme}://bucket/prefix and no more: give keys in the environment, not in the URL"
        )));
    }
    let prefix =
        Path::from_url_path(url.path()).map_err(|error| Error::Invalid(format!("the bucket's prefix: {error}")))?;
    let account = if url.username().is_empty() { String::new() } else { format!("{}@", url.username()) };
    let root = format!("{scheme}://{account}{host}");
    let stores = match scheme {
        "s3" => s3(&root, environment)?,
        "gs" => google(&root, environment)?,
        "az" | "abfss" => azure(&root, environment)?,
        other => {
            return Err(Error::Invalid(format!(
                "{other}:// is no kind of bucket known here: give a path, file:///path, s3://, gs:// or az://"
            )));
        }
    };
    if prefix.is_root() {
        return Ok((stores, root));
    }
    let display = format!("{root}/{prefix}");
    let below = |store| Arc::new(PrefixStore::new(store, prefix.clone())) as Arc<dyn ObjectStore>;
    Ok((stores.into_iter().map(below).collect(), display))
}

/// Clients need one implementation of TLS for the process; another part of it may have chosen first.
fn install_tls() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Every request has an end: a server that does not answer is an error that the caller can report.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: limits::BUCKET_RETRY_FIRST,
            max_backoff: limits::BUCKET_RETRY_PAUSE_MAX,
            base: 2.0,
        },
        max_retries: limits::BUCKET_RETRIES_MAX,
        retry_timeout: limits::BUCKET_RETRY_TIME_MAX,
    }
}

/// Without TLS only where an endpoint without TLS was asked for.
fn client(endpoint: Option<&str>) -> ClientOptions {
    let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    ClientOptions::new()
        .with_timeout(limits::BUCKET_REQUEST_TIME_MAX)
        .with_connect_timeout(limits::BUCKET_CONNECT_TIME_MAX)
        .with_allow_http(plain)
}

fn refused(error: &object_store::Error) -> Error {
    Error::Invalid(format!("the bucket's settings are refused: {}", root_cause(error)))
}

/// The endpoints that the variables name, or one `None` for the cloud's own.
fn endpoints(environment: &Environment, variables: &[&str], otherwise: Option<String>) -> Vec<Option<String>> {
    let named = ["BALLAST_ENDPOINTS"].iter().chain(variables).find_map(|variable| environment.get(variable));
    let list: Vec<_> = named
        .map(ToOwned::to_owned)
        .or(otherwise)
        .into_iter()
        .flat_map(|list| list.split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>())
        .filter(|one| !one.is_empty())
        .map(Some)
        .collect();
    if list.is_empty() { vec![None] } else { list }
}

/// The variables of a cloud with their names as the builders know them. Endpoints are ours to give.
fn settings<'a>(environment: &'a Environment, prefix: &'a str) -> impl Iterator<Item = (String, &'a str)> {
    let of_cloud =
        environment.iter().filter(move |(name, _)| name.starts_with(prefix) && !name.contains("ENDPOINT_URL"));
    of_cloud.map(|(name, value)| (name.to_ascii_lowercase(), value))
}

fn s3(root: &str, environment: &Environment) -> Result<Vec<Arc<dyn ObjectStore>>> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in settings(environment, "AWS_") {
        if let Ok(key) = name.parse() {
            builder = builder.with_config(key, value);
        }
    }
    let mut endpoint = None;
    // Keys in the environment come first, whole or not at all: half of them from a file would be another user.
    if environment.get("AWS_ACCESS_KEY_ID").is_none() {
        let profile = profile::load(environment)?;
        if let Some(keys) = profile.keys {
            builder = builder.with_access_key_id(keys.access_key_id).with_secret_access_key(keys.secret_access_key);
            builder = keys.session_token.into_iter().fold(builder, AmazonS3Builder::with_token);
        }
        let region_named = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().any(|name| environment.get(name).is_some());
        if let Some(region) = profile.region.filter(|_| !region_named) {
            builder = builder.with_region(region);
        }
        endpoint = profile.endpoint;
    }
    let endpoints = endpoints(environment, &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"], endpoint);
    let build = |endpoint: Option<String>| {
        let mut builder = builder
            .clone()
            .with_url(root)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retries())
            .with_client_options(client(endpoint.as_deref()));
        builder = endpoint.into_iter().fold(builder, AmazonS3Builder::with_endpoint);
        builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>).map_err(|error| refused(&error))
    };
    endpoints.into_iter().map(build).collect()
}

fn google(root: &str, environment: &Environment) -> Result<Vec<Arc<dyn ObjectStore>>> {
    let mut builder = GoogleCloudStorageBuilder::new();
    for (name, value) in settings(environment, "GOOGLE_") {
        if let Ok(key) = name.parse() {
            builder = builder.with_config(key, value);
        }
    }
    let build = |endpoint: Option<String>| {
        let mut builder =
            builder.clone().with_url(root).with_retry(retries()).with_client_options(client(endpoint.as_deref()));
        if let Some(endpoint) = endpoint {
            builder = builder.with_base_url(&endpoint);
        }
        builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>).map_err(|error| refused(&error))
    };
    endpoints(environment, &["GOOGLE_BASE_URL"], None).into_iter().map(build).collect()
}

fn azure(root: &str, environment: &Environment) -> Result<Vec<Arc<dyn ObjectStore>>> {
    let mut builder = MicrosoftAzureBuilder::new();
    for (name, value) in settings(environment, "AZURE_") {
        if let Ok(key) = name.parse() {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(endpoint) = environment.get("IDENTITY_ENDPOINT") {
        builder = builder.with_msi_endpoint(endpoint);
    }
    let build = |endpoint: Option<String>| {
        let mut builder =
            builder.clone().with_url(root).with_retry(retries()).with_client_options(client(endpoint.as_deref()));
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>).map_err(|error| refused(&error))
    };
    endpoints(environment, &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"], None).into_iter().map(build).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bucket;
    use ballast_runtime::Random;
    use ballast_types::ErrorKind;

    fn keys() -> Environment {
        Environment::default()
            .with("AWS_ACCESS_KEY_ID", "AKIATEST")
            .with("AWS_SECRET_ACCESS_KEY", "topsecret")
            .with("AZURE_STORAGE_ACCOUNT_NAME", "account")
            .with("AZURE_STORAGE_ACCOUNT_KEY", "dG9wc2VjcmV0")
            .with(
                "GOOGLE_SERVICE_ACCOUNT_KEY",
                r#"{"disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}"#,
            )
    }

    fn bucket(url: &str, environment: &Environment) -> Result<Bucket> {
        Bucket::open(url, environment, &Random::from_seed(1))
    }

    #[test]
    fn each_kind_of_cloud_bucket_opens_with_keys_from_the_environment_and_shows_none_of_them() {
        for url in [
            "s3://bucket",
            "s3://bucket/a/b%20c",
            "gs://bucket/p",
            "az://container/p",
            "abfss://c@account.dfs.core.windows.net/p",
        ] {
            let bucket = bucket(url, &keys()).unwrap();
            assert_eq!(bucket.to_string(), url.replace("%20", " "));
            assert!(bucket.directory().is_none() && bucket.endpoints().len() == 1);
            let shown = format!("{bucket} {bucket:?}");
            assert!(!shown.contains("topsecret") && !shown.contains("dG9wc2VjcmV0"), "{shown}");
        }
    }

    #[test]
    fn several_endpoints_are_several_ways_to_one_bucket() {
        let both = keys().with("AWS_ENDPOINT_URL", "http://127.0.0.1:1, http://127.0.0.1:2");
        assert_eq!(bucket("s3://bucket", &both).unwrap().endpoints().len(), 2);
        assert_eq!(
            bucket("s3://bucket", &both.with("BALLAST_ENDPOINTS", "http://127.0.0.1:3")).unwrap().endpoints().len(),
            1
        );
    }

    #[test]
    fn urls_that_make_no_sense_or_hold_secrets_are_refused_without_repeating_them() {
        for url in [
            "s3://key:topsecret@bucket/p",
            "s3://bucket/p?token=topsecret",
            "s3://",
            "ftp://host/p",
            "",
            "file://host/p",
        ] {
            let error = bucket(url, &keys()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
            assert!(!error.to_string().contains("topsecret"), "{error}");
        }
    }
}
