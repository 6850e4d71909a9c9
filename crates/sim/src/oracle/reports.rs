//! Promise 2, and the rules of reports: each failed recipient brings one report
//! to whom the rules say, none is about a report or about mail without a
//! sender, none about a delivery unless asked for; NOTIFY, RET, ENVID and ORCPT
//! are obeyed (RFC 3461 §5.2).
//!
//! A report is known by the header it returns. Room: one that could not be
//! delivered itself has been written all the same, which the log tells.

use std::collections::BTreeMap;

use crate::digest::digest;
use crate::observation::{LogEvent, Observation, Stamped, Taken, notify};
use crate::rules::Told;

use super::book::{Fate, Mail};
use super::report::{About, Report};
use super::{Book, Fault, Oracle, Verdict};

#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Digest of the report on each recipient, by kind.
    seen: BTreeMap<(u32, usize, Kind), u64>,
    withheld: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Failed,
    Delayed,
    Success,
}

impl Oracle for Reports {
    fn name(&self) -> &'static str {
        "reports keep the rules"
    }

    fn promise(&self) -> u8 {
        2
    }

    fn see(&mut self, book: &Book, seen: &Stamped) -> Verdict {
        match &seen.what {
            Observation::Took { copy, .. } if copy.message().is_none() => self.came(book, copy),
            Observation::Logged { line, .. } => match (line.event, line.id) {
                (LogEvent::Report, Some(id)) if book.reports.contains_key(&id) => {
                    Err(Fault::new("a report about a report"))
                }
                (LogEvent::ReportWithheld | LogEvent::Quarantined, _) => {
                    self.withheld = true;
                    Ok(())
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn end(&mut self, book: &Book, seen: &Stamped) -> Verdict {
        let Observation::Over { left } = &seen.what else { return Ok(()) };
        if left.unfinished || self.withheld || book.damaged {
            return Ok(());
        }
        for (message, mail) in &book.mail {
            for (place, fate) in mail.fates.iter().enumerate() {
                let Some(kind) = due(book, mail, place, fate) else { continue };
                let came = self.seen.contains_key(&(*message, place, kind));
                if !came && !lost_on_its_way(book, mail) {
                    let to = &mail.letter.to[place].address;
                    let what = format!("{kind:?}, and the sender was never told");
                    return Err(Fault::new(what).with(*message).to(to));
                }
            }
        }
        Ok(())
    }
}

impl Reports {
    /// A report reaches somebody.
    fn came(&mut self, book: &Book, copy: &Taken) -> Verdict {
        let Some(report) = Report::read(&copy.content) else {
            return Err(Fault::new("neither a message of ours nor a report"));
        };
        let Some((message, mail)) = report.message.and_then(|n| Some((n, book.mail.get(&n)?)))
        else {
            return Err(Fault::new("a report about mail that nobody sent"));
        };
        envelope(book, mail, copy, &report).map_err(|what| Fault::new(what).with(message))?;
        for about in &report.about {
            let mine = book.whose(&about.recipient).filter(|who| who.0 == message);
            let Some(who) = mine else {
                let what = format!("a report about <{}>, no recipient of it", about.recipient);
                return Err(Fault::new(what).with(message));
            };
            let fault = |what: &str| Fault::new(what).with(message).to(&about.recipient);
            let kind = one(book, who, about).map_err(fault)?;
            let digest = digest(&copy.content);
            let before = self.seen.insert((who.0, who.1, kind), digest);
            let again = before.is_some_and(|before| before != digest);
            if again && book.disk_troubles.is_empty() {
                return Err(fault("a second report of the same"));
            }
        }
        Ok(())
    }
}

/// Whether a report goes to the right place and says whose it is.
fn envelope(book: &Book, mail: &Mail, copy: &Taken, report: &Report) -> Result<(), String> {
    let letter = &mail.letter;
    if letter.sender.is_empty() {
        return Err("a report about mail without a sender".into());
    }
    let told = |to: Told, postmaster: &str| match to {
        Told::Sender => copy.to[0].address.eq_ignore_ascii_case(&letter.sender),
        Told::Postmaster => copy.to[0].address.eq_ignore_ascii_case(postmaster),
        Told::Nobody => false,
    };
    let mut rules = book.rules_since(mail.handed.mono).peekable();
    let right = rules.peek().is_none()
        || rules.any(|rules| {
            let kinds = [rules.failure, rules.delay, rules.success];
            kinds.into_iter().any(|to| told(to, &rules.postmaster))
        });
    if !right {
        return Err(format!("a report to <{}>, who is not to be told", copy.to[0].address));
    }
    let envid = letter.envid.as_deref().map(plain);
    if envid.as_deref() != report.envid.as_deref() {
        return Err(format!("a report with another ENVID: {:?}", report.envid));
    }
    let failed = report.about.iter().any(|about| &*about.action == "failed");
    if report.is_full && !(failed && letter.ret == b'F') {
        return Err("a report returns the whole message, and nobody asked for it".into());
    }
    if failed && letter.ret == b'F' && !report.is_full && letter.content.len() < 200_000 {
        return Err("a report does not return the whole message, as asked for".into());
    }
    Ok(())
}

/// What a report says of one recipient, and whether it may.
fn one(book: &Book, who: (u32, usize), about: &About) -> Result<Kind, &'static str> {
    let (_, to, fate) = book.fate(who);
    if let Some(orcpt) = &to.orcpt {
        let strip = |text: &str| text.replace("; ", ";").to_ascii_lowercase();
        if about.original.as_deref().map(strip) != Some(strip(&plain(orcpt))) {
            return Err("a report with another ORCPT");
        }
    }
    let told = |wanted: &[LogEvent]| fate.ends.iter().any(|(end, ..)| wanted.contains(end));
    let (kind, bit, fits) = match &*about.action {
        "failed" => (Kind::Failed, notify::FAILURE, told(&[LogEvent::Failed, LogEvent::Expired])),
        "delayed" => (Kind::Delayed, notify::DELAY, true),
        "relayed" | "delivered" => (Kind::Success, notify::SUCCESS, told(&[LogEvent::Delivered])),
        _ => return Err("a report with an action that there is not"),
    };
    if !fits {
        return Err("a report of an end that the log does not tell");
    }
    if !wants(to.notify, bit) {
        return Err("a report that NOTIFY forbids");
    }
    if kind == Kind::Success && fate.copies.iter().all(|copy| copy.dsn) {
        return Err("a report that is the next host's duty");
    }
    let class = match kind {
        Kind::Failed => matches!(about.class, 4 | 5),
        Kind::Delayed => about.class == 4,
        Kind::Success => about.class == 2,
    };
    if class { Ok(kind) } else { Err("a report whose status does not fit its action") }
}

/// The report that a recipient's end calls for.
fn due(book: &Book, mail: &Mail, place: usize, fate: &Fate) -> Option<Kind> {
    let (end, at, _) = fate.ends.last()?;
    let asked = mail.letter.to[place].notify;
    let silent = |pick: fn(&crate::rules::Rules) -> Told| {
        book.rules_since(at.mono).any(|rules| pick(rules) == Told::Nobody)
    };
    if mail.letter.sender.is_empty() {
        return None;
    }
    match end {
        LogEvent::Failed | LogEvent::Expired => {
            let due = wants(asked, notify::FAILURE) && !silent(|rules| rules.failure);
            due.then_some(Kind::Failed)
        }
        LogEvent::Delivered => {
            let passed_on = fate.copies.iter().any(|copy| copy.dsn);
            let due = wants(asked, notify::SUCCESS) && !passed_on && !silent(|rules| rules.success);
            due.then_some(Kind::Success)
        }
        _ => None,
    }
}

/// Whether a report about a message was written and could not be delivered.
fn lost_on_its_way(book: &Book, mail: &Mail) -> bool {
    let lost = |end: LogEvent| end != LogEvent::Delivered;
    book.reports
        .values()
        .any(|report| Some(report.about) == mail.id && report.end.is_some_and(lost))
}

fn wants(asked: u8, bit: u8) -> bool {
    match asked {
        notify::ABSENT => bit & (notify::FAILURE | notify::DELAY) != 0,
        asked => asked & bit != 0,
    }
}

/// xtext undone (RFC 3461 §4).
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once('+') {
        out.push_str(head);
        let code = tail.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &tail[2..];
            }
            None => {
                out.push('+');
                rest = tail;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests;
