//! Reading and writing of persisted numbers: LEB128 for those that are mostly small, little endian for the rest.

use crate::{Error, Result};
use bytes::{Buf, BufMut, Bytes};

pub(crate) fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Takes values off the front of stored bytes. Whatever does not fit is `Corrupt`, naming `what`.
pub(crate) struct Reader {
    bytes: Bytes,
    what: &'static str,
}

impl Reader {
    pub fn new(bytes: Bytes, what: &'static str) -> Self {
        Self { bytes, what }
    }

    pub fn corrupt(&self, why: &str) -> Error {
        Error::Corrupt(format!("{}: {why}", self.what))
    }

    pub fn u8(&mut self) -> Result<u8> {
        if self.bytes.is_empty() { Err(self.corrupt("it is too short")) } else { Ok(self.bytes.get_u8()) }
    }

    pub fn u32(&mut self) -> Result<u32> {
        if self.bytes.len() < 4 { Err(self.corrupt("it is too short")) } else { Ok(self.bytes.get_u32_le()) }
    }

    pub fn u64(&mut self) -> Result<u64> {
        if self.bytes.len() < 8 { Err(self.corrupt("it is too short")) } else { Ok(self.bytes.get_u64_le()) }
    }

    pub fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.corrupt("a number does not end"))
    }

    /// A number that must fit memory: a length or a count.
    pub fn length(&mut self) -> Result<usize> {
        let value = self.varint()?;
        usize::try_from(value).map_err(|_| self.corrupt("a length is too large"))
    }

    /// The next `length` bytes, shared with the source.
    pub fn take(&mut self, length: usize) -> Result<Bytes> {
        if self.bytes.len() < length { Err(self.corrupt("it is too short")) } else { Ok(self.bytes.split_to(length)) }
    }

    pub fn rest(self) -> Bytes {
        self.bytes
    }

    pub fn end(&self) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.corrupt("bytes are left over")) }
    }
}
