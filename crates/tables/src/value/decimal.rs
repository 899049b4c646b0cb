//! Decimal numbers of at most 38 digits.

use std::cmp::Ordering;

/// `unscaled / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    pub unscaled: i128,
    pub scale: u8,
}

impl Decimal {
    pub const DIGITS_MAX: u8 = 38;
    /// The first number with too many digits: 10^38.
    const BOUND: i128 = 10i128.pow(38);

    pub fn new(unscaled: i128, scale: u8) -> Self {
        Self { unscaled, scale }
    }

    /// Of a scale that may be below zero, as Arrow has it; `None` if the number gets too long.
    pub fn of_scale(unscaled: i128, scale: i8) -> Option<Self> {
        if let Ok(scale) = u8::try_from(scale) {
            return Some(Self::new(unscaled, scale));
        }
        let whole = unscaled.checked_mul(power(scale.unsigned_abs())?)?;
        (whole.abs() < Self::BOUND).then_some(Self::new(whole, 0))
    }

    /// Reads `-12.50` and `1.5e3`; `None` if it is no number or has more than 38 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, digits) = match mantissa.as_bytes().first()? {
            b'-' => (true, &mantissa[1..]),
            b'+' => (false, &mantissa[1..]),
            _ => (false, mantissa),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut unscaled: i128 = 0;
        let mut scale: i32 = 0;
        for byte in whole.bytes() {
            unscaled = push_digit(unscaled, byte)?;
        }
        for byte in fraction.bytes() {
            // Digits beyond the 38th behind the point change nothing that could be kept.
            if scale >= 38 {
                if byte.is_ascii_digit() { continue } else { return None }
            }
            unscaled = push_digit(unscaled, byte)?;
            scale += 1;
        }
        scale = scale.checked_sub(exponent)?;
        let value = if negative { -unscaled } else { unscaled };
        if scale < 0 {
            let up = power(u8::try_from(-scale).ok()?)?;
            return Some(Self::new(value.checked_mul(up).filter(|wide| wide.abs() < Self::BOUND)?, 0));
        }
        if scale > 38 {
            let down = u8::try_from(scale - 38).ok().and_then(power);
            return Some(Self::new(down.map_or(0, |down| divide_rounding(value, down)), 38));
        }
        Some(Self::new(value, u8::try_from(scale).ok()?))
    }

    /// The same number with another scale, rounded half away from zero; `None` if it gets too long.
    pub fn rescale(self, scale: u8) -> Option<Self> {
        let unscaled = match scale.cmp(&self.scale) {
            Ordering::Equal => self.unscaled,
            Ordering::Greater => self.unscaled.checked_mul(power(scale - self.scale)?)?,
            Ordering::Less => divide_rounding(self.unscaled, power(self.scale - scale)?),
        };
        (unscaled.abs() < Self::BOUND).then_some(Self { unscaled, scale })
    }

    /// As a value of `numeric(precision, scale)`.
    pub fn fit(self, precision: u8, scale: u8) -> Option<Self> {
        self.rescale(scale).filter(|fitted| power(precision).is_some_and(|bound| fitted.unscaled.abs() < bound))
    }

    pub fn compare(self, other: Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.rescale(scale), other.rescale(scale)) {
            (Some(a), Some(b)) => a.unscaled.cmp(&b.unscaled),
            // One is too large to widen: then whole parts differ, or nearly so, and f64 sees it.
            _ => self.to_f64().total_cmp(&other.to_f64()),
        }
    }

    pub fn to_f64(self) -> f64 {
        // Through text: a division of two rounded numbers would round twice.
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    pub fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let sum = self.rescale(scale)?.unscaled.checked_add(other.rescale(scale)?.unscaled)?;
        (sum.abs() < Self::BOUND).then_some(Self::new(sum, scale))
    }

    pub fn negate(self) -> Self {
        Self::new(-self.unscaled, self.scale)
    }

    pub fn multiply(self, other: Self) -> Option<Self> {
        let product = self.unscaled.checked_mul(other.unscaled).filter(|product| product.abs() < Self::BOUND)?;
        let scale = self.scale + other.scale;
        if scale <= Self::DIGITS_MAX {
            return Some(Self::new(product, scale));
        }
        Some(Self::new(divide_rounding(product, power(scale - Self::DIGITS_MAX)?), Self::DIGITS_MAX))
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let digits = self.unscaled.unsigned_abs();
        if self.scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let scale = usize::from(self.scale);
        let unit = 10u128.pow(u32::from(self.scale));
        write!(f, "{sign}{}.{:0scale$}", digits / unit, digits % unit)
    }
}

fn push_digit(number: i128, byte: u8) -> Option<i128> {
    let digit = byte.is_ascii_digit().then(|| i128::from(byte - b'0'))?;
    number.checked_mul(10)?.checked_add(digit).filter(|next| *next < Decimal::BOUND)
}

fn power(exponent: u8) -> Option<i128> {
    10i128.checked_pow(u32::from(exponent))
}

fn divide_rounding(number: i128, by: i128) -> i128 {
    let (quotient, rest) = (number / by, number % by);
    if rest.abs() >= by - rest.abs() { quotient + number.signum() } else { quotient }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parsed_decimal_prints_as_it_was_written() {
        for text in ["0", "-1", "12.50", "-0.001", "99999999999999999999999999999999999999"] {
            assert_eq!(Decimal::parse(text).expect("these are decimals").to_string(), text);
        }
        assert_eq!(Decimal::parse("1.5e3").expect("an exponent").to_string(), "1500");
        assert_eq!(Decimal::parse("15e-3").expect("an exponent").to_string(), "0.015");
        for text in ["", "-", ".", "1x", "1.2.3", "999999999999999999999999999999999999999", "1e40"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn rescaling_rounds_half_away_from_zero() {
        let rescaled = |text: &str, scale| Decimal::parse(text).and_then(|d| d.rescale(scale)).map(|d| d.to_string());
        assert_eq!(rescaled("2.345", 2).as_deref(), Some("2.35"));
        assert_eq!(rescaled("-2.345", 2).as_deref(), Some("-2.35"));
        assert_eq!(rescaled("2.344", 2).as_deref(), Some("2.34"));
        assert_eq!(rescaled("1", 2).as_deref(), Some("1.00"));
    }
}
