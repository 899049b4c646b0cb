//! Tests about the repository itself.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod layers;
mod map;
