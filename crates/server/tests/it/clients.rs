//! The least that a client of each protocol does.

use crate::serving::Serving;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// So long may a good client wait on a machine that is busy, whatever others do.
const PATIENCE: Duration = Duration::from_secs(20);

/// A good client of every protocol is served.
pub async fn all_are_served(serving: &Serving, when: &str) {
    let all = async {
        assert_eq!(serving.client.status().await.unwrap().version, env!("CARGO_PKG_VERSION"), "{when}");
        assert_eq!(kafka(serving.kafka).await, 0, "{when}");
        assert_eq!(postgres(serving.postgres, "SELECT 1 + 1").await, "2", "{when}");
        // Through the planner, on the threads for queries.
        assert_eq!(postgres(serving.postgres, "SELECT sum(v) FROM (VALUES (1), (2)) AS t (v)").await, "3", "{when}");
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("a good client is kept waiting {when}"));
}

/// The error code of ApiVersions, version 0.
async fn kafka(address: SocketAddr) -> u16 {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\xff\xff").await.unwrap();
    let mut answer = vec![0; socket.read_u32().await.unwrap() as usize];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..4], [0, 0, 0, 7]);
    u16::from_be_bytes([answer[4], answer[5]])
}

/// A connection that has been greeted.
pub async fn greeted(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"\0\0\0\x10\0\x03\0\0user\0x\0\0").await.unwrap();
    until_ready(&mut socket).await;
    socket
}

/// The only value of the only row of a simple query.
async fn postgres(address: SocketAddr, sql: &str) -> String {
    let answer = query(&mut greeted(address).await, sql).await;
    let rows: Vec<Vec<u8>> = answer.into_iter().filter(|(tag, _)| *tag == b'D').map(|(_, body)| body).collect();
    assert_eq!(rows.len(), 1, "{sql}");
    // One column: a count of 2 bytes and a length of 4 stand before it.
    String::from_utf8(rows[0][6..].to_vec()).unwrap()
}

/// The whole answer to a simple query.
pub async fn query(socket: &mut TcpStream, sql: &str) -> Vec<(u8, Vec<u8>)> {
    socket.write_all(&simple(sql)).await.unwrap();
    until_ready(socket).await
}

/// A message of the PostgreSQL protocol.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

/// A simple query.
pub fn simple(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

/// The messages up to ReadyForQuery.
pub async fn until_ready(socket: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut messages = Vec::new();
    loop {
        let tag = socket.read_u8().await.unwrap();
        let mut body = vec![0; socket.read_u32().await.unwrap() as usize - 4];
        socket.read_exact(&mut body).await.unwrap();
        messages.push((tag, body));
        if tag == b'Z' {
            return messages;
        }
    }
}
