//! Every listener survives what clients do that mean harm or break: garbage, half requests, crowds, large claims. Good
//! clients of all protocols are served meanwhile and afterwards.

use crate::clients::{all_are_served, greeted};
use crate::serving::{Serving, serving};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that no listener takes for a whole request of its own.
const GARBAGE: [&[u8]; 9] = [
    b"\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    // TLS, HTTP/2, SSH, and another's protocol.
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2p1\r\n",
    b"GET /v1/status HTTP/1.1\r\nHost: loc",
    // PostgreSQL's greeting of 10,001 bytes, and of none; a Kafka request of 2 GiB.
    b"\0\0\x27\x11\0\x03\0\0",
    b"\0\0\0\x04",
    b"\x7f\xff\xff\xff\0\x12\0\0",
];

fn listeners(serving: &Serving) -> [(&'static str, SocketAddr); 3] {
    [("http", serving.address), ("kafka", serving.kafka), ("postgres", serving.postgres)]
}

async fn begun(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // The server may hang up before it has read everything.
    let _ = socket.write_all(bytes).await;
    socket
}

/// Reads to the end of the connection, which comes by itself.
async fn ends(mut socket: TcpStream, limit: Duration, what: &str) {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(limit, socket.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection stays open: {what}");
}

/// Resident memory of this process, which is server and clients in one.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn garbage_ends_its_connection_and_nothing_else() {
    let serving = serving().await;
    for (name, address) in listeners(&serving) {
        for bytes in GARBAGE {
            let mut socket = begun(address, bytes).await;
            let _ = socket.shutdown().await;
            ends(socket, Duration::from_secs(20), &format!("{name} after {}", bytes.escape_ascii())).await;
        }
        // A megabyte of every byte there is.
        let socket = begun(address, &(0..=255).cycle().take(1 << 20).collect::<Vec<u8>>()).await;
        ends(socket, Duration::from_secs(20), name).await;
    }
    // Behind a greeting that was good.
    for bytes in [&b"\x01\0\0\0\x04"[..], b"Q\0\0\0\x03", b"Q\x7f\xff\xff\xff", b"\xff\xff\xff\xff\xff"] {
        let mut socket = greeted(serving.postgres).await;
        socket.write_all(bytes).await.unwrap();
        ends(socket, Duration::from_secs(20), &format!("postgres after {}", bytes.escape_ascii())).await;
    }
    all_are_served(&serving, "after garbage").await;
    serving.server.stop().await.unwrap();
}

/// Half a request of each protocol.
async fn halves(serving: &Serving) -> Vec<(&'static str, TcpStream)> {
    let body =
        b"POST /v1/create HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    let mut statement = greeted(serving.postgres).await;
    statement.write_all(b"Q\0\0\0\xffSELECT").await.unwrap();
    let mut large_statement = greeted(serving.postgres).await;
    large_statement.write_all(b"Q\x01\x00\0\0").await.unwrap();
    large_statement.write_all(&vec![b' '; 100 << 10]).await.unwrap();
    vec![
        ("half a head", begun(serving.address, b"GET /v1/status HTTP/1.1\r\nHost: loc").await),
        ("half a body", begun(serving.address, body).await),
        ("half a length", begun(serving.kafka, b"\0\0").await),
        ("a length", begun(serving.kafka, b"\x03\x93\x87\0").await),
        ("half a request", begun(serving.kafka, b"\x03\x93\x87\0\0\0\0\x09").await),
        ("half a greeting", begun(serving.postgres, b"\0\0\0\x20\0\x03\0\0user").await),
        ("half a statement", statement),
        ("half a large statement", large_statement),
    ]
}

#[tokio::test]
async fn half_requests_keep_nobody_waiting() {
    let serving = serving().await;
    let mut open = Vec::new();
    for _ in 0..50 {
        open.extend(halves(&serving).await);
    }
    all_are_served(&serving, "beside half requests").await;
    drop(open);
    all_are_served(&serving, "after half requests").await;
    serving.server.stop().await.unwrap();
}

/// Time is not real here: it jumps to the next timer whenever nothing else is to be done.
#[tokio::test(start_paused = true)]
async fn half_requests_are_given_up() {
    let serving = serving().await;
    for (what, socket) in halves(&serving).await {
        ends(socket, Duration::from_secs(3600), what).await;
    }
}

#[tokio::test]
async fn a_thousand_idle_connections_keep_nobody_out_and_are_small() {
    let serving = serving().await;
    all_are_served(&serving, "at first").await;
    for (name, address) in listeners(&serving) {
        let before = resident_bytes();
        let mut idle = Vec::new();
        for number in 0..1_000 {
            idle.push(match number % 2 {
                0 if name == "postgres" => greeted(address).await,
                _ => TcpStream::connect(address).await.unwrap(),
            });
        }
        all_are_served(&serving, &format!("beside a thousand idle connections of {name}")).await;
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 64 << 20, "a thousand idle connections of {name} take {grown} bytes");
    }
    all_are_served(&serving, "after the crowds").await;
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn large_claims_take_little_memory_and_keep_nobody_waiting() {
    let serving = serving().await;
    all_are_served(&serving, "at first").await;
    let before = resident_bytes();
    let mut open = Vec::new();
    for _ in 0..300 {
        // 60 MB, of which a kilobyte comes; and 16 MB of a statement.
        let mut claim = begun(serving.kafka, b"\x03\x93\x87\0\0\0\0\x09").await;
        claim.write_all(&[0; 1 << 10]).await.unwrap();
        let mut statement = greeted(serving.postgres).await;
        statement.write_all(b"Q\x01\x00\0\0").await.unwrap();
        statement.write_all(&[b' '; 1 << 10]).await.unwrap();
        open.extend([claim, statement]);
    }
    all_are_served(&serving, "beside large claims").await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "six hundred claims take {grown} bytes");
    drop(open);
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn connections_that_come_and_go_leave_nothing_behind() {
    let serving = serving().await;
    for (_, address) in listeners(&serving) {
        for round in 0..2_000 {
            let socket = begun(address, if round % 2 == 0 { b"\0\0" } else { b"" }).await;
            // A reset instead of an orderly end, every third time.
            if round % 3 == 0 {
                let _ = socket.set_zero_linger();
            }
        }
    }
    all_are_served(&serving, "after six thousand connections").await;
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 500, "{open} descriptors are open");
    serving.server.stop().await.unwrap();
}
