//! When mail may leave by a way: windows of the week in a time zone, or at any
//! time.
//!
//! A pure function of the time: a moment is within a window if the clocks of
//! the zone show a time that is. So an opening that a change to summer time
//! leaves out comes with the first moment behind the gap, and an hour that is
//! shown twice is within its window twice. The rules of the zones are compiled
//! in: what a revision means does not depend on the machine that it rules.
//!
//! Invariant: [`Timetable::changes`] is the first moment at which
//! [`Timetable::is_open`] says something else.

use std::fmt;
use std::str::FromStr;

use base::Wall;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use thiserror::Error;

/// The windows of one way; at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Timetable {
    zone: Zone,
    windows: Box<[Window]>,
}

/// A time zone by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    name: Box<str>,
    rules: TimeZone,
}

/// The same stretch of several days of the week: `mon-fri 22:00-06:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// A bit for each day on which it begins, Monday the lowest.
    days: u8,
    /// Minutes of the day; `until` is at most a day's. Where it is the smaller
    /// one, it is of the day after.
    from: u16,
    until: u16,
}

/// What is wrong with a written window, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WindowError {
    /// Not of the form of one.
    #[error(
        "is no window; write days and times, such as \"mon-fri 22:00-06:00\" or \"08:00-17:30\""
    )]
    PolicyForm,
    /// A word that is no day.
    #[error("has `{0}` where a day of the week is wanted: mon, tue, wed, thu, fri, sat or sun")]
    PolicyDay(String),
    /// Not a time of day.
    #[error("has `{0}` where a time from 00:00 to 24:00 is wanted")]
    PolicyTime(String),
    /// No time between the two.
    #[error("is empty: it ends when it begins; all of a day is 00:00-24:00")]
    PolicyEmpty,
}

/// Most windows of one timetable.
pub const WINDOWS_MAX: usize = 32;
/// Most different timetables of one policy.
pub const TIMETABLES_MAX: usize = 64;

const DAY: u16 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const EVERY_DAY: u8 = 0x7f;
/// How far ahead a change is looked for. A window of one day a week that a
/// change of clocks leaves out comes two weeks later.
const DAYS_AHEAD: i32 = 16;

impl Timetable {
    /// A timetable; `None` without windows, or with more than
    /// [`WINDOWS_MAX`].
    pub fn new(zone: Zone, windows: Vec<Window>) -> Option<Self> {
        let counted = (1..=WINDOWS_MAX).contains(&windows.len());
        counted.then(|| Self { zone, windows: windows.into() })
    }

    /// The zone's name.
    pub fn zone(&self) -> &str {
        &self.zone.name
    }

    /// The windows as they were written.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Whether mail may leave at `now`.
    pub fn is_open(&self, now: Wall) -> bool {
        let local = self.zone.rules.to_datetime(timestamp(now));
        let minute = minute_of(local.time());
        self.windows.iter().any(|window| window.holds(local.weekday(), minute))
    }

    /// When that changes; `None` when it never does within two weeks.
    pub fn changes(&self, now: Wall) -> Option<Wall> {
        let open = self.is_open(now);
        let rules = &self.zone.rules;
        let mut day = rules.to_datetime(timestamp(now)).date();
        // The zone's own changes count too: clocks jump into windows and out.
        let mut jumps = rules.following(timestamp(now)).peekable();
        for _ in 0..DAYS_AHEAD {
            let tomorrow = day.tomorrow().ok()?;
            // What lies before tomorrow begins; clocks that jump back over
            // midnight show some of it by tomorrow's or yesterday's date.
            let end = moments_of(rules, tomorrow, Time::midnight()).min()?;
            let dates = [day.yesterday().ok()?, day, tomorrow];
            let mut moments: Vec<Timestamp> =
                dates.into_iter().flat_map(|date| self.moments(date)).collect();
            while let Some(jump) = jumps.next_if(|jump| jump.timestamp() <= end) {
                moments.push(jump.timestamp());
            }
            moments.retain(|at| *at <= end);
            moments.sort_unstable();
            let mut later = moments.into_iter().filter_map(wall).filter(|at| *at > now);
            if let Some(at) = later.find(|at| self.is_open(*at) != open) {
                return Some(at);
            }
            day = tomorrow;
        }
        None
    }

    /// The moments at which clocks show a time of `day` at which a window
    /// begins or ends.
    fn moments(&self, day: Date) -> impl Iterator<Item = Timestamp> {
        let rules = &self.zone.rules;
        let times = self.windows.iter().flat_map(|window| [window.from, window.until % DAY]);
        times.flat_map(move |minute| moments_of(rules, day, time_of(minute)))
    }
}

/// `sat,sun 00:00-24:00, mon-fri 22:00-06:00 (Europe/Berlin)`
impl fmt::Display for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, window) in self.windows.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{window}")?;
        }
        write!(f, " ({})", self.zone.name)
    }
}

impl Zone {
    /// The zone of this name, such as `Europe/Berlin`, whatever the case of
    /// its letters.
    ///
    /// # Errors
    /// The nearest name that there is, if one is near.
    pub fn named(name: &str) -> Result<Self, Option<String>> {
        let known = TimeZoneDatabase::bundled();
        match known.get(name) {
            Ok(rules) => {
                let name = rules.iana_name().unwrap_or(name).into();
                Ok(Self { name, rules })
            }
            Err(_) => {
                let near = |known: &str| crate::help::distance(known, name);
                let names = known.available().map(|known| known.as_str().to_owned());
                Err(names.min_by_key(|known| near(known)).filter(|known| near(known) <= 3))
            }
        }
    }
}

impl Window {
    fn holds(&self, day: Weekday, minute: u16) -> bool {
        let today = usize::from(day.to_monday_zero_offset().unsigned_abs());
        let begins_on = |day: usize| self.days & 1 << (day % 7) != 0;
        match self.from < self.until {
            true => begins_on(today) && (self.from..self.until).contains(&minute),
            false => {
                begins_on(today) && minute >= self.from
                    || begins_on(today + 6) && minute < self.until
            }
        }
    }
}

/// Days and times as one writes them: without days it is every day's.
impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let mut words = text.split_ascii_whitespace();
        let (Some(first), second, None) = (words.next(), words.next(), words.next()) else {
            return Err(WindowError::PolicyForm);
        };
        let (days, times) = match second {
            Some(times) => (days(first)?, times),
            None => (EVERY_DAY, first),
        };
        let (from, until) = times.split_once('-').ok_or(WindowError::PolicyForm)?;
        let (from, until) = (minute(from)?, minute(until)?);
        if from == until || (from, until) == (DAY, 0) {
            return Err(WindowError::PolicyEmpty);
        }
        if from == DAY {
            return Err(WindowError::PolicyTime("24:00".to_owned()));
        }
        Ok(Self { days, from, until })
    }
}

/// The shortest way to write it.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut day = 0;
        let mut comma = "";
        while self.days != EVERY_DAY && day < 7 {
            let run = (day..7).take_while(|day| self.days & 1 << day != 0).count();
            match run {
                0 => {}
                1 => write!(f, "{comma}{}", DAYS[day])?,
                _ => write!(f, "{comma}{}-{}", DAYS[day], DAYS[day + run - 1])?,
            }
            if run > 0 {
                comma = ",";
            }
            day += run + 1;
        }
        let space = if comma.is_empty() { "" } else { " " };
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, "{space}{}-{}", clock(self.from), clock(self.until))
    }
}

/// `mon-fri,sun`; `sat-mon` goes over the end of the week.
fn days(text: &str) -> Result<u8, WindowError> {
    let mut bits = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        while at != last {
            bits |= 1 << at;
            at = (at + 1) % 7;
        }
        bits |= 1 << last;
    }
    Ok(bits)
}

fn day(text: &str) -> Result<usize, WindowError> {
    let found = DAYS.iter().position(|day| text.eq_ignore_ascii_case(day));
    found.ok_or_else(|| WindowError::PolicyDay(text.chars().take(16).collect()))
}

/// `HH:MM` as minutes of the day.
fn minute(text: &str) -> Result<u16, WindowError> {
    let wrong = || WindowError::PolicyTime(text.chars().take(16).collect());
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let two = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| plain)
    };
    let minutes = two(minutes).filter(|minutes| *minutes < 60).ok_or_else(wrong)?;
    let minute = two(hours).ok_or_else(wrong)? * 60 + minutes;
    if minute <= DAY { Ok(minute) } else { Err(wrong()) }
}

fn minute_of(time: Time) -> u16 {
    u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs())
}

fn time_of(minute: u16) -> Time {
    Time::midnight() + i64::from(minute).minutes()
}

/// The moments at which clocks show a time: one, two, or none that matters
/// where it is left out, since the jump itself is looked at.
fn moments_of(rules: &TimeZone, day: Date, time: Time) -> impl Iterator<Item = Timestamp> {
    let shown = day.to_datetime(time);
    let (first, second) = match rules.to_ambiguous_timestamp(shown).offset() {
        AmbiguousOffset::Unambiguous { offset } => (offset, None),
        AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => {
            (before, Some(after))
        }
    };
    let both = std::iter::once(first).chain(second);
    both.filter_map(move |offset| offset.to_timestamp(shown).ok())
}

fn timestamp(at: Wall) -> Timestamp {
    let ms = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

fn wall(at: Timestamp) -> Option<Wall> {
    u64::try_from(at.as_millisecond()).ok().map(Wall::from_millis)
}

#[cfg(test)]
mod tests;
