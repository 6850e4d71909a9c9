//! The fields we put in front of a message: `Received`, and `Date` and
//! `Message-ID` where they are missing.
//!
//! Every line is short of 998 octets and ends in CRLF, and nothing a peer said
//! is written that could end a field or a comment early.
//!
//! Read first: RFC 5321 §4.4, RFC 3848, RFC 6531 §4.3, RFC 5322 §3.6.

use std::fmt;
use std::net::IpAddr;

use base::Wall;
use base::limits::DOMAIN_BYTES_MAX;

use crate::address::{Address, Host};
use crate::date::MailDate;
use crate::domain::Domain;
use crate::wire::append;

/// What a `Received` field says: how one message came to us.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// The argument of EHLO or HELO, as received.
    pub hello: &'a [u8],
    /// Where the connection came from.
    pub client: IpAddr,
    /// Our own name.
    pub host: &'a Domain,
    /// How we spoke.
    pub protocol: Protocol,
    /// The recipient when there is exactly one: more must not be told about
    /// each other (RFC 5321 §7.6).
    pub only_recipient: Option<&'a Address>,
    /// When the message came.
    pub arrival: Wall,
}

/// The `with` word of a `Received` field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// EHLO, not HELO.
    pub esmtp: bool,
    /// Inside TLS.
    pub tls: bool,
    /// After AUTH.
    pub authenticated: bool,
    /// MAIL had SMTPUTF8.
    pub smtputf8: bool,
    /// LHLO.
    pub lmtp: bool,
}

/// Appends one `Received` field to `out` (RFC 5321 §4.4). `id` is the
/// message's name in our log: printable ASCII without blanks and `;`.
pub fn received_field(trace: &Trace<'_>, id: impl fmt::Display, out: &mut Vec<u8>) {
    let client = Host::Literal(trace.client);
    append(out, format_args!("Received: from "));
    match hello_text(trace.hello) {
        Some(hello) => out.extend_from_slice(hello.as_bytes()),
        None => append(out, format_args!("{client}")),
    }
    let (host, protocol) = (trace.host, trace.protocol);
    append(out, format_args!(" ({client})\r\n\tby {host} (Ringpost) with {protocol} id {id}"));
    if let Some(recipient) = trace.only_recipient {
        append(out, format_args!("\r\n\tfor <{recipient}>"));
    }
    append(out, format_args!(";\r\n\t{}\r\n", MailDate(trace.arrival)));
}

/// Appends a `Received` field for a message that came by no session; `by` says
/// how, in printable ASCII without parentheses. Only who names a client needs
/// `from` and `with` (RFC 5321 §4.4 asks them of SMTP servers).
pub fn received_beside(
    by: &str,
    host: &Domain,
    only_recipient: Option<&Address>,
    arrival: Wall,
    id: impl fmt::Display,
    out: &mut Vec<u8>,
) {
    debug_assert!(by.bytes().all(|b| matches!(b, b' '..=b'~') && !b"()\\".contains(&b)));
    append(out, format_args!("Received: by {host} (Ringpost, {by})\r\n\tid {id}"));
    if let Some(recipient) = only_recipient {
        append(out, format_args!("\r\n\tfor <{recipient}>"));
    }
    append(out, format_args!(";\r\n\t{}\r\n", MailDate(arrival)));
}

/// Appends a `Date` field to `out` (RFC 5322 §3.6.1).
pub fn date_field(at: Wall, out: &mut Vec<u8>) {
    append(out, format_args!("Date: {}\r\n", MailDate(at)));
}

/// Appends a `Message-ID` field to `out` (RFC 5322 §3.6.4). `unique` is never
/// used twice by this host: letters, digits, dots inside.
pub fn message_id_field(unique: impl fmt::Display, host: &Domain, out: &mut Vec<u8>) {
    append(out, format_args!("Message-ID: <{unique}@{host}>\r\n"));
}

/// `SMTP`, `ESMTPS`, `UTF8SMTPSA`, … (RFC 3848, RFC 6531 §4.3).
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.smtputf8 && !self.esmtp && !self.lmtp {
            return f.write_str("SMTP");
        }
        f.write_str(match (self.lmtp, self.smtputf8) {
            (true, true) => "UTF8LMTP",
            (true, false) => "LMTP",
            (false, true) => "UTF8SMTP",
            (false, false) => "ESMTP",
        })?;
        f.write_str(if self.tls { "S" } else { "" })?;
        f.write_str(if self.authenticated { "A" } else { "" })
    }
}

/// The EHLO argument if it can stand in the field: a host, or at least one
/// word without a character that means something there. Clients say the
/// oddest things, and what they say is worth keeping while it is harmless.
fn hello_text(hello: &[u8]) -> Option<&str> {
    if hello.is_empty() || hello.len() > DOMAIN_BYTES_MAX {
        return None;
    }
    let text = str::from_utf8(hello).ok()?;
    let is_word = text.bytes().all(|byte| byte.is_ascii_graphic() && !SPECIALS.contains(&byte));
    let is_literal = || matches!(Host::parse(text), Ok(Host::Literal(_)));
    (is_word || is_literal()).then_some(text)
}

/// `specials` of RFC 5322 §3.2.3 without the dot.
const SPECIALS: &[u8] = b"()<>[]:;@\\,\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn trace<'a>(hello: &'a [u8], host: &'a Domain) -> Trace<'a> {
        Trace {
            hello,
            client: "192.0.2.1".parse().unwrap(),
            host,
            protocol: Protocol { esmtp: true, ..Protocol::default() },
            only_recipient: None,
            arrival: Wall::from_millis(1_795_298_400_000),
        }
    }

    fn received(trace: &Trace<'_>) -> String {
        let mut out = Vec::new();
        received_field(trace, "0123456789abc", &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Proves: RFC 5321 §4.4
    /// Covers: A1.28
    #[test]
    fn received_is_one_folded_field() {
        let host = Domain::parse("mail.example").unwrap();
        let mut trace = trace(b"client.example", &host);
        assert_eq!(
            received(&trace),
            "Received: from client.example ([192.0.2.1])\r\n\
             \tby mail.example (Ringpost) with ESMTP id 0123456789abc;\r\n\
             \tSat, 21 Nov 2026 22:00:00 +0000\r\n"
        );
        let recipient = "\"a b\"@c.example".parse().unwrap();
        trace.only_recipient = Some(&recipient);
        trace.client = "2001:db8::1".parse().unwrap();
        assert_eq!(
            received(&trace),
            "Received: from client.example ([IPv6:2001:db8::1])\r\n\
             \tby mail.example (Ringpost) with ESMTP id 0123456789abc\r\n\
             \tfor <\"a b\"@c.example>;\r\n\
             \tSat, 21 Nov 2026 22:00:00 +0000\r\n"
        );
    }

    /// Covers: A1.13, A1.28, B90
    #[test]
    fn what_a_client_calls_itself_cannot_break_the_field() {
        let host = Domain::parse("mail.example").unwrap();
        let longest = "a".repeat(DOMAIN_BYTES_MAX);
        let longer = "a".repeat(DOMAIN_BYTES_MAX + 1);
        for (hello, shown) in [
            ("[198.51.100.7]", "[198.51.100.7]"),
            ("WIN_PC-7", "WIN_PC-7"),
            ("", "[192.0.2.1]"),
            ("a b", "[192.0.2.1]"),
            ("a(b", "[192.0.2.1]"),
            ("a;b", "[192.0.2.1]"),
            ("a\r\nX: y", "[192.0.2.1]"),
            ("\u{e9}", "[192.0.2.1]"),
            (longest.as_str(), longest.as_str()),
            (longer.as_str(), "[192.0.2.1]"),
        ] {
            let field = received(&trace(hello.as_bytes(), &host));
            let start = format!("Received: from {shown} (");
            assert!(field.starts_with(&start), "{hello:?} gives {field}");
        }
    }

    /// Proves: RFC 6531 §4.3
    /// Covers: A1.28, A6.16
    #[test]
    fn protocols_have_their_words() {
        let word = |bits: u8| {
            Protocol {
                esmtp: bits & 1 != 0,
                tls: bits & 2 != 0,
                authenticated: bits & 4 != 0,
                smtputf8: bits & 8 != 0,
                lmtp: bits & 16 != 0,
            }
            .to_string()
        };
        for (bits, expected) in [
            (0, "SMTP"),
            (1, "ESMTP"),
            (3, "ESMTPS"),
            (5, "ESMTPA"),
            (7, "ESMTPSA"),
            (9, "UTF8SMTP"),
            (15, "UTF8SMTPSA"),
            (17, "LMTP"),
            (23, "LMTPSA"),
            (27, "UTF8LMTPS"),
        ] {
            assert_eq!(word(bits), expected);
        }
    }

    /// Covers: A3.9
    #[test]
    fn date_and_message_id_are_whole_fields() {
        let mut out = Vec::new();
        date_field(Wall::from_millis(0), &mut out);
        message_id_field("abc.1", &Domain::parse("mail.example").unwrap(), &mut out);
        let expected = b"Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n\
            Message-ID: <abc.1@mail.example>\r\n";
        assert_eq!(out, expected);
    }
}
