//! The screen's state: what was seen last, what is chosen, and what each key
//! does to it. Pure: time comes in as milliseconds of any clock that only goes
//! forward, what is wanted of others goes out as a [`Wish`].
//!
//! Invariant: nothing is done to mail before somebody has said `y` to the
//! question that names it.

use std::collections::VecDeque;

use control::api::SiteOrder;
use ratatui::crossterm::event::KeyCode;

use super::seen::Seen;

/// Rates that are kept for the sparklines.
pub const RATES_MAX: usize = 240;
/// Without an answer for so long the daemon counts as away.
pub const PATIENCE_MS: u64 = 4_000;
/// How long a word about what was done stays.
const SAID_MS: u64 = 8_000;
/// Longest filter, in characters.
const FILTER_MAX: usize = 80;
/// Rows that a page key moves by.
const PAGE: usize = 10;

/// The screen.
#[derive(Debug, Default)]
pub struct Top {
    pub seen: Option<Seen>,
    /// When it was heard last.
    pub heard_ms: Option<u64>,
    /// Why it was not heard, last.
    pub trouble: Option<String>,
    pub now_ms: u64,
    pub rates: Rates,
    pub sort: SiteOrder,
    pub filter: String,
    pub mode: Mode,
    /// The site that is chosen, by its name: rows move.
    pub chosen: Option<String>,
    /// What came of an order, and when that was said.
    said: Option<(u64, String)>,
}

/// What keys mean just now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Letters are commands.
    #[default]
    Looking,
    /// Letters are typed into the filter.
    Filtering,
    /// An order waits for `y`.
    Asking(Order),
    /// The keys are explained.
    Helping,
}

/// What can be done to a site from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub act: Act,
    pub site: String,
    /// Recipients that wait there.
    pub count: u64,
}

/// See [`Order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Suspend,
    Resume,
    Flush,
}

/// What a key asks of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    Nothing,
    /// Sites by another filter or order.
    Look,
    Do(Order),
    Quit,
}

/// What happened a second, the latest last.
#[derive(Debug, Default)]
pub struct Rates {
    pub accepted: VecDeque<f64>,
    pub delivered: VecDeque<f64>,
    pub deferred: VecDeque<f64>,
    pub failed: VecDeque<f64>,
    /// Share of a processor of each shard, from 0 to 1.
    pub load: Vec<f64>,
}

/// The orders of the list, in the order of the key that goes through them.
pub const ORDERS: [SiteOrder; 8] = [
    SiteOrder::Count,
    SiteOrder::Ready,
    SiteOrder::Deferred,
    SiteOrder::InFlight,
    SiteOrder::Held,
    SiteOrder::Connections,
    SiteOrder::State,
    SiteOrder::Name,
];

impl Top {
    /// A screen on which nothing was seen yet, of sites with this in their name.
    pub fn new(filter: &str) -> Self {
        Self { filter: filter.into(), ..Self::default() }
    }

    /// The daemon answered.
    pub fn heard(&mut self, now_ms: u64, seen: Seen) {
        if let Some(before) = &self.seen {
            self.rates.note(before, &seen);
        }
        self.seen = Some(seen);
        self.heard_ms = Some(now_ms);
        self.trouble = None;
        self.tick(now_ms);
    }

    /// The daemon did not answer.
    pub fn missed(&mut self, now_ms: u64, why: String) {
        self.trouble = Some(why);
        self.tick(now_ms);
    }

    /// Something was done, or refused.
    pub fn told(&mut self, now_ms: u64, words: String) {
        self.said = Some((now_ms, words));
        self.tick(now_ms);
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        if self.said.as_ref().is_some_and(|(at, _)| now_ms.saturating_sub(*at) >= SAID_MS) {
            self.said = None;
        }
    }

    /// Since when the daemon is waited for, in milliseconds; none while it is
    /// there.
    pub fn away_ms(&self) -> Option<u64> {
        let silent = self.now_ms.saturating_sub(self.heard_ms.unwrap_or(0));
        (self.trouble.is_some() || self.heard_ms.is_none() || silent >= PATIENCE_MS)
            .then_some(silent)
    }

    /// What came of the last order, for a while.
    pub fn said(&self) -> Option<&str> {
        self.said.as_ref().map(|(_, words)| &**words)
    }

    /// The row that is chosen: the one with that name, else the first.
    pub fn row(&self) -> Option<usize> {
        let sites = &self.seen.as_ref()?.sites;
        let named = |name: &String| sites.iter().position(|site| site.name == *name);
        self.chosen.as_ref().and_then(named).or(if sites.is_empty() { None } else { Some(0) })
    }

    /// Takes a key.
    pub fn key(&mut self, code: KeyCode) -> Wish {
        match std::mem::take(&mut self.mode) {
            Mode::Looking => self.command(code),
            Mode::Helping => Wish::Nothing,
            Mode::Asking(order) => match code {
                KeyCode::Char('y' | 'Y') => Wish::Do(order),
                _ => Wish::Nothing,
            },
            Mode::Filtering => self.typed(code),
        }
    }

    fn command(&mut self, code: KeyCode) -> Wish {
        match code {
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Char('?' | 'h') => self.mode = Mode::Helping,
            KeyCode::Char('/') => self.mode = Mode::Filtering,
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                return Wish::Look;
            }
            KeyCode::Char('o') => return self.sorted(1),
            KeyCode::Char('O') => return self.sorted(ORDERS.len() - 1),
            KeyCode::Char('s') => self.ask(Act::Suspend),
            KeyCode::Char('r') => self.ask(Act::Resume),
            KeyCode::Char('f') => self.ask(Act::Flush),
            KeyCode::Up | KeyCode::Char('k') => self.choose(|row, _| row.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose(|row, _| row + 1),
            KeyCode::PageUp => self.choose(|row, _| row.saturating_sub(PAGE)),
            KeyCode::PageDown => self.choose(|row, _| row + PAGE),
            KeyCode::Home | KeyCode::Char('g') => self.choose(|_, _| 0),
            KeyCode::End | KeyCode::Char('G') => self.choose(|_, last| last),
            _ => {}
        }
        Wish::Nothing
    }

    fn typed(&mut self, code: KeyCode) -> Wish {
        match code {
            KeyCode::Enter => return Wish::Nothing,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Backspace => {
                self.filter.pop();
                self.mode = Mode::Filtering;
            }
            KeyCode::Char(letter) => {
                if !letter.is_control() && self.filter.chars().count() < FILTER_MAX {
                    self.filter.push(letter);
                }
                self.mode = Mode::Filtering;
            }
            _ => {
                self.mode = Mode::Filtering;
                return Wish::Nothing;
            }
        }
        Wish::Look
    }

    fn sorted(&mut self, steps: usize) -> Wish {
        let at = ORDERS.iter().position(|order| *order == self.sort).unwrap_or(0);
        self.sort = ORDERS[(at + steps) % ORDERS.len()];
        Wish::Look
    }

    fn choose(&mut self, to: impl Fn(usize, usize) -> usize) {
        let Some(row) = self.row() else { return };
        let Some(seen) = &self.seen else { return };
        let last = seen.sites.len() - 1;
        self.chosen = Some(seen.sites[to(row, last).min(last)].name.clone());
    }

    fn ask(&mut self, act: Act) {
        let Some(row) = self.row() else { return };
        let Some(seen) = &self.seen else { return };
        let site = &seen.sites[row];
        let order = Order { act, site: site.name.clone(), count: site.count };
        // What is asked about stays chosen, wherever its row goes.
        self.chosen = Some(order.site.clone());
        self.mode = Mode::Asking(order);
    }
}

impl Rates {
    /// Notes what happened between two looks at the same daemon.
    fn note(&mut self, before: &Seen, now: &Seen) {
        let Some(ms) = now.uptime_ms.checked_sub(before.uptime_ms).filter(|ms| *ms > 0) else {
            // Started anew: its counts began again.
            self.load.clear();
            return;
        };
        let seconds = ms as f64 / 1_000.0;
        let since = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        for (rates, rate) in [
            (&mut self.accepted, since(now.accepted, before.accepted)),
            (&mut self.delivered, since(now.delivered, before.delivered)),
            (&mut self.deferred, since(now.deferred, before.deferred)),
            (&mut self.failed, since(now.failed, before.failed)),
        ] {
            rates.push_back(rate);
            if rates.len() > RATES_MAX {
                rates.pop_front();
            }
        }
        let share = |(now, before): (&super::seen::ShardSeen, &super::seen::ShardSeen)| {
            (now.cpu_ms.saturating_sub(before.cpu_ms) as f64 / ms as f64).min(1.0)
        };
        self.load = now.shards.iter().zip(&before.shards).map(share).collect();
    }
}

impl Order {
    /// The question that goes before it.
    pub fn question(&self) -> String {
        let Self { act, site, count } = self;
        match act {
            Act::Suspend => format!("Stop delivery to {site}? {count} recipients wait there. y/n"),
            Act::Resume => format!("Go on with delivery to {site}? y/n"),
            Act::Flush => format!("Try the {count} recipients of {site} now? y/n"),
        }
    }
}
