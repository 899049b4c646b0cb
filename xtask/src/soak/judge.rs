//! What a soak must show, with the margins.

use super::sample::{MIB, Sample};
use std::time::Duration;

/// The part of the samples at the beginning that is warm-up: caches fill, and the log grows until settling starts.
const WARM_UP: f64 = 0.2;

/// By how much the second half may exceed the first: allocators and caches breathe, a leak under load soon
/// exceeds this.
const MARGIN_PARTS: f64 = 1.15;
const MARGIN_MEMORY_BYTES: u64 = 32 * MIB;
const MARGIN_HANDLES: u64 = 16;
const MARGIN_BUCKET_BYTES: u64 = 256 * MIB;

/// The log's budget and one file more: writers wait there.
const LOG_BYTES_MAX: u64 = 1024 * MIB + 64 * MIB;

/// What an empty bucket may keep: the log up to where settling starts and the file after it, one segment that is
/// not worth packing, an index of what was removed lately, and the reserve of the disk.
const EMPTY_BUCKET_BYTES_MAX: u64 = 128 * MIB + 2 * 64 * MIB + 16 * MIB + 64 * MIB;
const EMPTY_SEGMENT_BYTES_MAX: u64 = 16 * MIB;

/// What was judged so far.
#[derive(Debug, Default)]
pub struct Verdict {
    failed: usize,
    passed: usize,
}

impl Verdict {
    pub fn add(&mut self, what: &str, held: bool, said: impl std::fmt::Display) {
        let word = if held { "ok" } else { "not ok" };
        println!("{word} - {what}: {said}");
        self.passed += usize::from(held);
        self.failed += usize::from(!held);
    }

    pub fn finish(self) -> bool {
        println!("\n{} passed, {} failed", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}

/// Judges the time under load.
pub fn steady(samples: &[Sample], verdict: &mut Verdict) {
    let warm = (samples.len() as f64 * WARM_UP) as usize;
    let (first, second) = samples[warm..].split_at((samples.len() - warm) / 2);
    let mut flat = |what: &str, unit: u64, margin: u64, value: fn(&Sample) -> u64| {
        let most = |samples: &[Sample]| samples.iter().map(value).max().unwrap_or_default();
        let (before, after) = (most(first), most(second));
        let held = is_flat(before, after, margin) && !first.is_empty();
        let said = format!("at most {} in the first half, {} in the second", before / unit, after / unit);
        verdict.add(what, held, said);
    };
    flat("memory is flat (MiB)", MIB, MARGIN_MEMORY_BYTES, |sample| sample.resident_bytes);
    flat("threads are flat", 1, MARGIN_HANDLES, |sample| sample.threads);
    flat("open files are flat", 1, MARGIN_HANDLES, |sample| sample.open_files);
    flat("the bucket is flat (MiB)", MIB, MARGIN_BUCKET_BYTES, |sample| sample.bucket_bytes);
    let log = samples.iter().map(|sample| sample.log_bytes).max().unwrap_or_default();
    let said = format!("at most {} of {}", log / MIB, LOG_BYTES_MAX / MIB);
    verdict.add("the log keeps its budget (MiB)", log <= LOG_BYTES_MAX, said);
}

fn is_flat(before: u64, after: u64, margin: u64) -> bool {
    after as f64 <= before as f64 * MARGIN_PARTS + margin as f64
}

/// Whether a bucket is as small as it should be once everything is removed.
pub fn is_given_back(sample: &Sample) -> bool {
    sample.bucket_bytes <= EMPTY_BUCKET_BYTES_MAX && sample.segment_bytes <= EMPTY_SEGMENT_BYTES_MAX
}

/// Judges what is left of everything removed.
pub fn given_back(sample: &Sample, after: Duration, verdict: &mut Verdict) {
    let said = format!(
        "bucket {} of {}, segments {} of {} after {} s",
        sample.bucket_bytes / MIB,
        EMPTY_BUCKET_BYTES_MAX / MIB,
        sample.segment_bytes / MIB,
        EMPTY_SEGMENT_BYTES_MAX / MIB,
        after.as_secs()
    );
    verdict.add("space is given back (MiB)", is_given_back(sample), said);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(resident: impl Fn(u64) -> u64) -> Verdict {
        let sample = |at| Sample { resident_bytes: resident(at), ..Sample::default() };
        let samples: Vec<_> = (0..100).map(sample).collect();
        let mut verdict = Verdict::default();
        steady(&samples, &mut verdict);
        verdict
    }

    #[test]
    fn memory_that_breathes_is_flat_and_memory_that_grows_is_not() {
        assert_eq!(judge(|at| (100 + at % 30) * MIB).failed, 0);
        assert_eq!(judge(|at| if at < 20 { 10 * at * MIB } else { 200 * MIB }).failed, 0, "warm-up does not count");
        assert_eq!(judge(|at| (100 + 2 * at) * MIB).failed, 1);
    }

    #[test]
    fn a_bucket_that_keeps_what_was_removed_is_not_given_back() {
        assert!(is_given_back(&Sample { bucket_bytes: 200 * MIB, ..Sample::default() }));
        assert!(!is_given_back(&Sample { bucket_bytes: 400 * MIB, ..Sample::default() }));
        assert!(!is_given_back(&Sample { segment_bytes: 17 * MIB, ..Sample::default() }));
    }
}
