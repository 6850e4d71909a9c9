//! How a mail exchanger behaves: an ordered list of rules, first match wins,
//! anything unmatched is accepted.
//!
//! A rule says where in the session it acts, on which of our addresses or for
//! which recipient domain, when, and what is done there. Rules that count keep
//! their counts over all connections of the sink, for as long as the script
//! stands.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base::{Map, Rng};

use crate::message::digest;

/// Recipients that one rule remembers; later ones are treated as first seen.
const SEEN_MAX: usize = 1 << 20;

/// A point of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Instead of the greeting.
    Greeting,
    /// At EHLO. A refused EHLO leaves HELO open.
    Ehlo,
    /// At HELO.
    Helo,
    /// At STARTTLS, which is offered only where a rule for this stage or the
    /// next one stands.
    StartTls,
    /// At the first bytes of the handshake, behind the 220, where the sink has no
    /// certificate: `Accept` is silence, a reply is sent as it is.
    Handshake,
    /// At MAIL.
    Mail,
    /// At each RCPT.
    Rcpt,
    /// At DATA.
    Data,
    /// At the first bytes of the content.
    Content,
    /// At the final dot; a message refused here is not taken.
    Dot,
    /// In place of the 250 for a message that has been taken: the sender
    /// cannot know that it was.
    Answer,
    /// At RSET.
    Rset,
    /// At QUIT.
    Quit,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The usual thing.
    Accept,
    /// This text, CRLF added, is the reply. `2…` and `3…` carry the command out,
    /// `421…` also closes, anything else (nonsense too) refuses it.
    Reply(String),
    /// Close the connection.
    Drop,
    /// Reset the connection.
    Reset,
    /// Read on and never answer again.
    Stall,
    /// Neither read nor answer again: the sender's buffers fill.
    StopReading,
    /// The usual thing after this time.
    Delay(Duration),
}

/// Whom a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Everybody.
    Any,
    /// Connections that came in on this address.
    Address(IpAddr),
    /// Transactions whose latest recipient is in this domain (lower case);
    /// stages before RCPT never match.
    Domain(String),
}

/// When a rule acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Each time.
    Always,
    /// The first `n` times, over all connections.
    First(u64),
    /// The first `n` times for each recipient; before RCPT, for each address
    /// of ours.
    FirstOfEach(u64),
    /// Greylisting: until this long after the recipient was first seen.
    Until(Duration),
    /// At RCPT from the recipient behind the first `n` of a transaction;
    /// elsewhere from the message behind the first `n` of a session.
    Beyond(u64),
    /// While more than `n` connections are open on the address.
    Crowded(u64),
    /// Beyond `count` times in each `span`, for each address of ours.
    BeyondRate {
        /// Times that are free.
        count: u64,
        /// Counted anew after this.
        span: Duration,
    },
    /// `parts` times in `whole`, at random but repeatably.
    Chance {
        /// Share.
        parts: u64,
        /// Of this; not 0.
        whole: u64,
    },
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where in the session.
    pub stage: Stage,
    /// For whom.
    pub to: To,
    /// When.
    pub when: When,
    /// What.
    pub act: Act,
}

impl Rule {
    /// At `stage`, for everybody, always: `act`.
    pub fn new(stage: Stage, act: Act) -> Self {
        Self { stage, to: To::Any, when: When::Always, act }
    }

    /// At `stage`, for everybody, always: the reply `text`.
    pub fn reply(stage: Stage, text: &str) -> Self {
        Self::new(stage, Act::Reply(text.to_owned()))
    }

    /// The same rule for connections to `address` only.
    pub fn at(mut self, address: impl Into<IpAddr>) -> Self {
        self.to = To::Address(address.into());
        self
    }

    /// The same rule for recipients in `domain` only.
    pub fn for_domain(mut self, domain: &str) -> Self {
        self.to = To::Domain(domain.to_ascii_lowercase());
        self
    }

    /// The same rule at some times only.
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }
}

/// What a rule may look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) address: IpAddr,
    /// The latest recipient, empty before RCPT.
    pub(crate) recipient: &'a [u8],
    /// Recipients taken in this transaction.
    pub(crate) recipients: u64,
    /// Messages taken in this session.
    pub(crate) messages: u64,
    /// Connections open on the address.
    pub(crate) open: u64,
    pub(crate) now: Instant,
}

/// Rules with their counts.
#[derive(Debug)]
pub(crate) struct Script {
    rules: Vec<(Rule, Counts)>,
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    seen: Mutex<Map<u64, (u64, Instant)>>,
}

impl Script {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self { rules: rules.into_iter().map(|rule| (rule, Counts::default())).collect() }
    }

    /// Whether STARTTLS is to be offered on `address`.
    pub(crate) fn offers_starttls(&self, address: IpAddr) -> bool {
        self.rules.iter().any(|(rule, _)| {
            let here = match rule.to {
                To::Address(only) => only == address,
                To::Any | To::Domain(_) => true,
            };
            here && matches!(rule.stage, Stage::StartTls | Stage::Handshake)
        })
    }

    /// What to do at `stage`.
    pub(crate) fn act(&self, stage: Stage, facts: Facts<'_>) -> Act {
        for (rule, counts) in &self.rules {
            if rule.stage == stage && is_for(&rule.to, facts) && counts.is_time(rule.when, facts) {
                return rule.act.clone();
            }
        }
        Act::Accept
    }
}

fn is_for(to: &To, facts: Facts<'_>) -> bool {
    match to {
        To::Any => true,
        To::Address(address) => *address == facts.address,
        To::Domain(domain) => {
            let at = memchr::memrchr(b'@', facts.recipient);
            at.is_some_and(|at| facts.recipient[at + 1..].eq_ignore_ascii_case(domain.as_bytes()))
        }
    }
}

impl Counts {
    fn is_time(&self, when: When, facts: Facts<'_>) -> bool {
        match when {
            When::Always => true,
            When::First(count) => self.hits.fetch_add(1, Ordering::Relaxed) < count,
            When::FirstOfEach(count) => self.see(facts).is_some_and(|(hits, _)| hits < count),
            When::Until(span) => {
                self.see(facts).is_some_and(|(_, first)| facts.now.duration_since(first) < span)
            }
            When::Beyond(count) if facts.recipient.is_empty() => facts.messages >= count,
            When::Beyond(count) => facts.recipients >= count,
            When::Crowded(count) => facts.open > count,
            When::BeyondRate { count, span } => self.passes(count, span, facts),
            When::Chance { parts, whole } => {
                Rng::new(self.hits.fetch_add(1, Ordering::Relaxed)).chance(parts, whole)
            }
        }
    }

    /// Counts this address in its current window: whether it is beyond `count`.
    fn passes(&self, count: u64, span: Duration, facts: Facts<'_>) -> bool {
        let key = digest(1, facts.address.to_string().as_bytes(), b"");
        let mut seen = self.seen.lock().expect("no holder of this lock can panic");
        let (hits, since) = seen.entry(key).or_insert((0, facts.now));
        if facts.now.duration_since(*since) >= span {
            (*hits, *since) = (0, facts.now);
        }
        *hits += 1;
        *hits > count
    }

    /// Counts this recipient (or address): times seen before, first time.
    fn see(&self, facts: Facts<'_>) -> Option<(u64, Instant)> {
        let key = match facts.recipient {
            [] => digest(1, facts.address.to_string().as_bytes(), b""),
            recipient => digest(0, recipient, b""),
        };
        let mut seen = self.seen.lock().expect("no holder of this lock can panic");
        if seen.len() >= SEEN_MAX && !seen.contains_key(&key) {
            return None;
        }
        let entry = seen.entry(key).or_insert((0, facts.now));
        let before = *entry;
        entry.0 += 1;
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(recipient: &[u8]) -> Facts<'_> {
        Facts {
            address: IpAddr::from([127, 0, 0, 9]),
            recipient,
            recipients: 0,
            messages: 0,
            open: 1,
            now: Instant::now(),
        }
    }

    #[test]
    fn the_first_matching_rule_wins() {
        let script = Script::new(vec![
            Rule::reply(Stage::Rcpt, "550 a").for_domain("A.example"),
            Rule::new(Stage::Rcpt, Act::Drop).at([127, 0, 0, 8]),
            Rule::new(Stage::Rcpt, Act::Stall),
        ]);
        assert_eq!(script.act(Stage::Rcpt, facts(b"x@a.EXAMPLE")), Act::Reply("550 a".into()));
        assert_eq!(script.act(Stage::Rcpt, facts(b"x@b.example")), Act::Stall);
        assert_eq!(script.act(Stage::Mail, facts(b"")), Act::Accept);
        let other = Facts { address: IpAddr::from([127, 0, 0, 8]), ..facts(b"x@b.example") };
        assert_eq!(script.act(Stage::Rcpt, other), Act::Drop);
    }

    #[test]
    fn rules_that_count_stop_at_their_bound() {
        let at = |when| Script::new(vec![Rule::new(Stage::Rcpt, Act::Drop).when(when)]);
        let script = at(When::First(2));
        let acts = |recipient| script.act(Stage::Rcpt, facts(recipient)) == Act::Drop;
        assert!(acts(b"a") && acts(b"b") && !acts(b"c"));
        let script = at(When::FirstOfEach(1));
        let acts = |recipient| script.act(Stage::Rcpt, facts(recipient)) == Act::Drop;
        assert!(acts(b"a") && acts(b"b") && !acts(b"a") && !acts(b"b"));
        let script = at(When::Beyond(3));
        let nth = |recipients| Facts { recipients, ..facts(b"a") };
        assert_eq!(script.act(Stage::Rcpt, nth(2)), Act::Accept);
        assert_eq!(script.act(Stage::Rcpt, nth(3)), Act::Drop);
    }

    #[test]
    fn greylisting_ends_when_its_time_is_over() {
        let when = When::Until(Duration::from_secs(60));
        let script = Script::new(vec![Rule::reply(Stage::Rcpt, "450 later").when(when)]);
        let early = facts(b"a@x");
        let late = Facts { now: early.now + Duration::from_secs(60), ..early };
        assert_ne!(script.act(Stage::Rcpt, early), Act::Accept);
        assert_eq!(script.act(Stage::Rcpt, late), Act::Accept);
        let stranger = Facts { recipient: b"b@x", ..late };
        assert_ne!(script.act(Stage::Rcpt, stranger), Act::Accept);
    }

    #[test]
    fn an_address_has_limits_of_its_own() {
        let script = Script::new(vec![
            Rule::new(Stage::Greeting, Act::Drop).when(When::Crowded(2)),
            Rule::new(Stage::Mail, Act::Drop)
                .when(When::BeyondRate { count: 2, span: Duration::from_secs(1) }),
        ]);
        let open = |open| script.act(Stage::Greeting, Facts { open, ..facts(b"") });
        assert_eq!((open(2), open(3)), (Act::Accept, Act::Drop));
        let first = facts(b"");
        let mail = |facts| script.act(Stage::Mail, facts) == Act::Drop;
        assert!(!mail(first) && !mail(first) && mail(first));
        let other = Facts { address: IpAddr::from([127, 0, 0, 8]), ..first };
        assert!(!mail(other), "each address counts for itself");
        assert!(!mail(Facts { now: first.now + Duration::from_secs(1), ..first }));
    }

    #[test]
    fn chance_is_about_right_and_repeats() {
        let when = When::Chance { parts: 1, whole: 4 };
        let run = || {
            let script = Script::new(vec![Rule::new(Stage::Dot, Act::Drop).when(when)]);
            (0..1_000).map(|_| script.act(Stage::Dot, facts(b"a")) == Act::Drop).collect::<Vec<_>>()
        };
        let hits = run().into_iter().filter(|hit| *hit).count();
        assert!((180..320).contains(&hits), "{hits}");
        assert_eq!(run(), run());
    }

    #[test]
    fn starttls_is_offered_where_a_rule_asks_for_it() {
        let rule = Rule::new(Stage::StartTls, Act::Stall).at([127, 0, 0, 8]);
        let script = Script::new(vec![rule]);
        assert!(script.offers_starttls(IpAddr::from([127, 0, 0, 8])));
        assert!(!script.offers_starttls(IpAddr::from([127, 0, 0, 9])));
    }
}
