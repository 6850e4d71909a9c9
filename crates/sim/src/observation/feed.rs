//! How observations go into the hash of a history.
//!
//! Invariant: two observations that differ in anything seen go in differently.

use crate::digest::{Hasher64, digest};
use crate::rules::{feed_ip, feed_socket};

use super::{Addressee, Command, Disk, Letter, Link, LogLine, Observation, Stamped, Taken, Whom};

impl Stamped {
    /// Takes it into a history's hash.
    pub fn feed(&self, to: &mut Hasher64) {
        to.number(self.at.mono.as_millis());
        to.number(self.at.wall.as_millis());
        to.number(self.step);
        self.what.feed(to);
    }
}

impl Observation {
    /// Takes it into a history's hash.
    pub fn feed(&self, to: &mut Hasher64) {
        to.number(self.kind());
        match self {
            Self::ConfigurationRefused | Self::Calm => {}
            Self::Configured(rules) => rules.feed(to),
            Self::Topology(sites) => {
                to.number(sites.len() as u64);
                for site in &**sites {
                    to.text(&site.name);
                    to.number(site.domains.len() as u64);
                    site.domains.iter().for_each(|domain| to.text(domain));
                    to.number(site.addresses.len() as u64);
                    site.addresses.iter().for_each(|ip| feed_ip(*ip, to));
                }
            }
            Self::ClientCame { .. }
            | Self::Handed { .. }
            | Self::Answered { .. }
            | Self::Promised { .. }
            | Self::ClientGone { .. }
            | Self::ClientSpoke { .. } => self.feed_client(to),
            Self::Dialled { .. }
            | Self::Stands { .. }
            | Self::DialFailed { .. }
            | Self::Secured { .. }
            | Self::Ended { .. }
            | Self::Heard { .. }
            | Self::Said { .. }
            | Self::Took { .. }
            | Self::Progress { .. } => self.feed_link(to),
            _ => self.feed_rest(to),
        }
    }

    fn feed_client(&self, to: &mut Hasher64) {
        match self {
            Self::ClientCame { client, peer } => {
                client.feed(to);
                feed_ip(*peer, to);
            }
            Self::Handed { client, message, letter } => {
                client.feed(to);
                to.number((*message).into());
                letter.feed(to);
            }
            Self::Answered { client, message, to: verb, code, id } => {
                client.feed(to);
                to.number((*message).into());
                to.number((*verb as u64) << 16 | u64::from(*code));
                to.maybe(id.map(|id| id.as_u64()));
            }
            Self::Promised { client, message, durable } => {
                client.feed(to);
                to.number((*message).into());
                to.number((*durable).into());
            }
            Self::ClientGone { client, by_us } => {
                client.feed(to);
                to.number((*by_us).into());
            }
            Self::ClientSpoke { client } => client.feed(to),
            _ => unreachable!("only what clients do comes here"),
        }
    }

    fn feed_link(&self, to: &mut Hasher64) {
        match self {
            Self::Dialled { link, to: remote, from } => {
                link.feed(to);
                feed_socket(*remote, to);
                to.number(from.is_some().into());
                if let Some(from) = from {
                    feed_ip(*from, to);
                }
            }
            Self::Stands { link } | Self::Progress { link } => link.feed(to),
            Self::DialFailed { link, ours: yes } | Self::Secured { link, ok: yes } => {
                link.feed(to);
                to.number((*yes).into());
            }
            Self::Ended { link, by } => {
                link.feed(to);
                to.number(*by as u64);
            }
            Self::Heard { link, left, command } => {
                link.feed(to);
                to.number(left.as_millis());
                to.number(command.verb() as u64);
                if let Command::Mail(address) | Command::Rcpt(address) = command {
                    to.text(address);
                }
            }
            Self::Said { link, to: verb, code } => {
                link.feed(to);
                to.number((*verb as u64) << 16 | u64::from(*code));
            }
            Self::Took { link, copy } => {
                link.feed(to);
                copy.feed(to);
            }
            _ => unreachable!("only what connections do comes here"),
        }
    }

    fn feed_rest(&self, to: &mut Hasher64) {
        match self {
            Self::Asked { shard, name, kind } => {
                to.number(u64::from(*shard) << 16 | u64::from(*kind));
                to.text(name);
            }
            Self::Resolved { shard, name, kind, how } => {
                to.number(u64::from(*shard) << 16 | u64::from(*kind));
                to.text(name);
                to.number(*how as u64);
            }
            Self::Shortage { shard, what, link } => {
                to.number(u64::from(*shard) << 8 | *what as u64);
                to.maybe(link.map(|link| link.conn));
            }
            Self::Logged { shard, line } => {
                to.number((*shard).into());
                line.feed(to);
            }
            Self::Ordered { order, act, whom } => {
                to.number(*order);
                to.number(*act as u64);
                whom.feed(to);
            }
            Self::Obeyed { order, code, count } => {
                to.number(*order);
                to.number((*code).into());
                to.number(*count);
            }
            Self::Disk { segment, what } => {
                to.maybe(segment.map(|segment| segment.0.into()));
                what.feed(to);
            }
            Self::Crashed { power } => to.number((*power).into()),
            Self::Recovered { shards, report } => {
                to.number((*shards).into());
                to.number(report.in_doubt.len() as u64);
                for (id, recipient) in &report.in_doubt {
                    to.number(id.as_u64());
                    to.number((*recipient).into());
                }
                to.number(report.cut_bytes);
                to.number(report.damages.into());
                to.number(report.recipients);
            }
            Self::Gauged { shard, gauges } => {
                to.number((*shard).into());
                for (name, count, bound) in &gauges.counts {
                    to.text(name);
                    to.number(*count);
                    to.maybe(*bound);
                }
            }
            Self::Over { left } => {
                let counts = [left.clients, left.links, left.messages, left.recipients];
                counts.into_iter().chain([left.permits]).for_each(|n| to.number(n));
                to.number(left.unfinished.into());
            }
            _ => unreachable!("the others have gone in already"),
        }
    }

    /// A number per kind. Fixed, as a history's hash is kept with its seed.
    fn kind(&self) -> u64 {
        match self {
            Self::Configured(_) => 1,
            Self::ConfigurationRefused => 2,
            Self::Topology(_) => 3,
            Self::ClientCame { .. } => 4,
            Self::Handed { .. } => 5,
            Self::Answered { .. } => 6,
            Self::Promised { .. } => 7,
            Self::ClientGone { .. } => 8,
            Self::ClientSpoke { .. } => 9,
            Self::Dialled { .. } => 10,
            Self::Stands { .. } => 11,
            Self::DialFailed { .. } => 12,
            Self::Secured { .. } => 13,
            Self::Ended { .. } => 14,
            Self::Heard { .. } => 15,
            Self::Said { .. } => 16,
            Self::Took { .. } => 17,
            Self::Progress { .. } => 18,
            Self::Asked { .. } => 19,
            Self::Resolved { .. } => 20,
            Self::Shortage { .. } => 21,
            Self::Logged { .. } => 22,
            Self::Ordered { .. } => 23,
            Self::Obeyed { .. } => 24,
            Self::Disk { .. } => 25,
            Self::Crashed { .. } => 26,
            Self::Recovered { .. } => 27,
            Self::Gauged { .. } => 28,
            Self::Calm => 29,
            Self::Over { .. } => 30,
        }
    }
}

impl Link {
    fn feed(self, to: &mut Hasher64) {
        to.number(u64::from(self.shard) << 48 ^ self.conn);
    }
}

impl Letter {
    fn feed(&self, to: &mut Hasher64) {
        to.text(&self.sender);
        feed_all(&self.to, to);
        to.number(self.ret.into());
        feed_text(self.envid.as_deref(), to);
        to.number(digest(&self.content));
    }
}

impl Taken {
    fn feed(&self, to: &mut Hasher64) {
        to.text(&self.sender);
        feed_all(&self.to, to);
        to.number(self.ret.into());
        feed_text(self.envid.as_deref(), to);
        to.number(digest(&self.content));
        to.number(u64::from(self.eight_bit) << 1 | u64::from(self.dsn));
    }
}

fn feed_all(addressees: &[Addressee], to: &mut Hasher64) {
    to.number(addressees.len() as u64);
    for one in addressees {
        to.text(&one.address);
        to.number(one.notify.into());
        feed_text(one.orcpt.as_deref(), to);
    }
}

fn feed_text(text: Option<&str>, to: &mut Hasher64) {
    to.number(text.is_some().into());
    to.text(text.unwrap_or_default());
}

impl LogLine {
    fn feed(&self, to: &mut Hasher64) {
        to.number(self.event as u64);
        to.maybe(self.id.map(|id| id.as_u64()));
        for text in [&self.from, &self.to, &self.host, &self.reply] {
            to.text(text);
        }
        to.number(u64::from(self.class) << 1 | u64::from(self.in_doubt));
        to.maybe(self.attempt.map(u64::from));
        to.maybe(self.next);
        to.maybe(self.report.map(|id| id.as_u64()));
    }
}

impl Whom {
    fn feed(&self, to: &mut Hasher64) {
        match self {
            Self::All => to.number(0),
            Self::Message(id) => {
                to.number(1);
                to.number(id.as_u64());
            }
            Self::Domain(text) => {
                to.number(2);
                to.text(text);
            }
            Self::Sender(text) => {
                to.number(3);
                to.text(text);
            }
            Self::Recipient(text) => {
                to.number(4);
                to.text(text);
            }
        }
    }
}

impl Disk {
    fn feed(self, to: &mut Hasher64) {
        let (kind, offset) = match self {
            Self::Synced(offset) => (0, offset),
            Self::SyncFailed => (1, 0),
            Self::WriteFailed => (2, 0),
            Self::ReadFailed => (3, 0),
            Self::NoSegment => (4, 0),
            Self::Full => (5, 0),
            Self::Roomy => (6, 0),
            Self::Damaged => (7, 0),
        };
        to.number(kind << 32 | u64::from(offset));
    }
}
