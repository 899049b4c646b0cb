//! BEGIN, COMMIT, ROLLBACK, and what happens between two sessions.

use crate::harness::{Client, Database};
use ballast_tables::{Error, Status};

async fn filled() -> (Database, Client, Client) {
    let database = Database::new().await;
    let mut one = database.session();
    one.run("CREATE TABLE t (id int PRIMARY KEY, v int)").await;
    one.run("INSERT INTO t VALUES (1, 10), (2, 20)").await;
    let two = database.session();
    (database, one, two)
}

#[tokio::test]
async fn a_transaction_sees_itself_and_others_see_it_after_the_commit() {
    let (_database, mut one, mut two) = filled().await;
    assert_eq!(one.run("BEGIN").await, ["BEGIN"]);
    assert_eq!(one.0.status(), Status::Open);
    one.run("INSERT INTO t VALUES (3, 30)").await;
    one.run("UPDATE t SET v = 11 WHERE id = 1").await;
    one.run("DELETE FROM t WHERE id = 2").await;
    assert_eq!(one.run("SELECT * FROM t").await, ["1|11", "3|30"]);
    assert_eq!(one.run("SELECT sum(v) FROM t").await, ["41"]);
    assert_eq!(one.run("SELECT v FROM t WHERE id = 3").await, ["30"]);
    assert_eq!(two.run("SELECT * FROM t").await, ["1|10", "2|20"]);
    assert_eq!(one.run("COMMIT").await, ["COMMIT"]);
    assert_eq!(one.0.status(), Status::Idle);
    assert_eq!(two.run("SELECT * FROM t").await, ["1|11", "3|30"]);
}

#[tokio::test]
async fn a_rollback_takes_everything_back() {
    let (database, mut one, mut two) = filled().await;
    one.run("BEGIN").await;
    one.run("DELETE FROM t").await;
    one.run("CREATE TABLE made (id int PRIMARY KEY)").await;
    one.run("INSERT INTO made VALUES (1)").await;
    assert_eq!(one.run("SELECT * FROM made").await, ["1"]);
    one.run("ALTER TABLE t ADD COLUMN extra text DEFAULT 'e'").await;
    one.run("INSERT INTO t VALUES (5, 50, 'x')").await;
    assert_eq!(one.run("SELECT * FROM t").await, ["5|50|x"]);
    assert_eq!(one.run("ROLLBACK").await, ["ROLLBACK"]);
    assert_eq!(two.run("SELECT * FROM t").await, ["1|10", "2|20"]);
    assert!(matches!(two.fails("SELECT * FROM made").await, Error::UndefinedTable(_)));
    drop(database);
}

#[tokio::test]
async fn schemas_change_with_the_commit() {
    let (_database, mut one, mut two) = filled().await;
    one.run("BEGIN").await;
    one.run("TRUNCATE t").await;
    one.run("ALTER TABLE t RENAME COLUMN v TO w").await;
    one.run("INSERT INTO t VALUES (7, 70)").await;
    assert_eq!(one.run("SELECT w FROM t").await, ["70"]);
    assert_eq!(two.run("SELECT v FROM t").await, ["10", "20"]);
    one.run("COMMIT").await;
    assert_eq!(two.run("SELECT id, w FROM t").await, ["7|70"]);

    one.run("BEGIN").await;
    one.run("DROP TABLE t").await;
    assert!(matches!(one.fails("SELECT * FROM t").await, Error::UndefinedTable(_)));
    one.run("ROLLBACK").await;
    assert_eq!(one.run("SELECT id FROM t").await, ["7"]);
    one.run("BEGIN; DROP TABLE t; COMMIT").await;
    assert!(matches!(two.fails("SELECT * FROM t").await, Error::UndefinedTable(_)));
}

#[tokio::test]
async fn a_failed_transaction_takes_nothing_but_its_end() {
    let (_database, mut one, mut two) = filled().await;
    one.run("BEGIN").await;
    one.run("INSERT INTO t VALUES (3, 30)").await;
    assert!(matches!(one.fails("INSERT INTO t VALUES (1, 0)").await, Error::UniqueViolation { .. }));
    assert_eq!(one.0.status(), Status::Failed);
    assert!(matches!(one.fails("SELECT 1").await, Error::TransactionFailed));
    assert!(matches!(one.fails("SELECT * FROM t").await, Error::TransactionFailed));
    assert_eq!(one.run("COMMIT").await, ["ROLLBACK"]);
    assert_eq!(two.run("SELECT count(*) FROM t").await, ["2"]);
    // A wrong statement fails it as well.
    one.run("BEGIN").await;
    one.fails("SELEC").await;
    assert_eq!(one.0.status(), Status::Failed);
    one.run("ROLLBACK").await;
    assert_eq!(one.run("SELECT count(*) FROM t").await, ["2"]);
}

#[tokio::test]
async fn the_second_of_two_writers_of_a_row_is_refused() {
    for isolation in ["SERIALIZABLE", "REPEATABLE READ"] {
        let (_database, mut one, mut two) = filled().await;
        one.run(&format!("BEGIN ISOLATION LEVEL {isolation}")).await;
        one.run("UPDATE t SET v = v + 1 WHERE id = 1").await;
        // The direct path commits in between.
        two.run("UPDATE t SET v = v + 100 WHERE id = 1").await;
        assert!(matches!(one.fails("COMMIT").await, Error::Conflict));
        assert_eq!(one.0.status(), Status::Idle);
        assert_eq!(two.run("SELECT v FROM t WHERE id = 1").await, ["110"]);
    }
}

#[tokio::test]
async fn serializable_transactions_refuse_write_skew_and_snapshots_allow_it() {
    for (isolation, refused) in [("SERIALIZABLE", true), ("REPEATABLE READ", false)] {
        let (_database, mut one, mut two) = filled().await;
        one.run(&format!("BEGIN ISOLATION LEVEL {isolation}")).await;
        two.run(&format!("BEGIN ISOLATION LEVEL {isolation}")).await;
        assert_eq!(one.run("SELECT sum(v) FROM t").await, ["30"]);
        assert_eq!(two.run("SELECT sum(v) FROM t").await, ["30"]);
        one.run("UPDATE t SET v = 0 WHERE id = 1").await;
        two.run("UPDATE t SET v = 0 WHERE id = 2").await;
        one.run("COMMIT").await;
        let second = two.try_run("COMMIT").await;
        assert_eq!(matches!(second, Err(Error::Conflict)), refused, "{isolation}");
    }
}

#[tokio::test]
async fn a_commit_against_a_changed_schema_is_refused() {
    let (_database, mut one, mut two) = filled().await;
    one.run("BEGIN").await;
    one.run("INSERT INTO t VALUES (3, 30)").await;
    two.run("ALTER TABLE t ADD COLUMN extra text").await;
    assert!(matches!(one.fails("COMMIT").await, Error::Conflict));
    one.run("INSERT INTO t VALUES (3, 30)").await;
    assert_eq!(one.run("SELECT * FROM t WHERE id = 3").await, ["3|30|-"]);
}

#[tokio::test]
async fn statements_of_one_text_are_one_transaction() {
    let (_database, mut one, mut two) = filled().await;
    one.fails("INSERT INTO t VALUES (3, 30); INSERT INTO t VALUES (1, 0)").await;
    assert_eq!(two.run("SELECT count(*) FROM t").await, ["2"]);
    assert_eq!(one.0.status(), Status::Idle);
    one.run("INSERT INTO t VALUES (3, 30); INSERT INTO t VALUES (4, 40)").await;
    assert_eq!(two.run("SELECT count(*) FROM t").await, ["4"]);
    // BEGIN makes it one that stays open.
    one.run("BEGIN; INSERT INTO t VALUES (5, 50)").await;
    assert_eq!(one.0.status(), Status::Open);
    one.run("ROLLBACK").await;
    assert_eq!(two.run("SELECT count(*) FROM t").await, ["4"]);
}

#[tokio::test]
async fn a_read_only_transaction_does_not_write() {
    let (_database, mut one, _two) = filled().await;
    one.run("BEGIN READ ONLY").await;
    assert_eq!(one.run("SELECT count(*) FROM t").await, ["2"]);
    assert!(matches!(one.fails("DELETE FROM t").await, Error::ReadOnly(_)));
    one.run("ROLLBACK").await;
    one.run("SET default_transaction_read_only = on").await;
    for statement in [
        "DELETE FROM t WHERE id = 1",
        "INSERT INTO t VALUES (8, 80); INSERT INTO t VALUES (9, 90)",
        "CREATE TABLE more (id int PRIMARY KEY)",
        "DROP TABLE t",
        "TRUNCATE t",
        "ALTER TABLE t RENAME TO u",
        "COPY t FROM STDIN",
    ] {
        assert!(matches!(one.fails(statement).await, Error::ReadOnly(_)), "{statement}");
    }
    assert_eq!(one.run("SELECT count(*) FROM t").await, ["2"]);
}

/// Two who set up the same tables at once: the first fails.
#[tokio::test]
async fn a_rollback_leaves_a_table_in_which_others_have_rows() {
    let (_database, mut one, mut two) = filled().await;
    one.run("BEGIN; CREATE TABLE IF NOT EXISTS made (id int PRIMARY KEY)").await;
    one.run("INSERT INTO made VALUES (1)").await;
    two.run("CREATE TABLE IF NOT EXISTS made (id int PRIMARY KEY)").await;
    two.run("INSERT INTO made VALUES (2)").await;
    one.run("ROLLBACK").await;
    assert_eq!(two.run("SELECT id FROM made").await, ["2"]);
    // Nor is another table of the name taken for it.
    one.run("BEGIN; CREATE TABLE other (id int PRIMARY KEY)").await;
    two.run("ALTER TABLE other RENAME TO kept; CREATE TABLE other (id int PRIMARY KEY)").await;
    one.run("ROLLBACK").await;
    assert_eq!(two.run("SELECT count(*) FROM kept").await, ["0"]);
    assert_eq!(two.run("SELECT count(*) FROM other").await, ["0"]);
}

#[tokio::test]
async fn a_drop_that_came_too_late_takes_nothing_else_of_its_transaction() {
    let (_database, mut one, mut two) = filled().await;
    one.run("CREATE TABLE b (id int PRIMARY KEY)").await;
    one.run("BEGIN; INSERT INTO t VALUES (3, 30); DROP TABLE b").await;
    two.run("ALTER TABLE b RENAME TO old; CREATE TABLE b (id int PRIMARY KEY)").await;
    assert!(matches!(one.fails("COMMIT").await, Error::Conflict));
    assert_eq!(two.run("SELECT count(*) FROM t").await, ["2"]);
    assert_eq!(two.run("SELECT count(*) FROM b").await, ["0"]);
}

#[tokio::test]
async fn a_table_is_not_made_again_by_the_transaction_that_drops_it() {
    let (_database, mut one, _two) = filled().await;
    for create in ["CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE IF NOT EXISTS t (id int PRIMARY KEY)"] {
        one.run("BEGIN; DROP TABLE t").await;
        assert!(matches!(one.fails(create).await, Error::Unsupported(_)), "{create}");
        one.run("ROLLBACK").await;
    }
    assert_eq!(one.run("SELECT count(*) FROM t").await, ["2"]);
}

#[tokio::test]
async fn settings_are_shown_as_they_were_set() {
    let (_database, mut one, _two) = filled().await;
    assert_eq!(one.run("SHOW transaction_isolation").await, ["serializable"]);
    one.run("BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(one.run("SHOW transaction_isolation").await, ["repeatable read"]);
    one.run("COMMIT").await;
    one.run("SET application_name TO 'me'").await;
    assert_eq!(one.run("SHOW application_name").await, ["me"]);
    assert_eq!(one.run("SHOW TimeZone").await, ["UTC"]);
    assert!(matches!(one.fails("SET client_encoding TO 'LATIN1'").await, Error::Unsupported(_)));
    assert!(matches!(one.fails("SHOW nonsense").await, Error::UndefinedObject(_)));
    assert!(matches!(one.fails("SAVEPOINT a").await, Error::Unsupported(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_increments_are_all_counted() {
    let (database, mut one, _two) = filled().await;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let mut client = database.session();
            tokio::spawn(async move {
                for round in 0..25 {
                    // By key, by scan and by query: three ways to write the same row.
                    let sql = match (task + round) % 3 {
                        0 => "UPDATE t SET v = v + 1 WHERE id = 1",
                        1 => "INSERT INTO t VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET v = t.v + 1",
                        _ => "UPDATE t SET v = v + 1 WHERE id < 2",
                    };
                    while let Err(error) = client.try_run(sql).await {
                        assert!(matches!(error, Error::Conflict), "{error}");
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(one.run("SELECT v FROM t WHERE id = 1").await, ["210"]);
}

/// A statement that is prepared once and run again after `between`, with what it gives the second time.
async fn again(client: &mut Client, sql: &str, between: &str) -> Vec<String> {
    let prepared = client.0.prepare(sql, &[]).await.expect("it is prepared");
    client.execute(&prepared).await.expect("it runs");
    client.run(between).await;
    client.execute(&prepared).await.expect("it runs again")
}

#[tokio::test]
async fn a_prepared_statement_finds_its_tables_by_name_each_time() {
    let database = Database::new().await;
    database.directory("/other").await;
    let mut client = database.session();
    client.run("CREATE TABLE \"/other/t\" (id int PRIMARY KEY)").await;
    client.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    client.run("CREATE TABLE t_new (id int PRIMARY KEY)").await;
    client.run("INSERT INTO t_new VALUES (7), (8)").await;
    let insert = client.0.prepare("INSERT INTO t SELECT count(*) FROM t", &[]).await.expect("it is prepared");
    let direct = client.0.prepare("INSERT INTO t VALUES (55)", &[]).await.expect("it is prepared");
    client.execute(&insert).await.expect("it runs");
    client.run("ALTER TABLE t RENAME TO t_old").await;
    client.run("ALTER TABLE t_new RENAME TO t").await;
    client.execute(&insert).await.expect("it runs");
    client.execute(&direct).await.expect("it runs");
    assert_eq!(client.run("SELECT * FROM t_old").await, ["0"]);
    assert_eq!(client.run("SELECT * FROM t").await, ["2", "7", "8", "55"]);
    client.run("SET search_path = '/other'").await;
    client.execute(&insert).await.expect("it runs");
    client.execute(&direct).await.expect("it runs");
    assert_eq!(client.run("SELECT * FROM \"/other/t\"").await, ["0", "55"]);
    client.run("RESET search_path").await;
    assert_eq!(client.run("SELECT count(*) FROM t").await, ["4"]);
    client.run("DROP TABLE t").await;
    assert!(matches!(client.execute(&direct).await, Err(Error::UndefinedTable(_))));
}

#[tokio::test]
async fn a_prepared_question_about_the_catalog_is_answered_anew() {
    let database = Database::new().await;
    let mut client = database.session();
    let tables = "SELECT relname FROM pg_catalog.pg_class WHERE relkind = 'r'";
    assert_eq!(again(&mut client, tables, "CREATE TABLE a (id int PRIMARY KEY)").await, ["a"]);
    let name = "SELECT current_setting('application_name')";
    assert_eq!(again(&mut client, name, "SET application_name = 'x'").await, ["x"]);
    let copied = "INSERT INTO a SELECT count(*) FROM information_schema.tables";
    assert_eq!(again(&mut client, copied, "CREATE TABLE b (id int PRIMARY KEY)").await, ["INSERT 1"]);
    assert_eq!(client.run("SELECT * FROM a").await, ["1", "2"]);
}

#[tokio::test]
async fn a_command_over_several_things_does_all_of_it_or_nothing() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE a (id int PRIMARY KEY)").await;
    client.run("INSERT INTO a VALUES (1)").await;
    for sql in [
        "DROP TABLE a, missing",
        "TRUNCATE a, missing",
        "ALTER TABLE a ADD COLUMN x int, DROP COLUMN nope",
        "TRUNCATE a; INSERT INTO a VALUES ('bad')",
    ] {
        client.fails(sql).await;
        assert_eq!(client.run("SELECT * FROM a").await, ["1"], "{sql}");
        assert!(matches!(client.fails("SELECT * FROM b").await, Error::UndefinedTable(_)), "{sql}");
    }
    client.run("CREATE TABLE b (id int PRIMARY KEY)").await;
    assert_eq!(client.run("TRUNCATE a, b").await, ["TRUNCATE TABLE"]);
    assert_eq!(client.run("ALTER TABLE b ADD COLUMN x int, ADD COLUMN y int").await, ["ALTER TABLE"]);
    assert_eq!(client.run("SELECT count(*) FROM a").await, ["0"]);
    assert_eq!(client.run("DROP TABLE a, b").await, ["DROP TABLE"]);
    // What no transaction can do is done as ever.
    client.run("CREATE TABLE a (id int PRIMARY KEY)").await;
    client.run("DROP TABLE IF EXISTS a; CREATE TABLE a (id int PRIMARY KEY, v int); INSERT INTO a VALUES (1, 2)").await;
    assert_eq!(client.run("SELECT * FROM a").await, ["1|2"]);
    client.run("ALTER TABLE a RENAME TO c; SELECT 1").await;
    assert_eq!(client.run("SELECT * FROM c").await, ["1|2"]);
    let anew = |name| format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (id int PRIMARY KEY)");
    for _ in 0..2 {
        client.run(&format!("{}; {}", anew("d"), anew("e"))).await;
    }
    client.run("ALTER TABLE d ADD COLUMN x int; ALTER TABLE d RENAME TO f; CREATE TABLE d (id int PRIMARY KEY)").await;
    assert_eq!(client.run("SELECT count(*) FROM d, e, f").await, ["0"]);
}

#[tokio::test]
async fn rows_are_locked_for_update_only_where_a_commit_finds_the_conflict() {
    let (_database, mut one, mut two) = filled().await;
    let taken = "SELECT v FROM t WHERE id = 1 FOR UPDATE";
    assert_eq!(one.run(taken).await, ["10"]);
    one.run("BEGIN").await;
    assert_eq!(one.run(taken).await, ["10"]);
    one.run("UPDATE t SET v = 21 WHERE id = 2").await;
    two.run("UPDATE t SET v = 11 WHERE id = 1").await;
    assert!(matches!(one.fails("COMMIT").await, Error::Conflict));
    for sql in [
        taken,
        "SELECT v FROM t AS t WHERE id = 1 FOR SHARE",
        "SELECT id FROM t ORDER BY v LIMIT 1 FOR UPDATE SKIP LOCKED",
        "UPDATE t SET v = 0 WHERE id IN (SELECT id FROM t ORDER BY v LIMIT 1 FOR UPDATE SKIP LOCKED)",
    ] {
        one.run("BEGIN ISOLATION LEVEL READ COMMITTED").await;
        assert!(matches!(one.fails(sql).await, Error::Unsupported(_)), "{sql}");
        one.run("ROLLBACK").await;
    }
    assert_eq!(one.run("SELECT v FROM t").await, ["11", "20"]);
}
