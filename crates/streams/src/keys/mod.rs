//! The rows of streams, one file per type. Numbers are big endian; a value starts with the number of its format.
//!
//! Offsets are never negative, so that they sort as unsigned numbers.

pub(crate) mod counter;
pub(crate) mod descriptor;
pub(crate) mod group;
pub(crate) mod index;
pub(crate) mod offset;
pub(crate) mod partition;
pub(crate) mod producer;

use crate::{Error, Result};

/// Takes a value apart. Every read answers `Corrupt` when the bytes end early.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Checks the number of the format, which is the first byte.
    pub fn open(bytes: &'a [u8], what: &'static str, format: u8) -> Result<Self> {
        let mut reader = Self { bytes, what };
        match reader.u8()? {
            found if found == format => Ok(reader),
            found => Err(Error::Corrupt(format!("a {what} has format {found}, this server knows {format}"))),
        }
    }

    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let Some((head, rest)) = self.bytes.split_at_checked(length) else {
            return Err(Error::Corrupt(format!("a {} ends early", self.what)));
        };
        self.bytes = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("take gives as many bytes as asked for"))
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// Text behind its length in two bytes.
    pub fn text(&mut self) -> Result<String> {
        let length = usize::from(self.u16()?);
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::Corrupt(format!("a {} holds bad text", self.what)))
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn end(self) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(Error::Corrupt(format!("a {} is too long", self.what))) }
    }
}
