//! Reports to senders: whether one is due, to whom, and what it says. Stored
//! by `ledger`, in one record with the outcomes it tells.
//!
//! Invariants: mail with a null reverse-path never causes a report; outcomes of
//! one kind that are written together and whose routes say the same about
//! reports cause one at most (RFC 3461 §5.2.8).
//!
//! Read first: RFC 3461 §5.2, RFC 5321 §4.5.5, RFC 5321 §6.1.

use base::planted::{Bug, planted};
use base::{MessageId, Wall};
use control::{NotifyTo, Reports};
use mail::dsn::{self, Action, Original, RETURNED_HEADER_BYTES_MAX, Remote, Report};
use mail::{Address, Envelope, Host, Notify, Recipient, ReversePath};
use spool::Message;

use crate::mesh::{SettledAs, Settlement};
use crate::shard::{Shard, Turn};

/// A report ready to be stored.
pub(crate) struct Letter {
    pub(crate) envelope: Envelope,
    pub(crate) wire: Vec<u8>,
}

impl Shard {
    /// The report that outcomes of one kind of one message call for, if any.
    pub(crate) fn letter(
        &mut self,
        turn: &mut Turn<'_>,
        message: MessageId,
        group: &[&Settlement],
        texts: &[Box<str>],
    ) -> Option<Letter> {
        let kind = group.iter().find_map(|s| action(s))?;
        let Ok(stored) = self.spool.message(&*turn.medium, message) else {
            // Damaged: nobody knows any more whom to tell.
            self.metrics.reports_withheld += u64::from(kind == Action::Failed);
            return None;
        };
        let mut about: Vec<(Recipient, &Settlement, &str)> = Vec::new();
        for (s, text) in group.iter().zip(texts) {
            let Some(recipient) = recipient_of(&stored, s.recipient) else { continue };
            if asked_for(kind, recipient.notify) {
                about.push((recipient, s, text));
            }
        }
        let reports = self.reports(&stored, group[0].recipient);
        let to = self.told(&stored, notify_to(reports, kind, group[0]));
        let Some(to) = to.filter(|_| !about.is_empty()) else {
            self.metrics.reports_withheld += u64::from(kind == Action::Failed);
            return None;
        };
        let unique = format!("{message}.{:x}", self.rng.next_u64());
        let reports = self.reports(&stored, group[0].recipient);
        let composed = self.compose(turn, &stored, (kind, reports), &to, &unique, &about);
        let to = self.readers(Recipient { notify: Notify::NEVER, ..Recipient::new(to) });
        let mut envelope = Envelope::new(ReversePath::Null, to);
        (envelope.body, envelope.smtputf8) = (composed.body, composed.smtputf8);
        Some(Letter { envelope, wire: composed.wire })
    }

    /// Parts a group of outcomes of one kind, all of one message, by what their
    /// recipients' routes say about reports of it: who is told, in which words.
    pub(crate) fn alike<'s>(
        &self,
        turn: &Turn<'_>,
        group: Vec<&'s Settlement>,
    ) -> Vec<Vec<&'s Settlement>> {
        let Some((first, kind)) = group.first().and_then(|s| Some((s, action(s)?))) else {
            return vec![group];
        };
        if group.len() == 1 {
            return vec![group];
        }
        let Ok(stored) = self.spool.message(&*turn.medium, first.message) else {
            return vec![group];
        };
        let mut classes: Vec<((NotifyTo, _), Vec<&Settlement>)> = Vec::new();
        for s in group {
            let reports = self.reports(&stored, s.recipient);
            let words = reports.template.as_ref().map(|(_, template)| &**template);
            let class = (notify_to(reports, kind, s), words);
            match classes.iter_mut().find(|(other, _)| *other == class) {
                Some((_, members)) => members.push(s),
                None => classes.push((class, vec![s])),
            }
        }
        classes.into_iter().map(|(_, members)| members).collect()
    }

    /// What the route of a recipient says about reports, by the configuration
    /// in force now.
    fn reports(&self, stored: &Message<'_>, recipient: u16) -> &Reports {
        match recipient_of(stored, recipient) {
            Some(recipient) => self.policy.reports(self.policy.route(&recipient.address)),
            None => &self.policy.dsn.reports,
        }
    }

    /// Who is told, if anybody.
    fn told(&self, stored: &Message<'_>, to: NotifyTo) -> Option<Address> {
        let settings = &self.policy.dsn;
        if stored.is_report() || stored.sender().is_empty() {
            return planted(Bug::NullSenderBounced).then(|| settings.postmaster.clone());
        }
        match to {
            NotifyTo::Sender => Address::parse(stored.sender(), true).ok(),
            NotifyTo::Postmaster => Some(settings.postmaster.clone()),
            NotifyTo::None => None,
        }
    }

    fn compose(
        &self,
        turn: &Turn<'_>,
        stored: &Message<'_>,
        (kind, reports): (Action, &Reports),
        to: &Address,
        unique: &str,
        about: &[(Recipient, &Settlement, &str)],
    ) -> dsn::Composed {
        let remotes: Vec<Option<(Host, Option<std::net::IpAddr>)>> =
            about.iter().map(|(_, s, _)| remote(&s.host)).collect();
        let outcomes: Vec<dsn::Outcome<'_>> = about
            .iter()
            .zip(&remotes)
            .map(|((recipient, s, text), remote)| {
                let said_by_remote = starts_with_code(text);
                dsn::Outcome {
                    recipient,
                    action: kind,
                    status: fitting(s, kind),
                    remote: remote.as_ref().map(|(host, ip)| Remote { host, ip: *ip }),
                    reply: if said_by_remote { text.as_bytes() } else { b"" },
                    reason: if said_by_remote { "" } else { text },
                    attempts: u32::from(s.attempt),
                    last_attempt: (s.attempt > 0).then_some(turn.now.wall),
                    retry_until: until(s),
                }
            })
            .collect();
        let (segment, offset, len) = stored.body_range();
        let whole = stored.ret() == Some(mail::Return::Full)
            && (len as usize) <= dsn::RETURNED_MESSAGE_BYTES_MAX;
        let shown = if whole { len } else { len.min(RETURNED_HEADER_BYTES_MAX as u32) };
        let wire = turn.medium.read(segment, offset, shown).unwrap_or_default();
        dsn::compose(&Report {
            unique,
            now: turn.now.wall,
            host: &self.policy.hostname,
            from: &self.policy.dsn.from,
            to,
            template: reports.template.as_ref().map(|(_, template)| &**template),
            original: Original {
                id: stored.id(),
                arrival: stored.arrival(),
                envid: stored.envid(),
                ret: stored.ret(),
                smtputf8: stored.smtputf8(),
                wire,
                is_whole: shown == len,
            },
            recipients: &outcomes,
        })
    }
}

/// Whom `reports` name for an outcome of a kind.
fn notify_to(reports: &Reports, kind: Action, s: &Settlement) -> NotifyTo {
    match kind {
        Action::Failed if s.result == SettledAs::Expired => reports.expiry,
        Action::Failed => reports.failure,
        Action::Delayed => reports.delay,
        Action::Relayed | Action::Delivered => reports.success,
    }
}

/// What kind of report an outcome may call for.
pub(crate) fn action(s: &Settlement) -> Option<Action> {
    match s.result {
        SettledAs::Expired if planted(Bug::ExpiryUnreported) => None,
        SettledAs::Failed | SettledAs::Expired => Some(Action::Failed),
        SettledAs::Delayed { .. } => Some(Action::Delayed),
        SettledAs::Delivered { dsn_passed_on: false, in_mailbox: true } => Some(Action::Delivered),
        SettledAs::Delivered { dsn_passed_on: false, .. } => Some(Action::Relayed),
        _ => None,
    }
}

/// Whether the sender wants to hear of it (RFC 3461 §4.1).
fn asked_for(kind: Action, notify: Notify) -> bool {
    match kind {
        Action::Failed => notify.wants_failure() || planted(Bug::NotifyNeverForgotten),
        Action::Delayed => notify.wants_delay(),
        Action::Relayed | Action::Delivered => notify.wants_success(),
    }
}

fn recipient_of(stored: &Message<'_>, index: u16) -> Option<Recipient> {
    let view = stored.recipient(index)?;
    let address = Address::parse(view.address, true).ok()?;
    let orcpt = view.orcpt.map(Into::into);
    Some(Recipient { notify: view.notify, orcpt, ..Recipient::new(address) })
}

/// The status, its class fitting the action (RFC 3464 §2.3.4).
fn fitting(s: &Settlement, kind: Action) -> mail::Status {
    match kind {
        Action::Delayed => s.status.with_class(4),
        Action::Relayed | Action::Delivered => s.status.with_class(2),
        Action::Failed if s.result == SettledAs::Expired => s.status,
        Action::Failed => s.status.with_class(5),
    }
}

fn until(s: &Settlement) -> Option<Wall> {
    match s.result {
        SettledAs::Delayed { until } => Some(until),
        _ => None,
    }
}

fn starts_with_code(text: &str) -> bool {
    let digits = text.bytes().take(3).filter(u8::is_ascii_digit).count();
    digits == 3 && text.as_bytes().get(3).is_none_or(|b| matches!(b, b' ' | b'-'))
}

/// Reads `name [address]` back.
fn remote(host: &str) -> Option<(Host, Option<std::net::IpAddr>)> {
    let (name, ip) = match host.rsplit_once(" [") {
        Some((name, ip)) => (name, ip.trim_end_matches(']').parse().ok()),
        None => (host, None),
    };
    Some((Host::parse(name).ok()?, ip))
}
