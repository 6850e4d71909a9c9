//! Promise 4, limits hold: connections and messages per site, summed over all
//! shards, and what one connection and one transaction may carry.
//!
//! Whose limit a connection counts against shows by its first recipient: the
//! site of that domain, or the relay hosts of its route, apart where the route
//! has limits of its own. Before that it counts against all that its address can
//! belong to. Room: a connection made under an older configuration stays as long
//! as it has work, but no new one may be made beside too many; an attempt goes on
//! under the settings that it began with, at its next host too, where it spends no
//! second token of a rate; a shard hears of
//! a change a moment later; rates start anew with the program, and after a
//! change a full window of the new rate must have passed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use base::Monotonic;

use crate::observation::{Command, Link, Observation, Stamped, Verb};
use crate::rules::{Rules, Way};

use super::book::domain_of;
use super::{Book, Fault, HEARSAY, Oracle, Verdict};

#[derive(Debug, Default)]
pub(super) struct Limits {
    open: BTreeMap<Link, Open>,
    /// Messages sent under each limit: when their transaction left us.
    sent: BTreeMap<String, BTreeSet<(Monotonic, u64)>>,
    count: u64,
    /// When the rules last changed, or the program started.
    fresh: Monotonic,
    /// Clients with a transaction under way, and since when.
    clients: BTreeMap<Link, Monotonic>,
}

#[derive(Debug)]
struct Open {
    to: SocketAddr,
    /// When its attempt may have begun.
    since: Monotonic,
    /// Its first message may be one that had its token at an earlier host.
    goes_on: bool,
    /// Whose limit it counts against, once that shows.
    key: Option<String>,
    accepted: u32,
    mail: Option<Monotonic>,
    messages: u32,
}

/// What a message may wait between its token and its MAIL: a read ahead.
const TOKEN_AGE: Duration = Duration::from_millis(1_000);

impl Oracle for Limits {
    fn name(&self) -> &'static str {
        "limits hold"
    }

    fn promise(&self) -> u8 {
        4
    }

    fn see(&mut self, book: &Book, seen: &Stamped) -> Verdict {
        match &seen.what {
            Observation::Dialled { link, to, .. } => {
                let since = book.attempt_since(link.shard, seen.at.mono);
                let open = Open {
                    to: *to,
                    since,
                    goes_on: since < seen.at.mono,
                    key: None,
                    accepted: 0,
                    mail: None,
                    messages: 0,
                };
                self.open.insert(*link, open);
                self.dialled(book, seen.at.mono, *to)
            }
            Observation::Ended { link, .. } | Observation::DialFailed { link, .. } => {
                self.open.remove(link);
                Ok(())
            }
            Observation::Answered { client, to: Verb::Mail, code: 200..300, .. } => {
                self.served(book, *client, seen.at.mono)
            }
            // After that it may have said QUIT, and hears of its end later.
            Observation::Answered { client, to: Verb::Dot, .. }
            | Observation::ClientGone { client, .. } => {
                self.clients.remove(client);
                Ok(())
            }
            Observation::Crashed { .. } => {
                self.clients.clear();
                self.open.clear();
                self.sent.clear();
                Ok(())
            }
            Observation::Configured(_) | Observation::Topology(_) => {
                self.fresh = seen.at.mono;
                Ok(())
            }
            Observation::Heard { link, left, command } => {
                self.heard(book, seen.at.mono, *link, *left, command)
            }
            Observation::Said { link, to: Verb::Rcpt, code: 200..300 } => {
                self.said_yes(book, *link)
            }
            _ => Ok(()),
        }
    }
}

impl Limits {
    /// A new connection, when nobody can say yet for whom: all that may count
    /// against the same limits must fit into their sum.
    fn dialled(&self, book: &Book, now: Monotonic, to: SocketAddr) -> Verdict {
        if now.since(self.fresh) < HEARSAY || book.topology.is_empty() {
            return Ok(());
        }
        let rules = book.now_in_force();
        let keys = keys_of(book, &rules, to);
        if keys.is_empty() {
            return Ok(());
        }
        let alike = |open: &&Open| open.to == to && open.since >= self.fresh + HEARSAY;
        let open = self.open.values().filter(alike).count() as u64;
        let most: u64 = keys.values().map(|most| u64::from(*most)).sum();
        if open > most {
            return Err(Fault::new(format!("{open} connections to {to}, {most} allowed")));
        }
        Ok(())
    }

    fn heard(
        &mut self,
        book: &Book,
        now: Monotonic,
        link: Link,
        left: Monotonic,
        command: &Command,
    ) -> Verdict {
        let Some(open) = self.open.get_mut(&link) else { return Ok(()) };
        match command {
            Command::Mail(_) => {
                open.mail = Some(left);
                open.accepted = 0;
                Ok(())
            }
            // Who began under other rules counts against a limit of theirs.
            Command::Rcpt(_) if open.since < self.fresh + HEARSAY => Ok(()),
            Command::Rcpt(to) if open.key.is_none() => {
                let rules = book.now_in_force();
                let (key, _) = key_of(book, &rules, to, open.to);
                open.key = key.clone();
                let Some(key) = key else { return Ok(()) };
                self.identified(book, now, &key, to, link)
            }
            Command::Dot => self.sent(book, now, link),
            _ => Ok(()),
        }
    }

    /// It shows whose limit a connection counts against.
    fn identified(&self, book: &Book, now: Monotonic, key: &str, to: &str, link: Link) -> Verdict {
        if now.since(self.fresh) < HEARSAY {
            return Ok(());
        }
        let mine = |open: &&Open| open.key.as_deref() == Some(key);
        let open = self.open.values().filter(mine).count();
        let rules = book.now_in_force();
        let (_, way) = key_of(book, &rules, to, self.open[&link].to);
        let most = way.connections as usize;
        if open > most {
            return Err(Fault::new(format!("{open} connections to {key}, {most} allowed")));
        }
        Ok(())
    }

    /// A client's MAIL is taken: it is served, and no longer sent away at once.
    fn served(&mut self, book: &Book, client: Link, now: Monotonic) -> Verdict {
        self.clients.entry(client).or_insert(now);
        let first = self.clients.values().min().copied().unwrap_or(now);
        // One that came long before its first MAIL came under older rules.
        let since = first - Duration::from_secs(600);
        let most = book.rules_since(since).map(|rules| rules.clients).max();
        let count = self.clients.len();
        if most.is_some_and(|most| count > most as usize) {
            return Err(Fault::new(format!("{count} clients at once, {most:?} allowed")));
        }
        Ok(())
    }

    fn said_yes(&mut self, book: &Book, link: Link) -> Verdict {
        let Some(open) = self.open.get_mut(&link) else { return Ok(()) };
        open.accepted += 1;
        let accepted = open.accepted;
        let since = open.since;
        let most = widest(book, since, |way| way.recipients_per_message);
        if accepted > most {
            return Err(Fault::new(format!("{accepted} recipients at once, {most} allowed")));
        }
        Ok(())
    }

    /// A message gets to its final dot.
    fn sent(&mut self, book: &Book, now: Monotonic, link: Link) -> Verdict {
        let open = self.open.get_mut(&link).expect("just found");
        open.messages += 1;
        let most = widest(book, open.since, |way| way.messages_per_connection);
        if open.messages > most {
            let count = open.messages;
            return Err(Fault::new(format!("{count} messages over {link}, {most} allowed")));
        }
        let (Some(key), Some(left), to) = (open.key.clone(), open.mail, open.to) else {
            return Ok(());
        };
        if open.goes_on && open.messages == 1 {
            return Ok(());
        }
        self.count += 1;
        let sent = self.sent.entry(key.clone()).or_default();
        sent.insert((left, self.count));
        let rules = book.now_in_force();
        let Some((most, per)) = rate_of(book, &rules, &key, to) else {
            sent.clear();
            return Ok(());
        };
        while sent.first().is_some_and(|(at, _)| now.since(*at) > 2 * per) {
            sent.pop_first();
        }
        if now.since(self.fresh) < 2 * per {
            return Ok(());
        }
        let window = per.saturating_sub(TOKEN_AGE);
        let around = sent.range((left - window, 0)..).map(|(at, _)| *at);
        let moments: Vec<Monotonic> = around.collect();
        let full = moments.windows(most as usize + 1).find(|w| w[w.len() - 1].since(w[0]) < window);
        match full {
            Some(_) => Err(Fault::new(format!("more than {most} messages in {per:?} to {key}"))),
            None => Ok(()),
        }
    }
}

/// The largest value of any way that was in force since.
fn widest(book: &Book, since: Monotonic, of: impl Fn(&Way) -> u32) -> u32 {
    book.rules_since(since).flat_map(Rules::ways).map(of).max().unwrap_or(u32::MAX)
}

/// The limit that mail to `address` counts against over a connection to `to`,
/// and the way it goes; no key when nobody knows the site.
fn key_of<'r>(
    book: &Book,
    rules: &'r Rules,
    address: &str,
    to: SocketAddr,
) -> (Option<String>, &'r Way) {
    let mut way = rules.way(address);
    // A relay host that the default way may lead to as well: nobody can tell
    // whether the mail has fallen back.
    let back = &rules.default.hosts;
    let by_default = match back.is_empty() {
        true => book.serves(Monotonic::default(), address, to.ip()),
        false => (*back != way.hosts || way.own_limits) && back.contains(&to),
    };
    if way.fallback && way.hosts.contains(&to) && by_default {
        return (None, way);
    }
    if !way.hosts.is_empty() && !way.hosts.contains(&to) && way.fallback {
        way = &rules.default;
    }
    let apart = if way.own_limits { format!(" by {}", way.pattern) } else { String::new() };
    if !way.hosts.is_empty() {
        return (Some(format!("relay {:?}{apart}", way.hosts)), way);
    }
    let Some((_, sites)) = book.topology.last() else { return (None, way) };
    let domain = domain_of(address);
    let known = |name: &crate::observation::Text| name.eq_ignore_ascii_case(domain);
    let site = sites.iter().find(|site| site.domains.iter().any(known));
    (site.map(|site| format!("{}{apart}", site.name)), way)
}

/// All limits that a connection to an address can count against, with the
/// connections of each.
fn keys_of(book: &Book, rules: &Rules, to: SocketAddr) -> BTreeMap<String, u32> {
    let mut keys = BTreeMap::new();
    let sites = book.topology.last().map_or(&[][..], |(_, sites)| sites);
    for way in rules.ways() {
        let apart = if way.own_limits { format!(" by {}", way.pattern) } else { String::new() };
        let mut add = |key: String| {
            let most = keys.entry(key).or_insert(0);
            *most = way.connections.max(*most);
        };
        if way.hosts.contains(&to) {
            add(format!("relay {:?}{apart}", way.hosts));
        }
        if way.hosts.is_empty() {
            let here = sites.iter().filter(|site| site.addresses.contains(&to.ip()));
            here.for_each(|site| add(format!("{}{apart}", site.name)));
        }
    }
    keys
}

/// The rate of a limit.
fn rate_of(book: &Book, rules: &Rules, key: &str, to: SocketAddr) -> Option<(u32, Duration)> {
    let sites = book.topology.last().map_or(&[][..], |(_, sites)| sites);
    let of = |way: &&Way| {
        let apart = if way.own_limits { format!(" by {}", way.pattern) } else { String::new() };
        let relayed = way.hosts.contains(&to) && key == format!("relay {:?}{apart}", way.hosts);
        relayed || way.hosts.is_empty() && sites.iter().any(|s| key == format!("{}{apart}", s.name))
    };
    rules.ways().find(of)?.rate
}

#[cfg(test)]
mod tests;
