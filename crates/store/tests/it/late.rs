//! A lease that could not be renewed in time.

use crate::volumes::World;
use ballast_store::{Batch, Error, Gate, Read, Result, Volume};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Late from when it is told until it is told otherwise.
#[derive(Default)]
struct Late {
    late: AtomicBool,
    asked: Notify,
}

impl Gate for Late {
    fn check(&self) -> Result<()> {
        if !self.late.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.asked.notify_one();
        Err(Error::Unavailable { what: "the lease is late".into(), source: None })
    }
}

#[tokio::test]
async fn reads_and_writes_wait_for_a_lease_that_is_late() {
    let gate = Arc::new(Late::default());
    let world = World::new(true, 1).unwrap().with_gate(Arc::<Late>::clone(&gate));
    let volume = world.open().await.unwrap();
    let row = || {
        let mut batch = Batch::new();
        batch.put(Bytes::from_static(b"\x10key"), b"value".to_vec());
        batch
    };
    volume.commit(row()).await.unwrap();
    let renew = async || {
        gate.asked.notified().await;
        gate.late.store(false, Ordering::SeqCst);
    };
    gate.late.store(true, Ordering::SeqCst);
    let (found, ()) = tokio::join!(volume.get(b"\x10key"), renew());
    assert_eq!(found.unwrap().unwrap().bytes, "value");
    gate.late.store(true, Ordering::SeqCst);
    let (committed, ()) = tokio::join!(volume.commit(row()), renew());
    let position = committed.unwrap();
    gate.late.store(true, Ordering::SeqCst);
    let (durable, ()) = tokio::join!(volume.durable(position), renew());
    durable.unwrap();
    volume.close().await.unwrap();
}

#[tokio::test]
async fn a_late_lease_does_not_hide_that_the_volume_has_stopped() {
    let gate = Arc::new(Late::default());
    let world = World::new(true, 2).unwrap().with_gate(Arc::<Late>::clone(&gate));
    let volume = world.open().await.unwrap();
    volume.close().await.unwrap();
    gate.late.store(true, Ordering::SeqCst);
    assert!(matches!(volume.get(b"\x10key").await, Err(Error::Closed(_))));
}
