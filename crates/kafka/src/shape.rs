//! The shape of a request, checked before it is decoded.
//!
//! The decoder sets memory aside for as many entries as a list says it has, so a request of twenty bytes could ask
//! for hundreds of gigabytes. This walks over the bytes first, without allocating: every list must have room for
//! its entries, and there is a limit to all of them together.

use crate::limits;

/// One field of a request: in which versions it is there, and what it is.
pub(crate) struct Field {
    pub from: i16,
    pub to: i16,
    pub kind: Kind,
}

pub(crate) enum Kind {
    /// A number, a flag or an id of so many bytes.
    Fixed(usize),
    /// A string behind its length; 2 bytes, or a varint where the request is flexible.
    Text,
    /// Bytes behind their length; 4 bytes, or a varint where the request is flexible.
    Blob,
    /// A list of fixed fields.
    Fixeds(usize),
    /// A list of strings.
    Texts,
    /// A list of structures.
    List(&'static [Field]),
}

/// The fields of a request; from version `flexible` on it is in the compact form with tagged fields.
pub(crate) struct Shape {
    pub flexible: i16,
    pub fields: &'static [Field],
}

/// The request's bytes are not those of its kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misshapen;

impl Shape {
    /// Checks the body of a request. What stands behind its fields is ignored: librdkafka's request for the metadata
    /// of all topics has three bytes too many.
    pub fn check(&self, body: &[u8], version: i16) -> Result<(), Misshapen> {
        let mut walk = Walk { rest: body, version, flexible: version >= self.flexible, entries: 0 };
        walk.structure(self.fields)
    }
}

/// Checks the header of a request: eight bytes, the client's name, and from header version 2 on tagged fields.
pub(crate) fn check_header(frame: &[u8], header_version: i16) -> Result<(), Misshapen> {
    // The name is never in the compact form.
    let mut walk = Walk { rest: frame, version: header_version, flexible: false, entries: 0 };
    walk.skip(8)?;
    walk.field(&Kind::Text)?;
    if header_version >= 2 { walk.tagged() } else { Ok(()) }
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    entries: usize,
}

impl Walk<'_> {
    fn skip(&mut self, bytes: usize) -> Result<(), Misshapen> {
        self.rest = self.rest.get(bytes..).ok_or(Misshapen)?;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Misshapen> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Misshapen)?;
        self.rest = rest;
        Ok(*head)
    }

    fn varint(&mut self) -> Result<usize, Misshapen> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(value).map_err(|_| Misshapen);
            }
        }
        Err(Misshapen)
    }

    /// The length of a string, of bytes or of a list; null counts as nothing.
    fn length(&mut self, wide: bool) -> Result<usize, Misshapen> {
        let length = match (self.flexible, wide) {
            (true, _) => return Ok(self.varint()?.saturating_sub(1)),
            (false, true) => i64::from(i32::from_be_bytes(self.array()?)),
            (false, false) => i64::from(i16::from_be_bytes(self.array()?)),
        };
        if length == -1 { Ok(0) } else { usize::try_from(length).map_err(|_| Misshapen) }
    }

    /// The length of a list, whose entries have at least `least` bytes each.
    fn entries(&mut self, least: usize) -> Result<usize, Misshapen> {
        let count = self.length(true)?;
        self.entries = self.entries.saturating_add(count);
        let fits = count.checked_mul(least).is_some_and(|bytes| bytes <= self.rest.len());
        let few = count <= limits::LIST_ENTRIES_MAX && self.entries <= limits::REQUEST_ENTRIES_MAX;
        if fits && few { Ok(count) } else { Err(Misshapen) }
    }

    fn structure(&mut self, fields: &'static [Field]) -> Result<(), Misshapen> {
        for field in fields {
            if (field.from..=field.to).contains(&self.version) {
                self.field(&field.kind)?;
            }
        }
        if self.flexible { self.tagged() } else { Ok(()) }
    }

    fn field(&mut self, kind: &'static Kind) -> Result<(), Misshapen> {
        match kind {
            Kind::Fixed(bytes) => self.skip(*bytes),
            Kind::Text => self.length(false).and_then(|length| self.skip(length)),
            Kind::Blob => self.length(true).and_then(|length| self.skip(length)),
            Kind::Fixeds(bytes) => self.entries(*bytes).and_then(|count| self.skip(count * bytes)),
            Kind::Texts => {
                for _ in 0..self.entries(1)? {
                    self.field(&Kind::Text)?;
                }
                Ok(())
            }
            Kind::List(fields) => {
                for _ in 0..self.entries(1)? {
                    self.structure(fields)?;
                }
                Ok(())
            }
        }
    }

    fn tagged(&mut self) -> Result<(), Misshapen> {
        let count = self.varint()?;
        self.entries = self.entries.saturating_add(count);
        if self.entries > limits::REQUEST_ENTRIES_MAX {
            return Err(Misshapen);
        }
        for _ in 0..count {
            self.varint()?;
            let length = self.varint()?;
            self.skip(length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: fn(Kind) -> Field = |kind| Field { from: 0, to: i16::MAX, kind };

    fn shape() -> Shape {
        let list: &'static [Field] = Box::leak(Box::new([ANY(Kind::Text), ANY(Kind::Fixeds(4))]));
        Shape { flexible: 2, fields: Box::leak(Box::new([ANY(Kind::List(list)), ANY(Kind::Fixed(1))])) }
    }

    #[test]
    fn a_list_may_not_promise_more_than_its_bytes() {
        assert_eq!(shape().check(b"\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x09\x07", 0), Ok(()));
        assert_eq!(shape().check(b"\x7f\xff\xff\xff\0\x01a\0\0\0\0\x07", 0), Err(Misshapen));
        assert_eq!(shape().check(b"\0\0\0\x01\0\x01a\x7f\xff\xff\xff\x07", 0), Err(Misshapen));
        assert_eq!(shape().check(b"\xff\xff\xff\xff\x07", 0), Ok(()), "null is an empty list");
        assert_eq!(shape().check(b"\xff\xff\xff\xfe\x07", 0), Err(Misshapen));
    }

    #[test]
    fn a_flexible_request_has_varints_and_tagged_fields() {
        assert_eq!(shape().check(b"\x02\x02a\x02\0\0\0\x09\0\x07\0", 2), Ok(()));
        assert_eq!(shape().check(b"\x02\x02a\x02\0\0\0\x09\0\x07\x01\x05\x02ab", 2), Ok(()));
        assert_eq!(shape().check(b"\xff\xff\xff\xff\x0f\x02a\x01\0\x07\0", 2), Err(Misshapen));
        assert_eq!(shape().check(b"\x02\x02a\x02\0\0\0\x09\0\x07", 2), Err(Misshapen), "the tagged fields are missing");
        assert_eq!(shape().check(b"\x01\x07\0!", 2), Ok(()), "what stands behind it is ignored");
    }
}
