//! Bytes in and out of a socket.
//!
//! A frame is a length (4 bytes) and so many bytes. Each request gets memory of its own, so that record batches in
//! it can be kept and later given out without a copy. Small requests are gathered from the read buffer; large
//! ones are read from the socket straight to their place.

use crate::limits;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// A request as it came, with its share of the memory for large ones.
pub(crate) struct Frame<'a> {
    pub bytes: Bytes,
    pub permit: Option<SemaphorePermit<'a>>,
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client is silent")
}

/// The memory for large requests, in KiB.
pub(crate) fn large_requests() -> Semaphore {
    Semaphore::new(limits::LARGE_BYTES_MAX >> 10)
}

/// The next request; `None` when the client has closed the connection between two.
pub(crate) async fn read<'a, R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
    large: &'a Semaphore,
) -> io::Result<Option<Frame<'a>>> {
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
    let permit = match length {
        small if small < limits::LARGE_REQUEST_BYTES => None,
        large_length => {
            let kib = u32::try_from(large_length >> 10).expect("the length has been checked");
            Some(large.acquire_many(kib).await.map_err(|_| late())?)
        }
    };
    let mut bytes = BytesMut::with_capacity(length.min(limits::FIRST_RESERVE_BYTES));
    while bytes.len() < length {
        let left = length - bytes.len();
        if bytes.capacity() == bytes.len() {
            bytes.reserve(left.min(bytes.len()));
        }
        let mut rest = (&mut *reader).take(left as u64);
        let read = timeout(limits::STALL_MAX, rest.read_buf(&mut bytes)).await.map_err(|_| late())??;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(Frame { bytes: bytes.freeze(), permit }))
}

/// Writes all pieces, without joining them.
pub(crate) async fn write<W: AsyncWrite + Unpin>(writer: &mut W, mut pieces: VecDeque<Bytes>) -> io::Result<()> {
    pieces.retain(|piece| !piece.is_empty());
    while !pieces.is_empty() {
        let slices: Vec<IoSlice> = pieces.iter().take(limits::WRITE_SLICES).map(|piece| IoSlice::new(piece)).collect();
        let written = timeout(limits::WRITE_STALL_MAX, writer.write_vectored(&slices)).await.map_err(|_| late())??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        advance(&mut pieces, written);
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

    async fn read_all(input: &[u8]) -> Vec<Result<Bytes, io::ErrorKind>> {
        let (large, mut reader) = (large_requests(), BufReader::new(input));
        let mut frames = Vec::new();
        loop {
            match read(&mut reader, &large).await {
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

    #[tokio::test]
    async fn pieces_are_written_in_order_however_the_socket_takes_them() {
        let pieces: VecDeque<Bytes> = (0..3000u32).map(|n| Bytes::from(n.to_string())).collect();
        let whole: String = (0..3000u32).map(|n| n.to_string()).collect();
        let (mut near, mut far) = tokio::io::duplex(7);
        let write = async {
            write(&mut near, pieces).await.unwrap();
            drop(near);
        };
        let mut read = String::new();
        let (_, length) = tokio::join!(write, far.read_to_string(&mut read));
        assert_eq!((length.unwrap(), read), (whole.len(), whole));
    }
}
