//! What has been seen so far, put in order: who sent what, what became of each
//! recipient as far as anybody outside can tell, which connections stand.
//!
//! Never judges. Invariant: everything here is a fact of the history; the
//! product's log is noted as what the log says, beside what others saw.

mod seeing;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::{Map, MessageId, Monotonic, Now};

use crate::observation::{Addressee, Letter, Link, LogEvent, LogLine, Site, Text};
use crate::rules::Rules;

use super::{FORGET, HEARSAY, NEXT_HOST};

/// How long an outcome may be on its way between two shards.
const WRITTEN_MAX: Duration = Duration::from_millis(100);

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Every configuration and since when it held; the last is in force.
    pub(crate) rules: Vec<(Monotonic, Arc<Rules>)>,
    /// Every topology and since when it held.
    pub(crate) topology: Vec<(Monotonic, Arc<[Site]>)>,
    /// Messages by the world's number.
    pub(crate) mail: BTreeMap<u32, Mail>,
    /// Connections to exchangers that have not ended.
    pub(crate) links: BTreeMap<Link, Standing>,
    /// Connections of each shard that ended a moment ago: when, and how old their
    /// attempts may have been.
    ended: BTreeMap<u16, Vec<(Monotonic, Monotonic)>>,
    /// Starts after a crash so far.
    pub(crate) life: u32,
    /// Ends of the program; true where the power went.
    pub(crate) crashes: Vec<(Monotonic, bool)>,
    /// When a write or sync failed.
    pub(crate) disk_troubles: Vec<Monotonic>,
    /// When segments could not be had, and until when that went on, if it is over.
    pub(crate) disk_full: Vec<(Monotonic, Option<Monotonic>)>,
    /// Bytes were changed behind the product's back.
    pub(crate) damaged: bool,
    /// Reports by their id: the message they are about.
    pub(crate) reports: BTreeMap<MessageId, Reported>,
    largest: usize,
    /// Answers to RCPT of messages not yet sent whole.
    rcpt: BTreeMap<u32, Vec<u16>>,
    by_address: Map<Text, (u32, usize)>,
    by_id: Map<u64, u32>,
    /// Doubts told of ids that nobody outside knew yet.
    nameless: Vec<(MessageId, u16, Monotonic)>,
}

/// One message.
#[derive(Debug)]
pub(crate) struct Mail {
    /// As it was sent.
    pub(crate) letter: Arc<Letter>,
    /// When its last byte was sent.
    pub(crate) handed: Now,
    /// In which life.
    pub(crate) life: u32,
    /// The answer to the dot, and when it came.
    pub(crate) answer: Option<(u16, Now)>,
    /// Whether a 2xx left the shard for it.
    pub(crate) promised: bool,
    /// The answers to RCPT that its client saw, in order.
    pub(crate) rcpt: Vec<u16>,
    /// Its id, once anybody outside knows it.
    pub(crate) id: Option<MessageId>,
    /// What became of each recipient.
    pub(crate) fates: Vec<Fate>,
}

impl Mail {
    /// Whether somebody relies on one of its recipients: it was acknowledged,
    /// or it shows that it was stored.
    pub(crate) fn is_ours(&self, place: usize) -> bool {
        let taken = self.rcpt.get(place).is_some_and(|code| *code < 300);
        let fate = &self.fates[place];
        (self.promised && taken) || fate.line.is_some() || !fate.copies.is_empty()
    }

    /// The recipient at this index of the stored envelope, where those that were
    /// refused do not stand.
    pub(crate) fn stored_at(&self, index: u16) -> usize {
        let taken = |place: &usize| self.rcpt.get(*place).is_none_or(|code| *code < 300);
        (0..self.fates.len()).filter(taken).nth(index.into()).unwrap_or(usize::MAX)
    }

    /// The index in the stored envelope of a recipient that was not refused.
    pub(crate) fn index_of(&self, place: usize) -> u16 {
        let taken = |place: &usize| self.rcpt.get(*place).is_none_or(|code| *code < 300);
        (0..place).filter(taken).count() as u16
    }
}

/// What became of one recipient.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// Ends that the log told.
    pub(crate) ends: Vec<(LogEvent, Now, u32)>,
    /// Copies that exchangers took.
    pub(crate) copies: Vec<Delivery>,
    /// When the log or a recovery report marked it in-doubt.
    pub(crate) doubts: Vec<Monotonic>,
    /// The last line about an attempt or a state.
    pub(crate) line: Option<LastLine>,
    /// When it was last asked for at an exchanger, and over what.
    pub(crate) asked: Option<(Monotonic, Link)>,
    /// Last order to try it now, or to let it go.
    pub(crate) hurried: Option<Monotonic>,
    /// The answer to a copy came just before the end of the program: its outcome
    /// may be on record, and only the line is missing.
    pub(crate) cut_short: bool,
    /// An operator took it out, or may have.
    pub(crate) removal: Option<Monotonic>,
}

impl Fate {
    /// Whether the log has told an end, or was kept from it.
    pub(crate) fn has_ended(&self) -> bool {
        !self.ends.is_empty() || self.cut_short
    }
}

/// A copy that an exchanger took.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// When.
    pub(crate) at: Monotonic,
    /// In which life.
    pub(crate) life: u32,
    /// Where.
    pub(crate) remote: SocketAddr,
    /// When its 2xx reached the shard, if it did.
    pub(crate) heard: Option<Monotonic>,
    /// Whether a log line has claimed it as a delivery.
    pub(crate) claimed: bool,
    /// Whether the exchanger took the duty to report.
    pub(crate) dsn: bool,
}

impl Delivery {
    /// Whether its 2xx came so shortly before the program ended that the end may
    /// have cut short the step that wrote the outcome down: at the shard that
    /// heard it, or a moment later at the message's writer.
    pub(crate) fn heard_just_before(&self, end: Monotonic) -> bool {
        self.heard.is_some_and(|at| end.since(at) <= WRITTEN_MAX)
    }
}

/// The last line of the log about a recipient.
#[derive(Clone, Debug)]
pub(crate) struct LastLine {
    /// What it said.
    pub(crate) event: LogEvent,
    /// When.
    pub(crate) at: Now,
    /// In which life.
    pub(crate) life: u32,
    /// Attempts made, as it said.
    pub(crate) attempt: u16,
    /// When the next is due, as it said, in milliseconds since 1970.
    pub(crate) next: Option<u64>,
}

/// A report, as the log tells of it.
#[derive(Debug)]
pub(crate) struct Reported {
    /// The id of the message it is about.
    pub(crate) about: MessageId,
    /// How it ended, as the log says.
    pub(crate) end: Option<LogEvent>,
    /// How often it was marked in-doubt.
    pub(crate) doubts: u32,
}

/// A connection to an exchanger.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// Where to.
    pub(crate) to: SocketAddr,
    /// When it was dialled.
    pub(crate) dialled: Monotonic,
    /// When its attempt began, at the earliest: that of a connection which has
    /// just ended may go on over this one.
    pub(crate) since: Monotonic,
    /// When the last transaction began, as it left the shard.
    pub(crate) mail: Option<Monotonic>,
    /// The sender of the transaction.
    pub(crate) sender: Text,
    /// Recipients of the transaction under way, and the answer to each.
    pub(crate) rcpt: Vec<(Text, Option<u16>)>,
    /// Transactions that got to the final dot.
    pub(crate) dots: u32,
    copies: Vec<(u32, usize)>,
}

impl Book {
    /// The rules in force; those of an empty file before any were told.
    pub(crate) fn now_in_force(&self) -> Arc<Rules> {
        self.rules.last().map_or_else(Arc::default, |(_, rules)| rules.clone())
    }

    /// All rules that a shard may have gone by since `since`.
    pub(crate) fn rules_since(&self, since: Monotonic) -> impl Iterator<Item = &Rules> {
        let first = self.rules.iter().rposition(|(at, _)| *at <= since - HEARSAY).unwrap_or(0);
        self.rules[first..].iter().map(|(_, rules)| &**rules)
    }

    /// Whether the rules have changed since.
    pub(crate) fn changed_since(&self, since: Monotonic) -> bool {
        self.rules.last().is_some_and(|(at, _)| *at + HEARSAY >= since) && self.rules.len() > 1
    }

    /// Octets of the largest content so far.
    pub(crate) fn largest_content(&self) -> usize {
        self.largest
    }

    /// When the attempt of a connection that a shard makes now may have begun.
    pub(crate) fn attempt_since(&self, shard: u16, now: Monotonic) -> Monotonic {
        let ended = self.ended.get(&shard).into_iter().flatten();
        let near = ended.filter(|(at, _)| now.since(*at) <= NEXT_HOST);
        near.map(|(_, since)| *since).min().unwrap_or(now)
    }

    /// Whom an address belongs to: message and recipient.
    pub(crate) fn whose(&self, address: &str) -> Option<(u32, usize)> {
        let lower;
        let address = if address.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = address.to_ascii_lowercase();
            &lower
        } else {
            address
        };
        self.by_address.get(address).copied()
    }

    /// The message that an id names.
    pub(crate) fn message_of(&self, id: MessageId) -> Option<u32> {
        self.by_id.get(&id.as_u64()).copied()
    }

    /// One recipient, with message and fate.
    pub(crate) fn fate(&self, who: (u32, usize)) -> (&Mail, &Addressee, &Fate) {
        let mail = &self.mail[&who.0];
        (mail, &mail.letter.to[who.1], &mail.fates[who.1])
    }

    /// Whom a log line is about, unless it is about a report.
    pub(crate) fn about(&self, line: &LogLine) -> Option<(u32, usize)> {
        match line.id {
            Some(id) if self.reports.contains_key(&id) => None,
            _ => self.whose(&line.to),
        }
    }

    /// Whether a record written at `at` may be forgotten by now: the power went
    /// soon after, or the disk failed around it and the program ended.
    pub(crate) fn may_be_forgotten(&self, at: Monotonic) -> bool {
        self.crashes.iter().any(|(crash, power)| {
            let soon = *power && crash.since(at) <= FORGET;
            let failed = |t: &Monotonic| *t + FORGET >= at && *t <= *crash;
            *crash >= at && (soon || self.disk_troubles.iter().any(failed))
        })
    }

    /// The same for a deferral, which a full disk does not take.
    pub(crate) fn deferral_may_be_forgotten(&self, at: Monotonic) -> bool {
        let near = |from: Monotonic, until: Option<Monotonic>, crash: Monotonic| {
            from <= crash && until.is_none_or(|until| until + 60 * FORGET >= at)
        };
        let full = |crash: Monotonic| {
            crash >= at && self.disk_full.iter().any(|(from, until)| near(*from, *until, crash))
        };
        self.may_be_forgotten(at) || self.crashes.iter().any(|(crash, _)| full(*crash))
    }

    /// Whether the storage may have failed for good in this life: it stops all
    /// writing after a second failure, until the next start.
    pub(crate) fn may_be_down(&self) -> bool {
        let life = self.crashes.last().map_or(Monotonic::default(), |(at, _)| *at);
        self.disk_troubles.iter().filter(|at| **at >= life).count() > 1
    }

    /// Where mail to `address` may go under these rules and topologies.
    pub(crate) fn leads_to(
        &self,
        rules: &Rules,
        since: Monotonic,
        address: &str,
        to: SocketAddr,
    ) -> bool {
        let way = rules.way(address);
        let by_host = way.hosts.contains(&to);
        let by_default = way.hosts.is_empty() || (way.fallback && rules.default.hosts.is_empty());
        let relayed_default =
            !way.hosts.is_empty() && way.fallback && rules.default.hosts.contains(&to);
        by_host || relayed_default || (by_default && self.serves(since, address, to.ip()))
    }

    /// Whether an address was an exchanger of a recipient's domain since then.
    pub(crate) fn serves(&self, since: Monotonic, address: &str, ip: IpAddr) -> bool {
        let domain = domain_of(address);
        if self.topology.is_empty() {
            return true;
        }
        // What was looked up before may be believed for a while.
        let believed = Duration::from_secs(86_400);
        let first = self.topology.iter().rposition(|(at, _)| *at <= since - believed).unwrap_or(0);
        self.topology[first..].iter().any(|(_, sites)| {
            sites.iter().any(|site| {
                site.addresses.contains(&ip)
                    && site.domains.iter().any(|known| known.eq_ignore_ascii_case(domain))
            })
        })
    }
}

/// The domain of an address.
pub(crate) fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}
