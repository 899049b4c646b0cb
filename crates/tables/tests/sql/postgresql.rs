//! Answers that are PostgreSQL's where DataFusion or the parser would give others, and what is refused instead.

use crate::harness::{Client, Database};
use ballast_tables::{Answer, Error, Type};

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

async fn refused(client: &mut Client, statements: &[&str]) {
    for sql in statements {
        let error = client.fails(sql).await;
        assert!(matches!(error, Error::Unsupported(_)), "{sql}: {error}");
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
async fn any_and_all_of_the_same_table_look_at_its_rows() {
    let (_database, mut client) = filled().await;
    all(
        &mut client,
        &[
            ("SELECT id FROM v1 WHERE a = ANY (SELECT a FROM v1 WHERE id = 2)", &["2"]),
            ("SELECT id FROM v1 WHERE a = SOME (SELECT a FROM v1 WHERE id = 2)", &["2"]),
            ("SELECT id FROM v1 WHERE a <> ALL (SELECT a FROM v1 WHERE id = 2)", &["1"]),
            ("SELECT id FROM v1 WHERE a < ANY (SELECT a FROM v1)", &["1"]),
            ("SELECT id FROM v1 WHERE NOT a = ANY (SELECT a FROM v1 WHERE id = 2)", &["1"]),
            ("SELECT count(*) FROM v1 WHERE a = ANY (SELECT a FROM v2) OR id = 1", &["2"]),
            ("DELETE FROM v1 WHERE a >= ALL (SELECT a FROM v1 WHERE a IS NOT NULL)", &["DELETE 1"]),
            ("SELECT id FROM v1 ORDER BY id", &["1", "3"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn in_is_null_where_a_null_decides() {
    let (_database, mut client) = filled().await;
    client.run("INSERT INTO v2 VALUES (3, null, null)").await;
    all(
        &mut client,
        &[
            ("SELECT count(*) FROM v1 WHERE a NOT IN (SELECT a FROM v2 WHERE a IS NOT NULL) OR id = 99", &["1"]),
            ("SELECT count(*) FROM v1 WHERE a NOT IN (SELECT a FROM v2) OR id = 99", &["0"]),
            ("SELECT id FROM v1 WHERE (a IN (SELECT a FROM v2)) IS NULL ORDER BY id", &["1", "3"]),
            ("SELECT id FROM v1 WHERE (a IN (SELECT a FROM v2 WHERE id < 3)) IS NULL", &["3"]),
            ("SELECT id FROM v1 WHERE NOT (a IN (SELECT a FROM v2 WHERE id < 3)) ORDER BY id", &["1"]),
            (
                "SELECT id FROM v1 WHERE a NOT IN (SELECT b FROM v2 WHERE v2.id > v1.id AND v2.id < 3) ORDER BY id",
                &["1", "2", "3"],
            ),
            ("SELECT id FROM v1 WHERE a = ANY (SELECT b FROM v2 WHERE v2.a = v1.a) OR id = 3", &["3"]),
            ("SELECT id FROM v1 WHERE a IN (SELECT a FROM v2) AND id IN (SELECT id FROM v1) ORDER BY id", &["2"]),
            (
                "SELECT v1.id FROM v1 JOIN v2 ON v1.id < v2.id AND v1.a IN (SELECT a FROM v1) ORDER BY 1",
                &["1", "1", "2"],
            ),
            ("SELECT count(*) FROM v1 WHERE a NOT IN (SELECT a FROM v2 WHERE id > 50)", &["3"]),
            ("SELECT a FROM v1 GROUP BY a HAVING a IN (SELECT a FROM v2) OR count(*) > 5", &["2"]),
            ("SELECT id FROM v1 WHERE a IN (SELECT a FROM v1) OR id = 3 ORDER BY id", &["1", "2", "3"]),
            ("SELECT id FROM v1 WHERE a NOT IN (SELECT a FROM v1 WHERE id = 1) ORDER BY id", &["2"]),
            ("DELETE FROM v1 WHERE a NOT IN (SELECT a FROM v2 WHERE id < 3) OR id = 99", &["DELETE 1"]),
        ],
    )
    .await;
    refused(
        &mut client,
        &["SELECT id FROM v2 JOIN v1 USING (id) WHERE v1.a NOT IN (SELECT v1.a FROM v1 WHERE v1.id > v2.id)"],
    )
    .await;
}

#[tokio::test]
async fn rows_are_compared_column_by_column() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE m9 (id int PRIMARY KEY, a int)").await;
    client.run("INSERT INTO m9 VALUES (1, 1), (5, 2), (2, null), (9, 4)").await;
    all(
        &mut client,
        &[
            ("SELECT id FROM m9 WHERE (a, id) < (2, 6) ORDER BY id", &["1", "5"]),
            ("SELECT id FROM m9 WHERE (a, id) <= (2, 5) ORDER BY id", &["1", "5"]),
            ("SELECT id FROM m9 WHERE (a, id) > (2, 5) ORDER BY id", &["9"]),
            ("SELECT id FROM m9 WHERE (id, a) = (5, 2)", &["5"]),
            ("SELECT id FROM m9 WHERE (id, a) IN ((1, 1), (9, 4), (2, 7)) ORDER BY id", &["1", "9"]),
            ("SELECT id FROM m9 WHERE (id, a) NOT IN ((1, 1), (2, 7)) ORDER BY id", &["5", "9"]),
            ("SELECT id FROM m9 WHERE ((id, a) = (2, 2)) IS NULL", &["2"]),
            ("SELECT id FROM m9 WHERE NOT (ROW(id, a) = ROW(2, 2)) ORDER BY id", &["1", "5", "9"]),
            ("SELECT id FROM m9 WHERE (id, a) IS DISTINCT FROM (2, null) ORDER BY id", &["1", "5", "9"]),
            ("DELETE FROM m9 WHERE (a, id) < (4, 3)", &["DELETE 2"]),
            ("SELECT id FROM m9 ORDER BY id", &["2", "9"]),
        ],
    )
    .await;
    assert!(matches!(client.fails("SELECT id FROM m9 WHERE (a, id) = (1, 2, 3)").await, Error::Syntax(_)));
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
async fn a_column_is_announced_as_what_it_is_computed_as() {
    let (_database, mut client) = filled().await;
    client.run("CREATE TABLE k (id bigint PRIMARY KEY, s smallint, day date, at timestamp)").await;
    let numeric = |of: Type| matches!(of, Type::Numeric { .. });
    for (sql, fits) in [
        (
            "SELECT CASE WHEN id = 1 THEN 1 ELSE 2.5 END FROM v1 WHERE id IN (SELECT id FROM v1)",
            &numeric as &dyn Fn(Type) -> bool,
        ),
        ("SELECT a FROM v1 UNION ALL SELECT d FROM v1", &|of| of == Type::Float8),
        ("SELECT s FROM k UNION SELECT id FROM k", &|of| of == Type::Int8),
        ("SELECT day FROM k UNION SELECT at FROM k", &|of| of == Type::Timestamp),
    ] {
        let prepared = client.0.prepare(sql, &[]).await.expect("it is prepared");
        let answer = client.0.execute(&prepared, &[], false).await.expect("it runs");
        let Answer::Rows { columns, .. } = answer else { panic!("{sql} has rows") };
        assert!(fits(columns[0].column_type), "{sql}: {:?}", columns[0].column_type);
    }
}

#[tokio::test]
async fn an_outer_join_is_filtered_on_the_side_that_is_named() {
    let (_database, mut client) = filled().await;
    client.run("CREATE TABLE f1 (id int PRIMARY KEY, a int, b int, x text)").await;
    client.run("CREATE TABLE f2 (id int PRIMARY KEY, a int, b int, x text)").await;
    client.run("INSERT INTO f1 VALUES (1, 1, 20, 'r'), (2, 2, 10, 's')").await;
    client.run("INSERT INTO f2 VALUES (1, 1, 200, 'u'), (2, 2, 200, 's'), (3, 3, 300, 'w')").await;
    all(
        &mut client,
        &[
            ("SELECT v2.id FROM v1 RIGHT JOIN v2 ON v1.a = v2.a WHERE v1.id IS NULL AND v2.id = 2", &["2"]),
            ("SELECT o.* FROM f1 m RIGHT JOIN f2 o ON m.a = o.a WHERE m.id IS NULL AND o.b = 300", &["3|3|300|w"]),
            (
                "SELECT o.id FROM f1 m RIGHT JOIN f2 o ON m.a = o.a WHERE o.x = 's' OR (m.b >= 20 AND o.b = 200) ORDER BY 1",
                &["1", "2"],
            ),
            ("SELECT o.id FROM f1 m FULL JOIN f2 o ON m.a = o.a WHERE m.id IS NULL AND o.b = 300", &["3"]),
        ],
    )
    .await;
    refused(
        &mut client,
        &[
            "SELECT id FROM v1 RIGHT JOIN (SELECT 77 AS id) s USING (id)",
            "SELECT * FROM v1 FULL JOIN v2 USING (id)",
            "SELECT * FROM f1 NATURAL RIGHT JOIN f2",
            "SELECT * FROM f1 JOIN (v1 FULL JOIN v2 USING (id)) ON true",
        ],
    )
    .await;
    assert_eq!(client.run("SELECT count(*) FROM f1 JOIN f2 USING (id)").await, ["2"]);
}

#[tokio::test]
async fn a_text_from_a_query_is_spelled_by_its_type() {
    let (_database, mut client) = filled().await;
    all(
        &mut client,
        &[
            ("INSERT INTO v1 (id, t) SELECT 10, tz FROM v1 WHERE id = 1 RETURNING t", &["2024-01-01 10:00:00+00"]),
            ("INSERT INTO v1 (id, t) SELECT 11, o FROM v1 WHERE id = 1 RETURNING t", &["true"]),
            ("INSERT INTO v1 (id, t) SELECT 12, 0.1::real RETURNING t", &["0.1"]),
            ("UPDATE v1 SET t = v1.ts FROM v2 WHERE v1.id = v2.id AND v2.id = 1 RETURNING t", &["2024-01-01 10:00:00"]),
            ("SELECT max(ts::text), max('at ' || tz) FROM v1", &["2024-01-01 10:00:00|at 2024-01-01 10:00:00+00"]),
            ("SELECT max(1e20::float8::text), max(1::float8::text) FROM v1", &["1e+20|1"]),
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
async fn a_value_to_insert_may_come_from_a_subquery() {
    let (_database, mut client) = filled().await;
    let sql = "INSERT INTO v1 (id, a, t) VALUES (20, (SELECT max(a) FROM v2), 'it') RETURNING id, a, t";
    assert_eq!(client.run(sql).await, ["20|9|it"]);
}

#[tokio::test]
async fn a_uuid_is_found_however_it_is_spelled() {
    let (_database, mut client) = filled().await;
    for spelled in ["A0000000-0000-0000-0000-00000000000A", "{a0000000-0000-0000-0000-00000000000a}"] {
        for condition in [format!("u = '{spelled}'"), format!("u IN ('{spelled}')"), format!("u = '{spelled}'::uuid")] {
            assert_eq!(client.run(&format!("SELECT count(*) FROM v1 WHERE {condition}")).await, ["1"], "{condition}");
        }
    }
    for sql in ["SELECT 'zz'::uuid", "SELECT '{bad'::jsonb", "SELECT count(*) FROM v1 WHERE u = 'zz'"] {
        let error = client.fails(sql).await;
        assert!(matches!(error, Error::InvalidText { .. }), "{sql}: {error}");
    }
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

#[tokio::test]
async fn a_cast_to_a_length_cuts_and_one_to_numeric_keeps_the_digits() {
    let (_database, mut client) = filled().await;
    client.run("CREATE TABLE nn (id int PRIMARY KEY, n numeric(38,25), t varchar(3))").await;
    let digits = "1.2345678901234567890123000";
    all(
        &mut client,
        &[
            ("SELECT 'abcdef'::varchar(3)", &["abc"]),
            ("SELECT max('abcdef'::varchar(3)) FROM v1", &["abc"]),
            ("INSERT INTO nn (id, t) VALUES (1, 'abcdef'::varchar(3)) RETURNING t", &["abc"]),
            ("INSERT INTO nn (id, n) SELECT 5, 1.2345678901234567890123::numeric RETURNING n", &[digits]),
            (
                "INSERT INTO nn (id, n) SELECT 6, '-1.2345678901234567890123'::numeric RETURNING n",
                &[&format!("-{digits}")],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_parameter_has_the_type_that_it_is_cast_to() {
    let (_database, mut client) = filled().await;
    let sql = "SELECT count(*) FROM v1 WHERE id = $1::int AND u = $2::uuid AND ts::date = $3::date";
    let prepared = client.0.prepare(sql, &[]).await.expect("it is prepared");
    assert_eq!(prepared.parameters, [Type::Int4, Type::Uuid, Type::Date]);
    assert_eq!(client.run_with(sql, &["1", "A0000000-0000-0000-0000-00000000000A", "2024-01-01"]).await, ["1"]);
}

#[tokio::test]
async fn what_would_mean_something_else_is_refused() {
    let (_database, mut client) = filled().await;
    refused(
        &mut client,
        &[
            "SELECT a FROM v1 EXCEPT ALL SELECT a FROM v2",
            "SELECT a FROM v1 INTERSECT ALL SELECT a FROM v2",
            "SELECT count(*) FROM (SELECT a FROM v1 EXCEPT ALL SELECT a FROM v2) AS s",
            "SELECT to_char(ts, 'YYYY-MM-DD') FROM v1",
            "SELECT tz AT TIME ZONE 'America/New_York' FROM v1",
            "SELECT 'xabcx' SIMILAR TO 'abc'",
            "SELECT generate_series(1, 3)",
            "SELECT string_agg(DISTINCT t, ',' ORDER BY t DESC) FROM v1",
            "SELECT max(ts::timestamp(0)) FROM v1",
            "SELECT max(t::char(2)) FROM v1",
            "SET timezone = 'America/New_York'",
            "SET TIME ZONE 'Europe/Berlin'",
            "SET LOCAL timezone TO 'Asia/Tokyo'",
        ],
    )
    .await;
    all(
        &mut client,
        &[
            ("SELECT a FROM v1 WHERE a IS NOT NULL EXCEPT SELECT a FROM v2", &["1"]),
            ("SELECT count(*) FROM generate_series(1, 3)", &["3"]),
            ("CREATE TABLE tp (id int PRIMARY KEY, ts timestamp(3))", &["CREATE TABLE"]),
            ("SET timezone = 'UTC'", &["SET"]),
            ("SET TIME ZONE 'Etc/UTC'", &["SET"]),
            ("SET client_encoding = '''utf-8'''", &["SET"]),
            ("SELECT ts FROM v1 WHERE id = 1", &["2024-01-01 10:00:00"]),
        ],
    )
    .await;
    // What a client says of itself at the start is no reason to refuse it.
    client.0.variables().set("TimeZone", "Europe/Berlin").expect("it is taken");
}
