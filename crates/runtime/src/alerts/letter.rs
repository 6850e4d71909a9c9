//! Mail about alerts, through our own queue: one message for all that changed
//! at one look.
//!
//! Invariants: the sender is the null path, so that no report about such mail
//! makes more of it; at most [`LETTERS_MAX`] messages an hour.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

use base::{Monotonic, Now};
use control::Policy;
use control::alert::{Change, Turn};
use control::api::Submission;
use mail::{Envelope, Notify, Recipient, ReversePath};

use crate::server::Running;

/// Messages in [`WINDOW`].
const LETTERS_MAX: usize = 20;
const WINDOW: Duration = Duration::from_secs(3_600);
/// How long a shard may take to store one.
const STORE_TIME_MAX: Duration = Duration::from_secs(10);

/// What was sent lately.
#[derive(Debug, Default)]
pub(super) struct Letters {
    sent: VecDeque<Monotonic>,
    /// Changes that nobody was told of by mail.
    left_out: usize,
}

impl Letters {
    /// Sends mail about what has changed, if somebody wants it.
    pub(super) fn send(
        &mut self,
        running: &Running,
        policy: &Policy,
        now: Now,
        changes: &[Change],
    ) {
        let told: Vec<&Change> = changes.iter().filter(|change| !change.silenced).collect();
        if told.is_empty() || policy.alerts.mail_to.is_empty() {
            return;
        }
        if !self.may(now.mono) {
            self.left_out += told.len();
            return;
        }
        let text = text(policy, now, &told, std::mem::take(&mut self.left_out));
        let recipient = |address: &mail::Address| Recipient {
            notify: Notify::parse(b"NEVER").unwrap_or_default(),
            ..Recipient::new(address.clone())
        };
        let recipients = policy.alerts.mail_to.iter().map(recipient).collect();
        let envelope = Envelope::new(ReversePath::Null, recipients);
        let message = Submission { envelope, text: text.into_bytes() };
        // Where it is not taken, the log has the event all the same.
        let _ = running.submit(message, "alert", STORE_TIME_MAX);
    }

    /// Whether one more may be sent, which is then counted.
    fn may(&mut self, now: Monotonic) -> bool {
        while self.sent.front().is_some_and(|at| now.since(*at) >= WINDOW) {
            self.sent.pop_front();
        }
        let may = self.sent.len() < LETTERS_MAX;
        if may {
            self.sent.push_back(now);
        }
        may
    }
}

fn text(policy: &Policy, now: Now, changes: &[&Change], left_out: usize) -> String {
    let plain = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
    };
    let turn = |change: &Change| if change.turn == Turn::Raised { "raised" } else { "cleared" };
    let about = |change: &Change| match change.subject.is_empty() {
        true => change.rule.word().to_owned(),
        false => format!("{} {}", change.rule.word(), plain(&change.subject)),
    };
    let host = &policy.hostname;
    let mut subject = match changes {
        [one] => format!("{}: alert {}: {}", host, turn(one), about(one)),
        all => format!("{host}: {} alerts", all.len()),
    };
    subject.truncate(200);
    let to: Vec<String> = policy.alerts.mail_to.iter().map(|to| format!("<{to}>")).collect();
    let mut text = format!(
        "From: <{}>\r\nTo: {}\r\nSubject: {subject}\r\nAuto-Submitted: auto-generated\r\n\r\n",
        policy.dsn.from,
        to.join(",\r\n "),
    );
    // Writing to a String cannot fail.
    for change in changes {
        let _ = write!(
            text,
            "{} {}\r\n  {}\r\n\r\n",
            turn(change),
            about(change),
            plain(&change.reason)
        );
    }
    if left_out > 0 {
        let _ = write!(
            text,
            "{left_out} more were in the log alone: mail is sent so often only.\r\n\r\n"
        );
    }
    let at = eventlog::rfc3339(now.wall);
    let _ = write!(text, "{at}, Ringpost at {host}. `ringpost alerts` shows what stands.\r\n");
    text
}

#[cfg(test)]
mod tests {
    use base::Wall;
    use control::alert::Rule;

    use super::*;

    fn now(s: u64) -> Now {
        Now::new(Monotonic::from_millis(s * 1_000), Wall::from_millis(s * 1_000))
    }

    #[test]
    fn so_many_are_sent_in_an_hour_and_the_rest_is_counted() {
        let mut letters = Letters::default();
        let sent = (0..LETTERS_MAX as u64 + 5).filter(|s| letters.may(now(*s).mono)).count();
        assert_eq!(sent, LETTERS_MAX);
        assert!(!letters.may(now(3_599).mono) && letters.may(now(3_600).mono));
    }

    #[test]
    fn a_letter_says_what_happened_and_nothing_breaks_its_header() {
        let machine = mail::Domain::parse("mx.example").unwrap();
        let config = "[alerts]\nmail_to = [\"a@ops.example\", \"b@ops.example\"]\n";
        let policy = control::Config::parse(config, &machine).unwrap().policy;
        let change = Change {
            rule: Rule::SiteDown,
            subject: "mx:a\r\nBcc: x@y.example".into(),
            turn: Turn::Raised,
            reason: "it has been down for so long: 30m\r\n.".into(),
            silenced: false,
        };
        let shown = text(&policy, now(0), &[&change], 3);
        let (head, body) = shown.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("To: <a@ops.example>,\r\n <b@ops.example>\r\n"), "{head}");
        assert!(head.contains("Subject: mx.example: alert raised: site_down mx:a??Bcc"), "{head}");
        assert_eq!(head.lines().count(), 5, "{head}");
        assert!(body.contains("so long: 30m??.\r\n") && body.contains("3 more"), "{body}");
        let two = text(&policy, now(0), &[&change, &change], 0);
        assert!(two.contains("Subject: mx.example: 2 alerts\r\n"), "{two}");
    }
}
