//! The same promises on real servers. `BALLAST_TEST_STORE` names a bucket (`s3://…`, `az://…`, a path), with the
//! variables that its client needs beside it; `BALLAST_TEST_ENDPOINTS` lists all ways to it. Each test keeps to a
//! prefix of its own. `BALLAST_TEST_STORE_LIES=1` says that the probe must refuse it.

use super::{Bucket, Environment};
use crate::lease::{Claim, Holder, Lease};
use crate::{Superblock, probe};
use ballast_runtime::{Random, SystemClock};
use ballast_types::ErrorKind;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStoreExt, PutMode, PutPayload, WriteMultipart};
use std::sync::Arc;

/// A fresh prefix of the bucket under test; `None`, with a plain word, if there is none.
fn bucket(test: &str) -> Option<(Bucket, Random)> {
    let environment = Environment::of_process();
    let Some(url) = environment.get("BALLAST_TEST_STORE").map(ToOwned::to_owned) else {
        println!("{test}: NOT RUN, because BALLAST_TEST_STORE is unset");
        return None;
    };
    let random = Random::from_system();
    let environment = match environment.get("BALLAST_TEST_ENDPOINTS").map(ToOwned::to_owned) {
        Some(endpoints) => environment.with("BALLAST_ENDPOINTS", &endpoints),
        None => environment,
    };
    let url = format!("{}/test-{test}-{:08x}", url.trim_end_matches('/'), random.next_u64() as u32);
    Some((Bucket::open(&url, &environment, &random).unwrap(), random))
}

fn lies() -> bool {
    Environment::of_process().get("BALLAST_TEST_STORE_LIES").is_some()
}

async fn remove_all(bucket: &Bucket) {
    let objects: Vec<_> = bucket.store().list(None).try_collect().await.unwrap();
    for object in objects {
        bucket.store().delete(&object.location).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_judges_the_server_rightly() {
    let Some((bucket, random)) = bucket("probe") else { return };
    let print = |step: &probe::Step| println!("{step:?}");
    let report = probe::run(&bucket, probe::Depth::Full, &SystemClock, &random, print).await.unwrap();
    println!("{} ways to {bucket}", report.endpoints);
    match report.verdict(&bucket) {
        Ok(()) => assert!(!lies(), "the probe passed a bucket that is known to lie"),
        Err(error) => assert!(lies(), "{error}"),
    }
    let left: Vec<_> = bucket.store().list(None).try_collect().await.unwrap();
    assert_eq!(left, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superblock_and_a_lease_work_on_the_server() {
    let Some((bucket, random)) = bucket("lease") else { return };
    if lies() {
        return;
    }
    let clock = Arc::new(SystemClock);
    let made = Superblock::open(&bucket, clock.as_ref(), &random).await.unwrap();
    assert_eq!(Superblock::open(&bucket, clock.as_ref(), &random).await.unwrap(), made);

    // Another machine, as far as anybody can tell.
    let other = Holder { boot: "another".into(), host: "far".into(), ..Holder::this_process("http://far:8765") };
    let first = Lease::acquire(&bucket, &Claim::new(other), clock.clone(), &random).await.unwrap();
    let mine = Claim::new(Holder::this_process("http://near:8765"));
    let error = Lease::acquire(&bucket, &mine, clock.clone(), &random).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Fenced && error.to_string().contains("on far"), "{error}");
    assert!(first.valid());
    first.release().await.unwrap();
    let second = Lease::acquire(&bucket, &mine, clock, &random).await.unwrap();
    assert_eq!(second.epoch(), 2);
    second.release().await.unwrap();
    remove_all(&bucket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_and_odd_names_come_back() {
    let Some((bucket, _)) = bucket("objects") else { return };
    let store = bucket.store();
    let bytes: bytes::Bytes = (0..12_000_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    let name = Path::from("large/ä b+c%20d");
    let mut writer = WriteMultipart::new(store.put_multipart(&name).await.unwrap());
    writer.put(bytes.clone());
    writer.finish().await.unwrap();
    assert_eq!(store.get(&name).await.unwrap().bytes().await.unwrap(), bytes);
    assert_eq!(store.get_range(&name, 5_000_000..5_000_100).await.unwrap(), bytes.slice(5_000_000..5_000_100));
    let again = store.put_opts(&name, PutPayload::default(), PutMode::Create.into()).await.unwrap_err();
    assert!(matches!(again, object_store::Error::AlreadyExists { .. }), "{again}");
    let head = store.get_opts(&name, GetOptions::new().with_head(true)).await.unwrap();
    assert_eq!((head.meta.size, head.meta.location), (bytes.len() as u64, name));
    remove_all(&bucket).await;
}
