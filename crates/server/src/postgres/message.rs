//! Messages: framing of what a client sends, and the bytes of what it gets.

use super::limits;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What a client sends last.
const FAREWELL: &[u8] = b"X\0\0\0\x04";

/// A message of the client: its tag and what follows the length.
#[derive(Debug)]
pub struct Message {
    pub tag: u8,
    pub body: Bytes,
    /// Of the memory for large messages; given back when the message has been handled.
    _share: Option<OwnedSemaphorePermit>,
}

/// The connection's bytes, both ways.
pub struct Wire {
    stream: TcpStream,
    input: BytesMut,
    pub output: BytesMut,
    /// Memory for large messages, in KiB.
    large: Arc<Semaphore>,
}

/// The memory for large messages of all connections.
pub fn large_messages() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limits::LARGE_BYTES_MAX >> 10))
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client does not send the rest of its message")
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Wire {
    pub fn new(stream: TcpStream, large: Arc<Semaphore>) -> Self {
        // Answers are whole when they are sent: waiting for more to send would only add latency.
        let _ = stream.set_nodelay(true);
        Self { stream, input: BytesMut::new(), output: BytesMut::new(), large }
    }

    /// The first message, which has no tag: its code and the rest.
    pub async fn read_startup(&mut self) -> io::Result<(u32, Bytes)> {
        self.fill(4).await?;
        let length = self.input.get_u32() as usize;
        if !(8..=limits::STARTUP_BYTES_MAX).contains(&length) {
            return Err(malformed("the startup message has an impossible length"));
        }
        self.fill(length - 4).await?;
        let mut body = self.input.split_to(length - 4).freeze();
        Ok((body.get_u32(), body))
    }

    /// The next message; `None` if the client closed between two messages.
    pub async fn read(&mut self) -> io::Result<Option<Message>> {
        if self.input.is_empty() {
            if self.input.capacity() > limits::KEPT_BUFFER_BYTES {
                self.input = BytesMut::new();
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(None);
            }
        }
        self.fill(5).await?;
        let tag = self.input[0];
        let length = u32::from_be_bytes(self.input[1..5].try_into().expect("four bytes")) as usize;
        if !tag.is_ascii_alphabetic() || !(4..=limits::MESSAGE_BYTES_MAX).contains(&length) {
            return Err(malformed("a message has an impossible tag or length"));
        }
        let share = match length {
            small if small <= limits::SMALL_BYTES_MAX => {
                self.fill(1 + length).await?;
                None
            }
            large => Some(self.fill_large(large).await?),
        };
        self.input.advance(5);
        Ok(Some(Message { tag, body: self.input.split_to(length - 4).freeze(), _share: share }))
    }

    /// The tag of the next message, if it has arrived.
    pub fn peek(&self) -> Option<u8> {
        self.input.first().copied()
    }

    /// Returns when the client has gone without a farewell. With more to be read this waits for ever: it may be one.
    pub async fn gone(&self) {
        if let Ok(ready) = self.stream.ready(Interest::READABLE).await
            && ready.is_read_closed()
            && !matches!(self.stream.peek(&mut [0]).await, Ok(1..))
            && !self.input.ends_with(FAREWELL)
        {
            return;
        }
        std::future::pending().await
    }

    /// Reads a large message. Its memory is asked for once and whole, so that no two of them wait for each other.
    async fn fill_large(&mut self, length: usize) -> io::Result<OwnedSemaphorePermit> {
        self.fill(limits::SMALL_BYTES_MAX).await?;
        let kib = u32::try_from(length >> 10).expect("the length has been checked");
        let share = Arc::clone(&self.large).acquire_many_owned(kib).await.map_err(|_| late())?;
        timeout(limits::LARGE_TIMEOUT, self.fill(1 + length)).await.map_err(|_| late())??;
        Ok(share)
    }

    /// Reads until so many bytes are there. Memory grows with what arrived, not with what was announced.
    async fn fill(&mut self, bytes: usize) -> io::Result<()> {
        while self.input.len() < bytes {
            let read = timeout(limits::STALL_TIMEOUT, self.stream.read_buf(&mut self.input));
            if read.await.map_err(|_| late())?? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        // What was sent is gone from the buffer also when the wait for the rest is given up.
        self.stream.write_all_buf(&mut self.output).await?;
        self.output.clear();
        if self.output.capacity() > 2 * limits::KEPT_BUFFER_BYTES {
            self.output = BytesMut::new();
        }
        Ok(())
    }

    /// True if what has gathered is so much that it is to be sent.
    pub fn is_heavy(&self) -> bool {
        self.output.len() >= limits::WRITE_BUFFER_BYTES
    }

    pub async fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    pub async fn close(mut self) {
        let _ = timeout(limits::STALL_TIMEOUT, self.flush()).await;
        let _ = self.stream.shutdown().await;
    }

    /// Appends a message whose body `write` fills in.
    pub fn message(&mut self, tag: u8, write: impl FnOnce(&mut BytesMut)) {
        self.output.put_u8(tag);
        let start = self.output.len();
        self.output.put_u32(0);
        write(&mut self.output);
        let length = u32::try_from(self.output.len() - start).expect("messages are bounded far below 4 GiB");
        self.output[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    pub fn empty(&mut self, tag: u8) {
        self.message(tag, |_| {});
    }

    pub fn ready(&mut self, status: u8) {
        self.message(b'Z', |out| out.put_u8(status));
    }

    pub fn complete(&mut self, tag: &str) {
        self.message(b'C', |out| put_text(out, tag));
    }

    pub fn parameter(&mut self, name: &str, value: &str) {
        self.message(b'S', |out| {
            put_text(out, name);
            put_text(out, value);
        });
    }
}

/// Text with the zero byte that ends it.
pub fn put_text(out: &mut BytesMut, text: &str) {
    // A zero inside would end it early, and end the message somewhere else than its length says.
    out.put_slice(text.split('\0').next().unwrap_or_default().as_bytes());
    out.put_u8(0);
}

/// Reads the body of a message from its front.
pub struct Body(pub Bytes);

impl Body {
    fn need(&self, bytes: usize) -> Result<(), Malformed> {
        if self.0.remaining() >= bytes { Ok(()) } else { Err(Malformed) }
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    pub fn i16(&mut self) -> Result<i16, Malformed> {
        self.need(2)?;
        Ok(self.0.get_i16())
    }

    /// A count: never negative.
    pub fn count(&mut self) -> Result<usize, Malformed> {
        self.need(2)?;
        Ok(usize::from(self.0.get_u16()))
    }

    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.need(4)?;
        Ok(self.0.get_i32())
    }

    pub fn bytes(&mut self, length: usize) -> Result<Bytes, Malformed> {
        self.need(length)?;
        Ok(self.0.split_to(length))
    }

    pub fn text(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        String::from_utf8(text.to_vec()).map_err(|_| Malformed)
    }
}

/// The message is not what its tag promises.
#[derive(Debug)]
pub struct Malformed;
