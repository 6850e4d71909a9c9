//! The part of a report that people read. It names each recipient, says what
//! happened in plain words, and quotes the remote host apart from them.

use super::{Action, Outcome, Part, REPLY_SHOWN_BYTES_MAX, Remote, Report};
use crate::address::Host;
use crate::date::MailDate;
use crate::wire::{Lines, clean};

const INDENT: &str = "    ";
const QUOTE_INDENT: &str = "        ";
const SECTIONS: [Action; 4] = [Action::Failed, Action::Delayed, Action::Relayed, Action::Delivered];

pub(super) fn part(report: &Report<'_>, is_global: bool) -> Part {
    let mut out = Lines::default();
    match report.template {
        Some(template) => template.write(report, is_global, &mut out),
        None => {
            out.paragraph("", &format!("This is the mail system at {}.", report.host));
            out.empty_line();
            details(report, is_global, &mut out);
            out.empty_line();
            closing(report, &mut out);
        }
    }
    let is_ascii = out.wire.is_ascii();
    let content_type =
        if is_ascii { "text/plain; charset=us-ascii" } else { "text/plain; charset=utf-8" };
    Part { content_type, ..Part::new(out.wire) }
}

/// What became of whom.
pub(super) fn details(report: &Report<'_>, is_global: bool, out: &mut Lines) {
    let mut is_first = true;
    for action in SECTIONS {
        let mut with_action =
            report.recipients.iter().filter(|outcome| outcome.action == action).peekable();
        if with_action.peek().is_none() {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.empty_line();
        }
        out.paragraph("", opening(action));
        for outcome in with_action {
            out.empty_line();
            recipient(outcome, is_global, out);
        }
    }
}

fn opening(action: Action) -> &'static str {
    match action {
        Action::Failed => {
            "Your message could not be delivered as told below. This is final: \
             it will not be tried again."
        }
        Action::Delayed => {
            "Your message could not be delivered yet as told below. There is no \
             need to send it again: delivery is still being tried, and you will be told if \
             that fails for good."
        }
        Action::Relayed => {
            "Your message was passed on as told below to a mail system that does \
             not report deliveries. No further report will follow unless delivery fails."
        }
        Action::Delivered => "Your message was delivered as told below.",
    }
}

fn recipient(outcome: &Outcome<'_>, is_global: bool, out: &mut Lines) {
    out.line(format_args!("  <{}>", outcome.recipient.address));
    if !outcome.reason.is_empty() {
        let reason = clean(outcome.reason.as_bytes(), is_global, REPLY_SHOWN_BYTES_MAX);
        out.paragraph(INDENT, &format!("{reason}."));
    }
    match (outcome.remote, outcome.reply) {
        (Some(remote), []) => {
            out.paragraph(INDENT, &format!("The host tried last was {}.", named(remote)));
        }
        (Some(remote), reply) => {
            out.paragraph(INDENT, &format!("The host {} said:", named(remote)));
            quote(reply, is_global, out);
        }
        (None, []) => {}
        (None, reply) => {
            out.paragraph(INDENT, "The answer was:");
            quote(reply, is_global, out);
        }
    }
    if let Some(at) = outcome.last_attempt {
        let times = match outcome.attempts {
            0 | 1 => "Tried once, on".to_owned(),
            times => format!("Tried {times} times, the last time on"),
        };
        out.paragraph(INDENT, &format!("{times} {}.", MailDate(at)));
    }
    if outcome.action == Action::Delayed
        && let Some(until) = outcome.retry_until
    {
        out.paragraph(INDENT, &format!("It will be tried until {}.", MailDate(until)));
    }
}

/// The reply, line by line as the host sent it.
fn quote(reply: &[u8], is_global: bool, out: &mut Lines) {
    let shown = &reply[..reply.len().min(REPLY_SHOWN_BYTES_MAX)];
    for line in shown.split(|byte| *byte == b'\n') {
        let line = clean(line, is_global, REPLY_SHOWN_BYTES_MAX);
        if !line.is_empty() {
            out.quote(QUOTE_INDENT, &line);
        }
    }
    if shown.len() < reply.len() {
        out.quote(QUOTE_INDENT, "[...]");
    }
}

fn closing(report: &Report<'_>, out: &mut Lines) {
    let original = &report.original;
    let words = format!(
        "The message was accepted here on {} and is known here as {}. The parts that follow \
         give the details to programs, and tell which message this was.",
        MailDate(original.arrival),
        original.id
    );
    out.paragraph("", &words);
}

fn named(remote: Remote<'_>) -> String {
    match (remote.host, remote.ip) {
        (Host::Name(name), Some(ip)) => format!("{name} [{ip}]"),
        (host, _) => host.to_string(),
    }
}
