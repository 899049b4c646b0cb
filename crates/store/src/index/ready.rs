//! Waiting for a lease that is late.

use super::Inner;
use crate::{Error, Result, limits};
use tokio::time::Instant;

impl Inner {
    /// Like [`Inner::check`], but a lease that could not be renewed in time is waited for: a disk or a network
    /// that stands still for a while is no reason to fail. What is final fails at once.
    pub async fn ready(&self) -> Result<()> {
        let give_up = match self.check() {
            Err(Error::Unavailable { .. }) => Instant::now() + limits::LEASE_WAIT_MAX,
            other => return other,
        };
        loop {
            tokio::time::sleep(limits::LEASE_WAIT_STEP).await;
            match self.check() {
                Err(Error::Unavailable { .. }) if Instant::now() < give_up => {}
                other => return other,
            }
        }
    }
}
