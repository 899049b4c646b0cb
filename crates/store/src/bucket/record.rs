//! Small objects that a person may read: three lines of text, under a checksum.
//!
//! ```text
//! ballast lease 1
//! {"epoch":3,"nonce":"…"}
//! crc32c 1a2b3c4d
//! ```
//!
//! The first line is the magic, the kind and the version of the format. The last one is the CRC32C of everything
//! before it, in small hexadecimal digits. Fields are written and read one by one; unknown ones are an error of the version.

use crate::{Error, Result, limits};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A record as it was read, not yet understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub version: u32,
    what: String,
    fields: Map<String, Value>,
}

/// The bytes of a record. `fields` must be a JSON object; they are written in the order of their names.
pub(crate) fn encode(kind: &str, version: u32, fields: &Value) -> Bytes {
    // Sorted here, because serde_json keeps another order when some crate of the build asks it to.
    let sorted: BTreeMap<_, _> = fields.as_object().into_iter().flatten().collect();
    let fields = serde_json::to_string(&sorted).expect("a map with text keys is JSON");
    let checked = format!("ballast {kind} {version}\n{fields}\n");
    let checksum = crc32c::crc32c(checked.as_bytes());
    format!("{checked}crc32c {checksum:08x}\n").into()
}

/// Checks the envelope. `name` is the object's, for errors. The version is left for the caller to judge.
pub(crate) fn decode(kind: &str, name: &str, bytes: &[u8]) -> Result<Record> {
    let corrupt = |why: &str| Error::Corrupt(format!("{name}: {why}"));
    let text = std::str::from_utf8(bytes).map_err(|_| corrupt("it is not text"))?;
    let magic = format!("ballast {kind} ");
    if !text.starts_with(&magic) {
        return Err(corrupt(&format!("it does not begin with `{}`", magic.trim_end())));
    }
    let body = text.strip_suffix('\n').ok_or_else(|| corrupt("its last line is cut off"))?;
    let (checked, last) = body.rsplit_once('\n').ok_or_else(|| corrupt("it is cut off after its first line"))?;
    let digits = last.strip_prefix("crc32c ");
    let stored = digits
        .filter(|digits| digits.len() == 8 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
    let stored = stored.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let stored = stored.ok_or_else(|| corrupt("its last line is no checksum"))?;
    let computed = crc32c::crc32c(&bytes[..=checked.len()]);
    if stored != computed {
        return Err(corrupt(&format!("its checksum is {stored:08x}, that of its bytes is {computed:08x}")));
    }
    let (first, fields) = checked.split_once('\n').ok_or_else(|| corrupt("it has no fields"))?;
    let version = first[magic.len()..].parse().map_err(|_| corrupt("its version is no number"))?;
    match serde_json::from_str(fields) {
        Ok(Value::Object(fields)) => Ok(Record { version, what: name.to_owned(), fields }),
        _ => Err(corrupt("its fields are no JSON object")),
    }
}

/// Reads a record; `None` if there is no such object.
pub(crate) async fn read(store: &dyn ObjectStore, kind: &str, name: &Path) -> Result<Option<Record>> {
    let doing = || format!("read {name}");
    let got = match store.get(name).await {
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        got => got.map_err(|error| crate::bucket::failure(&doing(), error))?,
    };
    if got.meta.size > limits::RECORD_BYTES_MAX {
        return Err(Error::Corrupt(format!("{name} has {} bytes, far too many for a {kind}", got.meta.size)));
    }
    let bytes = got.bytes().await.map_err(|error| crate::bucket::failure(&doing(), error))?;
    decode(kind, name.as_ref(), &bytes).map(Some)
}

impl Record {
    fn missing(&self, field: &str, kind: &str) -> Error {
        Error::Corrupt(format!("{}: its field `{field}` is no {kind}", self.what))
    }

    pub fn text(&self, field: &str) -> Result<String> {
        let value = self.fields.get(field).and_then(Value::as_str);
        value.map(ToOwned::to_owned).ok_or_else(|| self.missing(field, "text"))
    }

    pub fn signed(&self, field: &str) -> Result<i64> {
        self.fields.get(field).and_then(Value::as_i64).ok_or_else(|| self.missing(field, "number"))
    }

    pub fn unsigned(&self, field: &str) -> Result<u64> {
        self.fields.get(field).and_then(Value::as_u64).ok_or_else(|| self.missing(field, "number"))
    }

    pub fn truth(&self, field: &str) -> Result<bool> {
        self.fields.get(field).and_then(Value::as_bool).ok_or_else(|| self.missing(field, "truth value"))
    }

    /// 16 bytes in hexadecimal.
    pub fn bytes16(&self, field: &str) -> Result<[u8; 16]> {
        let text = self.text(field)?;
        let number = u128::from_str_radix(&text, 16).ok().filter(|_| text.len() == 32);
        number.map(u128::to_be_bytes).ok_or_else(|| self.missing(field, "16 bytes in hexadecimal"))
    }
}

pub(crate) fn hexadecimal(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// A point in time for people, in UTC.
pub(crate) fn human_time(nanos: i64) -> String {
    chrono::DateTime::from_timestamp_nanos(nanos).format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn example() -> Bytes {
        encode("trial", 7, &json!({"a": "x", "n": -1, "b": true, "id": hexadecimal([0xab; 16])}))
    }

    #[test]
    fn a_record_comes_back_field_by_field() {
        let record = decode("trial", "t", &example()).unwrap();
        assert_eq!((record.version, record.text("a").unwrap(), record.signed("n").unwrap()), (7, "x".into(), -1));
        assert!(record.truth("b").unwrap());
        assert_eq!(record.bytes16("id").unwrap(), [0xab; 16]);
        assert!(record.unsigned("n").is_err() && record.text("absent").is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let good = example();
        for position in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.to_vec();
                bad[position] ^= 1 << bit;
                let error = decode("trial", "t", &bad).unwrap_err();
                assert_eq!(error.kind(), ballast_types::ErrorKind::Corrupt, "byte {position}, bit {bit}");
            }
            assert!(decode("trial", "t", &good[..position]).is_err(), "cut at {position}");
        }
    }
}
