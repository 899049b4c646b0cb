//! The checked store beside a plain one: whatever SlateDB asks, both answer the same.

use super::*;
use crate::limits::INDEX_PART_BYTES;
use bytes::Bytes;
use futures::executor::block_on;
use object_store::memory::InMemory;
use proptest::prelude::*;

fn stores() -> (Arc<InMemory>, CheckedStore) {
    let raw = Arc::new(InMemory::new());
    (Arc::clone(&raw), CheckedStore::new(raw))
}

fn name() -> Path {
    Path::from("volumes/0/index/compacted/1.sst")
}

/// Content in which no two pages are the same.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 251 + at * 31) as u8).collect()
}

/// What a get came to: its size, its range and its bytes; `None` for an error.
async fn get(store: &dyn ObjectStore, options: GetOptions) -> Option<(u64, std::ops::Range<u64>, Bytes)> {
    let got = store.get_opts(&name(), options).await.ok()?;
    let (size, range) = (got.meta.size, got.range.clone());
    Some((size, range, got.bytes().await.ok()?))
}

fn a_range() -> impl Strategy<Value = Option<GetRange>> {
    let at = || prop_oneof![0_u64..20_000, (0_u64..5).prop_map(|page| page * 4092)];
    prop_oneof![
        Just(None),
        (at(), at()).prop_map(|(start, bytes)| Some(GetRange::Bounded(start..start + bytes))),
        at().prop_map(|start| Some(GetRange::Offset(start))),
        at().prop_map(|bytes| Some(GetRange::Suffix(bytes))),
    ]
}

proptest! {
    #[test]
    fn every_get_answers_as_of_a_plain_store(bytes in 0_usize..20_000, ranges in prop::collection::vec((a_range(), any::<bool>()), 20)) {
        let (plain, (_, checked)) = (InMemory::new(), stores());
        block_on(async {
            for store in [&plain as &dyn ObjectStore, &checked] {
                store.put(&name(), content(bytes).into()).await.unwrap();
            }
            let sizes = |store: &dyn ObjectStore| store.list(None).map_ok(|meta| meta.size).try_collect::<Vec<_>>();
            prop_assert_eq!(sizes(&plain).await.unwrap(), sizes(&checked).await.unwrap());
            for (range, head) in ranges {
                let options = GetOptions { range: if head { None } else { range }, head, ..GetOptions::default() };
                let mut expected = get(&plain, options.clone()).await;
                // A plain store in memory gives the bytes with the head.
                if head {
                    expected = expected.map(|(size, range, _)| (size, range, Bytes::new()));
                }
                let found = get(&checked, options.clone()).await.map(|(size, range, bytes)| (size, range, if head { Bytes::new() } else { bytes }));
                prop_assert_eq!(found, expected, "{:?}", options);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn an_object_that_came_in_parts_of_any_size_lies_in_parts_of_one_size() {
    let (raw, checked) = stores();
    let all = content(2 * INDEX_PART_BYTES + 12_345);
    let mut upload = checked.put_multipart(&name()).await.unwrap();
    for part in all.chunks(3_333_333) {
        upload.put_part(Bytes::copy_from_slice(part).into()).await.unwrap();
    }
    upload.complete().await.unwrap();
    assert!(upload.complete().await.is_err() && upload.put_part("more".into()).await.is_err());
    assert_eq!(checked.get(&name()).await.unwrap().bytes().await.unwrap(), all);
    let whole = raw.get(&name()).await.unwrap().bytes().await.unwrap();
    checked.put(&name(), all.into()).await.unwrap();
    assert_eq!(raw.get(&name()).await.unwrap().bytes().await.unwrap(), whole, "as if it had been put at once");
}

#[tokio::test]
async fn damage_is_named_for_good_and_only_where_it_is_read() {
    let (raw, checked) = stores();
    checked.put(&name(), content(20_000).into()).await.unwrap();
    let good = raw.get(&name()).await.unwrap().bytes().await.unwrap();
    let mut bad = good.to_vec();
    bad[5000] ^= 1;
    raw.put(&name(), bad.into()).await.unwrap();
    let error = checked.get(&name()).await.unwrap_err();
    let damage = damage_in(&error).unwrap();
    assert_eq!(damage.to_string(), format!("{}, the page at byte 4096: its checksum is wrong", name()));
    assert!(!slatedb_common::retry::should_retry(&error));
    assert_eq!(checked.damages(&name()).await.unwrap(), std::slice::from_ref(damage));
    assert_eq!(checked.get_range(&name(), 9000..9100).await.unwrap(), content(20_000)[9000..9100]);
    for cut in [0, 3, 4096, 4100, 4101, 12_288] {
        raw.put(&name(), good.slice(..cut).into()).await.unwrap();
        let error = checked.get_range(&name(), 19_000..19_100).await.unwrap_err();
        assert_eq!(damage_in(&error).unwrap().object, name(), "cut at {cut}: {error}");
        assert!(!checked.damages(&name()).await.unwrap().is_empty(), "cut at {cut}");
    }
    raw.delete(&name()).await.unwrap();
    assert!(matches!(checked.get_range(&name(), 0..1).await, Err(Error::NotFound { .. })));
}

#[cfg(feature = "conformance")]
#[tokio::test]
async fn the_conformance_functions_of_object_store_pass() {
    let (_, store) = stores();
    crate::bucket::conformance::check(&store).await;
}
