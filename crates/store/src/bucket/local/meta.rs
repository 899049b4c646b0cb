//! What is kept with an object beside its bytes: its tag and its attributes.
//!
//! The tag is 16 random bytes, in hexadecimal, in the extended attribute `user.ballast.tag`: no two writes
//! ever have the same one, so that a tag is a version. The attributes are in `user.ballast.attributes`.
//!
//! Fall-back: where the file system keeps no extended attributes (some NFS, old tmpfs), attributes are refused
//! as not supported (SlateDB then goes on without), and the tag is made of inode, size and modification time,
//! whose last 24 bits are random. Two writes have the same tag only if the inode is reused at once for the same
//! size in the same 16 ms and 24 random bits agree. Files that something else wrote have such a tag as well.

use super::system;
use ballast_runtime::Random;
use object_store::{Attribute, Attributes};
use std::ffi::CStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

const TAG: &CStr = c"user.ballast.tag";
const ATTRIBUTES: &CStr = c"user.ballast.attributes";
const TAG_BYTES: usize = 16;

/// Bytes of all attributes of an object. The smallest limit among file systems is one block of 4 KiB for all
/// extended attributes of a file; SlateDB sends less than 100 bytes.
const ATTRIBUTES_BYTES_MAX: usize = 2048;

/// The first byte of the value: its format.
const ATTRIBUTES_VERSION: u8 = 1;

/// What can be kept with a file here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    ExtendedAttributes,
    TimeOnly,
}

impl Keeping {
    /// Finds out by asking for the tag of a directory that has none. Writes nothing: the disk may be full.
    pub(super) fn find_out(directory: &File) -> io::Result<Self> {
        let supported = system::supports_attributes(directory, TAG)?;
        Ok(if supported { Self::ExtendedAttributes } else { Self::TimeOnly })
    }
}

/// Gives a complete, still unnamed file its tag and attributes. The caller syncs it afterwards.
pub(super) fn seal(file: &File, keeping: Keeping, attributes: &Attributes, random: &Random) -> io::Result<String> {
    match keeping {
        Keeping::ExtendedAttributes => {
            let tag = random.bytes16();
            system::set_attribute(file, TAG, &tag)?;
            if !attributes.is_empty() {
                system::set_attribute(file, ATTRIBUTES, &encode(attributes)?)?;
            }
            Ok(hexadecimal(&tag))
        }
        Keeping::TimeOnly if !attributes.is_empty() => Err(io::Error::from(io::ErrorKind::Unsupported)),
        Keeping::TimeOnly => {
            let written = file.metadata()?;
            let nanos = u64::try_from(written.mtime()).unwrap_or(0) * 1_000_000_000 + written.mtime_nsec() as u64;
            let marked = (nanos & !0xff_ffff) | (random.next_u64() & 0xff_ffff);
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(marked))?;
            Ok(tag_of_time(&file.metadata()?))
        }
    }
}

pub(super) fn tag(file: &File, metadata: &Metadata) -> io::Result<String> {
    Ok(system::attribute(file, TAG, TAG_BYTES)?.map_or_else(|| tag_of_time(metadata), |tag| hexadecimal(&tag)))
}

pub(super) fn tag_of_path(path: &Path, metadata: &Metadata) -> io::Result<String> {
    let tag = system::attribute_of_path(path, TAG, TAG_BYTES)?;
    Ok(tag.map_or_else(|| tag_of_time(metadata), |tag| hexadecimal(&tag)))
}

pub(super) fn attributes(file: &File) -> io::Result<Attributes> {
    system::attribute(file, ATTRIBUTES, ATTRIBUTES_BYTES_MAX)?.map_or_else(|| Ok(Attributes::new()), |v| decode(&v))
}

fn tag_of_time(metadata: &Metadata) -> String {
    let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    format!("t{:x}-{:x}-{seconds:x}.{nanos:x}", metadata.ino(), metadata.len())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The version, then for each attribute: length and text of its name, length and text of its value.
fn encode(attributes: &Attributes) -> io::Result<Vec<u8>> {
    let mut pairs: Vec<(String, &str)> = Vec::with_capacity(attributes.len());
    for (attribute, value) in attributes {
        pairs.push((name_of(attribute)?, value));
    }
    pairs.sort();
    let mut bytes = vec![ATTRIBUTES_VERSION];
    for text in pairs.iter().flat_map(|(name, value)| [name.as_str(), value]) {
        let length = u16::try_from(text.len()).map_err(|_| too_long())?;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    if bytes.len() > ATTRIBUTES_BYTES_MAX { Err(too_long()) } else { Ok(bytes) }
}

fn too_long() -> io::Error {
    let text = format!("the attributes of an object are longer than {ATTRIBUTES_BYTES_MAX} bytes");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn decode(bytes: &[u8]) -> io::Result<Attributes> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the attributes of the object are damaged");
    let (version, mut rest) = bytes.split_first().ok_or_else(damaged)?;
    if *version != ATTRIBUTES_VERSION {
        return Err(damaged());
    }
    let mut text = || -> io::Result<Option<String>> {
        if rest.is_empty() {
            return Ok(None);
        }
        let (length, after) = rest.split_first_chunk::<2>().ok_or_else(damaged)?;
        let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length))).ok_or_else(damaged)?;
        rest = after;
        String::from_utf8(text.to_vec()).map(Some).map_err(|_| damaged())
    };
    let mut attributes = Attributes::new();
    while let Some(name) = text()? {
        let value = text()?.ok_or_else(damaged)?;
        attributes.insert(named(&name).ok_or_else(damaged)?, value.into());
    }
    Ok(attributes)
}

fn name_of(attribute: &Attribute) -> io::Result<String> {
    Ok(match attribute {
        Attribute::ContentDisposition => "content-disposition".into(),
        Attribute::ContentEncoding => "content-encoding".into(),
        Attribute::ContentLanguage => "content-language".into(),
        Attribute::ContentType => "content-type".into(),
        Attribute::CacheControl => "cache-control".into(),
        Attribute::StorageClass => "storage-class".into(),
        Attribute::Metadata(name) => format!("metadata:{name}"),
        _ => return Err(io::Error::from(io::ErrorKind::Unsupported)),
    })
}

fn named(name: &str) -> Option<Attribute> {
    Some(match name {
        "content-disposition" => Attribute::ContentDisposition,
        "content-encoding" => Attribute::ContentEncoding,
        "content-language" => Attribute::ContentLanguage,
        "content-type" => Attribute::ContentType,
        "cache-control" => Attribute::CacheControl,
        "storage-class" => Attribute::StorageClass,
        _ => Attribute::Metadata(name.strip_prefix("metadata:")?.to_owned().into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn attributes_come_back_as_they_were_kept(pairs in proptest::collection::hash_map(".{0,20}", ".{0,20}", 0..8)) {
            let attributes: Attributes =
                pairs.into_iter().map(|(name, value)| (Attribute::Metadata(name.into()), value)).collect();
            prop_assert_eq!(decode(&encode(&attributes).unwrap()).unwrap(), attributes);
        }

        #[test]
        fn damaged_attributes_are_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn the_format_of_attributes_does_not_change() {
        let attributes = Attributes::from_iter([(Attribute::Metadata("slatedbputid".into()), "01")]);
        assert_eq!(encode(&attributes).unwrap(), b"\x01\x15\x00metadata:slatedbputid\x02\x0001");
    }
}
