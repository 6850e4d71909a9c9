//! When a queue is empty: mail as a mass in portions, each of which becomes due,
//! is served in order at the site's speed while the way's windows are open, and
//! comes back later as far as it is put off. Numbers in, a moment out.
//!
//! It is about what waits now; mail to come is not counted. Empty means that
//! the last of it is more likely gone than not; nothing of it lasts longer than
//! its lifetime. Invariant: at most [`STEPS_MAX`] portions are served,
//! whatever waits.

use std::collections::BTreeMap;
use std::time::Duration;

use base::Wall;
use control::Timetable;
use queue::Mix;

use super::speed::{Speed, Windows};

/// Portions that are served at most.
const STEPS_MAX: u32 = 1_024;
/// Portions into which mail is cut that stands ready together.
const PORTIONS: f64 = 32.0;
/// Of so much of a message left it is even odds that it is gone: ln 2.
const GONE: f64 = 0.693;
/// Less than this of a message does not come back.
const TRACE: f64 = 0.01;

/// A queue, and how it goes.
#[derive(Clone, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) now: Wall,
    /// From when on its ready mail goes.
    pub(crate) goes: Wall,
    /// What waits to become due, or to be served.
    pub(crate) due: Vec<Portion>,
    /// What is under way.
    pub(crate) under_way: Vec<Portion>,
    pub(crate) speed: Speed,
    /// Transactions for each one of these: others take their turns, and
    /// recipients of one message go together.
    pub(crate) turns: f64,
    /// A site that has been down begins with few connections.
    pub(crate) is_back: bool,
    pub(crate) table: Option<&'a Timetable>,
    /// Of a thousand attempts so many are put off: of first ones, of second
    /// ones and so on.
    pub(crate) put_off: [u32; Mix::KINDS],
    /// The wait after so many attempts, by their number less one; the last
    /// repeats.
    pub(crate) waits: Vec<Duration>,
    /// By how much waits differ to either side, in percent.
    pub(crate) jitter: u8,
}

/// What becomes of a [`Load`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// The last of what is ready now is tried; none where nothing is.
    pub(crate) tried: Option<Wall>,
    /// The last of it is gone.
    pub(crate) empty: Option<Wall>,
}

/// Messages that go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portion {
    /// Not before this.
    pub(crate) due: Wall,
    /// Attempts made.
    pub(crate) attempts: u16,
    pub(crate) count: u32,
    /// The end of the longest lifetime among them.
    pub(crate) ends: Wall,
}

impl Load<'_> {
    /// When all that is ready has been tried, and when it is empty; none where
    /// no window opens for it.
    pub(crate) fn carried(&self) -> Carried {
        let mut carried = Carried::default();
        carried.empty = self.empty(&mut carried.tried);
        carried
    }

    fn empty(&self, tried: &mut Option<Wall>) -> Option<Wall> {
        let mut flow = Flow { due: BTreeMap::new(), left: 0.0, last: self.now };
        for portion in &self.under_way {
            let mass = f64::from(portion.count);
            flow.left += mass;
            let over = self.now + self.speed.service / 2;
            self.served(&mut flow, portion.attempts, Mass { mass, ends: portion.ends }, over);
        }
        for portion in &self.due {
            let mass = f64::from(portion.count);
            flow.left += mass;
            flow.add((portion.due, portion.attempts), Mass { mass, ends: portion.ends });
        }
        let ready = flow.due.keys().take_while(|(at, _)| *at <= self.now).count();
        let mut ready: f64 = flow.due.values().take(ready).map(|it| it.mass).sum();
        let most = (flow.due.values().map(|it| it.mass).sum::<f64>() / PORTIONS).max(1.0);
        let (mut free, mut done) = (self.goes, 0.0);
        let mut windows = Windows::new(self.table, self.now);
        for _ in 0..STEPS_MAX {
            let goes_on = flow.left >= GONE || ready >= GONE;
            let first = flow.due.pop_first().filter(|_| goes_on);
            let Some(((at, attempts), Mass { mass, ends })) = first else {
                return Some(flow.last);
            };
            let start = at.max(free);
            if start >= ends {
                // Its lifetime is over before its turn.
                flow.left -= mass;
                flow.last = flow.last.max(ends);
                continue;
            }
            let now = mass.min(most);
            if mass > now {
                flow.add((at, attempts), Mass { mass: mass - now, ends });
            }
            let each = self.each(done);
            done += now;
            let turns = now * self.turns;
            free = windows.through(start, each.mul_f64(turns))?;
            let last = windows.through(start, each.mul_f64((turns - 1.0).max(0.0)))?;
            if at <= self.now {
                ready -= now;
                *tried = Some(last);
            }
            let over = last + self.speed.service;
            self.served(&mut flow, attempts, Mass { mass: now, ends }, over);
        }
        // It comes back again and again, to the end of its life.
        flow.due.values().map(|it| it.ends).max()
    }

    /// A portion was served: what was put off of it comes back.
    fn served(&self, flow: &mut Flow, attempts: u16, Mass { mass, ends }: Mass, over: Wall) {
        let put_off = mass * self.put_off(attempts);
        flow.last = flow.last.max(over.min(ends));
        if put_off < TRACE || self.waits.is_empty() {
            flow.left -= mass;
            return;
        }
        flow.left -= mass - put_off;
        let wait = self.waits[usize::from(attempts).min(self.waits.len() - 1)];
        // The last of many comes back at the end of the jitter.
        let many = (put_off - 1.0).max(0.0) / (put_off + 1.0);
        let wait = wait.mul_f64(1.0 + f64::from(self.jitter) / 100.0 * many);
        let next = (over + wait, attempts.saturating_add(1));
        flow.add(next, Mass { mass: put_off, ends });
    }

    /// Which part of mail with so many attempts is put off once more. What was
    /// put off many times has something that lasts: it is ever less likely to
    /// go.
    fn put_off(&self, attempts: u16) -> f64 {
        let last = Mix::KINDS - 1;
        let of = f64::from(self.put_off[usize::from(attempts).min(last)]) / 1_000.0;
        let rounds = f64::from(attempts) / last as f64;
        if rounds <= 1.0 { of } else { 1.0 - (1.0 - of) / (rounds * rounds) }
    }

    /// From one transaction to the next once so many are done.
    fn each(&self, done: f64) -> Duration {
        if self.is_back { self.speed.each_back(done) } else { self.speed.each() }
    }
}

/// So many messages, or parts of them, and the end of the longest lifetime
/// among them.
#[derive(Clone, Copy, Debug)]
struct Mass {
    mass: f64,
    ends: Wall,
}

struct Flow {
    due: BTreeMap<(Wall, u16), Mass>,
    /// Messages that are not gone.
    left: f64,
    /// When the last portion was served.
    last: Wall,
}

impl Flow {
    fn add(&mut self, at: (Wall, u16), more: Mass) {
        let there = self.due.entry(at).or_insert(Mass { mass: 0.0, ends: more.ends });
        there.mass += more.mass;
        there.ends = there.ends.max(more.ends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall::from_millis(1_767_225_600_000);

    fn at(s: u64) -> Wall {
        NOW + Duration::from_secs(s)
    }

    fn load(due: &[(u64, u16, u32)]) -> Load<'static> {
        let s = Duration::from_secs;
        Load {
            now: NOW,
            goes: NOW,
            due: due.iter().map(|it| portion(*it)).collect(),
            under_way: Vec::new(),
            speed: Speed { service: s(4), at_once: 2, paced: None, rated: None },
            turns: 1.0,
            is_back: false,
            table: None,
            put_off: [0; Mix::KINDS],
            waits: vec![s(300), s(600)],
            jitter: 0,
        }
    }

    fn portion((due, attempts, count): (u64, u16, u32)) -> Portion {
        Portion { due: at(due), attempts, count, ends: at(86_400) }
    }

    fn seconds(load: &Load<'_>) -> u64 {
        (load.carried().empty.expect("it goes").since(NOW).as_millis() as u64 + 500) / 1_000
    }

    #[test]
    fn what_is_ready_goes_at_the_speed_of_the_site() {
        assert_eq!(seconds(&load(&[(0, 0, 10)])), 22, "nine behind the first, and its own time");
        let half = Load { turns: 2.0, ..load(&[(0, 0, 10)]) };
        assert_eq!(seconds(&half), 42, "another one has every second turn");
        let later = Load { goes: at(100), ..load(&[(0, 0, 10)]) };
        assert_eq!(seconds(&later), 122);
        let mut rated = load(&[(0, 0, 10)]);
        rated.speed.rated = Some(Duration::from_secs(10));
        assert_eq!(seconds(&rated), 94, "the rate is slower than the site");
    }

    #[test]
    fn what_is_deferred_comes_behind_what_is_ready_when_it_is_due() {
        assert_eq!(seconds(&load(&[(0, 0, 2), (500, 1, 1)])), 504);
        assert_eq!(seconds(&load(&[(0, 0, 1_000), (500, 1, 1)])), 2_004);
        let tried = |due: &[(u64, u16, u32)]| {
            load(due).carried().tried.map(|at| (at.since(NOW).as_millis() + 500) / 1_000)
        };
        assert_eq!(tried(&[(0, 0, 1_000), (500, 1, 1)]), Some(1_998), "the last that is ready");
        assert_eq!(tried(&[(500, 1, 1)]), None);
    }

    #[test]
    fn what_is_put_off_comes_back() {
        let grey = Load { put_off: [1_000, 0, 0, 0], ..load(&[(0, 0, 1), (100, 1, 1)]) };
        assert_eq!(seconds(&grey), 308, "greylisted at 4, back at 304");
        let under_way = Load { under_way: vec![portion((0, 0, 1))], due: Vec::new(), ..grey };
        assert_eq!(seconds(&under_way), 306);
        let full = Load { put_off: [1_000; 4], ..load(&[(0, 5, 1)]) };
        assert_eq!(seconds(&full), 86_400, "to the end of its life");
        let mut two = load(&[(0, 5, 1), (9, 0, 1)]);
        two.due[0].ends = at(5_000);
        two.put_off = [0, 1_000, 1_000, 1_000];
        assert_eq!(seconds(&two), 5_000, "of its own, not of a newer one's");
    }

    #[test]
    fn even_odds_are_enough() {
        let put_off = [500; 4];
        let one = Load { put_off, ..load(&[(0, 0, 1)]) };
        assert_eq!(seconds(&one), 4, "it goes as likely as not");
        let many = Load { put_off, ..load(&[(0, 0, 8)]) };
        assert!(seconds(&many) > 300, "but not all of many do");
    }

    /// Even where one in ten goes at each of its later attempts, a message that
    /// was put off twenty times will not.
    #[test]
    fn what_was_put_off_often_stays() {
        let put_off = [0, 500, 900, 900];
        assert_eq!(seconds(&Load { put_off, ..load(&[(0, 1, 1)]) }), 4);
        assert_eq!(seconds(&Load { put_off, ..load(&[(0, 20, 1)]) }), 86_400);
    }

    #[test]
    fn a_site_that_is_back_begins_slowly() {
        let mut up = load(&[(0, 0, 100)]);
        up.speed.at_once = 20;
        let back = Load { is_back: true, ..up.clone() };
        assert!(seconds(&back) > seconds(&up) + 20, "{} {}", seconds(&back), seconds(&up));
    }
}
