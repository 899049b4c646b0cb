//! Names through the API.

use crate::serving::serving;
use ballast_api::{Client, Create, Error, Remove};
use ballast_types::{ErrorKind, TreePath};

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

async fn make(client: &Client, path: &str) {
    let create = Create { path: path.to_owned(), kind: "directory".to_owned(), parents: true, ..Create::default() };
    client.create(&create).await.unwrap();
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Error>) -> ErrorKind {
    answer.unwrap_err().kind()
}

#[tokio::test]
async fn a_directory_is_made_listed_and_removed() {
    let serving = serving().await;
    let client = &serving.client;
    make(client, "/a/b").await;
    let listed = client.list(&path("/a"), None).await.unwrap();
    assert_eq!(listed.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(listed.entries[0], client.stat(&path("/a/b")).await.unwrap());

    let remove = |recursive| Remove { path: "/a".to_owned(), recursive, drop: false };
    assert_eq!(refused(client.remove(&remove(false)).await), ErrorKind::Invalid);
    assert_eq!(client.remove(&remove(true)).await.unwrap().entries, 2);
    assert_eq!(refused(client.stat(&path("/a")).await), ErrorKind::NotFound);
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn what_exists_is_not_made_again_and_what_is_no_kind_is_not_made() {
    let serving = serving().await;
    let client = &serving.client;
    make(client, "/a").await;
    let create = |path: &str, kind: &str| Create { path: path.to_owned(), kind: kind.to_owned(), ..Create::default() };
    assert_eq!(refused(client.create(&create("/a", "directory")).await), ErrorKind::AlreadyExists);
    assert_eq!(refused(client.create(&create("/", "directory")).await), ErrorKind::AlreadyExists);
    assert_eq!(refused(client.create(&create("/b/c", "directory")).await), ErrorKind::NotFound);
    assert_eq!(refused(client.create(&create("/b", "wardrobe")).await), ErrorKind::Invalid);
    assert_eq!(refused(client.create(&create("b", "directory")).await), ErrorKind::Invalid);
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_long_listing_comes_in_pages_without_gaps() {
    let serving = serving().await;
    let client = &serving.client;
    for number in 0..1500 {
        make(client, &format!("/many/{number:05} with a space")).await;
    }
    let (mut names, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = client.list(&path("/many"), after.as_deref()).await.unwrap();
        names.extend(page.entries.into_iter().map(|entry| entry.name));
        pages += 1;
        after = page.after;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, 2);
    assert_eq!(names, (0..1500).map(|number| format!("{number:05} with a space")).collect::<Vec<_>>());
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_large_tree_is_removed_whole_or_not_at_all() {
    let serving = serving().await;
    let client = &serving.client;
    for number in 0..200 {
        make(client, &format!("/tree/{:03}/{number}", number / 2)).await;
    }
    let stream = |path: &str| Create { path: path.to_owned(), kind: "stream".to_owned(), ..Create::default() };
    client.create(&stream("/tree/070/s")).await.unwrap();
    for number in 0..100 {
        client.create(&stream(&format!("/tree/099/{number}-s"))).await.unwrap();
    }
    let remove = |drop| Remove { path: "/tree".to_owned(), recursive: true, drop };
    assert_eq!(refused(client.remove(&remove(false)).await), ErrorKind::Denied);
    assert_eq!(client.list(&path("/tree"), None).await.unwrap().entries.len(), 100);
    assert_eq!(client.remove(&remove(true)).await.unwrap().entries, 1 + 100 + 200 + 101);
    assert_eq!(refused(client.stat(&path("/tree")).await), ErrorKind::NotFound);
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn snapshots_are_made_listed_and_removed() {
    let serving = serving().await;
    let client = &serving.client;
    client.create_snapshot("before").await.unwrap();
    assert_eq!(refused(client.create_snapshot("before").await), ErrorKind::AlreadyExists);
    assert_eq!(refused(client.create_snapshot("a/b").await), ErrorKind::Invalid);
    let listed = client.snapshots().await.unwrap().snapshots;
    assert_eq!(listed.iter().map(|snapshot| snapshot.name.as_str()).collect::<Vec<_>>(), ["before"]);
    client.remove_snapshot("before").await.unwrap();
    assert_eq!(refused(client.remove_snapshot("before").await), ErrorKind::NotFound);
    serving.server.stop().await.unwrap();
}
