//! Transactions that a client forgets, and statements that run for too long.

use crate::clients::{greeted, query, simple, until_ready};
use crate::serving::serving;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An INSERT as a prepared statement, without the Sync that would commit it.
const HALF_A_PIPELINE: &[u8] =
    b"P\0\0\0\x20\0INSERT INTO t VALUES (4)\0\0\0B\0\0\0\x0c\0\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0H\0\0\0\x04";

fn text(messages: &[(u8, Vec<u8>)]) -> String {
    messages.iter().map(|(tag, body)| format!("{} {}\n", *tag as char, String::from_utf8_lossy(body))).collect()
}

const IDLE: &str = "FATAL\0C25P03\0Mterminating connection due to idle-in-transaction timeout";
const OVER: &str = "FATAL\0C25P04\0Mterminating connection due to transaction timeout";

async fn ends_with(mut socket: TcpStream, end: &str, what: &str) {
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains(end), "{what}: {rest}");
}

/// The table `t` has so many rows, fewer than ten.
async fn rows_left(socket: &mut TcpStream, count: u8) {
    let left = text(&query(socket, "SELECT 'rows', count(*) FROM t").await);
    assert!(left.contains(&format!("rows\0\0\0\u{1}{count}")), "{left}");
}

/// Time is not real here: it jumps to the next timer whenever nothing else is to be done.
#[tokio::test(start_paused = true)]
async fn a_forgotten_transaction_is_taken_back_and_its_connection_ends() {
    let serving = serving().await;
    let mut other = greeted(serving.postgres).await;
    query(&mut other, "CREATE TABLE t (id int PRIMARY KEY)").await;
    for (what, sql) in [
        ("an open transaction", "BEGIN; INSERT INTO t VALUES (1)"),
        ("a failed one", "BEGIN; INSERT INTO t VALUES (2); SELECT 1 / 0"),
        ("a bound of its own", "SET idle_in_transaction_session_timeout = '20s'; BEGIN; INSERT INTO t VALUES (3)"),
    ] {
        let mut socket = greeted(serving.postgres).await;
        query(&mut socket, sql).await;
        ends_with(socket, IDLE, what).await;
    }
    let mut pipeline = greeted(serving.postgres).await;
    pipeline.write_all(HALF_A_PIPELINE).await.unwrap();
    ends_with(pipeline, IDLE, "half a pipeline").await;
    let mut copy = greeted(serving.postgres).await;
    copy.write_all(b"Q\0\0\0\x16COPY t FROM STDIN\0d\0\0\0\x065\n").await.unwrap();
    ends_with(copy, IDLE, "half a COPY").await;
    // The other was silent meanwhile, for longer than that, but in no transaction.
    rows_left(&mut other, 0).await;
    serving.server.stop().await.unwrap();
}

/// Time is not real here.
#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_never_silent_ends_all_the_same() {
    let serving = serving().await;
    let mut other = greeted(serving.postgres).await;
    query(&mut other, "CREATE TABLE t (id int PRIMARY KEY)").await;
    for (what, sql, pause) in [
        ("an open transaction", "BEGIN", 60),
        ("a failed one", "BEGIN; SELECT 1 / 0", 60),
        ("a bound of its own", "SET transaction_timeout = '20s'; BEGIN", 3),
        ("one for this transaction", "BEGIN; SET LOCAL transaction_timeout = '20s'", 3),
    ] {
        let mut socket = greeted(serving.postgres).await;
        query(&mut socket, sql).await;
        let began = tokio::time::Instant::now();
        let length = if pause == 3 { Duration::from_secs(20) } else { Duration::from_secs(30 * 60) };
        while began.elapsed() + Duration::from_secs(pause) < length {
            query(&mut socket, "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING").await;
            tokio::time::sleep(Duration::from_secs(pause)).await;
        }
        ends_with(socket, OVER, what).await;
    }
    rows_left(&mut other, 0).await;
    serving.server.stop().await.unwrap();
}

/// Time is not real here.
#[tokio::test(start_paused = true)]
async fn a_transaction_whose_client_takes_nothing_ends() {
    let serving = serving().await;
    let mut socket = greeted(serving.postgres).await;
    query(&mut socket, "CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let fill = "INSERT INTO t SELECT value, repeat('x', 1000) FROM generate_series(1, 20000) AS s(value)";
    query(&mut socket, fill).await;
    query(&mut socket, "SET transaction_timeout = '20s'; BEGIN").await;
    for _ in 0..10 {
        socket.write_all(&simple("SELECT * FROM t")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(21)).await;
    ends_with(socket, OVER, "a client that takes nothing").await;
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_transaction_ends_in_the_midst_of_a_statement() {
    let serving = serving().await;
    let mut other = greeted(serving.postgres).await;
    query(&mut other, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (7)").await;
    let long = "SELECT a.value FROM generate_series(1, 300000) AS a(value), generate_series(1, 300000) AS b(value) \
                WHERE a.value + b.value < 0";
    for (what, sql) in [
        ("a query", format!("BEGIN; {long}")),
        ("a write that is a transaction of its own", format!("DELETE FROM t WHERE id IN ({long})")),
        ("a write behind another", format!("INSERT INTO t VALUES (1); DELETE FROM t WHERE id IN ({long})")),
    ] {
        let mut socket = greeted(serving.postgres).await;
        query(&mut socket, "SET transaction_timeout = 20").await;
        socket.write_all(&simple(&sql)).await.unwrap();
        ends_with(socket, OVER, what).await;
    }
    rows_left(&mut other, 1).await;
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_statement_that_runs_for_too_long_is_cancelled() {
    let serving = serving().await;
    let mut socket = greeted(serving.postgres).await;
    query(&mut socket, "SET statement_timeout = 20").await;
    let digits = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))";
    let crowd: Vec<String> = (0..7).map(|at| format!("{digits} AS t{at} (v)")).collect();
    let long = format!("SELECT count(*) FROM {} WHERE t0.v + t1.v + t6.v > t2.v", crowd.join(", "));
    let answer = text(&query(&mut socket, &long).await);
    assert!(answer.contains("ERROR\0C57014\0Mcanceling statement due to statement timeout"), "{answer}");
    query(&mut socket, "SET statement_timeout = 0").await;
    assert!(text(&query(&mut socket, "SELECT 'still here'").await).contains("still here"));
    serving.server.stop().await.unwrap();
}

/// Time is not real here.
#[tokio::test(start_paused = true)]
async fn a_copy_is_one_statement_and_has_one_time() {
    let serving = serving().await;
    let mut socket = greeted(serving.postgres).await;
    query(&mut socket, "CREATE TABLE t (id int PRIMARY KEY)").await;
    query(&mut socket, "SET statement_timeout = '5s'").await;
    socket.write_all(b"Q\0\0\0\x16COPY t FROM STDIN\0d\0\0\0\x065\n").await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    socket.write_all(b"d\0\0\0\x066\nc\0\0\0\x04").await.unwrap();
    let answer = text(&until_ready(&mut socket).await);
    assert!(answer.contains("C57014\0"), "{answer}");
    query(&mut socket, "RESET statement_timeout").await;
    rows_left(&mut socket, 0).await;
    serving.server.stop().await.unwrap();
}
