//! SET and SHOW of times, and settings that end with their transaction.

use crate::harness::Database;
use ballast_tables::Error;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn times_are_read_and_shown_as_postgresql_does() {
    let mut client = Database::new().await.session();
    assert_eq!(client.run("SHOW statement_timeout").await, ["0"]);
    let times = [
        ("5000", "5s"),
        ("'5s'", "5s"),
        ("'90 s'", "90s"),
        ("'1.5min'", "90s"),
        ("'600s'", "10min"),
        ("1500", "1500ms"),
        ("'2500us'", "2ms"),
        ("'24h'", "1d"),
        ("0", "0"),
        ("2147483647", "2147483647ms"),
    ];
    for (set, shown) in times {
        client.run(&format!("SET statement_timeout = {set}")).await;
        assert_eq!(client.run("SHOW statement_timeout").await, [shown], "{set}");
    }
    for wrong in ["-1", "'5 S'", "'5fortnights'", "''", "'s'", "'1.2.3'", "2147483648", "'inf'"] {
        let refused = client.fails(&format!("SET statement_timeout = {wrong}")).await;
        assert!(matches!(refused, Error::InvalidParameter(_)), "{wrong}: {refused}");
    }
    client.run("RESET statement_timeout").await;
    assert_eq!(client.0.variables().statement_timeout(), None);
}

#[tokio::test]
async fn an_open_transaction_is_never_without_a_bound() {
    let mut client = Database::new().await.session();
    assert_eq!(client.0.idle_timeout(), None);
    let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
    for (set, shown, bound) in [
        ("DEFAULT", "10min", minutes(10)),
        ("'2min'", "2min", minutes(2)),
        ("0", "1d", minutes(24 * 60)),
        ("'2d'", "1d", minutes(24 * 60)),
    ] {
        client.run(&format!("SET idle_in_transaction_session_timeout = {set}")).await;
        assert_eq!(client.run("SHOW idle_in_transaction_session_timeout").await, [shown]);
        client.run("BEGIN").await;
        assert_eq!(client.0.idle_timeout(), bound, "{set}");
        client.run("ROLLBACK").await;
        assert_eq!(client.0.idle_timeout(), None, "{set}");
    }
}

/// Time stands still here.
#[tokio::test(start_paused = true)]
async fn a_transaction_has_an_end_whatever_is_done_in_it() {
    let mut client = Database::new().await.session();
    assert_eq!(client.0.transaction_deadline(), None);
    for (set, shown, minutes) in
        [("DEFAULT", "30min", 30), ("'2h'", "2h", 120), ("0", "1d", 1440), ("'2d'", "1d", 1440)]
    {
        client.run(&format!("SET transaction_timeout = {set}")).await;
        assert_eq!(client.run("SHOW transaction_timeout").await, [shown]);
        client.run("BEGIN").await;
        let end = Instant::now() + Duration::from_secs(60 * minutes);
        assert_eq!(client.0.transaction_deadline(), Some(end), "{set}");
        client.run("ROLLBACK").await;
        assert_eq!(client.0.transaction_deadline(), None, "{set}");
    }
    let refused = client.fails("SET transaction_timeout = '5 fortnights'").await;
    assert!(refused.to_string().contains("\"transaction_timeout\""), "{refused}");
}

#[tokio::test]
async fn what_is_set_for_a_transaction_ends_with_it() {
    let mut client = Database::new().await.session();
    client.run("SET statement_timeout = '1min'").await;
    for end in ["COMMIT", "ROLLBACK"] {
        client.run("BEGIN; SET LOCAL statement_timeout = '5s'; SET LOCAL statement_timeout = '6s'").await;
        assert_eq!(client.run("SHOW statement_timeout").await, ["6s"]);
        client.run(end).await;
        assert_eq!(client.run("SHOW statement_timeout").await, ["1min"], "{end}");
    }
    // What is set for the session stays.
    client.run("BEGIN; SET LOCAL statement_timeout = '5s'; SET statement_timeout = '7s'; COMMIT").await;
    assert_eq!(client.run("SHOW statement_timeout").await, ["7s"]);
    client.run("SET LOCAL statement_timeout = '8s'").await;
    assert_eq!(client.0.take_notices(), ["SET LOCAL can only be used in transaction blocks"]);
    assert_eq!(client.run("SHOW statement_timeout").await, ["7s"]);
}

#[tokio::test]
async fn a_rollback_takes_settings_back() {
    let mut client = Database::new().await.session();
    client.run("SET application_name = 'before'").await;
    for (begin, end, after) in [
        ("BEGIN", "ROLLBACK", "before"),
        ("BEGIN; SET LOCAL application_name = 'local'", "ROLLBACK", "before"),
        ("BEGIN; RESET application_name", "ROLLBACK", "before"),
        ("BEGIN; RESET ALL", "ROLLBACK", "before"),
        ("BEGIN", "COMMIT", "inside"),
        ("BEGIN; SET LOCAL application_name = 'local'", "COMMIT", "inside"),
    ] {
        client.run(begin).await;
        client.run("SET application_name = 'inside'").await;
        client.run(end).await;
        assert_eq!(client.run("SHOW application_name").await, [after], "{begin} {end}");
    }
    client.run("BEGIN; SET application_name = 'failed'").await;
    client.fails("SELECT 1 / 0").await;
    client.run("COMMIT").await;
    assert_eq!(client.run("SHOW application_name").await, ["inside"]);
}

#[tokio::test]
async fn the_directory_is_where_the_search_path_says() {
    let database = Database::new().await;
    for directory in ["/home", "/tenant_a", "/a, b"] {
        database.directory(directory).await;
        let mut client = database.session_at(directory, ballast_types::Caller::root());
        client.run("CREATE TABLE place (name text PRIMARY KEY)").await;
        client.run_with("INSERT INTO place VALUES ($1)", &[directory]).await;
    }
    let mut client = database.session_at("/home", ballast_types::Caller::root());
    for (sql, place) in [
        ("BEGIN; SET LOCAL search_path = '/tenant_a'", "/tenant_a"),
        ("COMMIT", "/home"),
        ("BEGIN; SET search_path = '/tenant_a'; ROLLBACK", "/home"),
        ("SET search_path = '/tenant_a'", "/tenant_a"),
        ("RESET search_path", "/home"),
        ("SET search_path = '/tenant_a', public", "/tenant_a"),
        ("RESET ALL", "/home"),
        ("SET search_path TO '/a, b', public", "/a, b"),
        ("DISCARD ALL", "/home"),
        ("SET search_path = '/tenant_a'", "/tenant_a"),
        ("SET search_path = public", "/home"),
        ("SET search_path = '/tenant_a'", "/tenant_a"),
        ("SET search_path TO DEFAULT", "/home"),
    ] {
        client.run(sql).await;
        assert_eq!(client.run("SELECT name FROM place").await, [place], "{sql}");
    }
    client.run("ROLLBACK").await;
    assert!(matches!(client.fails("SET search_path = '/a/../b'").await, Error::InvalidName(_)));
}
