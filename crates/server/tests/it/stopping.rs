//! Queries that nobody waits for any more.

use crate::clients::{greeted, message, query, simple, until_ready};
use crate::serving::{Serving, serving};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A join that computes for minutes and finds nothing.
const LONG: &str = "SELECT count(*) FROM generate_series(1, 300000) AS a(value), generate_series(1, 300000) AS b(value) \
                    WHERE a.value + b.value < 0";

/// Returns when so many queries hold a thread.
async fn computing(serving: &Serving, queries: usize) {
    let shown = format!("ballast_tables_queries_computing {queries}\n");
    while !serving.server.metrics().contains(&shown) {
        tokio::task::yield_now().await;
    }
}

/// The same as a prepared statement.
fn extended(sql: &str) -> Vec<u8> {
    let parse = message(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat());
    [parse, message(b'B', &[0; 8]), message(b'E', &[0; 5]), message(b'S', b"")].concat()
}

fn is_cancelled(answer: &[(u8, Vec<u8>)]) -> bool {
    answer.iter().any(|(tag, body)| *tag == b'E' && String::from_utf8_lossy(body).contains("C57014\0"))
}

#[tokio::test]
async fn a_query_that_its_client_cancels_computes_no_further() {
    let serving = serving().await;
    let mut socket = TcpStream::connect(serving.postgres).await.unwrap();
    socket.write_all(b"\0\0\0\x10\0\x03\0\0user\0x\0\0").await.unwrap();
    let greeting = until_ready(&mut socket).await;
    let key = greeting.into_iter().find(|(tag, _)| *tag == b'K').unwrap().1;
    // In a transaction that stays open, too: its portals live on.
    query(&mut socket, "BEGIN").await;
    for long in [simple(LONG), extended(LONG)] {
        socket.write_all(&long).await.unwrap();
        computing(&serving, 1).await;
        let mut other = TcpStream::connect(serving.postgres).await.unwrap();
        other.write_all(&[&b"\0\0\0\x10\x04\xd2\x16\x2e"[..], &key].concat()).await.unwrap();
        assert!(is_cancelled(&until_ready(&mut socket).await));
        computing(&serving, 0).await;
        query(&mut socket, "ROLLBACK; BEGIN").await;
    }
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_query_whose_time_is_over_computes_no_further() {
    let serving = serving().await;
    let mut socket = greeted(serving.postgres).await;
    query(&mut socket, "SET statement_timeout = 500").await;
    assert!(is_cancelled(&query(&mut socket, LONG).await));
    computing(&serving, 0).await;
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_query_whose_client_is_gone_computes_no_further() {
    let serving = serving().await;
    for long in [simple(LONG), extended(LONG)] {
        let mut socket = greeted(serving.postgres).await;
        socket.write_all(&long).await.unwrap();
        computing(&serving, 1).await;
        drop(socket);
        computing(&serving, 0).await;
    }
    serving.server.stop().await.unwrap();
}

/// What a client has sent before it left is done.
#[tokio::test]
async fn a_client_may_leave_without_waiting_for_its_last_statement() {
    let serving = serving().await;
    let mut other = greeted(serving.postgres).await;
    query(&mut other, "CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut socket = greeted(serving.postgres).await;
    let insert = "INSERT INTO t SELECT value FROM generate_series(1, 1000) AS s(value)";
    socket.write_all(&[simple(insert), message(b'X', b"")].concat()).await.unwrap();
    drop(socket);
    loop {
        let count = query(&mut other, "SELECT count(*) FROM t").await;
        if count.iter().any(|(tag, body)| *tag == b'D' && body.ends_with(b"1000")) {
            break;
        }
    }
    serving.server.stop().await.unwrap();
}
