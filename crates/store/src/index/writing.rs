//! A write under way: what it points at stays, and settling hears of it.
//!
//! Settling condemns a place only when nothing holds it, and then looks through the candidates once more. So a
//! write names its candidates when its rows are visible and before it lets go: earlier, settling may look at a key,
//! see the row as it was, and forget it. For the same reason a write whose caller goes away runs to its end with
//! its holds: its rows become visible all the same. Collecting hears of it then, too.

use super::Inner;
use super::candidates::log_places;
use crate::pointer::{Hold, Place};
use crate::{Error, Pointer, Result, Space};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pub(super) struct Writing {
    pub inner: Arc<Inner>,
    /// Rows that will point into the log.
    keys: Vec<(Place, Bytes)>,
    /// Rows of spaces with payload.
    churn: u64,
    _held: Vec<(Place, Hold)>,
}

impl Writing {
    /// Takes a hold on every place that the rows point into; `PayloadMoved` if one is gone or going.
    pub fn new<'a>(inner: &Arc<Inner>, rows: impl Iterator<Item = (&'a Bytes, &'a [Pointer])>) -> Result<Self> {
        Self::of(inner, rows, &HashSet::new())
    }

    /// The same for rows that have pointed at some of it before: that stays for their sake, or is gone already.
    pub fn of<'a>(
        inner: &Arc<Inner>,
        rows: impl Iterator<Item = (&'a Bytes, &'a [Pointer])>,
        kept: &HashSet<Pointer>,
    ) -> Result<Self> {
        let mut keys: Vec<(Place, Bytes)> = Vec::new();
        let mut held: Vec<(Place, Hold)> = Vec::new();
        let mut churn = 0;
        for (key, pointers) in rows {
            churn += u64::from(Space::with_payload_of(key).is_some());
            keys.extend(log_places(pointers).map(|place| (place, key.clone())));
            for pointer in pointers {
                if held.iter().any(|(place, _)| *place == pointer.place) {
                    continue;
                }
                // In this order: a file of the log is a segment before it leaves the log.
                let hold = inner.log().hold(pointer).or_else(|| inner.segments.hold(pointer.place));
                if hold.is_none() {
                    if kept.contains(pointer) {
                        continue;
                    }
                    return Err(Error::PayloadMoved);
                }
                held.push((pointer.place, hold));
            }
        }
        Ok(Self { inner: Arc::clone(inner), keys, churn, _held: held })
    }

    pub fn is_visible(&mut self) {
        self.inner.shared.candidates.note(self.keys.drain(..));
        self.inner.settling.note_churn(std::mem::take(&mut self.churn));
    }
}

/// Runs a future to its end, also when whoever waits for it goes away.
pub(super) fn to_the_end<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> ToTheEnd<T> {
    ToTheEnd(Some(future.boxed()))
}

pub(super) struct ToTheEnd<T: Send + 'static>(Option<BoxFuture<'static, T>>);

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let future = self.0.as_mut().expect("it is polled until it is ready");
        let polled = future.poll_unpin(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        // Without a runtime everything ends here, the index with it.
        if let (Some(future), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(future.map(drop));
        }
    }
}
