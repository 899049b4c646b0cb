//! Dates and times as text, in the proleptic Gregorian calendar.

use crate::{Error, Result};
use std::fmt::Write;

pub const SECOND_MICROS: i64 = 1_000_000;
pub const DAY_MICROS: i64 = 86_400 * SECOND_MICROS;

/// Days from 1970-01-01 to the given day. Years count from the era of 400 years that starts on 1 March.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let small = |number: i64| u32::try_from(number).expect("months and days are small");
    (year, small(month), small(day))
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

pub fn write_date(days: i32, out: &mut impl Write) {
    let (year, month, day) = civil_from_days(i64::from(days));
    let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let _ = write!(out, "{shown:04}-{month:02}-{day:02}{era}");
}

/// `zone`: whether to end with `+00`.
pub fn write_timestamp(micros: i64, zone: bool, out: &mut impl Write) {
    let (days, rest) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
    let (year, month, day) = civil_from_days(days);
    let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let (seconds, fraction) = (rest / SECOND_MICROS, rest % SECOND_MICROS);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let _ = write!(out, "{shown:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
    if zone {
        let _ = out.write_str("+00");
    }
    let _ = out.write_str(era);
}

/// Reads text from its start; every step says whether it fitted.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self, digits_max: usize) -> Option<(i64, usize)> {
        let digits = self.0.iter().take(digits_max).take_while(|byte| byte.is_ascii_digit()).count();
        let (head, tail) = self.0.split_at(digits);
        self.0 = tail;
        let value = head.iter().fold(0i64, |value, byte| value * 10 + i64::from(byte - b'0'));
        (digits > 0).then_some((value, digits))
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    /// `before_christ`: whether the text ends with that. There is no year 0: the one before 1 is 1 BC.
    fn date(&mut self, before_christ: bool) -> Option<i64> {
        let shown = self.number(6)?.0;
        self.take(b'-').then_some(())?;
        let month = u32::try_from(self.number(2)?.0).ok()?;
        self.take(b'-').then_some(())?;
        let day = u32::try_from(self.number(2)?.0).ok()?;
        let year = if before_christ { 1 - shown } else { shown };
        let real = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month) && shown >= 1;
        real.then(|| days_from_civil(year, month, day))
    }

    /// Microseconds of the day.
    fn time(&mut self) -> Option<i64> {
        let hour = self.number(2)?.0;
        self.take(b':').then_some(())?;
        let minute = self.number(2)?.0;
        let second = if self.take(b':') { self.number(2)?.0 } else { 0 };
        let mut micros = 0;
        if self.take(b'.') {
            let (fraction, digits) = self.number(9)?;
            micros = match digits {
                0..=6 => fraction * 10i64.pow(6 - u32::try_from(digits).ok()?),
                _ => {
                    let unit = 10i64.pow(u32::try_from(digits - 6).ok()?);
                    (fraction + unit / 2) / unit
                }
            };
        }
        let real = hour <= 24 && minute < 60 && second <= 60 && (hour < 24 || (minute == 0 && second == 0));
        real.then_some(((hour * 60 + minute) * 60 + second) * SECOND_MICROS + micros)
    }

    /// What may follow a date, up to the end: microseconds of the day, and the zone's seconds east of UTC.
    fn time_of_day(&mut self) -> Option<(i64, Option<i64>)> {
        let separated = self.take(b'T') || self.take(b' ');
        separated.then_some(())?;
        while self.take(b' ') {}
        let time = self.time()?;
        let zone = self.zone()?;
        self.0.is_empty().then_some((time, zone))
    }

    /// The zone's seconds east of UTC, if there is one.
    fn zone(&mut self) -> Option<Option<i64>> {
        while self.take(b' ') {}
        if self.0.is_empty() {
            return Some(None);
        }
        let rest = std::str::from_utf8(self.0).ok()?;
        if ["z", "utc", "gmt"].iter().any(|name| rest.eq_ignore_ascii_case(name)) {
            self.0 = &[];
            return Some(Some(0));
        }
        let sign = if self.take(b'+') { 1 } else { self.take(b'-').then_some(-1)? };
        let (mut hours, digits) = self.number(4)?;
        let mut minutes = 0;
        if digits == 4 {
            (hours, minutes) = (hours / 100, hours % 100);
        } else if self.take(b':') {
            minutes = self.number(2)?.0;
        }
        let seconds = if self.take(b':') { self.number(2)?.0 } else { 0 };
        let real = hours < 16 && minutes < 60 && seconds < 60;
        real.then_some(Some(sign * ((hours * 60 + minutes) * 60 + seconds)))
    }
}

/// Takes the era off the end of a date or timestamp, and says whether it is the one before Christ.
fn era(text: &str) -> (&str, bool) {
    for (name, before_christ) in [("BC", true), ("AD", false)] {
        if let Some((rest, end)) = text.split_at_checked(text.len().saturating_sub(2))
            && end.eq_ignore_ascii_case(name)
            && rest.ends_with([' ', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
        {
            return (rest.trim_end(), before_christ);
        }
    }
    (text, false)
}

fn refuse(text: &str, what: &str) -> Error {
    Error::InvalidDatetime(format!("invalid input syntax for type {what}: \"{text}\""))
}

pub fn parse_date(text: &str) -> Result<i32> {
    let parse = || {
        let (rest, before_christ) = era(text.trim());
        let mut reader = Reader(rest.as_bytes());
        let days = reader.date(before_christ)?;
        // A timestamp is taken for its day.
        if !reader.0.is_empty() {
            reader.time_of_day()?;
        }
        Some(days)
    };
    let days = parse().ok_or_else(|| refuse(text, "date"))?;
    i32::try_from(days).map_err(|_| Error::OutOfRange("date".into()))
}

/// Microseconds since 1970. With `zoned`, an offset in the text is applied, and without one the text is UTC;
/// else an offset is ignored, as PostgreSQL does for `timestamp`.
pub fn parse_timestamp(text: &str, zoned: bool) -> Result<i64> {
    let what = if zoned { "timestamp with time zone" } else { "timestamp" };
    let parse = || {
        let (rest, before_christ) = era(text.trim());
        let mut reader = Reader(rest.as_bytes());
        let days = reader.date(before_christ)?;
        if reader.0.is_empty() {
            return days.checked_mul(DAY_MICROS);
        }
        let (time, zone) = reader.time_of_day()?;
        let east = if zoned { zone.unwrap_or(0) } else { 0 };
        days.checked_mul(DAY_MICROS)?.checked_add(time)?.checked_sub(east * SECOND_MICROS)
    };
    parse().ok_or_else(|| refuse(text, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_over_the_whole_range() {
        for days in (-1_000_000..3_000_000).step_by(137) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(days_from_civil(2000, 2, 29), 11_016);
    }

    #[test]
    fn timestamps_read_and_print_as_postgresql_does() {
        let print = |text: &str, zoned| {
            let mut out = String::new();
            write_timestamp(parse_timestamp(text, zoned).expect("these are timestamps"), zoned, &mut out);
            out
        };
        assert_eq!(print("2026-11-21 08:33:21.25", false), "2026-11-21 08:33:21.25");
        assert_eq!(print("2026-11-21T08:33:21Z", true), "2026-11-21 08:33:21+00");
        assert_eq!(print("2026-11-21 08:33:21+02:30", true), "2026-11-21 06:03:21+00");
        assert_eq!(print("2026-11-21 08:33:21-0830", true), "2026-11-21 17:03:21+00");
        assert_eq!(print("1969-12-31", false), "1969-12-31 00:00:00");
        assert_eq!(print("0044-03-15 12:00:00 BC", false), "0044-03-15 12:00:00 BC");
        assert_eq!(print("0001-02-29 00:00:00+00 BC", true), "0001-02-29 00:00:00+00 BC");
        for wrong in [
            "0000-01-01",
            "0000-01-01 BC",
            "2026-13-01",
            "2026-02-30 00:00",
            "2026-01-01 25:00",
            "x",
            "2026-01-01 10:00 Mars",
        ] {
            assert!(parse_timestamp(wrong, true).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_date_is_read_to_its_end() {
        let print = |text: &str| {
            let mut out = String::new();
            write_date(parse_date(text).expect("these are dates"), &mut out);
            out
        };
        for (text, date) in [
            ("2024-02-29", "2024-02-29"),
            (" 2024-02-29 ", "2024-02-29"),
            ("2024-02-29T23:59:59.5+02", "2024-02-29"),
            ("2024-02-29 AD", "2024-02-29"),
            ("0044-03-15 BC", "0044-03-15 BC"),
            ("0005-02-29 bc", "0005-02-29 BC"),
        ] {
            assert_eq!(print(text), date, "{text}");
        }
        for wrong in ["2024-01-01 rubbish", "2024-01-01T99:99:99", "2024-01-01 10:00 x", "0004-02-29 BC", "BC", "é"] {
            assert!(parse_date(wrong).is_err(), "{wrong}");
        }
    }
}
