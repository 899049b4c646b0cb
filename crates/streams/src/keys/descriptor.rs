//! The descriptor of a stream's inode: format 1, nonce (8 bytes), partitions (4), then settings, each as tag (1),
//! length (2) and bytes. Settings that were never set are absent, so that a default may change for all.

use super::Reader;
use crate::stream::{Cleanup, Descriptor, Settings, TimestampType};
use crate::{Error, Result};
use bytes::{BufMut, Bytes, BytesMut};

const FORMAT: u8 = 1;

/// Persisted: never change or reuse a number.
mod tag {
    pub const RETENTION_MS: u8 = 1;
    pub const RETENTION_BYTES: u8 = 2;
    pub const BATCH_BYTES_MAX: u8 = 3;
    pub const TIMESTAMP_TYPE: u8 = 4;
    pub const CLEANUP: u8 = 5;
    pub const NOTE: u8 = 6;
}

pub(crate) fn encode(descriptor: &Descriptor) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(FORMAT);
    out.put_slice(&descriptor.nonce);
    out.put_u32(descriptor.partitions);
    let settings = &descriptor.settings;
    let mut put = |tag: u8, bytes: &[u8]| {
        out.put_u8(tag);
        out.put_u16(u16::try_from(bytes.len()).expect("settings are checked when they are set"));
        out.put_slice(bytes);
    };
    if let Some(value) = settings.retention_ms {
        put(tag::RETENTION_MS, &value.to_be_bytes());
    }
    if let Some(value) = settings.retention_bytes {
        put(tag::RETENTION_BYTES, &value.to_be_bytes());
    }
    if let Some(value) = settings.batch_bytes_max {
        put(tag::BATCH_BYTES_MAX, &value.to_be_bytes());
    }
    if let Some(value) = settings.timestamp_type {
        put(tag::TIMESTAMP_TYPE, &[value as u8]);
    }
    if let Some(value) = settings.cleanup {
        put(tag::CLEANUP, &[value as u8]);
    }
    for (name, value) in &settings.notes {
        let mut note = BytesMut::with_capacity(2 + name.len() + value.len());
        note.put_u16(u16::try_from(name.len()).expect("settings are checked when they are set"));
        note.put_slice(name.as_bytes());
        note.put_slice(value.as_bytes());
        put(tag::NOTE, &note);
    }
    out.freeze()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Descriptor> {
    let mut reader = Reader::open(bytes, "stream descriptor", FORMAT)?;
    let nonce = reader.array()?;
    let partitions = reader.u32()?;
    let mut settings = Settings::default();
    while !reader.is_empty() {
        let tag = reader.u8()?;
        let length = usize::from(reader.u16()?);
        let mut field = Reader { bytes: reader.take(length)?, what: "stream setting" };
        match tag {
            tag::RETENTION_MS => settings.retention_ms = Some(field.i64()?),
            tag::RETENTION_BYTES => settings.retention_bytes = Some(field.i64()?),
            tag::BATCH_BYTES_MAX => settings.batch_bytes_max = Some(field.u32()?),
            tag::TIMESTAMP_TYPE => settings.timestamp_type = Some(known(TimestampType::from_u8(field.u8()?))?),
            tag::CLEANUP => settings.cleanup = Some(known(Cleanup::from_u8(field.u8()?))?),
            tag::NOTE => {
                let name = field.text()?;
                let value = String::from_utf8(field.bytes.to_vec());
                settings.notes.insert(name, known(value.ok())?);
                field.bytes = &[];
            }
            _ => known(None)?,
        }
        field.end()?;
    }
    Ok(Descriptor { nonce, partitions, settings })
}

fn known<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::Corrupt("a stream has a setting that this server does not know".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn settings()(
            retention_ms in proptest::option::of(any::<i64>()),
            retention_bytes in proptest::option::of(any::<i64>()),
            batch_bytes_max in proptest::option::of(any::<u32>()),
            log_append in proptest::option::of(any::<bool>()),
            cleanup in proptest::option::of(1u8..=3),
            notes in proptest::collection::btree_map("[a-z.]{1,20}", "[ -~]{0,20}", 0..4),
        ) -> Settings {
            let timestamp_type = log_append
                .map(|log| if log { TimestampType::LogAppendTime } else { TimestampType::CreateTime });
            let cleanup = cleanup.map(|tag| Cleanup::from_u8(tag).expect("1 to 3 are policies"));
            Settings { retention_ms, retention_bytes, batch_bytes_max, timestamp_type, cleanup, notes }
        }
    }

    proptest! {
        #[test]
        fn a_descriptor_reads_as_it_was_written(settings in settings(), nonce in any::<[u8; 8]>(), partitions in any::<u32>()) {
            let descriptor = Descriptor { nonce, partitions, settings };
            prop_assert_eq!(decode(&encode(&descriptor)).expect("it was just encoded"), descriptor);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn the_bytes_are_those_of_format_1() {
        let mut settings = Settings { retention_ms: Some(-1), cleanup: Some(Cleanup::Compact), ..Settings::default() };
        settings.notes.insert("n".into(), "v".into());
        let bytes = encode(&Descriptor { nonce: [7; 8], partitions: 3, settings });
        let golden = b"\x01\x07\x07\x07\x07\x07\x07\x07\x07\0\0\0\x03\
            \x01\0\x08\xff\xff\xff\xff\xff\xff\xff\xff\x05\0\x01\x02\x06\0\x04\0\x01nv";
        assert_eq!(bytes.as_ref(), golden);
    }
}
