//! What a listener survives: garbage, half requests, a crowd, and web pages.

use crate::serving::{Serving, serving};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the server answers to `request`, up to the end of the connection.
async fn answer(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may hang up before it has read everything.
    let _ = stream.write_all(request).await;
    let mut text = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut text)).await.expect("an end");
    String::from_utf8_lossy(&text).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

async fn still_serves(serving: &Serving) {
    assert_eq!(serving.client.status().await.unwrap().version, env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn garbage_and_half_requests_harm_nobody_else() {
    let serving = serving().await;
    let requests: [&[u8]; 5] = [
        b"\0\xff\0\xff\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"",
    ];
    for request in requests {
        let mut stream = TcpStream::connect(serving.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
    }
    // Half a head and half a body, held open while others are served.
    let mut half_head = TcpStream::connect(serving.address).await.unwrap();
    half_head.write_all(b"GET /v1/status HTTP/1.1\r\nHost: loc").await.unwrap();
    let mut half_body = TcpStream::connect(serving.address).await.unwrap();
    let head =
        "POST /v1/create HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    half_body.write_all(head.as_bytes()).await.unwrap();
    still_serves(&serving).await;
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_thousand_idle_connections_keep_nobody_out() {
    let serving = serving().await;
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(TcpStream::connect(serving.address).await.unwrap());
    }
    still_serves(&serving).await;
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn oversized_requests_are_refused() {
    let serving = serving().await;
    let long = "x".repeat(200 << 10);
    let head = format!("GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n");
    assert_eq!(status(&answer(serving.address, head.as_bytes()).await), "431");
    let body = "x".repeat(2 << 20);
    let length = body.len();
    let post = format!(
        "POST /v1/create HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    assert_eq!(status(&answer(serving.address, post.as_bytes()).await), "400");
    still_serves(&serving).await;
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_web_page_reaches_nothing() {
    let serving = serving().await;
    let request = |headers: &str| format!("GET /v1/status HTTP/1.1\r\nConnection: close\r\n{headers}\r\n\r\n");
    let ask = async |headers: &str| answer(serving.address, request(headers).as_bytes()).await;
    assert_eq!(status(&ask("Host: localhost").await), "200");
    for headers in
        ["Host: evil.example", "Host: localhost\r\nOrigin: http://evil.example", "Host: localhost\r\nOrigin: null"]
    {
        let answer = ask(headers).await;
        assert_eq!(status(&answer), "403", "{headers}");
        assert!(!answer.contains("access-control"), "{answer}");
    }
    // The request that a browser sends before a change of another site is not answered with a permission.
    let preflight = b"OPTIONS /v1/create HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\
        Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&answer(serving.address, preflight).await), "403");
    serving.server.stop().await.unwrap();
}

#[tokio::test]
async fn the_end_does_not_wait_for_idle_connections() {
    let serving = serving().await;
    let idle = TcpStream::connect(serving.address).await.unwrap();
    still_serves(&serving).await;
    let ended = tokio::time::timeout(Duration::from_secs(3), serving.server.stop()).await;
    ended.expect("an idle connection is closed").unwrap();
    drop(idle);
}
