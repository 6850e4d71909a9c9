//! Promise 5, our shortage is not their failure: nothing is counted as an
//! attempt, and nothing given up, for want of our own means or of an answer of
//! the name servers; and every failure for good has a cause that somebody
//! outside gave.
//!
//! Room: a shortage beside a real trouble at the same site proves nothing, so
//! only a site where nothing but shortages was seen counts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use base::Monotonic;

use crate::observation::{Link, LogEvent, LogLine, Observation, Resolved, Side, Stamped, Text};
use crate::rules::Failing;

use super::book::domain_of;
use super::{Book, Fault, Oracle, Verdict};

#[derive(Debug, Default)]
pub(super) struct Blame {
    to: BTreeMap<Link, SocketAddr>,
    hosts: BTreeMap<SocketAddr, Seen>,
    /// What name servers said for good: name and type, 0 for the name itself.
    nothing: BTreeSet<(Text, u16)>,
    /// Names that were asked for exchangers: domains, and no hosts.
    domains: BTreeSet<Text>,
}

/// What was seen of one address.
#[derive(Debug, Default)]
struct Seen {
    /// Our own means ran out on the way there.
    shortage: Option<Monotonic>,
    /// It was reached, or the fault was its own.
    theirs: Option<Monotonic>,
    /// Codes of 500 and above that it gave.
    refusals: BTreeSet<u16>,
}

impl Oracle for Blame {
    fn name(&self) -> &'static str {
        "our shortage is not their failure"
    }

    fn promise(&self) -> u8 {
        5
    }

    fn see(&mut self, book: &Book, seen: &Stamped) -> Verdict {
        let now = seen.at.mono;
        match &seen.what {
            Observation::Dialled { link, to, .. } => {
                self.to.insert(*link, *to);
            }
            Observation::DialFailed { link, ours } => self.note(*link, now, *ours),
            Observation::Stands { link } => self.note(*link, now, false),
            Observation::Ended { link, by } => {
                // A connection that we end before it stands has waited too long.
                let standing = *by == Side::Them || self.to.contains_key(link);
                if standing {
                    self.note(*link, now, false);
                }
            }
            Observation::Said { link, code, .. } if *code >= 500 => {
                if let Some(to) = self.to.get(link) {
                    self.hosts.entry(*to).or_default().refusals.insert(*code);
                }
            }
            Observation::Resolved { name, kind, how: Resolved::Nothing, .. } => {
                self.nothing.insert((name.clone(), *kind));
            }
            Observation::Resolved { name, how: Resolved::Never, .. } => {
                self.nothing.insert((name.clone(), 0));
            }
            Observation::Asked { name, kind: 15, .. } => {
                self.domains.insert(name.clone());
            }
            Observation::Crashed { .. } => self.to.clear(),
            Observation::Logged { line, .. } => return self.logged(book, line),
            _ => {}
        }
        Ok(())
    }
}

impl Blame {
    fn note(&mut self, link: Link, now: Monotonic, ours: bool) {
        let Some(to) = self.to.get(&link) else { return };
        let seen = self.hosts.entry(*to).or_default();
        if ours {
            seen.shortage = Some(now);
        } else {
            seen.theirs = Some(now);
        }
    }

    fn logged(&self, book: &Book, line: &LogLine) -> Verdict {
        let Some(who) = book.about(line) else { return Ok(()) };
        let (mail, to, fate) = book.fate(who);
        let fault = |what: String| Err(Fault::new(what).with(who.0).to(&to.address));
        let before = fate.line.as_ref().map_or(0, |line| line.attempt);
        let since = fate.line.as_ref().map_or(mail.handed.mono, |line| line.at.mono);
        let counted = line.attempt.is_some_and(|attempt| attempt > before);
        // What was delivered had a connection all the time.
        let blamed = counted && line.event != LogEvent::Delivered;
        if blamed && self.only_shortages(book, since, &to.address) {
            return fault("a want of our own counts as an attempt".into());
        }
        if line.event != LogEvent::Failed {
            return Ok(());
        }
        match line.code() {
            Some(code) if code >= 500 => {
                let gave = |(at, seen): (&SocketAddr, &Seen)| {
                    let named = line.address().is_none_or(|ip| ip == at.ip());
                    seen.refusals.contains(&code) && named
                };
                if self.hosts.iter().any(gave) {
                    Ok(())
                } else {
                    fault(format!("given up for a {code} that nobody gave"))
                }
            }
            _ if self.has_a_cause(book, since, &to.address, line) => Ok(()),
            _ => fault(format!("given up without a cause: {}", line.reply)),
        }
    }

    /// Whether all that was seen of a recipient's hosts since then are
    /// shortages of our own.
    fn only_shortages(&self, book: &Book, since: Monotonic, address: &str) -> bool {
        if book.topology.is_empty() {
            return false;
        }
        let mine = |at: &SocketAddr| leads(book, since, address, *at);
        let hosts: Vec<&Seen> =
            self.hosts.iter().filter(|(at, _)| mine(at)).map(|(_, seen)| seen).collect();
        // What was learned of a host is believed for a while.
        let long_ago = since - 6 * super::FORGET * 2;
        let short = hosts.iter().any(|seen| seen.shortage.is_some_and(|at| at >= since));
        short && hosts.iter().all(|seen| seen.theirs.is_none_or(|at| at < long_ago))
    }

    /// Whether mail without a refusal in its line can have failed for good.
    fn has_a_cause(&self, book: &Book, since: Monotonic, address: &str, line: &LogLine) -> bool {
        let by_rule = book.rules_since(since).any(|rules| {
            let way = rules.way(address);
            let used_up = way.max_attempts > 0 && line.attempt > Some(way.max_attempts);
            way.failing == Failing::Bounce || used_up
        });
        let domain: Text = domain_of(address).to_ascii_lowercase().into();
        let never = self.nothing.contains(&(domain.clone(), 0));
        // No address anywhere: its own, or those of the exchangers named.
        let host = |name: &Text| *name == domain || !self.domains.contains(name);
        let nowhere = self.nothing.iter().any(|(name, kind)| matches!(kind, 0 | 1) && host(name));
        let reached = |(at, seen): (&SocketAddr, &Seen)| {
            seen.theirs.is_some_and(|seen| seen >= since) && leads(book, since, address, *at)
        };
        let standing = book.links.values().any(|link| leads(book, since, address, link.to));
        by_rule || never || nowhere || standing || self.hosts.iter().any(reached)
    }
}

/// Whether mail to an address may have gone there since then.
fn leads(book: &Book, since: Monotonic, address: &str, to: SocketAddr) -> bool {
    let mut rules = book.rules_since(since).peekable();
    if rules.peek().is_none() {
        return book.serves(since, address, to.ip());
    }
    rules.any(|rules| book.leads_to(rules, since, address, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Site, Verb};
    use crate::oracle::play::{Play, REMOTE, TO};
    use std::sync::Arc;

    fn begun() -> Play {
        let mut play = Play::of(Blame::default());
        let domains = vec!["one.example".into()];
        let site = Site { name: "one".into(), domains, addresses: vec![REMOTE.ip()] };
        play.see(Observation::Topology(Arc::from([site])));
        play.accepted(1, &[TO]);
        play
    }

    fn not_made(play: &mut Play, ours: bool) {
        play.dialled(1);
        play.see(Observation::DialFailed { link: Play::link(1), ours });
    }

    fn resolved(play: &mut Play, name: &str, kind: u16, how: Resolved) {
        play.see(Observation::Resolved { shard: 0, name: name.into(), kind, how });
    }

    #[test]
    fn a_trouble_of_theirs_counts_as_an_attempt() {
        let mut play = begun();
        not_made(&mut play, false);
        play.line("deferred", TO, 1, "connection refused");
        play.fine();
    }

    #[test]
    fn a_shortage_that_counts_as_an_attempt_is_caught() {
        let mut play = begun();
        not_made(&mut play, true);
        play.line("deferred", TO, 1, "too many open files");
        play.caught("want of our own");
    }

    #[test]
    fn a_refusal_is_one_that_somebody_gave() {
        let mut play = begun();
        play.dialled(1);
        play.see(Observation::Stands { link: Play::link(1) });
        play.said(1, Verb::Rcpt, 550);
        let mut given = play.again();
        given.line("failed", TO, 1, "550 5.1.1 no such user");
        given.fine();
        play.line("failed", TO, 1, "553 5.1.1 no such user");
        play.caught("553 that nobody gave");
    }

    #[test]
    fn what_name_servers_did_not_say_never_bounces() {
        for how in [Resolved::Unknown, Resolved::Silence] {
            let mut play = begun();
            resolved(&mut play, "one.example", 15, how);
            play.line("failed", TO, 0, "the domain does not exist");
            play.caught("without a cause");
        }
        // Nor what was said of another domain, or of a host's other family.
        for (name, kind) in [("two.example", 1), ("mx.one.example", 28)] {
            let mut play = begun();
            play.see(Observation::Asked { shard: 0, name: "two.example".into(), kind: 15 });
            resolved(&mut play, name, kind, Resolved::Nothing);
            play.line("failed", TO, 0, "the domain does not exist");
            play.caught("without a cause");
        }
        // No MX record is no end: the domain's own address is next.
        let mut play = begun();
        resolved(&mut play, "one.example", 15, Resolved::Nothing);
        play.line("failed", TO, 0, "the domain does not exist");
        play.caught("without a cause");
    }

    #[test]
    fn what_name_servers_said_for_good_does() {
        let mut play = begun();
        resolved(&mut play, "one.example", 15, Resolved::Never);
        play.line("failed", TO, 0, "the domain does not exist");
        play.fine();
        let mut play = begun();
        resolved(&mut play, "one.example", 15, Resolved::Nothing);
        resolved(&mut play, "one.example", 1, Resolved::Nothing);
        play.line("failed", TO, 0, "no exchanger with an address");
        play.fine();
    }
}
