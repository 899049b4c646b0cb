//! object_store's own tests of what a store must do, for each of our stores.
//!
//! `cargo test --release -p ballast-store --features conformance conformance` runs them.

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, integration};

/// Panics if the store does something else. Leaves objects behind.
pub async fn check(store: &dyn ObjectStore) {
    integration::put_get_delete_list(store).await;
    integration::list_with_offset_exclusivity(store).await;
    integration::get_opts(store).await;
    integration::put_opts(store, true).await;
    integration::list_uses_directories_correctly(store).await;
    integration::list_with_delimiter(store).await;
    integration::rename_and_copy(store).await;
    integration::copy_if_not_exists(store).await;
    integration::copy_rename_nonexistent_object(store).await;
    integration::put_get_attributes(store).await;
    integration::multipart_race_condition(store, true).await;
    integration::multipart_out_of_order(store).await;
    // It lists everything.
    let all = store.list(None).map_ok(|object| object.location).boxed();
    store.delete_stream(all).try_collect::<Vec<_>>().await.unwrap();
    integration::stream_get(store).await;
    assert!(integration::get_nonexistent_object(store, None).await.is_err());
}
