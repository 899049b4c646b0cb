//! What drives the committer.

use super::on_objects::ObjectWriter;
use super::settings::Drive;
use super::shared::{Backend, Committer, Round, Shared};
use crate::{Error, Result, limits};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use std::sync::Arc;
use tokio::time::Instant;

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
        (Backend::Objects(writer), _) => {
            let (shared, writer) = (Arc::clone(shared), Arc::clone(writer));
            Committer::Task(tokio::spawn(async move { drive_objects(&shared, &writer).await }))
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

/// Keeps a few creates under way and publishes them in order.
async fn drive_objects(shared: &Shared, writer: &ObjectWriter) {
    let in_flight_max = shared.settings.puts_in_flight.clamp(1, limits::LOG_FENCE_GAP as usize / 2);
    let mut in_flight = FuturesOrdered::new();
    let mut due = false;
    loop {
        while in_flight.len() < in_flight_max {
            let (group, acknowledged) = {
                let mut state = shared.state.lock();
                if state.stopped.is_some() {
                    return;
                }
                let Some(group) = state.take(std::mem::take(&mut due)) else { break };
                (group, state.durable.end)
            };
            in_flight.push_back(async move {
                let begun = Instant::now();
                writer.write(&group, acknowledged).await?;
                shared.settings.metrics.note_write(begun.elapsed(), group.byte_len());
                Ok(())
            });
        }
        tokio::select! {
            biased;
            Some(written) = in_flight.next() => match written {
                Ok(()) => shared.publish(),
                Err(error) => return shared.stop(error),
            },
            now_due = shared.sleep_task(), if in_flight.len() < in_flight_max => due = now_due,
        }
    }
}
