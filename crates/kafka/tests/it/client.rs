//! A server on a free port, and a client that says exactly what a test wants.

use ballast_kafka::{Kafka, Settings};
use ballast_runtime::telemetry::Metrics;
use ballast_runtime::{Random, Shutdown, SystemClock};
use ballast_store::MemoryVolume;
use ballast_streams::{Config, Streams};
use ballast_tree::Tree;
use ballast_types::Call;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct Server {
    pub address: SocketAddr,
    pub volume: Arc<MemoryVolume>,
    pub streams: Streams,
    pub shutdown: Shutdown,
    pub task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    pub async fn start_with(config: Config) -> Self {
        let (volume, clock) = (Arc::new(MemoryVolume::new()), Arc::new(SystemClock));
        let tree = Tree::open(Arc::clone(&volume) as _, Arc::clone(&clock) as _, (0, 0)).await.unwrap();
        let config = Config { group_initial_delay: std::time::Duration::ZERO, ..config };
        let streams = Streams::new(Arc::clone(&volume) as _, tree, clock, Random::from_seed(3), config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = Settings::new(address, Arc::new(|_| Call::internal()));
        let shutdown = Shutdown::new();
        let task =
            tokio::spawn(Kafka::serve(listener, streams.clone(), settings, &Metrics::default(), shutdown.clone()));
        Self { address, volume, streams, shutdown, task }
    }

    pub async fn connect(&self) -> Client {
        Client { socket: TcpStream::connect(self.address).await.unwrap(), correlation: 0 }
    }

    /// Makes a stream with so many partitions.
    pub async fn topic(&self, name: &str, partitions: u32) -> ballast_streams::Stream {
        self.streams.create(&Call::internal(), name, partitions, Default::default()).await.unwrap()
    }
}

pub struct Client {
    pub socket: TcpStream,
    correlation: i32,
}

impl Client {
    pub async fn send<R: Request + Encodable + HeaderVersion>(&mut self, version: i16, request: &R) -> i32 {
        self.correlation += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str("test")));
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        header.encode(&mut frame, R::header_version(version)).unwrap();
        let key = ApiKey::try_from(R::KEY).unwrap();
        request.encode(&mut frame, version).unwrap_or_else(|error| panic!("{key:?} {version}: {error}"));
        let length = frame.len() as i32 - 4;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.socket.write_all(&frame).await.unwrap();
        self.correlation
    }

    /// The bytes of the next answer; `None` when the server has closed the connection.
    pub async fn receive_frame(&mut self) -> Option<Bytes> {
        let length = self.socket.read_i32().await.ok()?;
        let mut frame = vec![0; length as usize];
        self.socket.read_exact(&mut frame).await.ok()?;
        Some(frame.into())
    }

    pub async fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response)
    where
        R::Response: HeaderVersion + Decodable,
    {
        let key = ApiKey::try_from(R::KEY).unwrap();
        let mut frame = self.receive_frame().await.unwrap_or_else(|| panic!("{key:?} {version}: the server hung up"));
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version)).unwrap();
        let response =
            R::Response::decode(&mut frame, version).unwrap_or_else(|error| panic!("{key:?} {version}: {error}"));
        assert_eq!(frame.remaining(), 0, "{key:?} {version} has more bytes than its fields");
        (header.correlation_id, response)
    }

    pub async fn call<R: Request + Encodable + HeaderVersion>(&mut self, version: i16, request: &R) -> R::Response
    where
        R::Response: HeaderVersion + Decodable,
    {
        let sent = self.send(version, request).await;
        let (correlation, response) = self.receive::<R>(version).await;
        assert_eq!(correlation, sent);
        response
    }
}

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}
