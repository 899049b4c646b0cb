//! Points in time.

/// Nanoseconds since the Unix epoch; negative before it. As in `struct timespec`, in one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    const NANOS: i64 = 1_000_000_000;

    pub fn from_seconds(seconds: i64, nanos: u32) -> Self {
        Self(seconds.saturating_mul(Self::NANOS).saturating_add(i64::from(nanos)))
    }

    pub fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Whole seconds and the nanoseconds after them.
    pub fn seconds(self) -> (i64, u32) {
        let nanos = u32::try_from(self.0.rem_euclid(Self::NANOS)).expect("a remainder of 10^9 fits 32 bits");
        (self.0.div_euclid(Self::NANOS), nanos)
    }
}
