//! Our clock as SlateDB's.
//!
//! It starts where ours stands and then goes with tokio's time, which never goes back: SlateDB's tickers panic on
//! a clock that does. A simulation pauses tokio's time, and with it all waiting of the index.

use ballast_runtime::Clock;
use chrono::{DateTime, Utc};
use slatedb_common::clock::{SystemClock, SystemClockTicker};
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct IndexClock {
    start: DateTime<Utc>,
    started: Instant,
}

impl IndexClock {
    pub fn new(clock: &dyn Clock) -> Self {
        Self { start: DateTime::from_timestamp_nanos(clock.now_nanos()), started: Instant::now() }
    }
}

impl SystemClock for IndexClock {
    fn now(&self) -> DateTime<Utc> {
        self.start + self.started.elapsed()
    }

    fn sleep<'a>(&'a self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
        SystemClockTicker::new(self, duration)
    }
}
