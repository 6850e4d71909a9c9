//! The date and time as mail writes them.
//!
//! Always UTC: a server has no place of its own. Never here: reading dates,
//! time zones, leap seconds.
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

const DAY_SECONDS: u64 = 86_400;

/// From the day of the epoch on, a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Year, month from 0, day from 1 of the Gregorian calendar, `days` after
/// 1970-01-01. Counts from 1 March of the year 0, so that the leap day is the
/// last of its year and every 400 years (146 097 days) look the same.
pub fn civil_from_days(days: u64) -> (u64, usize, u64) {
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
