//! What clients ask about tables.

use crate::harness::Database;

#[tokio::test]
async fn the_catalog_shows_the_tables_of_the_directory() {
    let database = Database::new().await;
    database.directory("/a/b").await;
    let mut client = database.session_at("/a", ballast_types::Caller::root());
    client
        .run("CREATE TABLE t (id bigint PRIMARY KEY, name varchar(20) NOT NULL DEFAULT 'x', price numeric(8,2))")
        .await;
    client.run("CREATE TABLE \"b/hidden\" (id int PRIMARY KEY)").await;
    let columns = "SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns \
                   WHERE table_name = 't' ORDER BY ordinal_position";
    assert_eq!(client.run(columns).await, ["id|bigint|NO|-", "name|character varying|NO|'x'", "price|numeric|YES|-"]);
    let tables = "SELECT table_schema, table_name FROM information_schema.tables";
    assert_eq!(client.run(tables).await, ["public|t"]);
    let attributes = "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a \
                      JOIN pg_class c ON c.oid = a.attrelid WHERE c.relname = 't' AND a.attnum > 0 ORDER BY a.attnum";
    assert_eq!(client.run(attributes).await, ["id|bigint", "name|character varying(20)", "price|numeric(8,2)"]);
    assert_eq!(client.run("SELECT relkind FROM pg_class WHERE oid = 't'::regclass").await, ["r"]);
}

#[tokio::test]
async fn the_questions_of_psql_are_answered() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id bigint PRIMARY KEY, name text)").await;
    // \dt
    let list = "SELECT n.nspname as \"Schema\", c.relname as \"Name\", \
                CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' END as \"Type\" \
                FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam WHERE c.relkind IN ('r','p','') \
                AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema' \
                AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2";
    assert_eq!(client.run(list).await, ["public|t|table"]);
    // \d t
    let find = "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c \
                LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                WHERE c.relname OPERATOR(pg_catalog.~) '^(t)$' COLLATE pg_catalog.default \
                AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3";
    let found = client.run(find).await;
    let oid = found[0].split('|').next().unwrap().to_owned();
    let columns = format!(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), \
         (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d \
         WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull, \
         (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t \
         WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation, \
         a.attidentity, a.attgenerated FROM pg_catalog.pg_attribute a \
         WHERE a.attrelid = '{oid}' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    );
    assert_eq!(client.run(&columns).await, ["id|bigint|-|t|-||", "name|text|-|f|-||"]);
    let indexes = format!(
        "SELECT c2.relname, i.indisprimary, i.indisunique, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true), \
         pg_catalog.pg_get_constraintdef(con.oid, true), contype FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, \
         pg_catalog.pg_index i LEFT JOIN pg_catalog.pg_constraint con ON (conrelid = i.indrelid AND \
         conindid = i.indexrelid AND contype IN ('p','u','x')) \
         WHERE c.oid = '{oid}' AND c.oid = i.indrelid AND i.indexrelid = c2.oid ORDER BY i.indisprimary DESC, c2.relname"
    );
    let index = "t_pkey|t|t|CREATE UNIQUE INDEX t_pkey ON t USING btree (id)|PRIMARY KEY (id)|p";
    assert_eq!(client.run(&indexes).await, [index]);
    let policies = format!("SELECT pol.polname FROM pg_catalog.pg_policy pol WHERE pol.polrelid = '{oid}' ORDER BY 1");
    assert_eq!(client.run(&policies).await, [""; 0]);
}

#[tokio::test]
async fn the_session_tells_about_itself() {
    let database = Database::new().await;
    let mut client = database.session();
    client.0.variables().database = "bars".into();
    client.0.variables().user = "alice".into();
    assert!(client.run("SELECT version()").await[0].starts_with("PostgreSQL 15"));
    let sql =
        "SELECT current_schema(), current_database(), current_user, pg_catalog.current_setting('server_version_num')";
    assert_eq!(client.run(sql).await, ["public|bars|alice|150000"]);
    assert_eq!(client.run("select pg_catalog.version() is not null").await, ["t"]);
}
