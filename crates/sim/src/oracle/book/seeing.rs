//! How observations go into the book.
//!
//! Never judges, and never trusts: what the log says is noted beside what
//! others saw.

use std::sync::Arc;

use base::{MessageId, Monotonic, Now};

use crate::observation::{
    Act, Addressee, Command, Disk, Letter, Link, LogEvent, LogLine, Observation, Recovery, Stamped,
    Taken, Text, Verb, Whom,
};

use super::{Book, Delivery, Fate, LastLine, Mail, NEXT_HOST, Reported, Standing, domain_of};

impl Book {
    /// Takes an observation in.
    pub(crate) fn see(&mut self, seen: &Stamped) {
        let at = seen.at;
        match &seen.what {
            Observation::Configured(rules) => self.rules.push((at.mono, rules.clone())),
            Observation::Topology(sites) => self.topology.push((at.mono, sites.clone())),
            Observation::Handed { message, letter, .. } => self.handed(at, *message, letter),
            Observation::Promised { message, .. } => {
                if let Some(mail) = self.mail.get_mut(message) {
                    mail.promised = true;
                }
            }
            Observation::Answered { message, to: Verb::Mail, .. } => {
                self.rcpt.insert(*message, Vec::new());
            }
            Observation::Answered { message, to: Verb::Rcpt, code, .. } => {
                match self.mail.get_mut(message) {
                    Some(mail) => mail.rcpt.push(*code),
                    None => self.rcpt.entry(*message).or_default().push(*code),
                }
            }
            Observation::Answered { message, to: Verb::Dot, code, id, .. } => {
                self.answered(at, *message, *code, *id);
            }
            Observation::Logged { line, .. } => self.logged(at, line),
            Observation::Ordered { act, whom, .. } => self.ordered(at, *act, whom),
            Observation::Obeyed { .. } => {}
            Observation::Disk { what, .. } => self.disk(at, *what),
            Observation::Crashed { power } => {
                self.crashes.push((at.mono, *power));
                self.links.clear();
                self.ended.clear();
                self.cut_short(at.mono);
            }
            Observation::Recovered { report, .. } => self.recovered(at, report),
            other => self.on_link(at, other),
        }
    }

    fn handed(&mut self, at: Now, message: u32, letter: &Arc<Letter>) {
        for (place, one) in letter.to.iter().enumerate() {
            self.by_address.insert(one.address.to_ascii_lowercase().into(), (message, place));
        }
        self.largest = self.largest.max(letter.content.len());
        let fates = letter.to.iter().map(|_| Fate::default()).collect();
        let mail = Mail {
            letter: letter.clone(),
            handed: at,
            life: self.life,
            answer: None,
            promised: false,
            rcpt: self.rcpt.remove(&message).unwrap_or_default(),
            id: None,
            fates,
        };
        self.mail.insert(message, mail);
    }

    fn answered(&mut self, at: Now, message: u32, code: u16, id: Option<MessageId>) {
        let Some(mail) = self.mail.get_mut(&message) else { return };
        mail.answer = Some((code, at));
        if (200..300).contains(&code) {
            mail.promised = true;
            self.learn(message, id);
        }
    }

    /// Somebody outside has seen a message's id.
    fn learn(&mut self, message: u32, id: Option<MessageId>) {
        let (Some(id), Some(mail)) = (id, self.mail.get_mut(&message)) else { return };
        if mail.id.is_some() {
            return;
        }
        mail.id = Some(id);
        self.by_id.insert(id.as_u64(), message);
        self.nameless.retain(|(named, place, at)| {
            if *named == id
                && let Some(fate) = mail.fates.get_mut(usize::from(*place))
            {
                fate.doubts.push(*at);
            }
            *named != id
        });
    }

    fn logged(&mut self, at: Now, line: &LogLine) {
        if let (LogEvent::Report, Some(id), Some(report)) = (line.event, line.id, line.report) {
            self.reports.insert(report, Reported { about: id, end: None, doubts: 0 });
            return;
        }
        if let Some(report) = line.id.and_then(|id| self.reports.get_mut(&id)) {
            report.doubts += u32::from(line.in_doubt);
            if line.event.is_end() {
                report.end = Some(line.event);
            }
            return;
        }
        let Some((message, place)) = self.whose(&line.to) else { return };
        let life = self.life;
        self.learn(message, line.id);
        let mail = self.mail.get_mut(&message).expect("an address names a message we have");
        let fate = &mut mail.fates[place];
        if line.in_doubt {
            fate.doubts.push(at.mono);
        }
        if line.event.is_end() {
            fate.ends.push((line.event, at, life));
        }
        if line.event == LogEvent::Delivered {
            let mine =
                |copy: &&mut Delivery| copy.heard.is_some() && !copy.claimed && copy.life == life;
            if let Some(copy) = fate.copies.iter_mut().find(mine) {
                copy.claimed = true;
            }
        }
        if let (false, Some(attempt)) = (line.event == LogEvent::Delayed, line.attempt) {
            let next = line.next;
            fate.line = Some(LastLine { event: line.event, at, life, attempt, next });
        }
    }

    fn ordered(&mut self, at: Now, act: Act, whom: &Whom) {
        for mail in self.mail.values_mut() {
            for (fate, one) in mail.fates.iter_mut().zip(&mail.letter.to) {
                let meant = match whom {
                    Whom::All => true,
                    // Before its id is known outside, it may be any.
                    Whom::Message(id) => mail.id.is_none_or(|own| own == *id),
                    Whom::Domain(name) => domain_of(&one.address).eq_ignore_ascii_case(name),
                    Whom::Sender(sender) => *sender == mail.letter.sender,
                    Whom::Recipient(to) => *to == one.address,
                };
                match act {
                    Act::Flush | Act::Release if meant => fate.hurried = Some(at.mono),
                    Act::Remove if meant => fate.removal = Some(at.mono),
                    _ => {}
                }
            }
        }
    }

    fn disk(&mut self, at: Now, what: Disk) {
        match what {
            Disk::SyncFailed | Disk::WriteFailed => self.disk_troubles.push(at.mono),
            Disk::Full => self.disk_full.push((at.mono, None)),
            Disk::NoSegment => self.disk_full.push((at.mono, Some(at.mono))),
            Disk::Damaged => self.damaged = true,
            Disk::Roomy => {
                let open = self.disk_full.iter_mut().filter(|(_, until)| until.is_none());
                open.for_each(|(_, until)| *until = Some(at.mono));
            }
            Disk::Synced(_) | Disk::ReadFailed => {}
        }
    }

    fn recovered(&mut self, at: Now, report: &Recovery) {
        self.life += 1;
        for (id, place) in &report.in_doubt {
            if let Some(report) = self.reports.get_mut(id) {
                report.doubts += 1;
                continue;
            }
            let Some(message) = self.message_of(*id) else {
                self.nameless.push((*id, *place, at.mono));
                continue;
            };
            let mail = self.mail.get_mut(&message).expect("an id names a message we have");
            let place = mail.stored_at(*place);
            if let Some(fate) = mail.fates.get_mut(place) {
                fate.doubts.push(at.mono);
            }
        }
    }

    /// Outcomes that the end of the program may have left on record, and no
    /// line about them.
    fn cut_short(&mut self, end: Monotonic) {
        for fate in self.mail.values_mut().flat_map(|mail| &mut mail.fates) {
            fate.cut_short |= fate.copies.iter().any(|copy| copy.heard_just_before(end));
        }
    }

    fn on_link(&mut self, at: Now, what: &Observation) {
        match what {
            Observation::Dialled { link, to, .. } => {
                let standing = Standing {
                    to: *to,
                    dialled: at.mono,
                    since: self.attempt_since(link.shard, at.mono),
                    mail: None,
                    sender: Text::default(),
                    rcpt: Vec::new(),
                    dots: 0,
                    copies: Vec::new(),
                };
                self.links.insert(*link, standing);
            }
            Observation::DialFailed { link, .. } | Observation::Ended { link, .. } => {
                if let Some(ended) = self.links.remove(link) {
                    let all = self.ended.entry(link.shard).or_default();
                    all.retain(|(end, _)| at.mono.since(*end) <= NEXT_HOST);
                    all.push((at.mono, ended.since));
                }
            }
            Observation::Heard { link, left, command } => self.heard(*link, *left, command),
            Observation::Said { link, to, code } => self.said(at.mono, *link, *to, *code),
            Observation::Took { link, copy } => self.took(at, *link, copy),
            _ => {}
        }
    }

    fn heard(&mut self, link: Link, left: Monotonic, command: &Command) {
        let Some(standing) = self.links.get_mut(&link) else { return };
        match command {
            Command::Mail(sender) => {
                standing.mail = Some(left);
                standing.sender = sender.clone();
                standing.rcpt.clear();
                standing.copies.clear();
            }
            Command::Rcpt(to) => {
                standing.rcpt.push((to.clone(), None));
                if let Some((message, place)) = self.whose(to) {
                    let mail = self.mail.get_mut(&message).expect("an address has a message");
                    mail.fates[place].asked = Some((left, link));
                }
            }
            Command::Dot => standing.dots += 1,
            _ => {}
        }
    }

    fn said(&mut self, at: Monotonic, link: Link, to: Verb, code: u16) {
        let Some(standing) = self.links.get_mut(&link) else { return };
        match to {
            Verb::Rcpt => {
                if let Some((_, said)) = standing.rcpt.iter_mut().find(|(_, said)| said.is_none()) {
                    *said = Some(code);
                }
            }
            Verb::Dot if (200..300).contains(&code) => {
                let copies = std::mem::take(&mut standing.copies);
                for (message, place) in copies {
                    let mail = self.mail.get_mut(&message).expect("a copy has a message");
                    if let Some(copy) = mail.fates[place].copies.last_mut() {
                        copy.heard = Some(at);
                    }
                }
            }
            _ => {}
        }
    }

    fn took(&mut self, at: Now, link: Link, copy: &Taken) {
        let Some(message) = copy.message() else { return };
        self.learn(message, traced(&copy.content));
        let Some(standing) = self.links.get_mut(&link) else { return };
        let Some(mail) = self.mail.get_mut(&message) else { return };
        for one in &copy.to {
            let of = |to: &Addressee| to.address.eq_ignore_ascii_case(&one.address);
            let Some(place) = mail.letter.to.iter().position(of) else { continue };
            mail.fates[place].copies.push(Delivery {
                at: at.mono,
                life: self.life,
                remote: standing.to,
                heard: None,
                claimed: false,
                dsn: copy.dsn,
            });
            standing.copies.push((message, place));
        }
    }
}

/// The id in the trace header that we put in front.
fn traced(content: &[u8]) -> Option<MessageId> {
    let front = std::str::from_utf8(&content[..content.len().min(1_024)]).ok()?;
    let (_, rest) = front.split_once(" id ")?;
    rest.get(..13)?.parse().ok()
}
