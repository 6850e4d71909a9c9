//! Observations as lines that a person can read.
//!
//! Invariant: one line each, whatever stands in an address or a reply.

use std::fmt::{Display, Formatter, Result};

use super::{Command, Letter, Link, LogLine, Observation, Side, Stamped, Taken, Whom};

impl Display for Stamped {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let ms = self.at.mono.as_millis();
        write!(f, "{:>6} {:>7}.{:03}s  {}", self.step, ms / 1_000, ms % 1_000, self.what)
    }
}

impl Display for Observation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Configured(rules) => write!(f, "configuration {} in force", rules.revision),
            Self::ConfigurationRefused => f.write_str("configuration refused"),
            Self::Topology(sites) => write!(f, "{} sites", sites.len()),
            Self::ClientCame { client, peer } => write!(f, "client {client}: from {peer}"),
            Self::Handed { client, message, letter } => {
                write!(f, "client {client}: has sent message {message}, {letter}")
            }
            Self::Answered { client, message, to, code, id } => {
                write!(f, "client {client}: message {message}: {code} to {to:?}")?;
                id.map_or(Ok(()), |id| write!(f, ", id {id}"))
            }
            Self::Promised { client, message, durable } => {
                let held = if *durable { "safe" } else { "NOT SAFE" };
                write!(f, "client {client}: message {message}: 2xx leaves, {held} on disk")
            }
            Self::ClientGone { client, by_us } => {
                write!(f, "client {client}: gone, by {}", side(*by_us))
            }
            Self::ClientSpoke { client } => write!(f, "client {client}: speaks"),
            Self::Dialled { link, to, from } => {
                write!(f, "link {link}: dials {to}")?;
                from.map_or(Ok(()), |from| write!(f, " from {from}"))
            }
            Self::Stands { link } => write!(f, "link {link}: stands"),
            Self::DialFailed { link, ours } => {
                write!(f, "link {link}: not made, by {}", side(*ours))
            }
            Self::Secured { link, ok } => {
                write!(f, "link {link}: handshake {}", if *ok { "done" } else { "failed" })
            }
            Self::Ended { link, by } => {
                write!(f, "link {link}: over, by {}", side(*by == Side::Us))
            }
            Self::Heard { link, command, .. } => write!(f, "link {link}: heard {command}"),
            Self::Said { link, to, code } => write!(f, "link {link}: {code} to {to:?}"),
            Self::Took { link, copy } => write!(f, "link {link}: took {copy}"),
            Self::Progress { link } => write!(f, "link {link}: content moves"),
            rest => rest.show_rest(f),
        }
    }
}

impl Observation {
    fn show_rest(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Asked { shard, name, kind } => write!(f, "shard {shard}: asks {name} {kind}"),
            Self::Resolved { shard, name, kind, how } => {
                write!(f, "shard {shard}: hears of {name} {kind}: {how:?}")
            }
            Self::Shortage { shard, what, .. } => write!(f, "shard {shard}: short of {what:?}"),
            Self::Logged { shard, line } => write!(f, "shard {shard}: log: {line}"),
            Self::Ordered { order, act, whom } => write!(f, "order {order}: {act:?} {whom}"),
            Self::Obeyed { order, code, count } => {
                write!(f, "order {order}: {code}, {count} recipients")
            }
            Self::Disk { segment: Some(segment), what } => write!(f, "disk: {segment}: {what:?}"),
            Self::Disk { segment: None, what } => write!(f, "disk: {what:?}"),
            Self::Crashed { power: false } => f.write_str("THE PROGRAM CRASHES"),
            Self::Crashed { power: true } => f.write_str("THE POWER GOES"),
            Self::Recovered { shards, report } => write!(
                f,
                "start with {shards} shards: {} recipients, {} in doubt, {} bytes cut",
                report.recipients,
                report.in_doubt.len(),
                report.cut_bytes
            ),
            Self::Gauged { shard, gauges } => {
                write!(f, "shard {shard}:")?;
                gauges.counts.iter().try_for_each(|(name, count, _)| write!(f, " {name} {count}"))
            }
            Self::Calm => f.write_str("calm from here on"),
            Self::Over { left } => write!(
                f,
                "over: left {} clients, {} links, {} messages, {} recipients, {} permits",
                left.clients, left.links, left.messages, left.recipients, left.permits
            ),
            _ => unreachable!("the others have been shown already"),
        }
    }
}

fn side(us: bool) -> &'static str {
    if us { "us" } else { "them" }
}

impl Display for Link {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}/{}", self.shard, self.conn)
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Mail(sender) => write!(f, "MAIL <{}>", sender.escape_debug()),
            Self::Rcpt(to) => write!(f, "RCPT <{}>", to.escape_debug()),
            other => write!(f, "{:?}", other.verb()),
        }
    }
}

impl Display for Letter {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "<{}> to", self.sender.escape_debug())?;
        self.to.iter().try_for_each(|one| write!(f, " <{}>", one.address.escape_debug()))?;
        write!(f, ", {} bytes", self.content.len())
    }
}

impl Display for Taken {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.message() {
            Some(message) => write!(f, "message {message}")?,
            None => f.write_str("an unmarked message")?,
        }
        write!(f, ", <{}> to", self.sender.escape_debug())?;
        self.to.iter().try_for_each(|one| write!(f, " <{}>", one.address.escape_debug()))?;
        write!(f, ", {} bytes", self.content.len())
    }
}

impl Display for LogLine {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{:?}", self.event)?;
        if let Some(id) = self.id {
            write!(f, " {id}")?;
        }
        if !self.to.is_empty() {
            write!(f, " <{}>", self.to.escape_debug())?;
        }
        if let Some(attempt) = self.attempt {
            write!(f, " attempt {attempt}")?;
        }
        if let Some(report) = self.report {
            write!(f, " report {report}")?;
        }
        if self.in_doubt {
            f.write_str(" in doubt")?;
        }
        if !self.reply.is_empty() {
            write!(f, ": {}", self.reply.escape_debug())?;
        }
        if self.host.is_empty() { Ok(()) } else { write!(f, " ({})", self.host.escape_debug()) }
    }
}

impl Display for Whom {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Message(id) => write!(f, "message {id}"),
            Self::Domain(text) => write!(f, "domain {}", text.escape_debug()),
            Self::Sender(text) => write!(f, "mail from <{}>", text.escape_debug()),
            Self::Recipient(text) => write!(f, "mail to <{}>", text.escape_debug()),
        }
    }
}
