//! Settings that are times, as PostgreSQL reads and shows them: a number of milliseconds, or of a unit behind it.

use crate::{Error, Result};
use std::time::Duration;

/// The largest first: a time is shown in the largest unit that needs no fraction.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// The largest that PostgreSQL takes, in milliseconds.
const MILLIS_MAX: f64 = i32::MAX as f64;

/// Reads `5s`, `1.5 h` or `200`. `name` is the setting's, for the error.
pub(super) fn parse(name: &str, text: &str) -> Result<Duration> {
    let invalid = || Error::InvalidParameter(format!("invalid value for parameter \"{name}\": \"{text}\""));
    let trimmed = text.trim();
    let end = trimmed.find(|found: char| !found.is_ascii_digit() && !"+-.".contains(found)).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let factor = match unit.trim_start() {
        "" => 1.0,
        "us" => 0.001,
        unit => UNITS.iter().find(|(known, _)| *known == unit).map(|(_, millis)| *millis as f64).ok_or_else(invalid)?,
    };
    let millis = (number.parse::<f64>().map_err(|_| invalid())? * factor).round_ties_even();
    if !(0.0..=MILLIS_MAX).contains(&millis) {
        let range = format!("(0 ms .. {MILLIS_MAX} ms)");
        let text = format!("{millis} ms is outside the valid range for parameter \"{name}\" {range}");
        return Err(Error::InvalidParameter(text));
    }
    Ok(Duration::from_millis(millis as u64))
}

pub(super) fn show(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    match UNITS.iter().find(|(_, unit)| millis.is_multiple_of(*unit)) {
        Some((name, unit)) if millis > 0 => format!("{}{name}", millis / unit),
        _ => "0".into(),
    }
}
