//! One client.
//!
//! The reader takes requests from the socket and *starts* each before it takes the next: so appends to a partition
//! are ordered as they were sent, and a request sees the effect of those before it. Starting returns a future
//! for the rest (the disk, a long poll, the other members of a group). The writer drives these futures side by
//! side and sends the answers in the order of the requests.

use crate::api;
use crate::frame;
use crate::limits;
use crate::reply::{Hangup, Pending};
use crate::server::Broker;
use ballast_runtime::Shutdown;
use bytes::Bytes;
use futures::stream::{FuturesOrdered, StreamExt};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// Serves a connection until either side ends it.
pub(crate) async fn run(broker: Arc<Broker>, socket: TcpStream, peer: SocketAddr, shutdown: Shutdown) {
    let _ = socket.set_nodelay(true);
    let (reader, writer) = socket.into_split();
    // The writer holds as many again: together they are the requests in flight.
    let (pending, started) = mpsc::channel(limits::IN_FLIGHT_MAX / 2);
    let client = api::Client::new(broker, peer);
    let read = read_requests(client, reader, pending, shutdown);
    let write = write_replies(writer, started);
    tokio::pin!(read, write);
    tokio::select! {
        // Nobody takes answers any more.
        () = &mut write => {}
        // What has been started is still answered.
        () = &mut read => write.await,
    }
}

async fn read_requests(
    mut client: api::Client,
    reader: OwnedReadHalf,
    pending: mpsc::Sender<Pending>,
    shutdown: Shutdown,
) {
    let mut reader = BufReader::with_capacity(limits::READ_BUFFER_BYTES, reader);
    let broker = Arc::clone(client.broker());
    loop {
        let frame = tokio::select! {
            frame = frame::read(&mut reader, &broker.memory) => frame,
            () = shutdown.begun() => return,
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(peer = %client.peer(), %error, "a Kafka connection ends");
                return;
            }
        };
        let started = client.start(frame.bytes).await;
        drop(frame.share);
        match started {
            Ok(None) => {}
            Ok(Some(reply)) => {
                if pending.send(reply).await.is_err() {
                    return;
                }
            }
            Err(hangup) => {
                tracing::debug!(peer = %client.peer(), %hangup, "a Kafka connection is closed");
                return;
            }
        }
    }
}

async fn write_replies(mut writer: OwnedWriteHalf, mut started: mpsc::Receiver<Pending>) {
    let mut in_flight: FuturesOrdered<Pending> = FuturesOrdered::new();
    let mut open = true;
    while open || !in_flight.is_empty() {
        tokio::select! {
            pending = started.recv(), if open && in_flight.len() < limits::IN_FLIGHT_MAX / 2 => match pending {
                Some(pending) => in_flight.push_back(pending),
                None => open = false,
            },
            Some(reply) = in_flight.next() => {
                let (mut pieces, mut held) = (VecDeque::new(), Vec::new());
                let mut next = Some(reply);
                // Whatever else is ready goes out with the same call.
                while let Some(reply) = next.take() {
                    let put = reply.and_then(|reply| match reply {
                        Some(reply) => {
                            held.extend(reply.held);
                            put(&mut pieces, reply.pieces)
                        }
                        None => Ok(()),
                    });
                    if let Err(hangup) = put {
                        tracing::error!(%hangup, "a Kafka connection is closed");
                        return;
                    }
                    if pieces.len() < limits::WRITE_SLICES {
                        next = futures::FutureExt::now_or_never(in_flight.next()).flatten();
                    }
                }
                if frame::write(&mut writer, pieces, &held).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Adds an answer behind its length.
fn put(pieces: &mut VecDeque<Bytes>, reply: SmallVec<[Bytes; 2]>) -> Result<(), Hangup> {
    let length: usize = reply.iter().map(Bytes::len).sum();
    let length = i32::try_from(length).map_err(|_| Hangup::TooLarge(length))?;
    pieces.push_back(Bytes::copy_from_slice(&length.to_be_bytes()));
    pieces.extend(reply);
    Ok(())
}
