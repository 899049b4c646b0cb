//! Randomness as an argument.

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::sync::Arc;

/// A shared source of random numbers: seeded by the system in a server, by a number in a simulation.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<StdRng>>);

impl Random {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for entropy")]
    pub fn from_system() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_os_rng())))
    }

    /// The same seed gives the same numbers.
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    pub fn next_u64(&self) -> u64 {
        self.0.lock().next_u64()
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        self.next_u64() % bound
    }

    /// 16 random bytes, for a nonce or an identifier.
    pub fn bytes16(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.0.lock().fill_bytes(&mut bytes);
        bytes
    }
}
