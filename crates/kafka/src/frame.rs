//! Bytes in and out of a socket.
//!
//! A frame is a length (4 bytes) and so many bytes. Each request gets memory of its own, so that record batches in
//! it can be kept and later given out without a copy. It gets it in steps, each when the last one is full, so that who
//! claims a large request and sends little of it holds little. Small requests are gathered from the read buffer;
//! large ones are read from the socket straight to their place.

use crate::limits;
use crate::reply::Held;
use ballast_runtime::memory::{Budget, Share};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::{Instant, timeout, timeout_at};

/// A request as it came, with its share of the memory for large ones.
pub(crate) struct Frame {
    pub bytes: Bytes,
    pub share: Share,
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client is silent")
}

/// The next request; `None` when the client has closed the connection between two.
pub(crate) async fn read<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
    memory: &Budget,
) -> io::Result<Option<Frame>> {
    let mut length = [0; 4];
    let first = timeout(limits::IDLE_MAX, reader.read(&mut length[..1])).await.map_err(|_| late())??;
    if first == 0 {
        return Ok(None);
    }
    timeout(limits::STALL_MAX, reader.read_exact(&mut length[1..])).await.map_err(|_| late())??;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if !(8..=limits::REQUEST_BYTES_MAX).contains(&length) {
        return Err(invalid("the length of a request cannot be"));
    }
    // Nothing is set aside for a request of which nothing comes.
    timeout(limits::STALL_MAX, reader.fill_buf()).await.map_err(|_| late())??;
    let mut share = memory.share();
    let mut bytes = BytesMut::with_capacity(length.min(limits::FIRST_RESERVE_BYTES));
    let mut pace = Pace::new(limits::STALL_MAX);
    while bytes.len() < length {
        if bytes.capacity() == bytes.len() {
            let size = length.min(limits::RESERVE_GROWTH * bytes.len());
            share.grow(size.saturating_sub(limits::UNCOUNTED_BYTES)).await;
            bytes.reserve(size - bytes.len());
            // It is not the client who let us wait.
            pace = Pace::new(limits::STALL_MAX);
        }
        let mut rest = (&mut *reader).take((length - bytes.len()) as u64);
        if let Ok(read) = timeout_at(pace.due, rest.read_buf(&mut bytes)).await {
            match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => pace.bytes += read,
            }
        }
        pace.check(share.is_wanted())?;
    }
    Ok(Some(Frame { bytes: bytes.freeze(), share }))
}

/// How the bytes of one request come, or those of answers are taken: counted over one interval after the other.
struct Pace {
    due: Instant,
    bytes: usize,
    silent_intervals: u32,
    stall_max: Duration,
}

impl Pace {
    fn new(stall_max: Duration) -> Self {
        Self { due: Instant::now() + limits::PRESSED_INTERVAL, bytes: 0, silent_intervals: 0, stall_max }
    }

    /// Gives a client up that is silent for too long, or too slow while others need what it holds.
    fn check(&mut self, pressed: bool) -> io::Result<()> {
        if Instant::now() < self.due {
            return Ok(());
        }
        let silent_intervals = if self.bytes == 0 { self.silent_intervals + 1 } else { 0 };
        let stalled = limits::PRESSED_INTERVAL * silent_intervals >= self.stall_max;
        if stalled || (pressed && self.bytes < limits::PRESSED_BYTES_MIN) {
            return Err(late());
        }
        *self = Self { silent_intervals, ..Self::new(self.stall_max) };
        Ok(())
    }
}

/// Writes all pieces, without joining them. `held` is what they hold meanwhile.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    mut pieces: VecDeque<Bytes>,
    held: &[Held],
) -> io::Result<()> {
    pieces.retain(|piece| !piece.is_empty());
    let mut pace = Pace::new(limits::WRITE_STALL_MAX);
    while !pieces.is_empty() {
        let slices: Vec<IoSlice> = pieces.iter().take(limits::WRITE_SLICES).map(|piece| IoSlice::new(piece)).collect();
        if let Ok(written) = timeout_at(pace.due, writer.write_vectored(&slices)).await {
            let written = written?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            pace.bytes += written;
            advance(&mut pieces, written);
        }
        pace.check(held.iter().any(|held| held.share.is_wanted()))?;
    }
    Ok(())
}

fn advance(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = pieces.front_mut() {
        if written < first.len() {
            first.advance(written);
            return;
        }
        written -= first.len();
        pieces.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    async fn read_all(input: &[u8]) -> Vec<Result<Bytes, io::ErrorKind>> {
        let (memory, mut reader) = (Budget::new(1 << 20), BufReader::new(input));
        let mut frames = Vec::new();
        loop {
            match read(&mut reader, &memory).await {
                Ok(Some(frame)) => frames.push(Ok(frame.bytes)),
                Ok(None) => return frames,
                Err(error) => {
                    frames.push(Err(error.kind()));
                    return frames;
                }
            }
        }
    }

    #[tokio::test]
    async fn frames_come_whole_or_not_at_all() {
        let frames = read_all(b"\0\0\0\x0812345678\0\0\0\x09123456789").await;
        assert_eq!(frames, [Ok(Bytes::from_static(b"12345678")), Ok(Bytes::from_static(b"123456789"))]);
        assert_eq!(read_all(b"\0\0\0\x081234").await, [Err(io::ErrorKind::UnexpectedEof)]);
        assert_eq!(read_all(b"\0\0").await, [Err(io::ErrorKind::UnexpectedEof)]);
    }

    #[tokio::test]
    async fn impossible_lengths_are_refused_before_anything_is_set_aside() {
        for input in [&b"\xff\xff\xff\xff12345678"[..], b"\x7f\xff\xff\xff12345678", b"\0\0\0\0", b"GET / HTTP/1.1\r\n"]
        {
            assert_eq!(read_all(input).await, [Err(io::ErrorKind::InvalidData)]);
        }
    }

    /// A request of `length` bytes, of which only `sent` come, and the end that keeps it open.
    async fn begun(length: usize, sent: usize) -> (BufReader<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (mut near, far) = tokio::io::duplex(4 + length);
        near.write_all(&(length as i32).to_be_bytes()).await.unwrap();
        near.write_all(&vec![7; sent]).await.unwrap();
        (BufReader::with_capacity(limits::READ_BUFFER_BYTES, far), near)
    }

    fn whole(length: usize) -> Vec<u8> {
        let mut input = (length as i32).to_be_bytes().to_vec();
        input.resize(4 + length, 7);
        input
    }

    /// Whether a request of 512 KiB that is there already is read without waiting for anybody.
    fn is_read_at_once(memory: &Budget) -> bool {
        let input = whole(512 << 10);
        let mut reader = BufReader::new(&input[..]);
        matches!(read(&mut reader, memory).now_or_never(), Some(Ok(Some(_))))
    }

    #[tokio::test]
    async fn who_claims_much_and_sends_little_holds_little() {
        let memory = Budget::new(1 << 20);
        for sent in [0, 1, 1_000, 16 << 10] {
            let mut claims = Vec::new();
            for _ in 0..20 {
                claims.push(begun(limits::REQUEST_BYTES_MAX, sent).await);
            }
            let mut reads: Vec<_> = claims.iter_mut().map(|(reader, _)| Box::pin(read(reader, &memory))).collect();
            for read in &mut reads {
                assert!(read.now_or_never().is_none(), "it waits for its bytes");
            }
            assert!(is_read_at_once(&memory), "after {sent} bytes of each");
        }
    }

    #[tokio::test]
    async fn who_stops_in_the_middle_leaves_room_for_one_more() {
        let memory = Budget::new(1 << 20);
        let mut claims = Vec::new();
        for _ in 0..4 {
            claims.push(begun(1 << 20, 256 << 10).await);
        }
        let mut reads: Vec<_> = claims[..1].iter_mut().map(|(reader, _)| Box::pin(read(reader, &memory))).collect();
        for read in &mut reads {
            assert!(read.now_or_never().is_none());
        }
        assert!(is_read_at_once(&memory));
    }

    #[tokio::test]
    async fn requests_that_grow_together_all_end() {
        let memory = Budget::new(1 << 20);
        let client = |_| async {
            let (mut near, far) = tokio::io::duplex(4096);
            let mut reader = BufReader::new(far);
            let write = async { near.write_all(&whole(900 << 10)).await.unwrap() };
            let read = async { read(&mut reader, &memory).await.unwrap().unwrap().bytes.len() };
            tokio::join!(write, read).1
        };
        let lengths = futures::future::join_all((0..50).map(client)).await;
        assert_eq!(lengths, [900 << 10; 50]);
        assert_eq!(memory.free(), 1 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn who_hardly_sends_gives_way_to_those_who_wait() {
        let memory = Budget::new(1 << 20);
        let given_up = std::cell::RefCell::new(Vec::new());
        let slow = async |_| {
            let (mut reader, mut near) = begun(1 << 20, 256 << 10).await;
            let drip = async {
                while near.write_all(b"7").await.is_ok() {
                    tokio::time::sleep(limits::PRESSED_INTERVAL / 4).await;
                }
            };
            tokio::select! {
                ended = read(&mut reader, &memory) => given_up.borrow_mut().push(ended.err().map(|error| error.kind())),
                () = drip => {}
            }
        };
        let good = async {
            // Behind all the slow ones.
            tokio::time::sleep(limits::PRESSED_INTERVAL / 8).await;
            for _ in 0..10 {
                let input = whole(900 << 10);
                let frame = read(&mut BufReader::new(&input[..]), &memory).await.unwrap().unwrap();
                assert_eq!(frame.bytes.len(), 900 << 10);
            }
        };
        tokio::select! {
            _ = futures::future::join_all((0..5).map(slow)) => {}
            () = good => {}
        }
        let given_up = given_up.into_inner();
        assert!(
            !given_up.is_empty() && given_up.iter().all(|kind| *kind == Some(io::ErrorKind::TimedOut)),
            "{given_up:?}"
        );
    }

    #[tokio::test]
    async fn pieces_are_written_in_order_however_the_socket_takes_them() {
        let pieces: VecDeque<Bytes> = (0..3000u32).map(|n| Bytes::from(n.to_string())).collect();
        let whole: String = (0..3000u32).map(|n| n.to_string()).collect();
        let (mut near, mut far) = tokio::io::duplex(7);
        let write = async {
            write(&mut near, pieces, &[]).await.unwrap();
            drop(near);
        };
        let mut read = String::new();
        let (_, length) = tokio::join!(write, far.read_to_string(&mut read));
        assert_eq!((length.unwrap(), read), (whole.len(), whole));
    }
}
