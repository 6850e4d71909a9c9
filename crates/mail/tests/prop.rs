//! Properties that hold for every input: parsers never panic and agree with
//! their printers, a scan does not depend on how the bytes are cut, and what
//! we write is always valid on the wire.

use base::{MessageId, Wall};
use mail::dsn::{Action, Original, Outcome, Remote, Report, compose};
use mail::encode::to_seven_bit;
use mail::envelope::{parse_envid, parse_orcpt};
use mail::header::{Protocol, Scanner, Trace, received_field};
use mail::{
    Address, Body, Domain, ForwardPath, Host, Notify, Recipient, Return, ReversePath, Status, xtext,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Bytes that mean something to a parser of addresses, more often than not.
fn address_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => select(vec![
            "<", ">", "@", "\"", "\\", ".", ",", ":", "[", "]", "IPv6:", "::1", "192.0.2.1", "a",
            "b-c", "xn--", "\u{fc}", " ", "+", "postmaster", "\r", "\n", "\0", "\u{85}",
        ]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Well-formed addresses of every shape.
fn address_text() -> impl Strategy<Value = String> {
    let local = prop_oneof![
        "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\\.[a-z0-9]{1,10}){0,3}",
        "\"([ !#-\\[\\]-~]|\\\\[ -~]){0,25}\"",
        "[a-z\u{e0}-\u{ff}\u{4e00}-\u{4eff}]{1,15}",
    ];
    let host = prop_oneof![
        "[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\\.[a-zA-Z]{1,10}){0,3}\\.[a-zA-Z]{2,8}",
        any::<[u8; 4]>().prop_map(|ip| format!("[{}]", std::net::Ipv4Addr::from(ip))),
        any::<[u8; 16]>().prop_map(|ip| format!("[IPv6:{}]", std::net::Ipv6Addr::from(ip))),
        "[\u{e0}-\u{f6}]{1,10}\\.example",
    ];
    (local, host).prop_map(|(local, host)| format!("{local}@{host}"))
}

/// Header-like bytes with CRLF line ends.
fn message_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(vec![
        "Received: x",
        "Date:",
        "message-id : y",
        "From: z",
        "X-Other: v",
        " folded",
        "\t",
        "body",
        "..",
        ":",
        "\u{e9}",
        "A: \u{e9}",
        "Content-Type: text/plain",
        "Content-Type: multipart/x",
        "Content-Transfer-Encoding: 8bit",
        "",
        "",
        "=",
        "trailing ",
    ]);
    vec((piece, any::<bool>()), 0..16).prop_map(|pieces| {
        let mut out = Vec::new();
        for (piece, is_line) in pieces {
            out.extend_from_slice(piece.as_bytes());
            if is_line {
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
        out
    })
}

fn assert_wire_form(wire: &[u8]) -> Result<(), TestCaseError> {
    prop_assert!(wire.ends_with(b"\r\n"));
    for line in wire.split_inclusive(|byte| *byte == b'\n') {
        prop_assert!(line.ends_with(b"\r\n") && line.len() <= 1_000);
        prop_assert!(!line[..line.len() - 2].iter().any(|byte| matches!(byte, b'\r' | 0)));
        prop_assert!(!line.starts_with(b".") || line.starts_with(b".."));
    }
    Ok(())
}

/// The octets behind quoted-printable lines in wire form.
fn decode_quoted_printable(wire: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in wire.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_prefix(b".").unwrap_or(line);
        let mut rest = line.strip_suffix(b"\r\n").expect("lines end in CRLF");
        let is_soft = rest.ends_with(b"=");
        rest = rest.strip_suffix(b"=").unwrap_or(rest);
        while let Some((byte, tail)) = rest.split_first() {
            if *byte == b'=' {
                let digits = std::str::from_utf8(&tail[..2]).expect("two digits follow");
                out.push(u8::from_str_radix(digits, 16).expect("digits are hexadecimal"));
                rest = &tail[2..];
            } else {
                out.push(*byte);
                rest = tail;
            }
        }
        if !is_soft {
            out.extend_from_slice(b"\r\n");
        }
    }
    out
}

/// Lines in wire form as they were meant.
fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let lines = wire.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect()
}

proptest! {
    /// Covers: A1.13
    #[test]
    fn prop_no_bytes_panic_a_parser(bytes in address_bytes(), utf8: bool) {
        if let Ok(address) = Address::parse(&bytes, utf8) {
            let text = address.to_string();
            prop_assert!(!text.chars().any(char::is_control) && text.len() <= 254);
            prop_assert_eq!(Address::parse(&text, utf8), Ok(address));
        }
        if let Ok((path, rest)) = ReversePath::parse_prefix(&bytes, utf8) {
            prop_assert!(bytes.ends_with(rest));
            prop_assert_eq!(ReversePath::parse(path.to_string(), utf8), Ok(path));
        }
        if let Ok((path, rest)) = ForwardPath::parse_prefix(&bytes, utf8) {
            prop_assert!(bytes.ends_with(rest));
            prop_assert_eq!(ForwardPath::parse(path.to_string(), utf8), Ok(path));
        }
        if let Ok(envid) = parse_envid(&bytes) {
            prop_assert!(!xtext::decode(&envid).chars().any(|char| char.is_control() && char != '\t'));
        }
        if let Ok(orcpt) = parse_orcpt(&bytes, utf8) {
            prop_assert_eq!(orcpt.as_bytes(), &bytes[..]);
        }
        if let Ok(notify) = Notify::parse(&bytes) {
            prop_assert_eq!(Notify::parse(notify.to_string().as_bytes()), Ok(notify));
        }
        if let Some(status) = Status::parse(&bytes) {
            prop_assert_eq!(Status::parse(status.to_string().as_bytes()), Some(status));
        }
    }

    /// Covers: A1.12
    #[test]
    fn prop_well_formed_addresses_are_read_back(text in address_text()) {
        let address = Address::parse(&text, true).unwrap();
        prop_assert_eq!(address.local(), &text[..text.rfind('@').unwrap()]);
        prop_assert_eq!(Address::parse(address.to_string(), true), Ok(address.clone()));
        prop_assert_eq!(Address::parse(&text, false).is_ok(), text.is_ascii());
        let path = format!("<@a,@b:{text}> X=1");
        let (path, rest) = ForwardPath::parse_prefix(path.as_bytes(), true).unwrap();
        prop_assert_eq!((path, rest), (ForwardPath::Address(address), &b" X=1"[..]));
    }

    #[test]
    fn prop_domains_are_folded_and_stay(text in "\\PC{0,30}") {
        if let Ok(domain) = Domain::parse_utf8(&text) {
            let name = domain.as_str().to_owned();
            prop_assert!(name.is_ascii() && name == name.to_ascii_lowercase());
            prop_assert!((1..=255).contains(&name.len()));
            prop_assert_eq!(Domain::parse(&name), Ok(domain));
        }
    }

    #[test]
    fn prop_xtext_decodes_to_what_was_encoded(text in "[ -~]{0,60}") {
        let mut encoded = String::new();
        xtext::encode(&text, &mut encoded);
        prop_assert_eq!(xtext::check(encoded.as_bytes(), false), Ok(encoded.as_str()));
        prop_assert_eq!(xtext::decode(&encoded), text);
    }

    #[test]
    fn prop_a_scan_does_not_depend_on_the_cuts(
        message in prop_oneof![3 => message_bytes(), 1 => vec(any::<u8>(), 0..80)],
        cuts in vec(0usize..200, 0..8),
    ) {
        let whole = Scanner::scan(&message);
        prop_assert!(whole.header_bytes <= message.len());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(message.len())).collect();
        cuts.extend([0, message.len()]);
        cuts.sort_unstable();
        let mut scanner = Scanner::new();
        for pair in cuts.windows(2) {
            scanner.feed(&message[pair[0]..pair[1]]);
        }
        prop_assert_eq!(scanner.facts(), whole);
    }

    /// Covers: A1.13, A1.28, A3.2, B90
    #[test]
    fn prop_a_received_field_is_one_field(
        hello in address_bytes(),
        recipient in address_text(),
        bits in 0u8..32,
        at: u64,
    ) {
        let recipient = Address::parse(&recipient, true).unwrap();
        let host = Domain::parse("mail.example").unwrap();
        let protocol = Protocol {
            esmtp: bits & 1 != 0,
            tls: bits & 2 != 0,
            authenticated: bits & 4 != 0,
            smtputf8: bits & 8 != 0,
            lmtp: bits & 16 != 0,
        };
        let trace = Trace {
            hello: &hello,
            client: [192, 0, 2, 1].into(),
            host: &host,
            protocol,
            only_recipient: Some(&recipient),
            arrival: Wall::from_millis(at),
        };
        let mut out = Vec::new();
        received_field(&trace, MessageId::from_u64(at), &mut out);
        assert_wire_form(&out)?;
        let facts = Scanner::scan(&out);
        prop_assert_eq!((facts.received, facts.header_bytes), (1, out.len()));
        let lines = out.split_inclusive(|byte| *byte == b'\n').skip(1);
        prop_assert!(lines.into_iter().all(|line| line.starts_with(b"\t")));
    }

    /// Covers: A3.1, A3.2, A6.12, A13.1
    #[test]
    fn prop_conversion_loses_nothing(message in message_bytes()) {
        if let Ok(converted) = to_seven_bit(&message) {
            prop_assert!(converted.is_ascii());
            if !message.is_ascii() {
                assert_wire_form(&converted)?;
                let (old, new) = (Scanner::scan(&message), Scanner::scan(&converted));
                let body = &message[old.header_bytes..];
                let body = match old.end {
                    mail::header::HeaderEnd::EmptyLine => &body[2..],
                    _ => body,
                };
                let decoded = decode_quoted_printable(&converted[new.header_bytes + 2..]);
                prop_assert_eq!(decoded, unstuffed(body));
            }
        }
    }

    /// Covers: A3.1, A3.2, A3.5, A7.10, B46
    #[test]
    fn prop_reports_are_always_valid(
        to in address_text(),
        recipients in vec((address_text(), vec(any::<u8>(), 0..300), "\\PC{0,80}", 0usize..4), 1..4),
        original in message_bytes(),
        orcpt in address_bytes(),
        smtputf8: bool,
        is_full: bool,
    ) {
        let to = Address::parse(&to, true).unwrap();
        let host = Domain::parse("mail.example").unwrap();
        let remote = Host::parse("mx.example").unwrap();
        let read: Vec<Recipient> = recipients.iter().map(|(text, ..)| Recipient {
            address: Address::parse(text, true).unwrap(),
            notify: Notify::UNSET,
            orcpt: parse_orcpt(&[b"utf-8;", &orcpt[..]].concat(), smtputf8).ok(),
        }).collect();
        let actions = [Action::Failed, Action::Delayed, Action::Relayed, Action::Delivered];
        let outcomes: Vec<Outcome<'_>> = recipients.iter().zip(&read).map(
            |((_, reply, reason, action), recipient)| Outcome {
                recipient,
                action: actions[*action],
                status: Status::FAILED,
                remote: Some(Remote { host: &remote, ip: None }),
                reply,
                reason,
                attempts: 1,
                last_attempt: None,
                retry_until: None,
            },
        ).collect();
        let composed = compose(&Report {
            unique: "u-1",
            now: Wall::from_millis(0),
            host: &host,
            from: &to,
            to: &to,
            template: None,
            original: Original {
                id: MessageId::default(),
                arrival: Wall::from_millis(0),
                envid: None,
                ret: is_full.then_some(Return::Full),
                smtputf8,
                wire: &original,
                is_whole: true,
            },
            recipients: &outcomes,
        });
        assert_wire_form(&composed.wire)?;
        prop_assert_eq!(composed.smtputf8, !to.is_ascii());
        prop_assert!(composed.wire.is_ascii() || composed.body == Body::EightBit);
        let facts = Scanner::scan(&composed.wire);
        prop_assert!(facts.has_date && facts.has_message_id && facts.has_from);
        prop_assert!(!facts.eight_bit || composed.smtputf8);
        let boundaries = composed.wire.windows(8).filter(|bytes| bytes == b"\r\n--=_u-");
        prop_assert_eq!(boundaries.count(), 4);
    }
}
