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
async fn bytes_are_the_same_bytes_on_both_paths() {
    let (_database, mut client) = filled().await;
    all(
        &mut client,
        &[
            ("SELECT count(*) FROM v1 WHERE y = '\\x01'", &["1"]),
            ("SELECT count(*) FROM v1 WHERE y IN ('\\x01', '\\x02')", &["1"]),
            ("SELECT count(*) FROM v1 WHERE y > '\\x00'::bytea", &["1"]),
            ("UPDATE v1 SET y = '\\xfe'::bytea WHERE id IN (SELECT 1) RETURNING y", &["\\xfe"]),
            (
                "INSERT INTO v1 (id, y, t) SELECT 9, '\\xdead'::bytea, y::text FROM v1 WHERE id = 1 RETURNING y, t",
                &["\\xdead|\\xfe"],
            ),
            ("SELECT max(y::text) FROM v1 WHERE id = 9", &["\\xdead"]),
        ],
    )
    .await;
    assert!(matches!(client.fails("SELECT max('\\xd'::bytea) FROM v1").await, Error::InvalidText { .. }));
}

#[tokio::test]
async fn a_number_that_becomes_an_integer_is_rounded() {
    let (_database, mut client) = filled().await;
    all(
        &mut client,
        &[
            ("SELECT sum(d::int), sum(n::int) FROM v1 WHERE id = 1", &["3|3"]),
            (
                "SELECT 2.5::int, 2.7::int AS b, (-2.5)::int AS c, 2.5::float8::int AS d, 3.5::float8::bigint AS e",
                &["3|3|-3|2|4"],
            ),
            ("SELECT id FROM v1 AS v WHERE n::int = 3 GROUP BY id", &["1"]),
            ("SELECT n::int, count(*) FROM v1 GROUP BY n::int ORDER BY 1", &["1|1", "3|1", "-|1"]),
            ("INSERT INTO v1 (id, a) SELECT id + 10, d::int FROM v1 WHERE id = 1 RETURNING a", &["3"]),
        ],
    )
    .await;
    for sql in
        ["SELECT sum(d::int) FROM v1", "SELECT max(40000.1::float8::smallint) FROM v1", "SELECT 3e9::float8::int"]
    {
        let error = client.fails(sql).await;
        assert!(matches!(error, Error::OutOfRange(_)), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_float_beside_a_decimal_stays_a_float_wherever_one_is_chosen() {
    let (_database, mut client) = filled().await;
    client.run("CREATE TABLE q (id int PRIMARY KEY, d float8); INSERT INTO q VALUES (1, 1e-20)").await;
    all(
        &mut client,
        &[
            ("SELECT max(coalesce(d, 0.0)) FROM v1 WHERE id = 2", &["1e-20"]),
            ("SELECT max(CASE WHEN id = 2 THEN d ELSE 0.5 END) FROM v1 WHERE id = 2", &["1e-20"]),
            ("SELECT max(greatest(d, 0.0)), min(least(d, 0.5)) FROM v1 WHERE id = 2", &["1e-20|1e-20"]),
            ("SELECT max(nullif(d, 0.5)) FROM v1", &["Infinity"]),
            ("SELECT d FROM v1 WHERE id = 2 UNION ALL SELECT 0.5", &["1e-20", "0.5"]),
            ("SELECT 0.5 UNION SELECT d FROM v1 WHERE id = 3 ORDER BY 1", &["0.5", "Infinity"]),
            ("UPDATE q SET d = coalesce(q.d, 0.5) FROM (SELECT 1 AS k) s WHERE q.id = s.k RETURNING q.d", &["1e-20"]),
            ("UPDATE q SET d = greatest(d, 0.0) WHERE id = 1 RETURNING d", &["1e-20"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_float_divided_by_zero_is_an_error_on_both_paths() {
    let (_database, mut client) = filled().await;
    for sql in
        ["SELECT max(d / 0) FROM v1", "SELECT max(n / d) FROM v1, (VALUES (0.0::float8)) AS z (x) WHERE d / x > 0"]
    {
        assert!(matches!(client.fails(sql).await, Error::DivisionByZero), "{sql}");
    }
    assert!(matches!(client.fails("SELECT max(1e38::real * 10::real) FROM v1").await, Error::OutOfRange(_)));
    assert_eq!(client.run("SELECT max(d * 2 + 1) FROM v1").await, ["Infinity"]);
    for text in ["1e309", "-1e309", "1e-400"] {
        let error = client.fails(&format!("UPDATE v1 SET d = '{text}' WHERE id = 1")).await;
        assert!(matches!(error, Error::OutOfRange(_)), "{text}: {error}");
    }
    assert_eq!(client.run("UPDATE v1 SET d = '0e5' WHERE id = 1 RETURNING d").await, ["0"]);
}

#[tokio::test]
async fn infinity_and_nan_are_found_as_the_smallest_and_the_largest() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE f (id int PRIMARY KEY, g int, d float8, r real)").await;
    client
        .run("INSERT INTO f VALUES (1, 1, 'Infinity', '-Infinity'), (2, 2, 'NaN', '-2.25'), (3, 2, -2.25, 'NaN')")
        .await;
    client.run("INSERT INTO f VALUES (4, 3, null, null), (5, 4, '-Infinity', 0.1)").await;
    all(
        &mut client,
        &[
            (
                "SELECT g, min(d), max(d), min(r), max(r) FROM f GROUP BY g ORDER BY g",
                &[
                    "1|Infinity|Infinity|-Infinity|-Infinity",
                    "2|-2.25|NaN|-2.25|NaN",
                    "3|-|-|-|-",
                    "4|-Infinity|-Infinity|0.1|0.1",
                ],
            ),
            ("SELECT min(d), max(d) FROM f WHERE g = 2", &["-2.25|NaN"]),
            ("SELECT min(d), max(id) FROM f WHERE g = 1", &["Infinity|1"]),
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
