//! Spans of time, sizes and rates as an operator writes them: `1h30m`,
//! `64MiB`, `1000/1m`. Each type prints in a form that it reads back to the
//! same value.
//!
//! A number without a unit is never guessed at: `30` is refused where `30s` is
//! meant. Integers only; `1h30m` is the way to write one and a half hours.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// A span of time, read and printed as `1d`, `1h30m`, `250ms`; whole
/// milliseconds, at most [`SPAN_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// A number of bytes, read and printed as `64MiB`, `2GiB`, `1500B`. `KB`, `MB`
/// and so on count in thousands; printing uses the binary units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// At most `count` in every window of length `per`, read and printed as
/// `1000/1m`; `10/s` is read as `10/1s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    per: Duration,
}

/// Longest span that can be written: ten years of 365 days.
pub const SPAN_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Shortest window of a rate. Permits travel between shards in milliseconds;
/// a shorter window could not be kept.
pub const RATE_WINDOW_MIN: Duration = Duration::from_secs(1);
/// Longest window of a rate.
pub const RATE_WINDOW_MAX: Duration = Duration::from_secs(31 * 24 * 3600);
/// Largest count of a rate.
pub const RATE_COUNT_MAX: u32 = 1_000_000_000;

/// What is wrong with a written quantity, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// Not a sequence of number and unit.
    #[error("is not a duration; write a number and a unit, such as \"30s\", \"5m\" or \"1h30m\"")]
    PolicyNotASpan,
    /// A number stands without a unit.
    #[error("lacks a unit; write ms, s, m, h, d or w behind the number, such as \"{0}s\"")]
    PolicySpanWithoutUnit(u64),
    /// Unknown unit of time.
    #[error("has the unknown unit `{0}`; units of time are ms, s, m, h, d and w")]
    PolicySpanUnit(String),
    /// Units not from great to small, or one twice.
    #[error("must name each unit once, the greatest first, such as \"1h30m\"")]
    PolicySpanOrder,
    /// Above [`SPAN_MAX`].
    #[error("is longer than ten years")]
    PolicySpanTooLong,
    /// Not number and unit.
    #[error("is not a size; write a number and a unit, such as \"64MiB\" or \"2GiB\"")]
    PolicyNotASize,
    /// Unknown unit of size.
    #[error("has the unknown unit `{0}`; units are B, KiB, MiB, GiB, TiB, KB, MB, GB and TB")]
    PolicySizeUnit(String),
    /// Above 2^64.
    #[error("is too large")]
    PolicySizeTooLarge,
    /// Not a count, a slash and a span.
    #[error("is not a rate; write a count, a slash and a span, such as \"1000/1m\" or \"10/s\"")]
    PolicyNotARate,
    /// Count of 0 or above [`RATE_COUNT_MAX`].
    #[error("must count from 1 to {RATE_COUNT_MAX}")]
    PolicyRateCount,
    /// Window out of bounds.
    #[error("must have a window from 1s to 31d")]
    PolicyRateWindow,
}

impl Rate {
    /// At most `count` in every window of length `per`.
    ///
    /// # Errors
    /// [`UnitError::PolicyRateCount`] and [`UnitError::PolicyRateWindow`] when
    /// out of bounds.
    pub fn new(count: u32, per: Duration) -> Result<Self, UnitError> {
        if count == 0 || count > RATE_COUNT_MAX {
            return Err(UnitError::PolicyRateCount);
        }
        if per < RATE_WINDOW_MIN || per > RATE_WINDOW_MAX {
            return Err(UnitError::PolicyRateWindow);
        }
        Ok(Self { count, per })
    }

    /// Most that may happen in one window; 1..=[`RATE_COUNT_MAX`].
    pub fn count(self) -> u32 {
        self.count
    }

    /// Length of the window.
    pub fn per(self) -> Duration {
        self.per
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let mut rest = text.trim();
        let mut total_ms: u64 = 0;
        let mut smallest = u64::MAX;
        if rest.is_empty() {
            return Err(UnitError::PolicyNotASpan);
        }
        while !rest.is_empty() {
            let (number, after) = leading_number(rest).ok_or(UnitError::PolicyNotASpan)?;
            let after = after.trim_start();
            let unit_len = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_len);
            let number = number.ok_or(UnitError::PolicySpanTooLong)?;
            let unit_ms = match span_unit_ms(unit) {
                Some(unit_ms) => unit_ms,
                None if unit.is_empty() && after.is_empty() => {
                    return Err(UnitError::PolicySpanWithoutUnit(number));
                }
                None if unit.is_empty() => return Err(UnitError::PolicyNotASpan),
                None => return Err(UnitError::PolicySpanUnit(start_of(unit))),
            };
            if unit_ms >= smallest {
                return Err(UnitError::PolicySpanOrder);
            }
            smallest = unit_ms;
            total_ms = number
                .checked_mul(unit_ms)
                .and_then(|ms| ms.checked_add(total_ms))
                .ok_or(UnitError::PolicySpanTooLong)?;
            rest = after.trim_start();
        }
        let span = Duration::from_millis(total_ms);
        if span > SPAN_MAX {
            return Err(UnitError::PolicySpanTooLong);
        }
        Ok(Self(span))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, unit_ms) in SPAN_UNITS.iter().filter(|(unit, _)| *unit != "w") {
            let number = rest / unit_ms;
            rest %= unit_ms;
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = leading_number(text.trim()).ok_or(UnitError::PolicyNotASize)?;
        let unit = unit.trim_start();
        if unit.is_empty() || !unit.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(UnitError::PolicyNotASize);
        }
        let (_, factor) = SIZE_UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .ok_or_else(|| UnitError::PolicySizeUnit(start_of(unit)))?;
        number
            .and_then(|number| number.checked_mul(*factor))
            .map(Self)
            .ok_or(UnitError::PolicySizeTooLarge)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = SIZE_UNITS
            .iter()
            .take(5)
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (count, per) = text.split_once('/').ok_or(UnitError::PolicyNotARate)?;
        let (count, per) = (count.trim(), per.trim());
        if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
            return Err(UnitError::PolicyNotARate);
        }
        let count = count.parse::<u32>().map_err(|_| UnitError::PolicyRateCount)?;
        let per = match span_unit_ms(per) {
            Some(unit_ms) => Duration::from_millis(unit_ms),
            None => per.parse::<Span>().map_err(|_| UnitError::PolicyNotARate)?.0,
        };
        Self::new(count, per)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, Span(self.per))
    }
}

/// Splits digits off the front; the number is `None` when above 2^64.
fn leading_number(text: &str) -> Option<(Option<u64>, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    (!number.is_empty()).then(|| (number.parse().ok(), rest))
}

/// Enough of a wrong unit to recognise it by.
fn start_of(unit: &str) -> String {
    unit.chars().take(16).collect()
}

fn span_unit_ms(unit: &str) -> Option<u64> {
    SPAN_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms)
}

const SPAN_UNITS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Binary units first, the greatest first: printing looks at the first five.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_printed() {
        for (text, ms, printed) in [
            ("5m", 300_000, "5m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1h 30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("2w", 14 * 86_400_000, "14d"),
            ("250ms", 250, "250ms"),
            ("0s", 0, "0s"),
            ("1d1ms", 86_400_001, "1d1ms"),
            ("3650d", 3650 * 86_400_000, "3650d"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.0, Duration::from_millis(ms), "{text}");
            assert_eq!(span.to_string(), printed);
        }
    }

    #[test]
    fn wrong_spans_are_refused_with_a_reason() {
        use UnitError::*;
        for (text, error) in [
            ("", PolicyNotASpan),
            ("m", PolicyNotASpan),
            ("-5m", PolicyNotASpan),
            ("1.5h", PolicyNotASpan),
            ("30", PolicySpanWithoutUnit(30)),
            ("5 minutes", PolicySpanUnit("minutes".into())),
            ("5M", PolicySpanUnit("M".into())),
            ("30s1m", PolicySpanOrder),
            ("1m1m", PolicySpanOrder),
            ("3651d", PolicySpanTooLong),
            ("99999999999999999999s", PolicySpanTooLong),
            ("18446744073709551615w", PolicySpanTooLong),
            ("5m\u{e9}", PolicyNotASpan),
        ] {
            assert_eq!(text.parse::<Span>(), Err(error), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_and_printed() {
        for (text, bytes, printed) in [
            ("64MiB", 64 << 20, "64MiB"),
            ("64 mib", 64 << 20, "64MiB"),
            ("2GiB", 2 << 30, "2GiB"),
            ("1MB", 1_000_000, "1000000B"),
            ("0B", 0, "0B"),
            ("1536KiB", 1536 << 10, "1536KiB"),
            ("16777215TiB", 16_777_215 << 40, "16777215TiB"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string(), printed);
        }
        for (text, error) in [
            ("", UnitError::PolicyNotASize),
            ("64", UnitError::PolicyNotASize),
            ("1.5GiB", UnitError::PolicyNotASize),
            ("64M", UnitError::PolicySizeUnit("M".into())),
            ("16777216TiB", UnitError::PolicySizeTooLarge),
        ] {
            assert_eq!(text.parse::<Size>(), Err(error), "{text}");
        }
    }

    #[test]
    fn rates_are_read_and_printed() {
        for (text, count, secs, printed) in [
            ("1000/1m", 1000, 60, "1000/1m"),
            ("10/s", 10, 1, "10/1s"),
            ("1 / 31d", 1, 31 * 86_400, "1/31d"),
            ("1000000000/1h30m", 1_000_000_000, 5_400, "1000000000/1h30m"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.count(), rate.per()), (count, Duration::from_secs(secs)), "{text}");
            assert_eq!(rate.to_string(), printed);
        }
        for (text, error) in [
            ("1000", UnitError::PolicyNotARate),
            ("/1m", UnitError::PolicyNotARate),
            ("+5/1m", UnitError::PolicyNotARate),
            ("5/fortnight", UnitError::PolicyNotARate),
            ("0/1m", UnitError::PolicyRateCount),
            ("1000000001/1m", UnitError::PolicyRateCount),
            ("5/999ms", UnitError::PolicyRateWindow),
            ("5/32d", UnitError::PolicyRateWindow),
        ] {
            assert_eq!(text.parse::<Rate>(), Err(error), "{text}");
        }
    }
}
