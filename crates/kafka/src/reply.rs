//! Answers, ready for the socket.

use crate::limits;
use ballast_runtime::memory::Share;
use bytes::{BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use kafka_protocol::protocol::{Encodable, HeaderVersion};
use smallvec::SmallVec;
use tokio::sync::OwnedSemaphorePermit;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Hangup {
    #[error("a request has the unknown key {0}")]
    UnknownApi(i16),
    #[error("a request of kind {key} has version {version}, which is not answered")]
    UnknownVersion { key: i16, version: i16 },
    #[error("a request of kind {key} and version {version} cannot be read")]
    Unreadable { key: i16, version: i16 },
    #[error("an answer of kind {key} and version {version} cannot be written: {text}")]
    Unwritable { key: i16, version: i16, text: String },
    /// The protocol has no place for the error in this answer, and what is there would be taken for all there is.
    #[error("a request of kind {key} cannot be answered: {text}")]
    Unanswerable { key: i16, text: String },
    #[error("an answer of {0} bytes has no length")]
    TooLarge(usize),
}

/// Memory that an answer may still take while it is put together: a small request can ask for a large one.
pub(crate) struct Room {
    key: i16,
    left: usize,
}

impl Room {
    pub fn new(to: To) -> Self {
        Self { key: to.key, left: limits::ANSWER_MEMORY_MAX }
    }

    /// Takes what so many entries need, with texts of so many bytes.
    pub fn take(&mut self, entries: usize, text_bytes: usize) -> Result<(), Hangup> {
        let wanted = entries.saturating_mul(limits::ANSWER_ENTRY_BYTES).saturating_add(text_bytes);
        let left = self.left.checked_sub(wanted);
        let too_large = || Hangup::Unanswerable { key: self.key, text: "the answer would be too large".to_owned() };
        self.left = left.ok_or_else(too_large)?;
        Ok(())
    }
}

/// An answer behind its length.
#[derive(Default)]
pub(crate) struct Reply {
    /// In pieces, so that record batches are not copied.
    pub pieces: SmallVec<[Bytes; 2]>,
    /// Given back when the answer has been written.
    pub held: Option<Held>,
}

/// What an answer with records holds: memory, and the turn of its connection to fetch.
pub(crate) struct Held {
    pub share: Share,
    pub _turn: OwnedSemaphorePermit,
}

/// An answer on its way; `None` where the client wants none.
pub(crate) type Pending = BoxFuture<'static, Result<Option<Reply>, Hangup>>;

/// Which request is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct To {
    pub key: i16,
    pub version: i16,
    pub correlation: i32,
}

impl To {
    /// The header of the answer; its body follows.
    pub fn header(&self, header_version: i16, body_bytes: usize) -> BytesMut {
        let mut out = BytesMut::with_capacity(body_bytes + 9);
        out.put_i32(self.correlation);
        if header_version >= 1 {
            out.put_u8(0);
        }
        out
    }

    pub fn encode<T: Encodable + HeaderVersion>(&self, response: &T) -> Result<Reply, Hangup> {
        let fail = |text: String| Hangup::Unwritable { key: self.key, version: self.version, text };
        let bytes = response.compute_size(self.version).map_err(|error| fail(error.to_string()))?;
        if bytes > limits::ANSWER_BYTES_MAX {
            let text = format!("the answer would have {bytes} bytes");
            return Err(Hangup::Unanswerable { key: self.key, text });
        }
        let mut out = self.header(T::header_version(self.version), bytes);
        response.encode(&mut out, self.version).map_err(|error| fail(error.to_string()))?;
        Ok(Reply { pieces: SmallVec::from_iter([out.freeze()]), held: None })
    }

    /// An answer that is there already.
    pub fn ready<T: Encodable + HeaderVersion>(&self, response: &T) -> Pending {
        let reply = self.encode(response).map(Some);
        Box::pin(std::future::ready(reply))
    }
}
