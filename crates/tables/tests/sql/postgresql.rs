//! Answers that are PostgreSQL's where DataFusion or the parser would give others, and what is refused instead.

use crate::harness::{Client, Database};
use ballast_tables::Error;

async fn filled() -> (Database, Client) {
    let database = Database::new().await;
    let mut client = database.session();
    client
        .run(
            "CREATE TABLE v1 (id int PRIMARY KEY, a int, o bool, d float8, n numeric(10,2), ts timestamp, \
             tz timestamptz, t text, y bytea, u uuid); CREATE TABLE v2 (id int PRIMARY KEY, a int, b int)",
        )
        .await;
    client
        .run(
            "INSERT INTO v1 VALUES (1, 1, true, 2.7, 2.7, '2024-01-01 10:00:00', '2024-01-01 10:00:00+00', 'x', \
             '\\x01', 'a0000000-0000-0000-0000-00000000000a')",
        )
        .await;
    client
        .run("INSERT INTO v1 (id, a, o, d, n) VALUES (2, 2, false, 1e-20, 1), (3, null, null, 'Infinity', null)")
        .await;
    client.run("INSERT INTO v2 VALUES (1, 2, 7), (2, 9, 8)").await;
    (database, client)
}

async fn all(client: &mut Client, answers: &[(&str, &[&str])]) {
    for (sql, rows) in answers {
        assert_eq!(client.run(sql).await, *rows, "{sql}");
    }
}

#[tokio::test]
async fn what_follows_is_distinct_from_is_a_condition_of_its_own() {
    let (_database, mut client) = filled().await;
    all(
        &mut client,
        &[
            ("SELECT id FROM v1 WHERE o IS DISTINCT FROM false AND id = 3", &["3"]),
            ("SELECT id FROM v1 WHERE a IS NOT DISTINCT FROM 2 OR id = 3", &["2", "3"]),
            ("SELECT id FROM v1 WHERE id > 1 AND o IS DISTINCT FROM false OR id = 2", &["2", "3"]),
            ("SELECT id FROM v1 WHERE NOT a IS DISTINCT FROM 1 OR id = 3", &["1", "3"]),
            ("SELECT id FROM v1 WHERE a IS DISTINCT FROM 1 + 1 AND a IS DISTINCT FROM 1", &["3"]),
            ("SELECT id FROM v1 WHERE o IS DISTINCT FROM (false AND id = 3)", &["1", "3"]),
            ("SELECT id FROM v1 WHERE o IS NOT DISTINCT FROM id = 1", &["1", "2"]),
            ("SELECT count(*) FROM v1 WHERE o IS DISTINCT FROM false AND id = 3", &["1"]),
            ("SELECT CASE WHEN a IS DISTINCT FROM 1 THEN 'other' ELSE 'one' END FROM v1", &["one", "other", "other"]),
            ("DELETE FROM v1 WHERE o IS DISTINCT FROM false AND id = 3", &["DELETE 1"]),
            ("SELECT id FROM v1", &["1", "2"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_date_is_not_stored_that_is_not_read_to_its_end() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE k1 (id int PRIMARY KEY, dt date)").await;
    assert_eq!(client.run("INSERT INTO k1 VALUES (1, '0044-03-15 BC') RETURNING dt").await, ["0044-03-15 BC"]);
    for wrong in ["2024-01-01T99:99:99 rubbish", "2024-01-01 x"] {
        let error = client.fails(&format!("INSERT INTO k1 VALUES (2, '{wrong}')")).await;
        assert!(matches!(error, Error::InvalidDatetime(_)), "{wrong}: {error}");
    }
}
