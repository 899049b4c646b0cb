//! COPY, in and out.

use crate::harness::{Client, Database};
use ballast_tables::{Answer, Error, Rows};
use bytes::BytesMut;
use futures::TryStreamExt;

async fn copy_in(client: &mut Client, sql: &str, portions: &[&[u8]]) -> Result<u64, Error> {
    let prepared = client.0.prepare(sql, &[]).await?;
    let Answer::CopyIn(mut copy) = client.0.execute(&prepared, &[], false).await? else { panic!("{sql} copies in") };
    for portion in portions {
        client.0.copy_data(&mut copy, portion).await?;
    }
    client.0.copy_done(copy).await
}

async fn copy_out(client: &mut Client, sql: &str) -> String {
    let prepared = client.0.prepare(sql, &[]).await.expect("it copies out");
    let Answer::CopyOut(mut copy) = client.0.execute(&prepared, &[], false).await.expect("it copies out") else {
        panic!("copies out")
    };
    let mut out = BytesMut::new();
    copy.header(&mut out);
    let rows = match std::mem::replace(&mut copy.rows, Rows::Ready(Vec::new())) {
        Rows::Ready(rows) => rows,
        Rows::Stream(stream) => {
            stream.try_collect::<Vec<_>>().await.expect("it copies out").into_iter().flatten().collect()
        }
    };
    rows.iter().for_each(|row| copy.line(row, &mut out));
    String::from_utf8(out.to_vec()).expect("it copies out")
}

#[tokio::test]
async fn text_goes_in_and_out_with_its_escapes() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id int PRIMARY KEY, s text, n int DEFAULT 5)").await;
    let data = b"1\ta\\tb\\\\c\\nd\t1\n2\t\\N\t\\N\n3\t\t3\n";
    // Portions end anywhere.
    let portions: Vec<&[u8]> = data.chunks(3).collect();
    assert_eq!(copy_in(&mut client, "COPY t FROM STDIN", &portions).await.unwrap(), 3);
    assert_eq!(client.run("SELECT * FROM t").await, ["1|a\tb\\c\nd|1", "2|-|-", "3||3"]);
    assert_eq!(copy_out(&mut client, "COPY t TO STDOUT").await.as_bytes(), data);
    assert_eq!(copy_in(&mut client, "COPY t (s, id) FROM stdin", &[b"x\t9\n\\.\nnothing\n"]).await.unwrap(), 1);
    assert_eq!(client.run("SELECT * FROM t WHERE id = 9").await, ["9|x|5"]);
    let numbers = b"10\t\\101\\1012\\7!\n11\t\\x41\\x4a1\\x9!\\xyz\n";
    assert_eq!(copy_in(&mut client, "COPY t (id, s) FROM stdin", &[numbers]).await.unwrap(), 2);
    assert_eq!(client.run("SELECT id, s FROM t WHERE id > 9").await, ["10|AA2\u{7}!", "11|AJ1\t!xyz"]);
}

#[tokio::test]
async fn csv_goes_in_and_out_with_its_quotes() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id int PRIMARY KEY, s text)").await;
    let data = "id,s\n1,\"a,b\"\n2,\"say \"\"x\"\"\"\n3,\n4,\"\"\n5,\"two\nlines\"\n";
    let portions: Vec<&[u8]> = data.as_bytes().chunks(4).collect();
    let sql = "COPY t FROM STDIN WITH (FORMAT csv, HEADER true)";
    assert_eq!(copy_in(&mut client, sql, &portions).await.unwrap(), 5);
    assert_eq!(client.run("SELECT s FROM t").await, ["a,b", "say \"x\"", "-", "", "two\nlines"]);
    assert_eq!(copy_out(&mut client, "COPY t TO STDOUT (FORMAT csv, HEADER)").await, data);
    let query = copy_out(&mut client, "COPY (SELECT count(*) FROM t) TO STDOUT").await;
    assert_eq!(query, "5\n");
}

#[tokio::test]
async fn a_copy_that_fails_writes_nothing() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id int PRIMARY KEY, s text NOT NULL)").await;
    let wrong: [&[u8]; 5] = [b"1\tx\n2\n", b"1\tx\n2\ty\tz\n", b"1\tx\nnope\ty\n", b"1\tx\n2\t\\N\n", b"1\tx\n1\ty\n"];
    for data in wrong {
        assert!(copy_in(&mut client, "COPY t FROM STDIN", &[data]).await.is_err());
        assert_eq!(client.run("SELECT count(*) FROM t").await, ["0"]);
    }
    client.run("BEGIN").await;
    assert_eq!(copy_in(&mut client, "COPY t FROM STDIN", &[b"1\tx\n"]).await.unwrap(), 1);
    client.run("ROLLBACK").await;
    assert_eq!(client.run("SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test]
async fn no_text_holds_a_nul() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id int PRIMARY KEY, s varchar(9), t text)").await;
    let texts: [&[u8]; 4] = [b"1\ta\0b\tx\n", b"1\ta\\000b\tx\n", b"1\tx\ta\0b\n", b"1\tx\ta\\000b\n"];
    for data in texts {
        let refused = copy_in(&mut client, "COPY t FROM STDIN", &[data]).await;
        assert!(matches!(refused, Err(Error::InvalidEncoding)), "{refused:?}");
    }
    for column in ["s", "t"] {
        let refused = client.try_run(&format!("INSERT INTO t (id, {column}) VALUES (1, 'a\0b')")).await;
        assert!(matches!(refused, Err(Error::InvalidEncoding)), "{refused:?}");
    }
    assert_eq!(client.run("SELECT * FROM t").await, [""; 0]);
}

#[tokio::test]
async fn an_escaped_quote_ends_no_field_of_csv() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id int PRIMARY KEY, s text)").await;
    let data = b"1,\"a\\\"\nb\"\n2,\"c\\\\\"\n3,\"d\\e\"\n";
    let sql = "COPY t FROM STDIN WITH (FORMAT csv, ESCAPE '\\')";
    for portions in [vec![&data[..]], data.chunks(1).collect()] {
        assert_eq!(copy_in(&mut client, sql, &portions).await.unwrap(), 3);
        assert_eq!(client.run("SELECT s FROM t").await, ["a\"\nb", "c\\", "d\\e"]);
        client.run("TRUNCATE t").await;
    }
}

#[tokio::test]
async fn long_lines_are_written_before_a_thousand_are_gathered() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id int PRIMARY KEY, s text)").await;
    let line = |id: usize| format!("{id}\t{}\n", "x".repeat(900_000));
    let prepared = client.0.prepare("COPY t FROM STDIN", &[]).await.expect("it is prepared");
    let Ok(Answer::CopyIn(mut copy)) = client.0.execute(&prepared, &[], false).await else { panic!("it copies in") };
    for id in 0.. {
        if let Err(error) = client.0.copy_data(&mut copy, line(id).as_bytes()).await {
            assert!(matches!(error, Error::TooLarge(_)), "{error}");
            assert!(id < 80, "a transaction takes 64 MiB, and {id} lines were taken");
            break;
        }
    }
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_no_rows_and_lets_them_be_deleted() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id int PRIMARY KEY, n int)").await;
    client.run("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").await;
    database.volume.set_nearly_full(true);
    let refused = |error: Error| error.kind() == ballast_types::ErrorKind::Exhausted;
    for sql in ["INSERT INTO t VALUES (4, 4)", "UPDATE t SET n = 9 WHERE id = 1", "UPDATE t SET n = n + 1"] {
        assert!(refused(client.fails(sql).await), "{sql}");
    }
    assert!(refused(copy_in(&mut client, "COPY t FROM STDIN", &[b"5\t5\n"]).await.expect_err("there is no space")));
    assert_eq!(client.run("DELETE FROM t WHERE id = 1").await, ["DELETE 1"]);
    assert_eq!(client.run("DELETE FROM t WHERE n > 2").await, ["DELETE 1"]);
    assert!(refused(client.fails("CREATE TABLE u (id int PRIMARY KEY)").await));
    assert_eq!(client.run("CREATE TABLE IF NOT EXISTS t (id int PRIMARY KEY)").await, ["CREATE TABLE"]);
    database.volume.set_nearly_full(false);
    assert_eq!(client.run("UPDATE t SET n = n + 1").await, ["UPDATE 1"]);
}
