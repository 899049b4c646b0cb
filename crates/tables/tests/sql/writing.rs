//! INSERT, UPDATE and DELETE.

use crate::harness::{Client, Database};
use ballast_tables::value::text;
use ballast_tables::{Error, Type};

async fn filled() -> (Database, Client) {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL DEFAULT 7, s text)").await;
    client.run("INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c'), (4, 40, NULL)").await;
    client.run("CREATE TABLE other (id int PRIMARY KEY)").await;
    client.run("INSERT INTO other VALUES (2), (3), (9)").await;
    (database, client)
}

/// DataFusion 55 plans `IN (subquery)` and `EXISTS` of a DELETE or UPDATE as a join and then forgets the
/// condition, and forgets LIMIT: every row would change. Our writes never use its plans for them.
#[tokio::test]
async fn conditions_with_subqueries_change_only_the_rows_they_hold_for() {
    for (sql, tag, left) in [
        ("DELETE FROM t WHERE id IN (SELECT id FROM other)", "DELETE 2", vec!["1", "4"]),
        ("DELETE FROM t WHERE id NOT IN (SELECT id FROM other)", "DELETE 2", vec!["2", "3"]),
        ("DELETE FROM t WHERE EXISTS (SELECT 1 FROM other o WHERE o.id = t.id)", "DELETE 2", vec!["1", "4"]),
        ("DELETE FROM t WHERE NOT EXISTS (SELECT 1 FROM other o WHERE o.id = t.id)", "DELETE 2", vec!["2", "3"]),
        ("DELETE FROM t WHERE v > (SELECT avg(v) FROM t)", "DELETE 2", vec!["1", "2"]),
        ("DELETE FROM t WHERE false", "DELETE 0", vec!["1", "2", "3", "4"]),
        ("DELETE FROM t WHERE 1 = 0 AND id IN (SELECT id FROM other)", "DELETE 0", vec!["1", "2", "3", "4"]),
        ("DELETE FROM t WHERE NULL", "DELETE 0", vec!["1", "2", "3", "4"]),
        ("DELETE FROM t USING other WHERE t.id = other.id AND t.v > 20", "DELETE 1", vec!["1", "2", "4"]),
        ("DELETE FROM t WHERE s LIKE 'a%'", "DELETE 1", vec!["2", "3", "4"]),
        ("DELETE FROM t", "DELETE 4", vec![]),
    ] {
        let (_database, mut client) = filled().await;
        assert_eq!(client.run(sql).await, [tag], "{sql}");
        assert_eq!(client.run("SELECT id FROM t").await, left, "{sql}");
    }
    for (sql, tag, after) in [
        ("UPDATE t SET v = 0 WHERE id IN (SELECT id FROM other)", "UPDATE 2", vec!["10", "0", "0", "40"]),
        (
            "UPDATE t SET v = v + 1 WHERE EXISTS (SELECT 1 FROM other o WHERE o.id = t.id)",
            "UPDATE 2",
            vec!["10", "21", "31", "40"],
        ),
        ("UPDATE t SET v = (SELECT max(id) FROM other)", "UPDATE 4", vec!["9", "9", "9", "9"]),
        ("UPDATE t SET v = 0 WHERE false", "UPDATE 0", vec!["10", "20", "30", "40"]),
        ("UPDATE t SET v = o.id * 100 FROM other o WHERE o.id = t.id", "UPDATE 2", vec!["10", "200", "300", "40"]),
        ("UPDATE t AS x SET v = x.v * 2 WHERE x.s = 'a'", "UPDATE 1", vec!["20", "20", "30", "40"]),
        ("UPDATE t SET v = DEFAULT, s = upper(s) WHERE id > 2", "UPDATE 2", vec!["10", "20", "7", "7"]),
    ] {
        let (_database, mut client) = filled().await;
        assert_eq!(client.run(sql).await, [tag], "{sql}");
        assert_eq!(client.run("SELECT v FROM t").await, after, "{sql}");
    }
}

#[tokio::test]
async fn a_limit_on_a_write_is_refused_rather_than_forgotten() {
    let (_database, mut client) = filled().await;
    for sql in ["DELETE FROM t LIMIT 1", "DELETE FROM t ORDER BY id LIMIT 1", "UPDATE t SET v = 0 LIMIT 1"] {
        assert!(matches!(client.fails(sql).await, Error::Unsupported(_) | Error::Syntax(_)), "{sql}");
    }
    assert_eq!(client.run("SELECT count(*) FROM t WHERE v > 0").await, ["4"]);
    assert_eq!(client.run("DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY v DESC LIMIT 1)").await, ["DELETE 1"]);
    assert_eq!(client.run("SELECT id FROM t").await, ["1", "2", "3"]);
}

#[tokio::test]
async fn explaining_a_write_does_not_write() {
    let (_database, mut client) = filled().await;
    let _ = client.try_run("EXPLAIN DELETE FROM t").await;
    let _ = client.try_run("EXPLAIN ANALYZE UPDATE t SET v = 0").await;
    let _ = client.try_run("EXPLAIN ANALYZE INSERT INTO t VALUES (99)").await;
    assert_eq!(client.run("SELECT count(*), sum(v) FROM t").await, ["4|100"]);
}

#[tokio::test]
async fn insert_takes_defaults_lists_and_queries() {
    let (_database, mut client) = filled().await;
    assert_eq!(client.run("INSERT INTO t (s, id) VALUES ('x', 5), (DEFAULT, 6)").await, ["INSERT 2"]);
    assert_eq!(client.run("SELECT * FROM t WHERE id >= 5").await, ["5|7|x", "6|7|-"]);
    assert_eq!(client.run("INSERT INTO t (id, v) SELECT id + 100, id FROM other WHERE id > 2").await, ["INSERT 2"]);
    assert_eq!(client.run("SELECT * FROM t WHERE id > 100").await, ["103|3|-", "109|9|-"]);
    assert_eq!(client.run("INSERT INTO t VALUES (7, 1 + 2 * 3, lower('ABC') || 'd')").await, ["INSERT 1"]);
    assert_eq!(client.run("SELECT * FROM t WHERE id = 7").await, ["7|7|abcd"]);
    assert_eq!(client.run_with("INSERT INTO t (id, s) VALUES ($1, $2)", &["8", "p"]).await, ["INSERT 1"]);
    for (sql, wrong) in [
        ("INSERT INTO t VALUES (1, 2, 'x', 4)", "too many"),
        ("INSERT INTO t (id, id) VALUES (1, 2)", "twice"),
        ("INSERT INTO t (nope) VALUES (1)", "unknown"),
        ("INSERT INTO t (id, v) VALUES (50, NULL)", "null"),
        ("INSERT INTO t (v) VALUES (1)", "no key"),
        ("INSERT INTO t VALUES ('x', 1, 'y')", "text"),
        ("INSERT INTO t VALUES (99999999999, 1, 'y')", "too large"),
        ("INSERT INTO t VALUES (1, 1, 'y')", "there already"),
        ("INSERT INTO t VALUES (60, 1, 'y'), (60, 2, 'z')", "there already"),
    ] {
        client.fails(sql).await;
        assert_eq!(client.run("SELECT count(*) FROM t").await, ["10"], "{wrong}");
    }
}

#[tokio::test]
async fn on_conflict_skips_or_updates() {
    let (_database, mut client) = filled().await;
    assert_eq!(client.run("INSERT INTO t VALUES (1, 0, 'x'), (5, 50, 'e') ON CONFLICT DO NOTHING").await, ["INSERT 1"]);
    assert_eq!(client.run("INSERT INTO t VALUES (1, 0, 'x') ON CONFLICT (id) DO NOTHING").await, ["INSERT 0"]);
    let upsert = "INSERT INTO t AS old VALUES (1, 5, 'new'), (6, 60, 'f') \
                  ON CONFLICT (id) DO UPDATE SET v = old.v + excluded.v, s = excluded.s RETURNING id, v, s";
    assert_eq!(client.run(upsert).await, ["1|15|new", "6|60|f"]);
    let guarded = "INSERT INTO t VALUES (2, 99, 'z') ON CONFLICT (id) DO UPDATE SET v = excluded.v WHERE t.v > 50";
    assert_eq!(client.run(guarded).await, ["INSERT 0"]);
    assert_eq!(client.run("SELECT v FROM t WHERE id = 2").await, ["20"]);
    let twice = "INSERT INTO t VALUES (2, 1, ''), (2, 2, '') ON CONFLICT (id) DO UPDATE SET v = excluded.v";
    assert!(matches!(client.fails(twice).await, Error::Cardinality));
    assert!(matches!(
        client.fails("INSERT INTO t VALUES (1) ON CONFLICT (v) DO NOTHING").await,
        Error::InvalidDefinition(_)
    ));
    let select = "INSERT INTO t (id, v) SELECT id, 1 FROM other ON CONFLICT (id) DO UPDATE SET v = excluded.v";
    assert_eq!(client.run(select).await, ["INSERT 3"]);
    assert_eq!(client.run("SELECT id, v FROM t WHERE v = 1").await, ["2|1", "3|1", "9|1"]);
}

#[tokio::test]
async fn returning_gives_the_rows_as_they_are_now() {
    let (_database, mut client) = filled().await;
    assert_eq!(client.run("INSERT INTO t (id) VALUES (5) RETURNING *, v * 2 AS twice").await, ["5|7|-|14"]);
    assert_eq!(client.run("UPDATE t SET v = v + 1 WHERE id = 5 RETURNING v").await, ["8"]);
    assert_eq!(client.run("UPDATE t SET v = 0 WHERE v > 25 RETURNING id").await, ["3", "4"]);
    assert_eq!(client.run("DELETE FROM t WHERE id IN (1, 2, 77) RETURNING id, s").await, ["1|a", "2|b"]);
    let sql = "UPDATE t SET v = 5 WHERE id IN (SELECT id FROM other) RETURNING t.id, v";
    assert_eq!(client.run(sql).await, ["3|5"]);
}

#[tokio::test]
async fn keys_can_be_updated_but_not_onto_another_row() {
    let (_database, mut client) = filled().await;
    assert_eq!(client.run("UPDATE t SET id = 100 WHERE id = 1").await, ["UPDATE 1"]);
    assert_eq!(client.run("SELECT id FROM t").await, ["2", "3", "4", "100"]);
    assert!(matches!(client.fails("UPDATE t SET id = 2 WHERE id = 3").await, Error::UniqueViolation { .. }));
    assert_eq!(client.run("SELECT id, v FROM t").await, ["2|20", "3|30", "4|40", "100|10"]);
}

#[tokio::test]
async fn a_failed_statement_leaves_nothing_behind() {
    let (_database, mut client) = filled().await;
    client.fails("UPDATE t SET v = 100 / (id - 3)").await;
    client.fails("INSERT INTO t VALUES (10, 1, ''), (11, 1, ''), (1, 1, '')").await;
    assert_eq!(client.run("SELECT id, v FROM t").await, ["1|10", "2|20", "3|30", "4|40"]);
}

#[tokio::test]
async fn written_rows_survive_a_crash() {
    let (database, mut client) = filled().await;
    client.run("UPDATE t SET s = 'kept' WHERE id = 2").await;
    client.run("DELETE FROM t WHERE id = 3").await;
    let mut client = database.crash().await.session();
    assert_eq!(client.run("SELECT id, s FROM t").await, ["1|a", "2|kept", "4|-"]);
}

#[tokio::test]
async fn a_number_keeps_its_digits_on_every_way_into_a_table() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE r (id int PRIMARY KEY, x numeric(38,18), y numeric)").await;
    let tiny = "0.000000000000000001";
    // Declared by the client as a numeric of which nothing else is said.
    let prepared = client.0.prepare("INSERT INTO r VALUES (1, $1)", &[Some(Type::NUMERIC)]).await.expect("it is fine");
    let value = text::parse(tiny, prepared.parameters[0]).expect("a number");
    client.0.execute(&prepared, &[value], false).await.expect("it is fine");
    client.run_with("INSERT INTO r VALUES (2, $1::numeric)", &[tiny]).await;
    client.run("INSERT INTO r VALUES (3, COALESCE(0.000000000000000001, 0))").await;
    assert_eq!(client.run("SELECT x FROM r").await, [tiny; 3]);
    for sql in ["COALESCE(x, 0)", "CASE WHEN x > 5 THEN 7 ELSE x END", "GREATEST(x, 0)", "LEAST(x, 5)", "NULLIF(x, 9)"]
    {
        client.run(&format!("UPDATE r SET x = {sql} WHERE id = 1")).await;
        assert_eq!(client.run("SELECT x FROM r WHERE id = 1").await, [tiny], "{sql}");
    }
    client.run("UPDATE r SET x = 0.1234567890123").await;
    let found = "SELECT id FROM r WHERE x = '0.1234567890123'";
    assert_eq!(client.run(found).await, ["1", "2", "3"]);
    assert_eq!(client.run("SELECT id FROM r WHERE x = '0.1234567890'").await, [""; 0]);
    for planned in ["SELECT id FROM r WHERE x = $1", "SELECT id FROM r AS s WHERE x = $1 GROUP BY id ORDER BY id"] {
        assert_eq!(client.run_with(planned, &["0.1234567890123"]).await, ["1", "2", "3"], "{planned}");
        assert_eq!(client.run_with(planned, &["0.1234567890123000000001"]).await, [""; 0], "{planned}");
    }
    // A column of which nothing else is said has ten digits behind the point.
    client.run("UPDATE r SET y = 0.123456789012").await;
    assert_eq!(client.run("SELECT y FROM r WHERE id = 1").await, ["0.1234567890"]);
}

/// Another session's write shows before it is durable.
#[tokio::test]
async fn an_answer_that_comes_from_a_row_waits_for_the_row() {
    for (sql, answer) in [
        ("INSERT INTO t VALUES (9) ON CONFLICT DO NOTHING", Ok("INSERT 0")),
        ("INSERT INTO t VALUES (9)", Err("duplicate key value violates unique constraint \"t_pkey\"")),
        ("UPDATE t SET v = 100 / v WHERE id = 9", Err("division by zero")),
        ("UPDATE t SET v = 1 WHERE id = 4", Ok("UPDATE 0")),
        ("DELETE FROM t WHERE id = 4", Ok("DELETE 0")),
        ("DELETE FROM t WHERE id > 3 AND v > 9", Ok("DELETE 0")),
        ("BEGIN; UPDATE t SET v = 1 WHERE id = 9 RETURNING id", Ok("9")),
        ("BEGIN; INSERT INTO t VALUES (9)", Err("duplicate key value violates unique constraint \"t_pkey\"")),
    ] {
        let (database, mut first) = filled().await;
        let mut second = database.session();
        first.run("SET synchronous_commit = off").await;
        first.run("DELETE FROM t WHERE id = 4").await;
        first.run("INSERT INTO t VALUES (9, 0)").await;
        // In a transaction the answer comes from what was there at its start.
        let shown = second.run_open(sql).await.map(|mut rows| rows.pop().unwrap_or_default());
        assert_eq!(shown.map_err(|error| error.to_string()), answer.map(str::to_owned).map_err(str::to_owned), "{sql}");
        let rows = database.crash().await.session().run("SELECT id FROM t").await;
        assert_eq!(rows, ["1", "2", "3", "9"], "{sql}");
    }
}
