//! Names of directory entries.

use bytes::Bytes;

/// One component of a path: 1 to 255 bytes, neither `.` nor `..`, without `/` and without NUL.
/// Bytes, not text: POSIX promises no encoding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Bytes);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the name is empty")]
    Empty,
    #[error("the name has {0} bytes, more than 255")]
    TooLong(usize),
    #[error("the name holds a slash or a NUL byte")]
    BadByte,
    #[error("the name is reserved: . or ..")]
    Reserved,
}

impl Name {
    pub const BYTES_MAX: usize = 255;

    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, NameError> {
        let bytes = bytes.into();
        match bytes.as_ref() {
            b"" => Err(NameError::Empty),
            b"." | b".." => Err(NameError::Reserved),
            long if long.len() > Self::BYTES_MAX => Err(NameError::TooLong(long.len())),
            bad if bad.iter().any(|byte| matches!(byte, b'/' | 0)) => Err(NameError::BadByte),
            _ => Ok(Self(bytes)),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}
