//! The addresses of the API, and how a path of the tree travels in one.

use ballast_types::{Name, NameError, TreePath};

pub const HEALTH: &str = "/healthz";
pub const METRICS: &str = "/metrics";
pub const STATUS: &str = "/v1/status";
pub const LIST: &str = "/v1/list";
pub const STAT: &str = "/v1/stat";
pub const USAGE: &str = "/v1/usage";
pub const CREATE: &str = "/v1/create";
pub const REMOVE: &str = "/v1/remove";
pub const SNAPSHOTS: &str = "/v1/snapshots";
pub const SNAPSHOTS_CREATE: &str = "/v1/snapshots/create";
pub const SNAPSHOTS_REMOVE: &str = "/v1/snapshots/remove";

/// A text of the tree that is not a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path {0:?} does not start with /")]
    Relative(String),
    #[error("the path is longer than {} bytes", TreePath::BYTES_MAX)]
    TooLong,
    #[error("the path {path:?} holds a name that cannot be")]
    Name { path: String, source: NameError },
    #[error("the path {0:?} holds a % that is not followed by two hexadecimal digits")]
    Escape(String),
}

/// The path as the API writes it: names are bytes, so every byte outside the unreserved characters of
/// RFC 3986 is percent-encoded.
pub fn encode_path(path: &TreePath) -> String {
    if path.names().is_empty() {
        return "/".to_owned();
    }
    let mut text = String::new();
    for name in path.names() {
        text.push('/');
        encode(name.as_bytes(), &mut text);
    }
    text
}

/// Percent-encodes what is not an unreserved character.
pub fn encode(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// The reverse of [`encode_path`]; characters that need no encoding may also come as they are.
pub fn decode_path(text: &str) -> Result<TreePath, PathError> {
    // Each byte may take three characters.
    if text.len() > 3 * TreePath::BYTES_MAX {
        return Err(PathError::TooLong);
    }
    let bytes = decode(text).ok_or_else(|| PathError::Escape(text.to_owned()))?;
    path_from_bytes(&bytes)
}

/// A path from the bytes that a shell or a protocol gave.
pub fn path_from_bytes(bytes: &[u8]) -> Result<TreePath, PathError> {
    if bytes.len() > TreePath::BYTES_MAX {
        return Err(PathError::TooLong);
    }
    let shown = || String::from_utf8_lossy(bytes).into_owned();
    let rest = bytes.strip_prefix(b"/").ok_or_else(|| PathError::Relative(shown()))?;
    let parts = rest.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    let names = parts.map(|part| Name::new(part.to_vec())).collect::<Result<Vec<Name>, NameError>>();
    Ok(names.map_err(|source| PathError::Name { path: shown(), source })?.into_iter().collect())
}

/// The bytes behind percent-encoding; `None` where a `%` has no two digits behind it.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = tail.get(..2)?;
        let digits = digits.iter().map(|digit| char::from(*digit).to_digit(16)).collect::<Option<Vec<u32>>>()?;
        bytes.push(u8::try_from(digits[0] * 16 + digits[1]).ok()?);
        rest = &tail[2..];
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_name_survives_the_way() {
        let every: Vec<u8> = (1..=255_u8).filter(|byte| *byte != b'/').collect();
        let path: TreePath = [Name::new(every).unwrap(), "b c".parse().unwrap()].into_iter().collect();
        assert_eq!(decode_path(&encode_path(&path)).unwrap(), path);
    }

    #[test]
    fn plain_paths_need_no_encoding() {
        assert_eq!(encode_path(&TreePath::parse("/a/b-c.d").unwrap()), "/a/b-c.d");
        assert_eq!(encode_path(&TreePath::root()), "/");
    }

    #[test]
    fn broken_escapes_and_relative_paths_are_refused() {
        assert!(matches!(decode_path("/a%2"), Err(PathError::Escape(_))));
        assert!(matches!(decode_path("/a%zz"), Err(PathError::Escape(_))));
        assert!(matches!(decode_path("a"), Err(PathError::Relative(_))));
        assert!(matches!(decode_path("/a/%2E%2E"), Err(PathError::Name { .. })));
        assert_eq!(decode_path(&format!("/{}", "x/".repeat(9000))), Err(PathError::TooLong));
    }
}
