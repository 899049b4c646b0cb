//! What each kind does: the numbers of the live line and of `ballast status`.
//!
//! They are the counters that `/metrics` shows, added up; nothing is counted twice.

use ballast_api::Activity;
use std::collections::BTreeMap;

/// A kind, the counters of its operations, and the counters of its bytes.
type Kind = (&'static str, &'static [&'static str], &'static [&'static str]);

const KINDS: [Kind; 3] = [
    (
        "files",
        &["ballast_files_syncs_total", "ballast_files_flushes_total"],
        &["ballast_files_read_bytes_total", "ballast_files_written_bytes_total"],
    ),
    (
        "streams",
        &["ballast_streams_appends_total", "ballast_streams_fetches_total"],
        &["ballast_streams_appended_bytes_total", "ballast_streams_fetched_bytes_total"],
    ),
    ("tables", &["ballast_tables_statement_seconds_count"], &["ballast_tables_written_bytes_total"]),
];

/// The activity of each kind that has counters in `metrics`, a text in the Prometheus format.
pub fn of(metrics: &str) -> BTreeMap<String, Activity> {
    let mut counters: BTreeMap<&str, u64> = BTreeMap::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let name = name.split('{').next().unwrap_or(name);
        if let Ok(value) = value.parse::<u64>() {
            let counter = counters.entry(name).or_default();
            *counter = counter.saturating_add(value);
        }
    }
    let mut activity = BTreeMap::new();
    for (kind, operations, bytes) in KINDS {
        let known = |names: &[&str]| names.iter().filter_map(|name| counters.get(name)).copied().collect::<Vec<u64>>();
        let (operations, bytes) = (known(operations), known(bytes));
        if !operations.is_empty() || !bytes.is_empty() {
            let sum = |numbers: Vec<u64>| numbers.into_iter().fold(0, u64::saturating_add);
            activity.insert(kind.to_owned(), Activity { operations: sum(operations), bytes: sum(bytes) });
        }
    }
    activity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_added_up_by_kind_and_over_labels() {
        let metrics = "# HELP ballast_files_syncs Calls.\nballast_files_syncs_total 3\n\
                       ballast_files_flushes_total{why=\"age\"} 1\nballast_files_flushes_total{why=\"room\"} 2\n\
                       ballast_files_read_bytes_total 10\nballast_files_open 7\n# EOF\n";
        let activity = of(metrics);
        assert_eq!(activity["files"], Activity { operations: 6, bytes: 10 });
        assert!(!activity.contains_key("tables"), "what has no counters is not shown");
    }
}
