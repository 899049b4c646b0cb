//! What a file's inode says of its content: the inode's descriptor.
//!
//! Persisted as: nothing for a file without content; 1 and the bytes of a small file, without trailing zeros that
//! the size implies; or 2 and the number of stored bytes (u64, little endian) of a file that lies in blocks.

use crate::{Error, Result};
use bytes::{BufMut, Bytes, BytesMut};

const INLINE: u8 = 1;
const BLOCKS: u8 = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Descriptor {
    /// All zeros, up to the file's size. There are no block rows.
    #[default]
    Empty,
    /// The first bytes of the file; zeros follow up to its size. There are no block rows.
    Inline(Bytes),
    Blocks {
        allocated: u64,
    },
}

impl Descriptor {
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let corrupt = || Error::Corrupt(format!("a file's descriptor of {} bytes", bytes.len()));
        match bytes.first() {
            None => Ok(Self::Empty),
            Some(&INLINE) => Ok(Self::Inline(bytes.slice(1..))),
            Some(&BLOCKS) => {
                let allocated = bytes[1..].try_into().map_err(|_| corrupt())?;
                Ok(Self::Blocks { allocated: u64::from_le_bytes(allocated) })
            }
            Some(_) => Err(corrupt()),
        }
    }

    pub fn encode(&self) -> Bytes {
        let (tag, body): (u8, &[u8]) = match self {
            Self::Empty => return Bytes::new(),
            Self::Inline(bytes) => (INLINE, bytes),
            Self::Blocks { allocated } => (BLOCKS, &allocated.to_le_bytes()),
        };
        let mut bytes = BytesMut::with_capacity(1 + body.len());
        bytes.put_u8(tag);
        bytes.put_slice(body);
        bytes.freeze()
    }

    /// Bytes that are stored.
    pub fn allocated(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blocks { allocated } => *allocated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_a_descriptor_never_change() {
        assert_eq!(Descriptor::Empty.encode().as_ref(), b"");
        assert_eq!(Descriptor::Inline(Bytes::from_static(b"hello")).encode().as_ref(), b"\x01hello");
        assert_eq!(Descriptor::Blocks { allocated: 0x0102 }.encode().as_ref(), [2, 2, 1, 0, 0, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(bytes in prop::collection::vec(any::<u8>(), 0..100), allocated in any::<u64>()) {
            for descriptor in [Descriptor::Inline(Bytes::from(bytes.clone())), Descriptor::Blocks { allocated }] {
                prop_assert_eq!(Descriptor::decode(&descriptor.encode()).expect("it was just encoded"), descriptor);
            }
            let _ = Descriptor::decode(&Bytes::from(bytes));
        }
    }
}
