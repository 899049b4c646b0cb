//! Queries compute beside the server, not in it.
//!
//! An operator may compute for minutes between two awaits: a join of which no row is left, a sort. On the server's own
//! threads that would hold up every listener, and the renewal of the lease with them. So each batch is computed on a
//! thread of the blocking pool, with a limit to how many are at once; between two batches a query holds no thread.
//!
//! A query whose answer nobody waits for any more ends at its next await.
//!
//! Cost: two changes of thread a batch, some ten microseconds for up to [`limits::SCAN_ROWS`] rows.

use crate::{Error, Result, limits};
use datafusion::arrow::array::RecordBatch;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

/// Room for the queries that compute at a time.
pub(crate) struct Computing {
    room: Arc<Semaphore>,
}

impl Computing {
    pub(crate) fn new() -> Self {
        Self { room: Arc::new(Semaphore::new(limits::QUERIES_COMPUTING_MAX)) }
    }

    /// The same batches, computed elsewhere.
    pub(crate) fn elsewhere(&self, stream: SendableRecordBatchStream) -> BoxStream<'static, Result<RecordBatch>> {
        let start = (stream, Arc::clone(&self.room));
        futures::stream::try_unfold(start, |(stream, room)| async move {
            let computed = next(stream, Arc::clone(&room)).await?;
            Ok(computed.map(|(batch, stream)| (batch, (stream, room))))
        })
        .boxed()
    }
}

async fn next(
    mut stream: SendableRecordBatchStream,
    room: Arc<Semaphore>,
) -> Result<Option<(RecordBatch, SendableRecordBatchStream)>> {
    let place = room.acquire_owned().await.expect("nobody closes the semaphore");
    // Dropped with this future: then nobody waits.
    let (mut wanted, _wants) = oneshot::channel::<()>();
    let runtime = Handle::current();
    let computing = tokio::task::spawn_blocking(move || {
        let _place = place;
        runtime.block_on(async move {
            let batch = tokio::select! {
                biased;
                () = wanted.closed() => None,
                batch = stream.next() => batch,
            };
            batch.map(|batch| (batch, stream))
        })
    });
    match computing.await {
        Ok(Some((batch, stream))) => Ok(Some((batch?, stream))),
        Ok(None) => Ok(None),
        Err(error) => Err(Error::Query(format!("the query failed: {error}"))),
    }
}
