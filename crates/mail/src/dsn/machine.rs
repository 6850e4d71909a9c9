//! The part of a report that programs read: `message/delivery-status`.
//!
//! Read first: RFC 3464 §2.1, RFC 6533 §3, RFC 6533 §4.

use super::{Action, Outcome, Part, REPLY_SHOWN_BYTES_MAX, Report};
use crate::address::{Address, Host};
use crate::date::MailDate;
use crate::envelope::{ENVID_BYTES_MAX, ORCPT_BYTES_MAX};
use crate::wire::{Lines, clean, clean_exactly};
use crate::xtext;

pub(super) fn part(report: &Report<'_>, is_global: bool) -> Part {
    let mut out = Lines::default();
    message_fields(report, &mut out);
    for outcome in report.recipients {
        out.empty_line();
        recipient_fields(outcome, is_global, &mut out);
    }
    let content_type =
        if is_global { "message/global-delivery-status" } else { "message/delivery-status" };
    Part { content_type, ..Part::new(out.wire) }
}

/// The fields about the message (RFC 3464 §2.2).
fn message_fields(report: &Report<'_>, out: &mut Lines) {
    let original = &report.original;
    if let Some(envid) = original.envid {
        let envid = clean_exactly(&xtext::decode(envid), false, ENVID_BYTES_MAX);
        out.line(format_args!("Original-Envelope-Id: {envid}"));
    }
    out.line(format_args!("Reporting-MTA: dns; {}", report.host));
    out.line(format_args!("Arrival-Date: {}", MailDate(original.arrival)));
    out.line(format_args!("X-Ringpost-Queue-Id: {}", original.id));
}

/// The fields about one recipient (RFC 3464 §2.3).
fn recipient_fields(outcome: &Outcome<'_>, is_global: bool, out: &mut Lines) {
    let recipient = outcome.recipient;
    if let Some(orcpt) = &recipient.orcpt {
        out.line(format_args!("Original-Recipient: {}", original_recipient(orcpt, is_global)));
    }
    out.line(format_args!("Final-Recipient: {}", typed(&recipient.address, is_global)));
    out.line(format_args!("Action: {}", outcome.action.as_str()));
    out.line(format_args!("Status: {}", outcome.status));
    if let Some(remote) = outcome.remote {
        out.line(format_args!("Remote-MTA: {}", remote_mta(remote.host)));
    }
    if let Some(diagnostic) = diagnostic(outcome, is_global) {
        out.field("Diagnostic-Code", &diagnostic);
    }
    if let Some(at) = outcome.last_attempt {
        out.line(format_args!("Last-Attempt-Date: {}", MailDate(at)));
    }
    if outcome.action == Action::Delayed
        && let Some(until) = outcome.retry_until
    {
        out.line(format_args!("Will-Retry-Until: {}", MailDate(until)));
    }
}

/// The whole reply, else our own words (RFC 3464 §2.3.6).
fn diagnostic(outcome: &Outcome<'_>, is_global: bool) -> Option<String> {
    let (kind, words) = match outcome.reply {
        [] => ("X-Ringpost", outcome.reason.as_bytes()),
        reply => ("smtp", reply),
    };
    let words = clean(words, is_global, REPLY_SHOWN_BYTES_MAX);
    (!words.is_empty()).then(|| format!("{kind}; {words}"))
}

/// ORCPT decoded (RFC 3461 §6.3). An international address is shown plainly
/// where the report may (RFC 6533 §4) and stays encoded elsewhere.
fn original_recipient(orcpt: &str, is_global: bool) -> String {
    let (kind, address) = orcpt.split_once(';').unwrap_or(("unknown", orcpt));
    let address = match kind.eq_ignore_ascii_case("utf-8") {
        true if is_global => unescape(address),
        true => address.to_owned(),
        false => xtext::decode(address),
    };
    // Decoding never makes a text longer, so the bound cuts nothing.
    clean_exactly(&format!("{kind}; {address}"), is_global, ORCPT_BYTES_MAX + 1)
}

/// The address with its type; beyond ASCII it is of type `utf-8`, as itself or
/// with `\x{…}` for each such character (RFC 6533 §3).
fn typed(address: &Address, is_global: bool) -> String {
    match (address.is_ascii(), is_global) {
        (true, _) => format!("rfc822; {address}"),
        (false, true) => format!("utf-8; {address}"),
        (false, false) => format!("utf-8; {}", escape(&address.to_string())),
    }
}

fn remote_mta(host: &Host) -> String {
    format!("dns; {host}")
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            '!'..='*' | ','..='<' | '>'..='[' | ']'..='~' => out.push(char),
            _ => out.push_str(&format!("\\x{{{:02X}}}", u32::from(char))),
        }
    }
    out
}

/// The inverse of [`escape`]; what is no escape stays.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("\\x{") {
        let (head, tail) = rest.split_at(start);
        out.push_str(head);
        let char = tail.find('}').and_then(|end| Some((end, hex_char(&tail[3..end])?)));
        match char {
            Some((end, char)) => {
                out.push(char);
                rest = &tail[end + 1..];
            }
            None => {
                out.push_str(&tail[..3]);
                rest = &tail[3..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn hex_char(digits: &str) -> Option<char> {
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves: RFC 6533 §3
    /// Covers: A6.17
    #[test]
    fn international_addresses_are_escaped_and_back() {
        let address = "j\u{f6}rg+x@b.example";
        assert_eq!(escape(address), "j\\x{F6}rg\\x{2B}x@b.example");
        assert_eq!(unescape(&escape(address)), address);
        for text in ["\\x{", "\\x{}", "\\x{zz}", "\\x{D800}", "\\x{110000}", "\\x", "a\\x{41}\\x{"]
        {
            assert!(unescape(text).starts_with(['\\', 'a']), "{text}");
        }
        assert_eq!(unescape("a\\x{41}\\x{"), "aA\\x{");
    }

    /// Covers: A6.17, A7.3
    #[test]
    fn original_recipients_are_decoded_for_who_may_read_them() {
        assert_eq!(original_recipient("rfc822;a+2Bb@c", false), "rfc822; a+b@c");
        assert_eq!(original_recipient("utf-8;\\x{F6}@c", false), "utf-8; \\x{F6}@c");
        assert_eq!(original_recipient("UTF-8;\\x{F6}@c", true), "UTF-8; \u{f6}@c");
        // A line break smuggled past the session still ends no line.
        assert_eq!(original_recipient("utf-8;\\x{0D}\\x{0A}X:@c", true), "utf-8; ??X:@c");
    }
}
