//! Queries compute beside the server, not in it.
//!
//! An operator may compute for minutes between two awaits: a join of which no row is left, a sort. On the server's own
//! threads that would hold up every listener, and the renewal of the lease with them. So each batch is computed on a
//! thread of the blocking pool, with a limit to how many are at once; between two batches a query holds no thread.
//!
//! A query whose stream is dropped is stopped: it ends at its next await, and [`super::stopping`] sees to it that there is
//! one before long.
//!
//! Cost: two changes of thread a batch, some ten microseconds for up to [`limits::SCAN_ROWS`] rows.

use crate::{Error, Result, limits};
use datafusion::arrow::array::RecordBatch;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use futures::stream::BoxStream;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Room for the queries that compute at a time.
#[derive(Clone)]
pub(crate) struct Computing {
    room: Arc<Semaphore>,
    /// Queries that hold a thread.
    busy: Gauge,
}

/// A query that holds a thread, counted while it does.
struct Place {
    _room: OwnedSemaphorePermit,
    busy: Gauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.busy.dec();
    }
}

impl Computing {
    pub(crate) fn new(busy: Gauge) -> Self {
        Self { room: Arc::new(Semaphore::new(limits::QUERIES_COMPUTING_MAX)), busy }
    }

    async fn place(&self) -> Place {
        let room = Arc::clone(&self.room).acquire_owned().await.expect("nobody closes the semaphore");
        self.busy.inc();
        Place { _room: room, busy: self.busy.clone() }
    }

    /// The same batches, computed elsewhere. Once the stream is dropped, `stop` is set.
    pub(crate) fn elsewhere(
        &self,
        stream: SendableRecordBatchStream,
        stop: CancellationToken,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let start = (stream, self.clone(), stop.drop_guard());
        futures::stream::try_unfold(start, |(stream, computing, stop)| async move {
            let computed = next(stream, computing.place().await, stop.token().clone()).await?;
            Ok(computed.map(|(batch, stream)| (batch, (stream, computing, stop))))
        })
        .boxed()
    }
}

async fn next(
    mut stream: SendableRecordBatchStream,
    place: Place,
    stop: CancellationToken,
) -> Result<Option<(RecordBatch, SendableRecordBatchStream)>> {
    let runtime = Handle::current();
    let computing = tokio::task::spawn_blocking(move || {
        let _place = place;
        runtime.block_on(async move {
            let batch = stop.run_until_cancelled(stream.next()).await.flatten();
            batch.map(|batch| (batch, stream))
        })
    });
    match computing.await {
        Ok(Some((batch, stream))) => Ok(Some((batch?, stream))),
        Ok(None) => Ok(None),
        Err(error) => Err(Error::Query(format!("the query failed: {error}"))),
    }
}
