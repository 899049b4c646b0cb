//! SELECT, on the direct path and through DataFusion.

use crate::harness::{Client, Database};
use ballast_tables::{Answer, Error, Row, Rows, Value, limits};
use futures::TryStreamExt;

async fn filled() -> (Database, Client) {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (a int, b text, v int, PRIMARY KEY (a, b))").await;
    for a in 1..=5 {
        client.run(&format!("INSERT INTO t VALUES ({a}, 'x', {a}0), ({a}, 'y', {a}1)")).await;
    }
    (database, client)
}

#[tokio::test]
async fn keys_are_found_however_the_condition_spells_them() {
    let (_database, mut client) = filled().await;
    for (condition, rows) in [
        ("a = 2 AND b = 'y'", vec!["21"]),
        ("'y' = b AND a = 1 + 1", vec!["21"]),
        ("a = 2 AND b IN ('x', 'y') AND b = 'y'", vec!["21"]),
        ("a = 2 AND b = 'x' AND b = 'y'", vec![]),
        ("b = 'x' AND a IN (1, 2) AND a = 2", vec!["20"]),
        ("a IN (3, 1) AND b = 'x'", vec!["10", "30"]),
        ("(a = 2 AND b = 'x') AND v = 99", vec![]),
        ("a = 2", vec!["20", "21"]),
        ("a = 2 AND b > 'x'", vec!["21"]),
        ("a > 3", vec!["40", "41", "50", "51"]),
        ("a >= 2 AND a < 3", vec!["20", "21"]),
        ("a BETWEEN 4 AND 4", vec!["40", "41"]),
        ("a = 1.0", vec!["10", "11"]),
        ("a = 1.5", vec![]),
        ("a = 99999999999", vec![]),
        ("a < 2.5 AND b = 'x'", vec!["10", "20"]),
        ("a = NULL", vec![]),
        ("false", vec![]),
        ("v IN (10, 51) OR a = 3", vec!["10", "30", "31", "51"]),
        ("b LIKE 'y%' AND a <= 2", vec!["11", "21"]),
        ("NOT (a > 1)", vec!["10", "11"]),
    ] {
        assert_eq!(client.run(&format!("SELECT v FROM t WHERE {condition}")).await, rows, "{condition}");
        // The same through the planner.
        let planned = client.run(&format!("SELECT v FROM t AS t WHERE {condition} GROUP BY v ORDER BY v")).await;
        assert_eq!(planned, rows, "{condition}");
    }
}

#[tokio::test]
async fn order_limit_and_offset_hold() {
    let (_database, mut client) = filled().await;
    assert_eq!(client.run("SELECT v FROM t ORDER BY a, b LIMIT 2 OFFSET 1").await, ["11", "20"]);
    assert_eq!(client.run("SELECT v FROM t ORDER BY a DESC, b LIMIT 2").await, ["50", "51"]);
    assert_eq!(client.run("SELECT v FROM t WHERE a = 3 ORDER BY b DESC").await, ["31", "30"]);
    assert_eq!(client.run("SELECT v FROM t LIMIT 0").await, [""; 0]);
    assert_eq!(client.run_with("SELECT v FROM t WHERE a >= $1 ORDER BY a LIMIT $2", &["4", "1"]).await, ["40"]);
    assert!(matches!(client.fails("SELECT v FROM t LIMIT -1").await, Error::InvalidParameter(_) | Error::Query(_)));
}

#[tokio::test]
async fn parameters_take_the_types_of_what_they_meet() {
    let (_database, mut client) = filled().await;
    assert_eq!(client.run_with("SELECT v FROM t WHERE a = $1 AND b = $2", &["2", "y"]).await, ["21"]);
    assert_eq!(client.run_with("SELECT sum(v) FROM t WHERE a > $1", &["4"]).await, ["101"]);
    assert_eq!(client.run_with("SELECT $1::int + 1", &["41"]).await, ["42"]);
    assert_eq!(
        client.run_with("UPDATE t SET v = v + $1 WHERE a = $2 AND b = $3", &["5", "1", "x"]).await,
        ["UPDATE 1"]
    );
    assert_eq!(client.run_with("SELECT v, $1 FROM t WHERE a = 1 AND b = 'x'", &["hi"]).await, ["15|hi"]);
}

#[tokio::test]
async fn queries_join_group_and_nest() {
    let (_database, mut client) = filled().await;
    client.run("CREATE TABLE names (a int PRIMARY KEY, name text)").await;
    client.run("INSERT INTO names VALUES (1, 'one'), (2, 'two')").await;
    let sql = "SELECT n.name, sum(t.v) FROM t JOIN names n ON n.a = t.a GROUP BY n.name ORDER BY 2";
    assert_eq!(client.run(sql).await, ["one|21", "two|41"]);
    let sql = "SELECT name FROM names WHERE EXISTS (SELECT 1 FROM t WHERE t.a = names.a AND v = 20)";
    assert_eq!(client.run(sql).await, ["two"]);
    let sql = "WITH big AS (SELECT * FROM t WHERE v > 40) SELECT count(*), max(v) FROM big";
    assert_eq!(client.run(sql).await, ["3|51"]);
    assert_eq!(client.run("SELECT 1 AS one, 'x' || 'y', NULL").await, ["1|xy|-"]);
    assert_eq!(client.run("SELECT a, row_number() OVER (ORDER BY a DESC) FROM names ORDER BY a").await, ["1|2", "2|1"]);
    assert!(client.run("EXPLAIN SELECT * FROM t JOIN names n ON n.a = t.a").await.len() > 1);
}

#[tokio::test]
async fn every_type_comes_back_as_it_went_in() {
    let database = Database::new().await;
    let mut client = database.session();
    client
        .run(
            "CREATE TABLE t (id uuid PRIMARY KEY, a bool, b int2, c int4, d int8, e float4, f float8, g numeric(10,2), \
             h text, i varchar(5), j bytea, k date, l timestamp, m timestamptz, n jsonb, o json)",
        )
        .await;
    client
        .run(
            "INSERT INTO t VALUES ('00000000-0000-0000-0000-000000000001', true, 1, 2, 3, 1.5, 2.5, 3.14, 'text', 'abc', \
             '\\x00ff', '2024-02-29', '2024-02-29 12:00:00.5', '2024-02-29 12:00:00+02', '{\"a\":1}', '[1]')",
        )
        .await;
    let row = "00000000-0000-0000-0000-000000000001|t|1|2|3|1.5|2.5|3.14|text|abc|\\x00ff|2024-02-29|\
               2024-02-29 12:00:00.5|2024-02-29 10:00:00+00|{\"a\":1}|[1]";
    assert_eq!(client.run("SELECT * FROM t").await, [row]);
    assert_eq!(client.run("SELECT * FROM t WHERE id = '00000000-0000-0000-0000-000000000001'").await, [row]);
    // Through the planner as well.
    assert_eq!(client.run("SELECT DISTINCT * FROM t").await, [row]);
    let sql = "SELECT count(*) FROM t WHERE k < date '2024-03-01' AND g > 3 AND m < now() AND id > '00000000-0000-0000-0000-000000000000'";
    assert_eq!(client.run(sql).await, ["1"]);
    client.run("INSERT INTO t (id) VALUES (gen_random_uuid())").await;
    let nulls = client.run("SELECT count(*), count(a), count(o) FROM t").await;
    assert_eq!(nulls, ["2|1|1"]);
}

#[tokio::test]
async fn a_long_scan_streams_and_sees_one_cut() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id int PRIMARY KEY, v int)").await;
    client.run("INSERT INTO t SELECT value, value * 2 FROM generate_series(1, 20000) AS s(value)").await;
    assert_eq!(client.run("SELECT count(*), sum(v), min(id), max(id) FROM t").await, ["20000|400020000|1|20000"]);
    let rows = client.run("SELECT id FROM t").await;
    assert_eq!(rows.len(), 20_000);
    assert_eq!((rows[0].as_str(), rows[19_999].as_str()), ("1", "20000"));
    assert_eq!(client.run("SELECT id FROM t WHERE v = 30000").await, ["15000"]);
    assert_eq!(client.run("SELECT count(*) FROM t WHERE id > 19000 AND id <= 19500").await, ["500"]);
}

#[tokio::test]
async fn errors_say_what_is_wrong() {
    let (_database, mut client) = filled().await;
    assert!(matches!(client.fails("SELEC 1").await, Error::Syntax(_)));
    assert!(matches!(client.fails("SELECT nope FROM t").await, Error::UndefinedColumn(_)));
    assert!(matches!(client.fails("SELECT nope FROM t GROUP BY a").await, Error::UndefinedColumn(_)));
    assert!(matches!(client.fails("SELECT * FROM nope").await, Error::UndefinedTable(_)));
    assert!(matches!(client.fails("SELECT count(*) FROM t JOIN nope USING (a)").await, Error::UndefinedTable(_)));
    assert!(matches!(client.fails("SELECT nope(1)").await, Error::UndefinedFunction(_)));
    assert!(matches!(client.fails("SELECT * FROM t WHERE a = 'x'").await, Error::InvalidText { .. }));
    assert!(matches!(client.fails("SELECT v / 0 FROM t").await, Error::DivisionByZero));
    assert!(matches!(client.fails("SELECT sum(v) / 0 FROM t").await, Error::DivisionByZero));
    assert!(matches!(client.fails(&format!("SELECT {}1", "(".repeat(500))).await, Error::TooComplex(_)));
}

/// On the one thread of this test a query that computes without an await would keep everybody else from running.
#[tokio::test]
async fn a_query_that_computes_long_holds_nobody_up_and_can_be_given_up() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE n (v int PRIMARY KEY)").await;
    let values: Vec<String> = (0..600).map(|v| format!("({v})")).collect();
    client.run(&format!("INSERT INTO n VALUES {}", values.join(", "))).await;
    let long = "SELECT count(*) FROM n a, n b, n c WHERE a.v + b.v + c.v < 0";
    let others = async {
        for _ in 0..500 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = client.run(long) => panic!("216 million sums were computed before anybody else had 500 turns"),
        () = others => {}
    }
    client.0.cancelled().await;
    assert_eq!(client.run("SELECT count(*) FROM n").await, ["600"]);
}

#[tokio::test]
async fn a_write_that_reads_a_long_table_holds_nobody_up() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE n (v int PRIMARY KEY, w int)").await;
    client.run("INSERT INTO n SELECT value, 1 FROM generate_series(1, 50000) AS s(value)").await;
    for sql in ["UPDATE n SET w = 2 WHERE w = 0", "DELETE FROM n WHERE w = 0"] {
        tokio::select! {
            biased;
            _ = client.run(sql) => panic!("{sql}: 50,000 rows were read before anybody else had a turn"),
            () = tokio::task::yield_now() => {}
        }
        client.0.cancelled().await;
    }
}

/// Each would compute for minutes, most of them without a row to show.
#[tokio::test]
async fn a_query_that_is_given_up_computes_no_further() {
    let database = Database::new().await;
    let mut client = database.session();
    let (a, b) = ("generate_series(1, 300000) AS a(v)", "generate_series(1, 300000) AS b(v)");
    let never = "a.v + b.v < 0";
    for long in [
        format!("SELECT count(*) FROM {a}, {b} WHERE {never}"),
        format!("SELECT count(*) FROM {a} LEFT JOIN {b} ON {never}"),
        format!("SELECT count(*) FROM {a} FULL JOIN {b} ON {never}"),
        format!("SELECT count(*) FROM {a} WHERE EXISTS (SELECT 1 FROM {b} WHERE {never})"),
        format!("SELECT count(*) FROM {a} WHERE NOT EXISTS (SELECT 1 FROM {b} WHERE {never})"),
        format!("SELECT count(*) FROM {a} JOIN {b} ON a.v % 2 = b.v % 2 AND {never}"),
        format!("SELECT count(*) FROM {a} JOIN {b} ON a.v % 2 = b.v % 2"),
        format!("SELECT max(a.v + b.v) FROM {a} CROSS JOIN {b}"),
        format!("SELECT a.v + b.v FROM {a} CROSS JOIN {b} ORDER BY 1 LIMIT 3"),
        "SELECT count(*) FROM generate_series(1, 9000000000000)".to_owned(),
        "WITH RECURSIVE r(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM r WHERE v < 2000000000) SELECT count(*) FROM r"
            .to_owned(),
    ] {
        eprintln!("{long}");
        let others = async {
            for _ in 0..20_000 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            done = client.try_run(&long) => panic!("{long}: {done:?}"),
            () = others => {}
        }
        client.0.cancelled().await;
        database.queries_are_over().await;
    }
}

#[tokio::test]
async fn the_two_zeros_are_one_number() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE f (id int PRIMARY KEY, v float8, w float4)").await;
    client.run_with("INSERT INTO f VALUES (1, $1, $1::float4)", &["0"]).await;
    client.run_with("INSERT INTO f VALUES (2, $1, $1::float4)", &["-0"]).await;
    for column in ["v", "w"] {
        for zero in ["0", "-0"] {
            let direct = format!("SELECT id FROM f WHERE {column} = $1");
            assert_eq!(client.run_with(&direct, &[zero]).await, ["1", "2"]);
            let planned = format!("SELECT id FROM f AS g WHERE {column} = $1 GROUP BY id ORDER BY id");
            assert_eq!(client.run_with(&planned, &[zero]).await, ["1", "2"]);
        }
        assert_eq!(client.run(&format!("SELECT count(DISTINCT {column}) FROM f")).await, ["1"]);
        assert_eq!(client.run(&format!("SELECT id FROM f ORDER BY {column}, id")).await, ["1", "2"]);
        let joined = format!("SELECT count(*) FROM f a JOIN f b ON a.{column} = b.{column}");
        assert_eq!(client.run(&joined).await, ["4"]);
    }
}

#[tokio::test]
async fn a_number_with_an_exponent_is_that_number() {
    let (_database, mut client) = filled().await;
    assert_eq!(client.run("SELECT 1e3, 25e1, 1.5e2, -3e2, 1e-2").await, ["1000|250|150|-300|0.01"]);
    assert_eq!(client.run("SELECT count(*) FROM t AS t WHERE v < 1e2").await, ["10"]);
    assert_eq!(client.run("SELECT count(*) FROM t AS t WHERE a = 0.5e1 GROUP BY a").await, ["2"]);
    assert_eq!(client.run("SELECT count(*) FROM t AS t WHERE a < 1e1").await, ["10"]);
    assert!(matches!(client.fails("SELECT 1e38").await, Error::OutOfRange(_) | Error::Query(_) | Error::Syntax(_)));
}

#[tokio::test]
async fn an_order_is_that_of_the_output_where_its_name_is_also_a_column() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE orders (id int PRIMARY KEY, owner int)").await;
    client.run("INSERT INTO orders VALUES (1, 30), (2, 10), (3, 20)").await;
    for (sql, rows) in [
        ("SELECT owner AS id FROM orders ORDER BY id", ["10", "20", "30"]),
        ("SELECT owner AS id FROM orders ORDER BY orders.id", ["30", "10", "20"]),
        ("SELECT -id AS id FROM orders ORDER BY id LIMIT 3", ["-3", "-2", "-1"]),
        ("SELECT id AS id FROM orders ORDER BY id", ["1", "2", "3"]),
        ("SELECT id AS owner FROM orders ORDER BY id", ["1", "2", "3"]),
        ("SELECT owner AS other FROM orders ORDER BY id", ["30", "10", "20"]),
    ] {
        assert_eq!(client.run(sql).await, rows, "{sql}");
    }
}

#[tokio::test]
async fn large_rows_come_in_small_portions() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let large = "x".repeat(900_000);
    for id in 0..100 {
        client.run_with("INSERT INTO t VALUES ($1, $2)", &[&id.to_string(), &large]).await;
    }
    let bytes = |rows: &Vec<Row>| {
        let text = |value: &Value| if let Value::Text(text) = value { text.bytes().len() } else { 0 };
        rows.iter().flatten().map(text).sum::<usize>()
    };
    let keys = (0..100).map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
    for sql in [
        "SELECT id, v FROM t".to_owned(),
        "SELECT id, v FROM t AS t ORDER BY v LIMIT 100".to_owned(),
        format!("SELECT DISTINCT t.id, t.v FROM t JOIN t AS u USING (id) WHERE t.id IN ({keys})"),
    ] {
        let prepared = client.0.prepare(&sql, &[]).await.expect("it is prepared");
        let Ok(Answer::Rows { rows: Rows::Stream(stream), .. }) = client.0.execute(&prepared, &[], false).await else {
            panic!("{sql} streams")
        };
        let portions: Vec<Vec<Row>> = stream.try_collect().await.expect("rows");
        assert_eq!(portions.iter().map(Vec::len).sum::<usize>(), 100, "{sql}");
        if !sql.contains("ORDER") && !sql.contains("DISTINCT") {
            assert!(portions.iter().all(|rows| bytes(rows) < 3 * limits::SCAN_BYTES), "{sql}");
        }
    }
    assert_eq!(client.run("UPDATE t SET v = left(v, 1)").await, ["UPDATE 100"]);
    assert_eq!(client.run("SELECT count(*), min(v), max(v) FROM t").await, ["100|x|x"]);
}

#[tokio::test]
async fn a_decimal_beside_a_float_is_a_float() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE m (id int PRIMARY KEY, v real, w float8)").await;
    client.run("INSERT INTO m VALUES (1, 20000000, 1e15), (2, 'Infinity', 'NaN'), (3, 0.25, 0.1)").await;
    for (condition, ids) in [
        ("v > 0.5", "1, 2"),
        ("w > 0.5", "1, 2"),
        ("0.5 > w", "3"),
        ("v = 0.25", "3"),
        ("w = 0.1", "3"),
        ("w * 2.0 = 0.2", "3"),
        ("w BETWEEN 0.05 AND 0.2", "3"),
        ("w IN (0.1, 0.3)", "3"),
        ("w NOT IN (0.1, 0.3)", "1, 2"),
        ("w < (SELECT 0.5)", "3"),
    ] {
        let sql = format!("SELECT string_agg(CAST(id AS text), ', ' ORDER BY id) FROM m WHERE {condition}");
        assert_eq!(client.run(&sql).await, [ids], "{condition}");
    }
    let grouped = "SELECT w * 0.5, count(*) FROM m WHERE id <> 2 GROUP BY w * 0.5 ORDER BY w * 0.5";
    assert_eq!(client.run(grouped).await, ["0.05|1", "500000000000000|1"]);
    assert_eq!(client.run_with("SELECT count(*) FROM m WHERE w > $1", &["0.5"]).await, ["2"]);
}

#[tokio::test]
async fn values_are_spelled_alike_on_both_paths() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE k (id int PRIMARY KEY, b bool, r real, z timestamptz, t text, c varchar(4))").await;
    client.run("INSERT INTO k VALUES (1, true, 0.1, '2024-02-29 12:00:00+00', 'x', 'y')").await;
    for (item, text) in [
        ("b::text", "true"),
        ("r::text", "0.1"),
        ("z::text", "2024-02-29 12:00:00+00"),
        ("'' || b", "true"),
        ("'' || r", "0.1"),
        ("'' || z", "2024-02-29 12:00:00+00"),
        ("b::varchar(2)", "tr"),
        ("id::text || t", "1x"),
        ("b", "t"),
    ] {
        assert_eq!(client.run(&format!("SELECT {item} FROM k")).await, [text], "{item}");
    }
    client.run("UPDATE k SET t = b, c = id").await;
    assert_eq!(client.run("SELECT t, c FROM k").await, ["true|1"]);
    client.run("INSERT INTO k (id, t) VALUES (2, false)").await;
    assert_eq!(client.run("SELECT t FROM k WHERE id = 2").await, ["false"]);
}

#[tokio::test]
async fn an_integer_that_does_not_fit_is_refused_and_not_another_one() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE n (id int PRIMARY KEY, s smallint, i int, b bigint)").await;
    client.run("INSERT INTO n VALUES (1, 32767, 2147483647, 9223372036854775807)").await;
    client.run("INSERT INTO n VALUES (2, -32768, -2147483648, -9223372036854775808)").await;
    for (computed, of) in [
        ("max(b) + 1", "bigint"),
        ("min(b) - 1", "bigint"),
        ("max(b) * 2", "bigint"),
        ("-min(b)", "bigint"),
        ("max(i) + max(i)", "integer"),
        ("min(i) * max(i)", "integer"),
        ("-min(i)", "integer"),
        ("max(s) - min(s)", "smallint"),
        ("count(*) + max(b)", "bigint"),
        ("sum(b) FILTER (WHERE id = 1) + 1", "bigint"),
        ("CASE WHEN count(*) = 2 THEN max(b) + 1 ELSE 0 END", "bigint"),
        ("(SELECT max(m.b) + 1 FROM n AS m)", "bigint"),
    ] {
        let error = client.fails(&format!("SELECT {computed} FROM n")).await;
        assert!(matches!(&error, Error::OutOfRange(found) if found == of), "{computed}: {error}");
    }
    for sql in [
        "SELECT b FROM n AS n WHERE b + id > 0 GROUP BY b",
        "SELECT b + id AS more FROM n GROUP BY more",
        "SELECT n.id FROM n JOIN n AS m ON n.b + n.id = m.b",
        "SELECT id FROM n GROUP BY id, b ORDER BY b + id",
        "SELECT sum(b) FROM n, (VALUES (1), (2)) AS v (x) WHERE id = 1",
        "SELECT sum(b) FROM n, (VALUES (1), (2)) AS v (x) WHERE id = 1 GROUP BY id",
        "SELECT sum(b) OVER (ORDER BY x) FROM n, (VALUES (1), (2)) AS v (x) WHERE id = 1",
        "SELECT sum(DISTINCT b - x) FROM n, (VALUES (1), (2)) AS v (x) WHERE id = 1",
        "UPDATE n SET b = n.b + m.id FROM n AS m WHERE m.id = n.id AND n.id = 1",
        "INSERT INTO n SELECT id + 2, s, i, max(b) + 1 FROM n WHERE id = 1 GROUP BY id, s, i",
    ] {
        let error = client.fails(sql).await;
        assert!(matches!(&error, Error::OutOfRange(of) if of == "bigint"), "{sql}: {error}");
    }
    // What fits is what it was.
    for (sql, rows) in [
        (
            "SELECT max(b) - 1, min(b) + 1, -max(b), -max(i), max(s) - 1 FROM n",
            vec!["9223372036854775806|-9223372036854775807|-9223372036854775807|-2147483647|32766"],
        ),
        // On the way it need not fit.
        ("SELECT sum(b) FROM (SELECT b FROM n UNION ALL SELECT b FROM n) AS both", vec!["-2"]),
        ("SELECT sum(s), sum(i), sum(b), sum(DISTINCT b), sum(1), sum(NULL::bigint) FROM n", vec!["-1|-1|-1|-1|2|-"]),
        ("SELECT id, sum(b) FROM n GROUP BY id ORDER BY id", vec!["1|9223372036854775807", "2|-9223372036854775808"]),
        (
            "SELECT sum(b) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM n",
            vec!["9223372036854775807", "-1"],
        ),
        ("SELECT sum(id) FROM n UNION SELECT 1.5 ORDER BY 1", vec!["1.5", "3.0"]),
        ("SELECT id + 1 AS next FROM n GROUP BY id + 1 HAVING id + 1 > 2", vec!["3"]),
        ("SELECT max(id) + NULL::int FROM n", vec!["-"]),
        ("SELECT -(max(id) - 5) * 2 - 7 / 2 % 2 + max(i) - max(i) FROM n", vec!["5"]),
        ("SELECT max(id) + 1.5, max(id) * 1e0, date '2020-01-01' + 1 FROM n", vec!["3.5|2|2020-01-02"]),
        ("SELECT row_number() OVER (ORDER BY id) - 1 + id FROM n", vec!["1", "3"]),
        (
            "WITH RECURSIVE up AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM up WHERE i < 4) SELECT sum(i) FROM up",
            vec!["10"],
        ),
    ] {
        assert_eq!(client.run(sql).await, rows, "{sql}");
    }
}
