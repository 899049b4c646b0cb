//! What is printed: JSON for programs, columns and rounded numbers for people.

use ballast_api::Entry;
use serde::Serialize;
use std::io::Write;

/// Prints one JSON value on standard output.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    line(&text)
}

/// Prints a line on standard output. A reader that went away, as `head` does, is no failure of ours.
pub fn line(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Prints a line on standard error, if somebody still reads that.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Rows with as much room in each column as its widest cell needs; `right` names the columns of numbers.
pub fn columns(rows: &[Vec<String>], right: &[usize]) -> anyhow::Result<()> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let cells: Vec<String> = cells.collect();
        line(cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// A size, marked where the server has measured a part of it only: `ballast du` measures all.
pub fn size(entry: &Entry, size: String) -> String {
    if entry.size_is_partial { format!(">{size}") } else { size }
}

/// Bytes for people: three figures at most.
#[expect(clippy::cast_precision_loss, reason = "rounded for people")]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KB", "MB", "GB", "TB", "PB"];
    let mut scaled = bytes as f64;
    let mut unit = 0;
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if scaled < 9.95 => format!("{scaled:.1} {}", UNITS[unit]),
        _ => format!("{scaled:.0} {}", UNITS[unit]),
    }
}

/// A duration for people.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        short if short < 60.0 => format!("{short:.0} s"),
        minutes if minutes < 3600.0 => format!("{:.0} min {:.0} s", (minutes / 60.0).floor(), minutes % 60.0),
        hours if hours < 86_400.0 => {
            format!("{:.0} h {:.0} min", (hours / 3600.0).floor(), (hours % 3600.0 / 60.0).floor())
        }
        days => format!("{:.0} d {:.0} h", (days / 86_400.0).floor(), (days % 86_400.0 / 3600.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_figures_at_most() {
        let shown = [0, 999, 1000, 9_949, 9_951, 999_499, 999_500, 12_345_678].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.0 KB", "9.9 KB", "10 KB", "999 KB", "1.0 MB", "12 MB"]);
    }
}
