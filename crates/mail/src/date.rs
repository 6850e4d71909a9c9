//! The date and time as mail writes them, and as logs and files do.
//!
//! Always UTC: a server has no place of its own. Never here: reading the dates
//! of messages, time zones, leap seconds.
//!
//! Read first: RFC 5322 §3.3.

use std::fmt;

use base::Wall;

/// Prints a point in time as `Sat, 21 Nov 2026 22:00:00 +0000`
/// (RFC 5322 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailDate(pub Wall);

impl fmt::Display for MailDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_millis() / 1_000;
        let (days, second_of_day) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
        let (year, month, day) = civil_from_days(days);
        write!(
            f,
            "{}, {} {} {:04} {:02}:{:02}:{:02} +0000",
            WEEKDAYS[(days % 7) as usize],
            day,
            MONTHS[month],
            year,
            second_of_day / 3_600,
            second_of_day / 60 % 60,
            second_of_day % 60,
        )
    }
}

/// Prints a point in time as `2026-11-21T22:00:00.000Z`, a form of RFC 3339;
/// of the year its last four digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(pub Wall);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.octets()).expect("digits and punctuation"))
    }
}

impl Timestamp {
    /// What is printed, without the detour by way of formatting.
    pub fn octets(self) -> [u8; 24] {
        let ms = self.0.as_millis();
        let (year, month, day) = civil_from_days(ms / (DAY_SECONDS * 1_000));
        let s = ms / 1_000 % DAY_SECONDS;
        let mut octets = *b"0000-00-00T00:00:00.000Z";
        let mut put = |from: usize, to: usize, mut value: u64| {
            for digit in octets[from..to].iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        put(0, 4, year);
        put(5, 7, month as u64 + 1);
        put(8, 10, day);
        put(11, 13, s / 3_600);
        put(14, 16, s / 60 % 60);
        put(17, 19, s % 60);
        put(20, 23, ms % 1_000);
        octets
    }

    /// Reads what is printed, for the years 1970 to 9999; nothing else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| {
            text.get(range)?.iter().try_fold(0_u64, |sum, byte| {
                byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'))
            })
        };
        let days = days_from_civil(number(0..4)?, number(5..7)?, number(8..10)?)?;
        let seconds = number(11..13)? * 3_600 + number(14..16)? * 60 + number(17..19)?;
        let ms = (days * DAY_SECONDS + seconds) * 1_000 + number(20..23)?;
        let read = Self(Wall::from_millis(ms));
        // Whatever is out of its range or form is not what would be printed.
        (read.octets() == text).then_some(read)
    }
}

/// Days from 1970-01-01, the inverse of [`civil_from_days`] with months from 1.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = year - u64::from(month < 3 && year > 0);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day.checked_sub(1)?;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    days.checked_sub(719_468)
}

const DAY_SECONDS: u64 = 86_400;

/// From the day of the epoch on, a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Year, month from 0, day from 1 of the Gregorian calendar, `days` after
/// 1970-01-01. Counts from 1 March of the year 0, so that the leap day is the
/// last of its year and every 400 years (146 097 days) look the same.
fn civil_from_days(days: u64) -> (u64, usize, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 31, 30, 31, 30, 31 days, over and over: 153.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    (year, month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves: RFC 5322 §3.3
    /// Covers: A3.5
    #[test]
    fn known_dates_are_printed() {
        for (seconds, text) in [
            (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (951_868_800, "Wed, 1 Mar 2000 00:00:00 +0000"),
            (1_704_067_199, "Sun, 31 Dec 2023 23:59:59 +0000"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 +0000"),
            (1_795_298_400, "Sat, 21 Nov 2026 22:00:00 +0000"),
            (2_147_483_648, "Tue, 19 Jan 2038 03:14:08 +0000"),
            (4_107_542_400, "Mon, 1 Mar 2100 00:00:00 +0000"),
            (253_402_300_800, "Sat, 1 Jan 10000 00:00:00 +0000"),
        ] {
            assert_eq!(MailDate(Wall::from_millis(seconds * 1_000 + 999)).to_string(), text);
        }
    }

    #[test]
    fn days_follow_each_other_through_four_centuries() {
        let (mut year, mut month, mut day) = (1970, 0, 0);
        for days in 0..146_097 {
            day += 1;
            if day > month_days(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month == 12 {
                (year, month) = (year + 1, 0);
            }
            assert_eq!(civil_from_days(days), (year, month, day));
        }
    }

    #[test]
    fn timestamps_come_back_and_nothing_else_is_read() {
        for ms in (0..253_402_300_799_999).step_by(1_234_567_890_123).chain([0, 951_782_400_001]) {
            let at = Timestamp(Wall::from_millis(ms));
            assert_eq!(Timestamp::parse(at.to_string().as_bytes()), Some(at));
        }
        assert_eq!(
            Timestamp(Wall::from_millis(1_795_298_400_123)).to_string(),
            "2026-11-21T22:00:00.123Z"
        );
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T22:00:00Z",
            "2026-11-21 22:00:00.123Z",
            "2026-11-21T22:00:00.123z",
            "2026-11-21T22:00:00.123Z ",
            "2026-13-21T22:00:00.123Z",
            "2026-00-21T22:00:00.123Z",
            "2026-02-29T22:00:00.123Z",
            "2026-11-21T24:00:00.123Z",
            "2026-11-21T22:60:00.123Z",
            "1969-12-31T23:59:59.999Z",
            "0000-01-00T00:00:00.000Z",
            "+026-11-21T22:00:00.123Z",
            "2026-11-21T22:00:00.12üZ",
        ] {
            assert_eq!(Timestamp::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_end_of_time_is_no_trouble() {
        assert!(MailDate(Wall::from_millis(u64::MAX)).to_string().ends_with("+0000"));
    }

    fn month_days(year: u64, month: usize) -> u64 {
        match month {
            1 if year.is_multiple_of(4)
                && (!year.is_multiple_of(100) || year.is_multiple_of(400)) =>
            {
                29
            }
            1 => 28,
            3 | 5 | 8 | 10 => 30,
            _ => 31,
        }
    }
}
