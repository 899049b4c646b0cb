//! Cancel keys: how a second connection stops the query of a first.

use ballast_runtime::Random;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// The running connections by process number.
pub struct Registry {
    random: Random,
    running: Mutex<HashMap<i32, (i32, Arc<Notify>)>>,
}

/// A connection's entry; gone when it is dropped.
pub struct Key {
    pub process: i32,
    pub secret: i32,
    pub notify: Arc<Notify>,
    registry: Arc<super::Shared>,
}

impl Registry {
    pub fn new(random: Random) -> Self {
        Self { random, running: Mutex::default() }
    }

    /// A key that nobody else has.
    pub fn enter(shared: &Arc<super::Shared>) -> Key {
        let registry = &shared.cancel;
        let notify = Arc::new(Notify::new());
        let secret = registry.random.next_u64() as i32;
        let mut running = registry.running.lock();
        let process = loop {
            let process = (registry.random.next_u64() & 0x3fff_ffff) as i32 + 1;
            if !running.contains_key(&process) {
                break process;
            }
        };
        running.insert(process, (secret, Arc::clone(&notify)));
        Key { process, secret, notify, registry: Arc::clone(shared) }
    }

    /// Stops what the connection runs right now, if the secret is its.
    pub fn cancel(&self, process: i32, secret: i32) {
        if let Some((own, notify)) = self.running.lock().get(&process)
            && *own == secret
        {
            notify.notify_waiters();
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.registry.cancel.running.lock().remove(&self.process);
    }
}
