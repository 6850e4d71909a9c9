//! What comes next for mail that could not be delivered: the one place that
//! decides between another attempt, hold, return and expiry. Whoever asks
//! brings the time and the random bits.
//!
//! Invariants: no moment returned lies beyond the end of the lifetime; with
//! `max_attempts = n` there are exactly 1 + n attempts; whichever of lifetime
//! and attempts ends first ends the mail.
//!
//! Read first: RFC 5321 §4.5.4.1

use std::sync::Arc;
use std::time::Duration;

use base::Wall;
use base::planted::{Bug, planted};

use crate::delivery::Delivery;
use crate::mode::OnFailure;

/// The waits between attempts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    intervals: Arc<[Duration]>,
    jitter_percent: u8,
}

/// Waits of their own for some kinds of trouble; none: as for any other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RetryAfter {
    /// After [`Trouble::Greylisted`].
    pub greylisted: Option<Retry>,
    /// After [`Trouble::Limited`].
    pub limited: Option<Retry>,
    /// After [`Trouble::Unreachable`].
    pub unreachable: Option<Retry>,
}

/// Why an attempt failed for now, as far as that makes a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// Any other reason.
    #[default]
    Other,
    /// The first try of every stranger is put off (RFC 6647).
    Greylisted,
    /// We send more than the host wants.
    Limited,
    /// No host gave an answer.
    Unreachable,
}

/// What comes next for a recipient whose attempt failed for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait until this moment. Never after the lifetime's end; exactly at the
    /// end, no attempt is left and the mail expires there, not earlier.
    At(Wall),
    /// Kept until released or expired (`on_failure = "hold"`).
    Hold,
    /// Returned at once (`on_failure = "bounce"`).
    Bounce,
    /// The lifetime is over: returned.
    Expired,
    /// All attempts are used up: returned.
    AttemptsUsedUp,
}

/// Most intervals in one list.
pub const INTERVALS_MAX: usize = 64;
/// Shortest interval: below it a dead host would be dialled in a tight loop.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Largest jitter, in percent of the interval to either side.
pub const JITTER_PERCENT_MAX: u8 = 50;

impl Retry {
    /// A list of waits, the last of which repeats, and the jitter in percent
    /// to either side. `None` for an empty list, one of more than
    /// [`INTERVALS_MAX`], an interval below [`INTERVAL_MIN`], or a jitter above
    /// [`JITTER_PERCENT_MAX`].
    pub fn new(intervals: &[Duration], jitter_percent: u8) -> Option<Self> {
        let fits = (1..=INTERVALS_MAX).contains(&intervals.len())
            && intervals.iter().all(|interval| *interval >= INTERVAL_MIN)
            && jitter_percent <= JITTER_PERCENT_MAX;
        fits.then(|| Self { intervals: intervals.into(), jitter_percent })
    }

    /// The waits, at least one.
    pub fn intervals(&self) -> &[Duration] {
        &self.intervals
    }

    /// Jitter to either side, in percent of the interval.
    pub fn jitter_percent(&self) -> u8 {
        self.jitter_percent
    }

    /// How long to wait after the attempt number `attempts_made` (1 after the
    /// first). `random` spreads the wait over the jitter.
    pub fn delay(&self, attempts_made: u16, random: u64) -> Duration {
        self.spread(attempts_made, random, self.jitter_percent)
    }

    fn spread(&self, attempts_made: u16, random: u64, jitter_percent: u8) -> Duration {
        let place = usize::from(attempts_made.max(1)) - 1;
        let last = self.intervals.len() - 1;
        let interval = self.intervals[place.min(last)];
        let jitter_ms = interval.as_millis() as u64 * u64::from(jitter_percent) / 100;
        // Multiply and shift: an even draw from 0..=2·jitter without division.
        let draw = (u128::from(random) * u128::from(2 * jitter_ms + 1)) >> 64;
        interval - Duration::from_millis(jitter_ms) + Duration::from_millis(draw as u64)
    }
}

impl RetryAfter {
    /// The waits after this trouble, if it has its own.
    pub fn after(&self, trouble: Trouble) -> Option<&Retry> {
        match trouble {
            Trouble::Other => None,
            Trouble::Greylisted => self.greylisted.as_ref(),
            Trouble::Limited => self.limited.as_ref(),
            Trouble::Unreachable => self.unreachable.as_ref(),
        }
    }

    /// All there are, by the names that they have as settings.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &Retry)> {
        let all = [
            ("greylisted", &self.greylisted),
            ("limited", &self.limited),
            ("unreachable", &self.unreachable),
        ];
        all.into_iter().filter_map(|(name, retry)| Some((name, retry.as_ref()?)))
    }
}

impl Trouble {
    /// What a host meant that answered not now. No code tells these from
    /// others, so that the words have to.
    pub fn of_answer(answer: &str) -> Self {
        let text = answer.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&GREYLISTED) {
            Self::Greylisted
        } else if says(&LIMITED) {
            Self::Limited
        } else {
            Self::Other
        }
    }
}

const GREYLISTED: [&str; 6] =
    ["greylist", "graylist", "grey list", "gray list", "grey-list", "gray-list"];
const LIMITED: [&str; 8] = [
    "rate limit",
    "rate-limit",
    "ratelimit",
    "throttl",
    "too many connections",
    "too many messages",
    "too much mail",
    "unusual rate",
];

/// Waits from `first` on, each `factor_percent` of the one before, up to `max`,
/// which is the last. `None` where that takes more than [`INTERVALS_MAX`], or
/// would never end.
pub fn growing(first: Duration, factor_percent: u32, max: Duration) -> Option<Vec<Duration>> {
    let (mut waits, mut wait) = (Vec::new(), first);
    while wait < max {
        if waits.len() + 1 >= INTERVALS_MAX {
            return None;
        }
        waits.push(wait);
        wait = wait.saturating_mul(factor_percent) / 100;
    }
    waits.push(max);
    Some(waits)
}

impl Default for Retry {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self {
            intervals: [minutes(5), minutes(10), minutes(20), minutes(40), minutes(60)].into(),
            jitter_percent: 10,
        }
    }
}

impl Delivery {
    /// What comes next at `now` for a recipient that arrived at `arrived` and
    /// had `attempts` real attempts, the last of which failed for now. Waits
    /// for our own shortage are no attempts and do not come here.
    pub fn next(&self, now: Wall, arrived: Wall, attempts: u16, random: u64) -> Next {
        self.next_after(Trouble::Other, now, arrived, attempts, random)
    }

    /// How long to wait after such trouble, spread by the way's own jitter.
    pub fn wait_after(&self, trouble: Trouble, attempts: u16, random: u64) -> Duration {
        let retry = self.retry_after.after(trouble).unwrap_or(&self.retry);
        retry.spread(attempts, random, self.retry.jitter_percent)
    }

    /// The longest that [`Delivery::wait_after`] can be, after whatever trouble
    /// and however many attempts.
    pub fn longest_wait(&self) -> Duration {
        let lists = self.retry_after.named().map(|(_, retry)| retry).chain([&self.retry]);
        let longest = lists.flat_map(Retry::intervals).max().expect("a list has an interval");
        *longest * (100 + u32::from(self.retry.jitter_percent)) / 100
    }

    /// The same as [`Delivery::next`] where it is known why.
    pub fn next_after(
        &self,
        trouble: Trouble,
        now: Wall,
        arrived: Wall,
        attempts: u16,
        random: u64,
    ) -> Next {
        let end = self.expires(arrived);
        if now >= end {
            return Next::Expired;
        }
        if self.max_attempts > 0 && attempts > self.max_attempts {
            return Next::AttemptsUsedUp;
        }
        match self.on_failure {
            OnFailure::Hold => Next::Hold,
            OnFailure::Bounce => Next::Bounce,
            OnFailure::Retry => {
                let at = now + self.wait_after(trouble, attempts, random);
                Next::At(if planted(Bug::RetryPastLifetime) { at } else { at.min(end) })
            }
        }
    }

    /// When mail that arrived at `arrived` ends, whatever its state.
    pub fn expires(&self, arrived: Wall) -> Wall {
        arrived + self.lifetime
    }

    /// When the sender is told that mail is late; `None` when switched off, or
    /// when the mail would have ended by then.
    pub fn delay_notice_at(&self, arrived: Wall) -> Option<Wall> {
        let after = self.delay_notice.filter(|after| *after < self.lifetime)?;
        Some(arrived + after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows: A28
    #[test]
    fn each_kind_of_trouble_has_its_own_waits_or_the_usual_ones() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let list = |waits: &[u64], jitter| {
            let waits: Vec<_> = waits.iter().map(|n| minutes(*n)).collect();
            Retry::new(&waits, jitter).unwrap()
        };
        let retry_after = RetryAfter {
            greylisted: Some(list(&[2, 30], 0)),
            unreachable: Some(list(&[45], 0)),
            ..RetryAfter::default()
        };
        let way = Delivery { retry: list(&[5, 10], 0), retry_after, ..Delivery::default() };
        let arrived = Wall::from_millis(0);
        for (trouble, attempts, wait) in [
            (Trouble::Other, 1, 5),
            (Trouble::Limited, 2, 10),
            (Trouble::Greylisted, 1, 2),
            (Trouble::Greylisted, 9, 30),
            (Trouble::Unreachable, 1, 45),
        ] {
            let next = way.next_after(trouble, arrived, arrived, attempts, 7);
            assert_eq!(next, Next::At(arrived + minutes(wait)), "{trouble:?} {attempts}");
        }
        let short = Delivery { lifetime: minutes(30), ..way.clone() };
        let next = short.next_after(Trouble::Unreachable, arrived, arrived, 1, 7);
        assert_eq!(next, Next::At(arrived + minutes(30)), "never beyond the end");
        let spread = Delivery { retry: list(&[5], 50), ..way };
        let waits: std::collections::BTreeSet<_> =
            (0..20).map(|n| spread.wait_after(Trouble::Unreachable, 1, n << 59)).collect();
        assert!(waits.len() > 10, "the way's jitter spreads these too");
        assert!(waits.iter().all(|wait| (minutes(22)..minutes(68)).contains(wait)), "{waits:?}");
        assert_eq!(spread.longest_wait(), minutes(45) * 3 / 2);
        assert_eq!(spread.wait_after(Trouble::Unreachable, 1, u64::MAX), spread.longest_wait());
    }

    /// Shows: A28
    #[test]
    fn answers_tell_their_reason_by_their_words() {
        for (answer, trouble) in [
            ("450 4.7.1 Greylisted, come back", Trouble::Greylisted),
            ("451 4.7.1 gray-listing in action", Trouble::Greylisted),
            ("421 4.7.28 unusual rate of mail from your IP", Trouble::Limited),
            ("421 4.3.2 Too many connections from your host", Trouble::Limited),
            ("450 4.2.1 RATE LIMIT reached", Trouble::Limited),
            ("452 4.2.2 mailbox full", Trouble::Other),
            ("", Trouble::Other),
        ] {
            assert_eq!(Trouble::of_answer(answer), trouble, "{answer}");
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn way(intervals: &[u64], lifetime: u64, max_attempts: u16) -> Delivery {
        let intervals: Vec<_> = intervals.iter().map(|n| SECOND * *n as u32).collect();
        Delivery {
            retry: Retry::new(&intervals, 0).unwrap(),
            lifetime: SECOND * lifetime as u32,
            max_attempts,
            ..Delivery::default()
        }
    }

    fn at(seconds: u64) -> Wall {
        Wall::from_millis(1_000_000 + seconds * 1_000)
    }

    /// Covers: A2.18
    /// Shows: S1.6
    #[test]
    fn the_list_is_walked_and_its_last_wait_repeats() {
        let way = way(&[5, 10, 20], 10_000, 0);
        for (attempts, wait) in [(1, 5), (2, 10), (3, 20), (4, 20), (u16::MAX, 20)] {
            assert_eq!(way.next(at(0), at(0), attempts, 7), Next::At(at(wait)));
        }
    }

    /// Shows: S4.1
    #[test]
    fn max_attempts_allows_one_more_than_its_number() {
        let way = way(&[1], 10_000, 5);
        for attempts in 1..=5 {
            assert_eq!(way.next(at(0), at(0), attempts, 0), Next::At(at(1)));
        }
        assert_eq!(way.next(at(0), at(0), 6, 0), Next::AttemptsUsedUp);
    }

    /// Proves: RFC 5321 §4.5.4.1
    /// Covers: A2.18
    #[test]
    fn mail_expires_at_its_end_neither_earlier_nor_later() {
        let way = way(&[100], 250, 0);
        assert_eq!(way.next(at(0), at(0), 1, 0), Next::At(at(100)));
        assert_eq!(way.next(at(200), at(0), 3, 0), Next::At(at(250)), "the end cuts the wait");
        assert_eq!(way.next(at(250), at(0), 4, 0), Next::Expired);
        assert_eq!(way.next(at(9_999), at(0), 4, 0), Next::Expired);
        assert_eq!(way.expires(at(0)), at(250));
    }

    /// Shows: S4.2
    #[test]
    fn a_lifetime_over_wins_over_attempts_used_up() {
        let way = way(&[1], 10, 1);
        assert_eq!(way.next(at(10), at(0), 9, 0), Next::Expired);
    }

    /// Shows: S0.9
    #[test]
    fn hold_and_bounce_replace_the_wait() {
        let mut way = way(&[1], 10, 0);
        way.on_failure = OnFailure::Hold;
        assert_eq!(way.next(at(0), at(0), 1, 0), Next::Hold);
        way.on_failure = OnFailure::Bounce;
        assert_eq!(way.next(at(0), at(0), 1, 0), Next::Bounce);
    }

    /// Covers: A2.18
    /// Shows: A28
    #[test]
    fn jitter_reaches_both_ends_and_no_further() {
        let retry = Retry::new(&[SECOND * 100], 10).unwrap();
        assert_eq!(retry.delay(1, 0), SECOND * 90);
        assert_eq!(retry.delay(1, u64::MAX), SECOND * 110);
        assert_eq!(retry.delay(1, u64::MAX / 2), SECOND * 100);
    }

    #[test]
    fn growing_waits_end_at_the_longest_within_their_bound() {
        let waits = |first, percent, max| growing(SECOND * first, percent, SECOND * max);
        assert_eq!(waits(1, 200, 5), Some([1, 2, 4, 5].map(|n| SECOND * n).into()));
        assert_eq!(waits(5, 200, 5), Some(vec![SECOND * 5]));
        assert_eq!(waits(1, 100, 5), None, "it never comes there");
        // The 64th wait would be of 405 seconds.
        assert_eq!(waits(1, 110, 400).map(|waits| waits.len()), Some(INTERVALS_MAX));
        assert_eq!(waits(1, 110, 410), None);
    }

    #[test]
    fn a_list_is_bounded() {
        assert!(Retry::new(&[], 0).is_none());
        assert!(Retry::new(&[SECOND; INTERVALS_MAX], JITTER_PERCENT_MAX).is_some());
        assert!(Retry::new(&[SECOND; INTERVALS_MAX + 1], 0).is_none());
        assert!(Retry::new(&[SECOND], JITTER_PERCENT_MAX + 1).is_none());
        assert!(Retry::new(&[INTERVAL_MIN], 0).is_some());
        assert!(Retry::new(&[INTERVAL_MIN - Duration::from_millis(1)], 0).is_none());
    }

    /// Covers: A7.7
    #[test]
    fn the_delay_notice_comes_only_within_the_lifetime() {
        let mut way = way(&[1], 100, 0);
        way.delay_notice = Some(SECOND * 99);
        assert_eq!(way.delay_notice_at(at(0)), Some(at(99)));
        way.delay_notice = Some(SECOND * 100);
        assert_eq!(way.delay_notice_at(at(0)), None);
        way.delay_notice = None;
        assert_eq!(way.delay_notice_at(at(0)), None);
    }
}
