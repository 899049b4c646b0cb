//! Statements whose tree would leave the stack.

use crate::harness::{Client, Database};
use ballast_tables::{Error, limits};

async fn filled() -> (Database, Client) {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (a int, b text, v int, PRIMARY KEY (a, b))").await;
    client.run("INSERT INTO t VALUES (1, 'x', 10)").await;
    (database, client)
}

fn joined(terms: usize, by: &str, term: impl Fn(usize) -> String) -> String {
    (0..terms).map(term).collect::<Vec<_>>().join(by)
}

fn arms(count: usize) -> String {
    joined(count, " ", |at| format!("WHEN {at} THEN {at}"))
}

/// Statements that grow deep, of about so deep.
fn deep(depth: usize) -> Vec<String> {
    let or = joined(depth, " OR ", |at| format!("v = {at}"));
    let tables = depth / limits::TABLE_DEPTH;
    let common = joined(tables, ", ", |at| format!("c{} AS (SELECT v + 1 AS v FROM c{at})", at + 1));
    vec![
        format!("SELECT {}", joined(depth, "+", |_| "1".into())),
        format!("SELECT {} FROM t", joined(depth, " || ", |_| "b".into())),
        format!("SELECT v FROM t WHERE {or}"),
        format!("SELECT v FROM t WHERE v > 1 AND ({or})"),
        format!("SELECT v FROM t WHERE {}", joined(depth, " AND ", |at| format!("(v <> {at} OR b LIKE 'y{at}%')"))),
        format!("UPDATE t SET v = 10 WHERE {or}"),
        format!("SELECT 1{}", "::int".repeat(depth)),
        format!("SELECT ARRAY[1]{}", "[1]".repeat(depth)),
        joined(depth / limits::SET_OPERATION_DEPTH, " UNION ALL ", |at| format!("SELECT {at}, 2, 3")),
        format!("SELECT 1 FROM t {}", joined(tables, " ", |at| format!("JOIN t AS t{at} ON t.a = t{at}.a"))),
        format!("SELECT 1 FROM {}", joined(tables, ", ", |at| format!("t AS t{at}"))),
        format!("WITH c0 AS (SELECT 1 AS v), {common} SELECT v FROM c{tables}"),
    ]
}

#[tokio::test]
async fn a_chain_that_would_leave_the_stack_is_refused() {
    let (_database, mut client) = filled().await;
    for sql in deep(200_000) {
        let refused = client.fails(&sql).await;
        assert!(matches!(refused, Error::TooComplex(_)), "{}: {refused}", &sql[..60]);
    }
    for sql in [
        // Words that are names here, and brackets without an end.
        format!("SELECT 1 FROM {}", joined(200_000, ", ", |at| format!("t AS select{at}, t AS \"select\""))),
        format!("SELECT {}", joined(200_000, "+", |_| "case".into())),
        format!("SELECT {}", "(1 + ".repeat(200_000)),
        format!("SELECT 1 FROM t {}", "PIVOT (sum(v) FOR a IN (1)) ".repeat(200_000)),
        format!("CREATE TABLE u (a int{})", "[]".repeat(200_000)),
        format!("SELECT {}1", "NOT ".repeat(200_000)),
    ] {
        client.fails(&sql).await;
    }
    assert_eq!(client.run("SELECT v FROM t").await, ["10"]);
}

/// On a thread as the server has them.
#[test]
fn what_is_just_not_too_deep_is_worked_on() {
    let work = || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.thread_stack_size(limits::STACK_BYTES).enable_all().build().expect("a runtime");
        let work = async {
            let (_database, mut client) = filled().await;
            for sql in deep(limits::STATEMENT_DEPTH_MAX / 4 * 3) {
                match client.try_run(&sql).await {
                    Ok(_) | Err(Error::Query(_) | Error::TypeMismatch(_) | Error::UndefinedFunction(_)) => {}
                    Err(error) => panic!("{}: {error}", &sql[..60]),
                }
            }
            let (limit, or) = (limits::STATEMENT_DEPTH_MAX - 3, |at| format!("v = {at}"));
            let sql = format!("SELECT v FROM t WHERE {}", joined(limit, " OR ", or));
            assert_eq!(client.run(&sql).await, ["10"]);
        };
        runtime.block_on(async { tokio::spawn(work).await.expect("the work is done") });
    };
    let thread = std::thread::Builder::new().stack_size(limits::STACK_BYTES).spawn(work);
    thread.expect("a thread").join().expect("the work is done");
}

#[tokio::test]
async fn lists_are_as_long_as_they_like() {
    let (_database, mut client) = filled().await;
    let rows = joined(20_000, ", ", |at| format!("({at} + 1, 'y', -{at})"));
    assert_eq!(client.run(&format!("INSERT INTO t VALUES {rows}")).await, ["INSERT 20000"]);
    let list = joined(30_000, ", ", |at| at.to_string());
    assert_eq!(client.run(&format!("SELECT count(*) FROM t WHERE a IN ({list})")).await, ["20001"]);
    let values = joined(20_000, ", ", |at| format!("({at}, {at})"));
    let update = format!("UPDATE t SET v = n.v FROM (VALUES {values}) AS n (a, v) WHERE n.a = t.a");
    assert_eq!(client.run(&update).await, ["UPDATE 20000"]);
    assert_eq!(client.run(&format!("SELECT CASE a {} END FROM t WHERE a = 900", arms(1_000))).await, ["900"]);
    let many = joined(300, ", ", |at| format!("v + {at}"));
    assert_eq!(client.run(&format!("SELECT v FROM t WHERE a = 900 ORDER BY {many}")).await, ["900"]);
    let deleted = format!("DELETE FROM t WHERE a = 900 RETURNING {many}");
    assert_eq!(client.run(&deleted).await.len(), 1);
    assert_eq!(client.run(&"SELECT 1 + 1;".repeat(5_000)).await, ["2"]);
}
