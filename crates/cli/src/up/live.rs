//! The live line: what each kind does right now, once a second, where standard error is a terminal.

use crate::output;
use ballast_api::Status;
use parking_lot::Mutex;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(1);

/// The last line of the terminal.
pub struct Line {
    terminal: bool,
    last: Mutex<Option<Status>>,
}

impl Line {
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: Mutex::new(None) }
    }

    /// Returns when the line is due; never, where nobody looks.
    pub async fn tick(&self) {
        match self.terminal {
            true => tokio::time::sleep(INTERVAL).await,
            false => std::future::pending().await,
        }
    }

    pub fn show(&self, status: &Status) {
        let last = self.last.lock().replace(status.clone());
        let Some(last) = last else { return };
        let mut stderr = std::io::stderr();
        // Back to the first column, and away with what was there.
        let _ = write!(stderr, "\r\x1b[K{}", describe(&last, status));
        let _ = stderr.flush();
    }

    pub fn clear(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// What happened between two statuses, in rates.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
fn describe(last: &Status, now: &Status) -> String {
    let elapsed = (now.uptime_seconds - last.uptime_seconds).max(0.001);
    let rate = |now: u64, last: u64| (now.saturating_sub(last) as f64 / elapsed).round() as u64;
    let mut text = String::new();
    for (kind, activity) in &now.activity {
        let before = last.activity.get(kind).copied().unwrap_or_default();
        let operations = rate(activity.operations, before.operations);
        let bytes = output::bytes(rate(activity.bytes, before.bytes));
        let _ = write!(text, "{kind} {operations}/s {bytes}/s  ");
    }
    let log = rate(now.volume.durable_position, last.volume.durable_position);
    let _ = write!(text, "durable {}/s  memory {}", output::bytes(log), output::bytes(now.resident_bytes));
    text
}
