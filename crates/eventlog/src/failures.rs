//! What went wrong of late: lines of failures put together where the same was
//! said, most frequent first, with the words of the latest and who said so.
//!
//! Counts are those of the last [`WINDOW`], in twelve steps. Invariants: at most
//! [`GROUPS_MAX`] groups are kept, and what a remote says is never taken for
//! anything but text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use base::Wall;

use crate::field::Field;
use crate::read::{time, value};

/// How far back counts reach.
pub const WINDOW: Duration = Duration::from_secs(3_600);
/// Groups that are kept; beyond that the quietest goes.
pub const GROUPS_MAX: usize = 500;
/// Steps of the window.
const STEPS: u64 = 12;
const STEP_MS: u64 = WINDOW.as_millis() as u64 / STEPS;
/// Sites that are counted of one group.
pub const SITES_MAX: usize = 100;
/// Longest words that are kept of one failure, in octets.
const WORDS_BYTES_MAX: usize = 1_024;
/// What such lines begin with behind their time, in the order of [`EVENTS`].
const EVENTS: [&str; 3] = ["deferred", "failed", "expired"];
/// Octets of a line in front of its event.
const EVENT_AT: usize = r#"{"time":"2026-11-21T22:15:30.125Z","event":""#.len();

/// What went wrong, group by group.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    groups: BTreeMap<Key, Group>,
}

/// What makes two failures one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    event: usize,
    status: Box<str>,
    /// The words without what differs from message to message.
    gist: Box<str>,
}

#[derive(Clone, Debug)]
struct Group {
    /// Counts by step, and the step that each place was last used in.
    counts: [(u64, u32); STEPS as usize],
    /// Where it was said, each with when last.
    sites: BTreeMap<Box<str>, Wall>,
    first: Wall,
    last: Wall,
    words: Box<str>,
    host: Box<str>,
    recipient: Box<str>,
    id: Box<str>,
}

/// One group, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `deferred`, `failed` or `expired`.
    pub event: &'static str,
    /// Where, the latest first, at most [`SITES_MAX`].
    pub sites: Vec<String>,
    /// The host that said it, last.
    pub host: String,
    /// `4.2.1`; empty where there is none.
    pub status: String,
    /// What was said, by a remote or by us, as the latest line has it.
    pub words: String,
    /// The recipient of the latest.
    pub recipient: String,
    /// The message of the latest.
    pub id: String,
    /// How often within [`WINDOW`].
    pub count: u32,
    /// The first that is known of.
    pub first: Wall,
    /// The latest.
    pub last: Wall,
}

impl Failures {
    /// Takes a line, if it tells of a failure.
    pub fn note(&mut self, line: &[u8]) {
        let Some(event) = event_of(line) else { return };
        let Some(at) = time(line) else { return };
        let of = |field| value(line, field).unwrap_or_default();
        let words = match of(Field::Reply) {
            reply if reply.is_empty() => of(Field::Reason),
            reply => reply,
        };
        let (host, recipient) = (of(Field::Host), of(Field::To));
        let site = match of(Field::Site) {
            site if site.is_empty() => host.clone(),
            site => site,
        };
        let gist = gist(&words).into();
        let key = Key { event, status: (*of(Field::Status)).into(), gist };
        if !self.groups.contains_key(&key) && self.groups.len() >= GROUPS_MAX {
            self.drop_quietest(at);
        }
        let group = self.groups.entry(key).or_insert_with(|| Group {
            counts: [(0, 0); STEPS as usize],
            sites: BTreeMap::new(),
            first: at,
            last: at,
            words: "".into(),
            host: "".into(),
            recipient: "".into(),
            id: "".into(),
        });
        group.count(at);
        group.was_at(&site, at);
        if at >= group.last {
            group.last = at;
            group.words = bounded(&words).into();
            group.host = (*host).into();
            group.recipient = (*recipient).into();
            group.id = (*of(Field::Id)).into();
        }
    }

    /// The most frequent of the last hour, at most so many. Forgets those that
    /// are older.
    pub fn top(&mut self, now: Wall, most: usize) -> Vec<Failure> {
        self.groups.retain(|_, group| group.within(now) > 0);
        let shown = |(key, group): (&Key, &Group)| Failure {
            event: EVENTS[key.event],
            sites: group.sites_latest_first(),
            host: group.host.to_string(),
            status: key.status.to_string(),
            words: group.words.to_string(),
            recipient: group.recipient.to_string(),
            id: group.id.to_string(),
            count: group.within(now),
            first: group.first,
            last: group.last,
        };
        let mut all: Vec<Failure> = self.groups.iter().map(shown).collect();
        all.sort_by_key(|it| std::cmp::Reverse((it.count, it.last)));
        all.truncate(most);
        all
    }

    fn drop_quietest(&mut self, now: Wall) {
        let quiet = self.groups.iter().min_by_key(|(_, group)| (group.within(now), group.last));
        if let Some(key) = quiet.map(|(key, _)| key.clone()) {
            self.groups.remove(&key);
        }
    }
}

impl Group {
    fn count(&mut self, at: Wall) {
        let step = at.as_millis() / STEP_MS;
        let place = &mut self.counts[(step % STEPS) as usize];
        if place.0 != step {
            // A clock that was set back does not wipe out what came later.
            if place.0 > step {
                return;
            }
            *place = (step, 0);
        }
        place.1 = place.1.saturating_add(1);
    }

    fn was_at(&mut self, site: &str, at: Wall) {
        if let Some(last) = self.sites.get_mut(site) {
            *last = at;
        } else if !site.is_empty() && self.sites.len() < SITES_MAX {
            self.sites.insert(site.into(), at);
        }
    }

    fn sites_latest_first(&self) -> Vec<String> {
        let mut sites: Vec<(&Wall, &str)> = self.sites.iter().map(|(s, at)| (at, &**s)).collect();
        sites.sort_by(|a, b| b.cmp(a));
        sites.into_iter().map(|(_, site)| site.to_owned()).collect()
    }

    fn within(&self, now: Wall) -> u32 {
        let step = now.as_millis() / STEP_MS;
        let recent = self.counts.iter().filter(|(at, _)| at + STEPS > step);
        recent.map(|(_, count)| *count).fold(0, u32::saturating_add)
    }
}

/// Which of [`EVENTS`] a line is: one look at its begin, for most are not.
fn event_of(line: &[u8]) -> Option<usize> {
    let word = line.get(EVENT_AT..)?;
    EVENTS.iter().position(|event| {
        word.strip_prefix(event.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'"'))
    })
}

/// Words without what differs from message to message: addresses, and words
/// with so many digits that they are a name of something. Codes stay.
fn gist(words: &str) -> String {
    let mut out = String::new();
    for word in bounded(words).split_whitespace() {
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        let code = word.bytes().all(|b| b.is_ascii_digit() || b == b'.') && word.len() <= 8;
        let named = word.contains('@') || (digits >= 3 && !code);
        out.push_str(if named { "*" } else { word });
        out.push(' ');
    }
    out
}

fn bounded(words: &str) -> Cow<'_, str> {
    if words.len() <= WORDS_BYTES_MAX {
        return words.into();
    }
    let mut end = WORDS_BYTES_MAX;
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    words[..end].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Line};

    const NOW: u64 = 1_795_299_330_125;

    fn line(kind: Kind, at: u64, site: &str, reply: &str) -> Vec<u8> {
        Line::new(Wall::from_millis(at), kind)
            .text(Field::Id, "0000400000010")
            .text(Field::To, "b@rcpt.example")
            .text(Field::Host, "mx.rcpt.example [192.0.2.1]")
            .text(Field::Site, site)
            .text(Field::Status, "4.2.1")
            .text(Field::Reply, reply)
            .number(Field::Attempt, 1_u32)
            .end()
    }

    fn top(failures: &mut Failures, now: u64) -> Vec<(String, u32)> {
        let rows = failures.top(Wall::from_millis(now), 10);
        rows.into_iter().map(|it| (it.words, it.count)).collect()
    }

    /// Shows: A88
    #[test]
    fn what_is_said_for_the_same_reason_is_one_row_with_the_latest_words() {
        let mut failures = Failures::default();
        for n in 0..5 {
            let reply = format!("451 4.2.1 <u{n}@rcpt.example> try later (id 8F3A1{n}77)");
            failures.note(&line(Kind::Deferred, NOW + n, "mx:a", &reply));
        }
        let other = "451 4.2.1 <x@rcpt.example> try later (id 99999)";
        failures.note(&line(Kind::Deferred, NOW, "mx:b", other));
        failures.note(&line(Kind::Deferred, NOW, "mx:b", "451 4.2.1 busy"));
        failures.note(&line(Kind::Failed, NOW + 9, "mx:a", "550 5.1.1 nobody <script>"));
        failures.note(&line(Kind::Delivered, NOW + 9, "mx:a", "250 2.0.0 ok"));
        failures.note(b"{}");
        failures.note(b"");
        assert_eq!(
            top(&mut failures, NOW + 10),
            [
                ("451 4.2.1 <u4@rcpt.example> try later (id 8F3A1477)".into(), 6),
                ("550 5.1.1 nobody <script>".into(), 1),
                ("451 4.2.1 busy".into(), 1),
            ]
        );
        let first = &failures.top(Wall::from_millis(NOW + 10), 1)[0];
        assert_eq!((first.event, &*first.status), ("deferred", "4.2.1"));
        assert_eq!(first.sites, ["mx:a", "mx:b"]);
        assert_eq!((first.first, first.last), (Wall::from_millis(NOW), Wall::from_millis(NOW + 4)));
        assert_eq!((&*first.recipient, &*first.id), ("b@rcpt.example", "0000400000010"));
    }

    #[test]
    fn an_hour_later_it_is_forgotten() {
        let mut failures = Failures::default();
        let hour = WINDOW.as_millis() as u64;
        for n in 0..12 {
            failures.note(&line(Kind::Deferred, NOW + n * STEP_MS, "mx:a", "later"));
        }
        assert_eq!(top(&mut failures, NOW + 11 * STEP_MS), [("later".into(), 12)]);
        assert_eq!(top(&mut failures, NOW + hour + STEP_MS), [("later".into(), 10)]);
        // A line from before is no reason to forget those after it.
        failures.note(&line(Kind::Deferred, NOW - hour, "mx:a", "later"));
        assert_eq!(top(&mut failures, NOW + hour + STEP_MS), [("later".into(), 10)]);
        assert_eq!(top(&mut failures, NOW + 2 * hour), []);
        assert!(failures.groups.is_empty());
    }

    #[test]
    fn groups_and_words_have_a_bound() {
        let mut failures = Failures::default();
        let long = "é".repeat(WORDS_BYTES_MAX);
        failures.note(&line(Kind::Failed, NOW, "mx:often", &long));
        failures.note(&line(Kind::Failed, NOW, "mx:often", &long));
        for n in 0..GROUPS_MAX + 20 {
            let word = "no".repeat(n + 1);
            failures.note(&line(Kind::Failed, NOW + n as u64, &format!("mx:{n}"), &word));
            failures.note(&line(Kind::Failed, NOW + n as u64, &format!("mx:{n}"), &long));
        }
        assert_eq!(failures.groups.len(), GROUPS_MAX);
        let first = &failures.top(Wall::from_millis(NOW), 1)[0];
        assert_eq!((first.sites.len(), first.count), (SITES_MAX, 522), "the quietest go");
        assert_eq!(first.words.len(), WORDS_BYTES_MAX);
    }
}
