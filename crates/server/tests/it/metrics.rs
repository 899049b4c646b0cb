//! What the server tells of itself.

use crate::clients::all_are_served;
use crate::serving::serving;

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_do_is_counted_by_kind_and_protocol() {
    let serving = serving().await;
    all_are_served(&serving, "before anything is counted").await;
    let metrics = serving.server.metrics();
    for line in [
        "ballast_http_requests_total{status=\"200\"} 1",
        "ballast_kafka_request_seconds_count{api=\"ApiVersions\"} 1",
        "ballast_kafka_request_seconds_count{api=\"Produce\"} 0",
        "ballast_tables_statement_seconds_count 2",
        "ballast_tables_failed_statements_total 0",
        "# TYPE ballast_kafka_connections gauge",
        "# TYPE ballast_postgres_connections gauge",
        "ballast_streams_appends_total 0",
        "ballast_files_syncs_total 0",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line} is missing in:\n{metrics}");
    }
    let activity = serving.client.status().await.unwrap().activity;
    assert_eq!(activity.keys().collect::<Vec<_>>(), ["files", "streams", "tables"]);
    assert_eq!(activity["tables"].operations, 2);
}
