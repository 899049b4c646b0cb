//! Portions of a scan that are bounded by rows and by bytes.

use crate::{Result, limits};
use ballast_store::{Row, Scan};

/// Further rows: up to `rows_max`, and about as many as [`limits::SCAN_BYTES`] hold, at least one. Whether they are the last.
pub(crate) async fn portion(scan: &mut dyn Scan, rows_max: usize) -> Result<(Vec<Row>, bool)> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    // Nobody knows how large rows are before the first have come.
    let mut wanted = limits::SCAN_FIRST_ROWS.min(rows_max);
    while wanted > 0 {
        let found = scan.next(wanted).await?;
        let last = found.len() < wanted;
        bytes += found.iter().map(size).sum::<usize>();
        if rows.is_empty() {
            rows = found;
        } else {
            rows.extend(found);
        }
        if last {
            return Ok((rows, true));
        }
        let average = (bytes / rows.len()).max(1);
        wanted = (limits::SCAN_BYTES.saturating_sub(bytes) / average).min(rows_max - rows.len());
    }
    Ok((rows, false))
}

fn size(row: &Row) -> usize {
    row.key.len() + row.value.bytes.len()
}
