//! CREATE, ALTER, DROP and TRUNCATE.

use crate::harness::Database;
use ballast_tables::Error;
use ballast_types::{Call, Caller, Kind, TreePath};

#[tokio::test]
async fn a_table_is_an_entry_of_its_directory() {
    let database = Database::new().await;
    database.directory("/a/b").await;
    let mut client = database.session();
    client.run(r#"CREATE TABLE "/a/b/t" (id int PRIMARY KEY, name text)"#).await;
    client.run(r#"INSERT INTO "/a/b/t" VALUES (1, 'one')"#).await;
    let path = TreePath::parse("/a/b/t").unwrap();
    let inode = database.tree.resolve(&Call::internal(), &path).await.unwrap();
    assert_eq!(inode.kind, Kind::Table);

    // Relative names start where the session is.
    let mut nearby = database.session_at("/a", Caller::root());
    assert_eq!(nearby.run(r#"SELECT name FROM b.t"#).await, ["one"]);
    assert_eq!(nearby.run(r#"SELECT name FROM "b/t""#).await, ["one"]);
    assert!(matches!(nearby.fails("SELECT * FROM t").await, Error::UndefinedTable(_)));
    assert!(matches!(nearby.fails("SELECT * FROM b").await, Error::NotATable(_)));

    // Renamed and removed by the tree, it is renamed and gone for SQL.
    let parent = database.tree.resolve(&Call::internal(), &TreePath::parse("/a/b").unwrap()).await.unwrap().ino;
    client.run(r#"ALTER TABLE "/a/b/t" RENAME TO u"#).await;
    assert_eq!(client.run(r#"SELECT name FROM "/a/b/u""#).await, ["one"]);
    database.tree.remove_directory(&Call::internal(), parent, &"u".parse().unwrap()).await.unwrap();
    assert!(matches!(client.fails(r#"SELECT * FROM "/a/b/u""#).await, Error::UndefinedTable(_)));
}

#[tokio::test]
async fn if_exists_and_if_not_exists_forgive() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    assert!(matches!(client.fails("CREATE TABLE t (id int PRIMARY KEY)").await, Error::DuplicateTable(_)));
    assert_eq!(client.run("CREATE TABLE IF NOT EXISTS t (id int PRIMARY KEY)").await, ["CREATE TABLE"]);
    assert_eq!(client.run("DROP TABLE t").await, ["DROP TABLE"]);
    assert_eq!(client.run("DROP TABLE IF EXISTS t").await, ["DROP TABLE"]);
    assert!(matches!(client.fails("DROP TABLE t").await, Error::UndefinedTable(_)));
}

#[tokio::test]
async fn a_dropped_table_leaves_nothing_in_the_volume() {
    let database = Database::new().await;
    let mut client = database.session();
    // The first table makes the tree's own counters.
    client.run("CREATE TABLE first (id int PRIMARY KEY)").await;
    let empty = database.volume.rows().len();
    client.run("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    client.run("INSERT INTO t SELECT column1, 'x' FROM (VALUES (1), (2), (3))").await;
    client.run("DROP TABLE t").await;
    database.tree.reap().await.unwrap();
    assert_eq!(database.volume.rows().len(), empty);
}

#[tokio::test]
async fn columns_come_and_go_without_rewriting_rows() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id int PRIMARY KEY, a text, b int)").await;
    client.run("INSERT INTO t VALUES (1, 'x', 10)").await;
    client.run("ALTER TABLE t ADD COLUMN c numeric(6,2) NOT NULL DEFAULT 1.5, DROP COLUMN a").await;
    client.run("ALTER TABLE t RENAME COLUMN b TO bb").await;
    client.run("INSERT INTO t VALUES (2, 20, 2)").await;
    assert_eq!(client.run("SELECT * FROM t").await, ["1|10|1.50", "2|20|2.00"]);
    assert_eq!(client.run("UPDATE t SET bb = bb + 1 WHERE id = 1").await, ["UPDATE 1"]);
    assert_eq!(client.run("SELECT * FROM t WHERE id = 1").await, ["1|11|1.50"]);
    assert!(matches!(client.fails("SELECT a FROM t").await, Error::UndefinedColumn(_)));
    assert!(matches!(client.fails("ALTER TABLE t DROP COLUMN id").await, Error::Unsupported(_)));
    assert!(matches!(client.fails("ALTER TABLE t ADD COLUMN d int NOT NULL").await, Error::NotNull { .. }));
    // And after a restart.
    let mut client = database.crash().await.session();
    assert_eq!(client.run("SELECT * FROM t ORDER BY id").await, ["1|11|1.50", "2|20|2.00"]);
}

#[tokio::test]
async fn truncate_empties_at_once_and_the_rows_go_behind_it() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let before = database.volume.rows().len();
    client.run("INSERT INTO t VALUES (1), (2), (3)").await;
    assert_eq!(client.run("TRUNCATE t").await, ["TRUNCATE TABLE"]);
    assert_eq!(client.run("SELECT count(*) FROM t").await, ["0"]);
    client.run("INSERT INTO t VALUES (1)").await;
    // What a crash left is swept at the next start.
    let restarted = database.crash().await;
    restarted.tables.sweep().await.unwrap();
    assert_eq!(restarted.volume.rows().len(), before + 1);
    assert_eq!(restarted.session().run("SELECT * FROM t").await, ["1"]);
}

#[tokio::test]
async fn a_table_without_a_key_keeps_its_rows_apart() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE log (line text)").await;
    client.run("INSERT INTO log VALUES ('a'), ('a'), ('b')").await;
    client.run("INSERT INTO log SELECT * FROM log").await;
    assert_eq!(client.run("SELECT * FROM log ORDER BY line").await, ["a", "a", "a", "a", "b", "b"]);
    assert_eq!(client.run("SELECT line, count(*) FROM log GROUP BY line ORDER BY 1").await, ["a|4", "b|2"]);
    assert_eq!(client.run("DELETE FROM log WHERE line = 'a'").await, ["DELETE 4"]);
    assert_eq!(client.run("UPDATE log SET line = 'c' WHERE line IN (SELECT line FROM log)").await, ["UPDATE 2"]);
    assert_eq!(client.run("SELECT * FROM log").await, ["c", "c"]);
}

#[tokio::test]
async fn what_a_table_cannot_be_is_refused_by_name() {
    let database = Database::new().await;
    let mut client = database.session();
    for sql in [
        "CREATE TABLE t (id serial PRIMARY KEY)",
        "CREATE TABLE t (id int PRIMARY KEY, other int REFERENCES u)",
        "CREATE TABLE t (id int PRIMARY KEY, n int UNIQUE)",
        "CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n > 0))",
        "CREATE TEMPORARY TABLE t (id int PRIMARY KEY)",
        "CREATE INDEX i ON t (id)",
        "CREATE VIEW v AS SELECT 1",
        "GRANT SELECT ON t TO alice",
    ] {
        assert!(matches!(client.fails(sql).await, Error::Unsupported(_)), "{sql}");
    }
    assert!(matches!(client.fails("CREATE TABLE t (id int, id text)").await, Error::DuplicateColumn(_)));
    assert!(matches!(client.fails("CREATE TABLE t (a json PRIMARY KEY)").await, Error::InvalidDefinition(_)));
    assert!(matches!(client.fails("CREATE TABLE t (a int DEFAULT 'x')").await, Error::InvalidText { .. }));
    assert!(matches!(
        client.fails("CREATE TABLE t (a money)").await,
        Error::UndefinedObject(_) | Error::Unsupported(_)
    ));
}

#[tokio::test]
async fn rights_are_those_of_the_tree() {
    let database = Database::new().await;
    database.directory("/home").await;
    let (owner, other) = (Caller::new(1000, 1000), Caller::new(2000, 2000));
    let home = database.tree.resolve(&Call::internal(), &TreePath::parse("/home").unwrap()).await.unwrap().ino;
    let open = ballast_tree::SetAttributes { mode: Some(0o777), ..Default::default() };
    database.tree.set_attributes(&Call::internal(), home, open).await.unwrap();
    let mut alice = database.session_at("/home", owner.clone());
    alice.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    alice.run("INSERT INTO t VALUES (1)").await;
    let mut bob = database.session_at("/home", other);
    assert_eq!(bob.run("SELECT * FROM t").await, ["1"]);
    for sql in ["INSERT INTO t VALUES (2)", "DELETE FROM t", "TRUNCATE t", "ALTER TABLE t ADD COLUMN a int"] {
        assert!(matches!(bob.fails(sql).await, Error::Denied(_)), "{sql}");
    }
    assert_eq!(bob.fails("DROP TABLE t").await.kind(), ballast_types::ErrorKind::Denied);
    bob.run("CREATE TABLE own (id int PRIMARY KEY)").await;
    bob.run("BEGIN; INSERT INTO own VALUES (1); DROP TABLE t").await;
    assert_eq!(bob.fails("COMMIT").await.kind(), ballast_types::ErrorKind::Denied);
    assert_eq!(bob.run("SELECT count(*) FROM own").await, ["0"], "a commit is refused whole");
    let table = database.tree.resolve(&Call::new(owner.clone()), &TreePath::parse("/home/t").unwrap()).await.unwrap();
    let closed = ballast_tree::SetAttributes { mode: Some(0o700), ..Default::default() };
    database.tree.set_attributes(&Call::new(owner), table.ino, closed).await.unwrap();
    assert!(matches!(bob.fails("SELECT * FROM t").await, Error::Denied(_)));
    assert!(matches!(bob.fails("SELECT count(*) FROM t").await, Error::Denied(_)));
}

#[tokio::test]
async fn prepared_statements_are_the_listeners_to_forget() {
    let database = Database::new().await;
    let mut client = database.session();
    assert_eq!(client.run("DEALLOCATE ALL").await, ["DEALLOCATE ALL "]);
    assert_eq!(client.run("DEALLOCATE PREPARE Some_Name").await, ["DEALLOCATE some_name"]);
    assert_eq!(client.run("DEALLOCATE \"all\"").await, ["DEALLOCATE all"]);
    assert_eq!(client.run("DISCARD ALL").await, ["DISCARD ALL "]);
}
