//! What drives the committer of the disk log.

use super::settings::Drive;
use super::shared::{Backend, Committer, Round, Shared};
use crate::{Error, Result};
use std::sync::Arc;

/// A thread of the committer needs little: its deepest call is a write and the index's callback.
const STACK_BYTES: usize = 512 << 10;

pub fn start(shared: &Arc<Shared>) -> Result<()> {
    let committer = match (&shared.backend, shared.settings.drive) {
        (Backend::Disk(_), Drive::Manual) => return Ok(()),
        (Backend::Disk(_), Drive::Thread) => {
            let shared = Arc::clone(shared);
            let builder = std::thread::Builder::new().name("ballast-log".to_owned()).stack_size(STACK_BYTES);
            let thread = builder.spawn(move || drive_thread(&shared));
            Committer::Thread(thread.map_err(|error| Error::unavailable("starting the log's thread", error))?)
        }
        (Backend::Disk(_), Drive::Task) => {
            let shared = Arc::clone(shared);
            Committer::Task(tokio::spawn(async move { drive_task(&shared).await }))
        }
    };
    *shared.committer.lock() = Some(committer);
    Ok(())
}

fn drive_thread(shared: &Shared) {
    let mut due = false;
    loop {
        match shared.round(due) {
            Round::Stopped => return,
            Round::Wrote => due = false,
            Round::Idle => due = shared.sleep_thread(),
        }
    }
}

async fn drive_task(shared: &Shared) {
    let mut due = false;
    loop {
        match shared.round(due) {
            Round::Stopped => return,
            // Others run in between, as they would beside a thread.
            Round::Wrote => {
                due = false;
                tokio::task::yield_now().await;
            }
            Round::Idle => due = shared.sleep_task().await,
        }
    }
}
