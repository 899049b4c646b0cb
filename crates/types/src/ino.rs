//! Inode numbers.

/// The number of an inode within its volume. Never reused; 1 is the root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    pub const ROOT: Self = Self(1);
    /// The number of bytes of [`Ino::to_key`].
    pub const KEY_LEN: usize = 8;

    /// Big endian, so that keys sort by number.
    pub fn to_key(self) -> [u8; Self::KEY_LEN] {
        self.0.to_be_bytes()
    }

    /// The inode number at the start of `bytes`, if they are long enough.
    pub fn from_key(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..Self::KEY_LEN)?;
        Some(Self(u64::from_be_bytes(head.try_into().ok()?)))
    }
}

impl std::fmt::Display for Ino {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
