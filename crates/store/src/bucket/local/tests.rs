//! What the local store promises, beyond what every object store does.

use super::*;
use object_store::{Attribute, Attributes, GetRange, ObjectStoreExt, UpdateVersion, WriteMultipart};
use std::os::unix::fs::MetadataExt;
use tempfile::TempDir;

fn store() -> (TempDir, LocalStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&directory.path().join("bucket"), Random::from_seed(1)).unwrap();
    (directory, store)
}

fn at(name: &str) -> Location {
    Location::from(name)
}

fn update(tag: &str) -> PutOptions {
    PutMode::Update(UpdateVersion { e_tag: Some(tag.to_owned()), version: None }).into()
}

async fn names(store: &LocalStore, prefix: Option<&str>) -> Vec<String> {
    let prefix = prefix.map(at);
    store.list(prefix.as_ref()).map_ok(|object| object.location.to_string()).try_collect().await.unwrap()
}

async fn content(store: &LocalStore, name: &str) -> Bytes {
    store.get(&at(name)).await.unwrap().bytes().await.unwrap()
}

#[tokio::test]
async fn an_object_is_a_file_of_its_name() {
    let (_directory, store) = store();
    store.put(&at("a/b.txt"), "hello".into()).await.unwrap();
    assert_eq!(std::fs::read(store.directory().join("a/b.txt")).unwrap(), b"hello");
    assert_eq!(content(&store, "a/b.txt").await, "hello");
}

#[tokio::test]
async fn the_same_bytes_never_have_the_same_tag_and_a_reader_of_old_bytes_sees_them_to_their_end() {
    for times_only in [false, true] {
        let (_directory, mut store) = store();
        if times_only {
            Arc::get_mut(&mut store.files).unwrap().keep_times_only();
        }
        let first = store.put(&at("x"), "same".into()).await.unwrap().e_tag.unwrap();
        let reader = store.get(&at("x")).await.unwrap();
        let second = store.put(&at("x"), "same".into()).await.unwrap().e_tag.unwrap();
        assert_ne!(first, second);
        assert_eq!(store.head(&at("x")).await.unwrap().e_tag, Some(second.clone()));
        let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
        assert_eq!(listed, [store.head(&at("x")).await.unwrap()]);
        assert_eq!(reader.bytes().await.unwrap(), "same");
        assert!(matches!(
            store.put_opts(&at("x"), "new".into(), update(&first)).await,
            Err(Error::Precondition { .. })
        ));
        store.put_opts(&at("x"), "new".into(), update(&second)).await.unwrap();
        assert_eq!(content(&store, "x").await, "new");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_race_of_creates_through_two_stores_has_one_winner() {
    let (_directory, one) = store();
    let two = LocalStore::open(one.directory(), Random::from_seed(2)).unwrap();
    for round in 0..30 {
        let racers = (0..16).map(|racer| {
            let store = if racer % 2 == 0 { one.clone() } else { two.clone() };
            tokio::spawn(async move {
                let name = at(&format!("race/{round}"));
                store.put_opts(&name, format!("{racer}").into(), PutMode::Create.into()).await
            })
        });
        let results = futures::future::join_all(racers).await;
        let won: Vec<_> = (0..16).filter(|racer| results[*racer].as_ref().unwrap().is_ok()).collect();
        assert_eq!(won.len(), 1, "round {round}");
        assert_eq!(content(&one, &format!("race/{round}")).await, won[0].to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increments_by_update_through_two_stores_lose_none_among_deletes_of_neighbours() {
    let (_directory, one) = store();
    let two = LocalStore::open(one.directory(), Random::from_seed(2)).unwrap();
    one.put(&at("n/counter"), "0".into()).await.unwrap();
    let tasks = (0..8).map(|task| {
        let store = if task % 2 == 0 { one.clone() } else { two.clone() };
        tokio::spawn(async move {
            for _ in 0..10 {
                loop {
                    let got = store.get(&at("n/counter")).await.unwrap();
                    let tag = got.meta.e_tag.clone().unwrap();
                    let count: u32 = String::from_utf8(got.bytes().await.unwrap().to_vec()).unwrap().parse().unwrap();
                    let next = (count + 1).to_string();
                    match store.put_opts(&at("n/counter"), next.into(), update(&tag)).await {
                        Ok(_) => break,
                        Err(Error::Precondition { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(content(&one, "n/counter").await, "80");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn puts_succeed_while_deletes_take_their_directories_away() {
    let (_directory, one) = store();
    let two = LocalStore::open(one.directory(), Random::from_seed(2)).unwrap();
    let tasks = (0..8).map(|task| {
        let store = if task % 2 == 0 { one.clone() } else { two.clone() };
        tokio::spawn(async move {
            for round in 0..20 {
                let name = at(&format!("deep/er/{task}"));
                store.put(&name, format!("{round}").into()).await.unwrap();
                assert_eq!(store.get(&name).await.unwrap().bytes().await.unwrap(), format!("{round}"));
                store.delete(&name).await.unwrap();
                assert!(matches!(store.head(&name).await, Err(Error::NotFound { .. })));
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    assert!(!one.directory().join("deep").exists(), "empty directories go");
}

#[tokio::test]
async fn listing_is_in_the_order_of_whole_names_and_starts_behind_any_offset() {
    let (_directory, store) = store();
    let all = ["a b/x", "a!", "a-c/d/e", "a/b", "a/b-", "a/b.c/d", "a/é", "ab", "b/0", "é"];
    for name in all {
        store.put(&Location::parse(name).unwrap(), name.into()).await.unwrap();
    }
    let mut sorted: Vec<String> = all.iter().map(ToString::to_string).collect();
    sorted.sort();
    assert_eq!(names(&store, None).await, sorted);
    for offset in ["", "a", "a/", "a/b", "a/b.", "a/b.c", "a/zz", "b", "zzz", "é"].map(|o| Location::parse(o).unwrap())
    {
        let listed = store.list_with_offset(None, &offset).map_ok(|object| object.location.to_string());
        let wanted: Vec<_> = sorted.iter().filter(|name| name.as_str() > offset.as_ref()).cloned().collect();
        assert_eq!(listed.try_collect::<Vec<_>>().await.unwrap(), wanted, "after {offset}");
    }
    let level = store.list_with_delimiter(Some(&at("a"))).await.unwrap();
    assert_eq!(level.common_prefixes, [at("a/b.c")]);
    let objects: Vec<_> = level.objects.iter().map(|object| object.location.to_string()).collect();
    assert_eq!(objects, ["a/b", "a/b-", "a/é"]);
}

#[tokio::test]
async fn a_long_listing_comes_whole() {
    let (_directory, store) = store();
    let count = limits::LOCAL_LIST_PAGE * 2 + 1;
    std::fs::create_dir(store.directory().join("many")).unwrap();
    for number in 0..count {
        std::fs::write(store.directory().join(format!("many/{number:06}")), "").unwrap();
    }
    let listed = names(&store, Some("many")).await;
    assert_eq!(listed.len(), count);
    assert!(listed.is_sorted());
    let doomed = listed.into_iter().map(|name| Ok(at(&name)));
    let gone: Vec<_> = store.delete_stream(stream::iter(doomed).boxed()).try_collect().await.unwrap();
    assert_eq!(gone.len(), count);
    assert_eq!(names(&store, None).await, [] as [&str; 0]);
}

#[tokio::test]
async fn an_upload_is_hidden_until_complete_and_leaves_nothing_when_dropped() {
    let (_directory, store) = store();
    let mut upload = store.put_multipart(&at("u")).await.unwrap();
    let (first, second) = (upload.put_part("one ".into()), upload.put_part("two".into()));
    second.await.unwrap();
    first.await.unwrap();
    assert_eq!(names(&store, None).await, [] as [&str; 0]);
    upload.complete().await.unwrap();
    assert_eq!(content(&store, "u").await, "one two");
    upload.complete().await.unwrap_err();

    let mut dropped = store.put_multipart(&at("v")).await.unwrap();
    dropped.put_part("x".into()).await.unwrap();
    drop(dropped);
    assert_eq!(names(&store, None).await, ["u"]);
    let own = std::fs::read_dir(store.directory().join(".ballast/tmp")).unwrap().next().unwrap().unwrap();
    assert_eq!(std::fs::read_dir(own.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_upload_with_a_part_missing_is_refused() {
    let (_directory, store) = store();
    let mut upload = store.put_multipart(&at("u")).await.unwrap();
    drop(upload.put_part("never written ".into()));
    upload.put_part("written".into()).await.unwrap();
    upload.complete().await.unwrap_err();
    assert_eq!(names(&store, None).await, [] as [&str; 0]);
}

#[tokio::test]
async fn a_long_object_is_read_in_pieces() {
    let (_directory, store) = store();
    let bytes: Bytes = (0..10_000_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    let mut writer = WriteMultipart::new(store.put_multipart(&at("long")).await.unwrap());
    writer.write(&bytes);
    writer.finish().await.unwrap();
    assert_eq!(content(&store, "long").await, bytes);
    let options = GetOptions::new().with_range(Some(GetRange::Suffix(5_000_000)));
    assert_eq!(store.get_opts(&at("long"), options).await.unwrap().bytes().await.unwrap(), bytes.slice(5_000_000..));
    let ranges = store.get_ranges(&at("long"), &[5..10, 0..1, 9_999_999..10_000_005]).await.unwrap();
    assert_eq!(ranges, [bytes.slice(5..10), bytes.slice(0..1), bytes.slice(9_999_999..)]);
    store.get_range(&at("long"), 20_000_000..20_000_001).await.unwrap_err();
}

#[tokio::test]
async fn attributes_stay_with_the_object_through_a_copy() {
    let (_directory, store) = store();
    let attributes = Attributes::from_iter([(Attribute::Metadata("slatedbputid".into()), "01ABC")]);
    let mut options: PutOptions = PutMode::Create.into();
    options.attributes = attributes.clone();
    store.put_opts(&at("x"), "".into(), options).await.unwrap();
    store.copy(&at("x"), &at("y")).await.unwrap();
    assert_eq!(store.get(&at("y")).await.unwrap().attributes, attributes);
    assert!(matches!(store.copy_if_not_exists(&at("x"), &at("y")).await, Err(Error::AlreadyExists { .. })));
}

#[tokio::test]
async fn temporaries_of_the_dead_are_swept_and_those_of_the_living_stay() {
    let (_directory, store) = store();
    let temporaries = store.directory().join(".ballast/tmp");
    std::fs::create_dir(temporaries.join("dead")).unwrap();
    std::fs::write(temporaries.join("dead/7"), "left behind").unwrap();
    let mut upload = store.put_multipart(&at("u")).await.unwrap();
    upload.put_part("alive".into()).await.unwrap();
    std::fs::create_dir(temporaries.join("dead too")).unwrap();
    let second = LocalStore::open(store.directory(), Random::from_seed(3)).unwrap();
    let left = |name: &str| std::fs::read_dir(temporaries.join(name)).map_or(0, |found| found.count());
    assert_eq!(left("dead") + left("dead too"), 0);
    upload.complete().await.unwrap();
    assert_eq!(content(&second, "u").await, "alive");
    assert_eq!(left(""), 2, "one of the dead is used again");
    drop((second, upload));
}

#[tokio::test]
async fn what_is_no_object_is_neither_listed_nor_read() {
    let (_directory, store) = store();
    store.put(&at("real"), "".into()).await.unwrap();
    std::os::unix::fs::symlink("/etc/passwd", store.directory().join("link")).unwrap();
    std::os::unix::fs::symlink("/etc", store.directory().join("links")).unwrap();
    let pipe = std::ffi::CString::new(store.directory().join("pipe").to_str().unwrap()).unwrap();
    // SAFETY: the name is zero-terminated and lives over the call.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    assert_eq!(names(&store, None).await, ["real"]);
    for name in ["link", "pipe", "real/below"] {
        assert!(matches!(store.get(&at(name)).await, Err(Error::NotFound { .. })), "{name}");
    }
    store.put(&at(".ballast/tmp/x"), "".into()).await.unwrap_err();
    store.put(&at("real/below"), "".into()).await.unwrap_err();
}

#[tokio::test]
async fn an_object_cannot_take_the_name_of_a_directory() {
    let (_directory, store) = store();
    store.put(&at("d/x"), "".into()).await.unwrap();
    for mode in [PutMode::Create, PutMode::Overwrite] {
        let error = store.put_opts(&at("d"), "".into(), mode.into()).await.unwrap_err();
        assert!(matches!(error, Error::Generic { .. }), "{error}");
    }
    store.delete(&at("d")).await.unwrap();
    assert_eq!(names(&store, None).await, ["d/x"]);
}

/// `BALLAST_TEST_FULL_DISK` names a directory on a small file system (`mount -t tmpfs -o size=8m …`).
#[tokio::test]
async fn a_bucket_on_a_full_disk_refuses_writes_keeps_everything_and_recovers() {
    let Some(disk) = std::env::var_os("BALLAST_TEST_FULL_DISK") else {
        println!("a_bucket_on_a_full_disk: NOT RUN, because BALLAST_TEST_FULL_DISK is unset");
        return;
    };
    let store = LocalStore::open(&PathBuf::from(disk).join("bucket"), Random::from_system()).unwrap();
    let body = Bytes::from(vec![7; 1 << 20]);
    let mut kept = Vec::new();
    let refused = loop {
        let name = at(&format!("fill/{:04}", kept.len()));
        match store.put(&name, body.clone().into()).await {
            Ok(_) => kept.push(name),
            Err(error) => break error,
        }
        assert!(kept.len() < 1000, "the file system is not small");
    };
    let refused = crate::bucket::failure("write an object", refused);
    assert_eq!(refused.kind(), ballast_types::ErrorKind::Exhausted, "{refused}");
    println!("after {} MiB: {refused}", kept.len());
    // To the last byte: what one object leaves, a small one takes.
    while store.put(&at(&format!("rest/{}", kept.len())), Bytes::from(vec![7; 4000]).into()).await.is_ok() {
        kept.push(at(&format!("rest/{}", kept.len())));
    }
    let directory = store.directory().to_owned();
    drop(store);
    let store = LocalStore::open(&directory, Random::from_system()).unwrap();
    let mut upload = store.put_multipart(&at("upload")).await.unwrap();
    upload.put_part(body.clone().into()).await.unwrap_err();
    upload.complete().await.unwrap_err();
    for name in &kept {
        let whole = store.get(name).await.unwrap().bytes().await.unwrap();
        assert!(whole.iter().all(|byte| *byte == 7) && (whole.len() == body.len() || whole.len() == 4000));
    }
    assert_eq!(names(&store, None).await.len(), kept.len());
    store.delete(&kept[0]).await.unwrap();
    store.put(&at("again"), body.into()).await.unwrap();
    store
        .delete_stream(store.list(None).map_ok(|object| object.location).boxed())
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
}

#[test]
fn a_full_disk_is_exhaustion() {
    let full = io::Error::from_raw_os_error(libc::ENOSPC);
    let error = crate::bucket::failure("write x", refused(&at("x"), full.into()));
    assert_eq!(error.kind(), ballast_types::ErrorKind::Exhausted);
}

#[test]
fn a_new_bucket_belongs_to_its_owner_alone() {
    let (_directory, store) = store();
    assert_eq!(std::fs::metadata(store.directory()).unwrap().mode() & 0o777, 0o700);
}

#[cfg(feature = "conformance")]
#[tokio::test]
async fn the_conformance_functions_of_object_store_pass() {
    let (_directory, store) = store();
    crate::bucket::conformance::check(&store).await;
}
