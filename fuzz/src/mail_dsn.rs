//! Delivery status notifications about anything that peers and submitters can
//! say.
//!
//! Input: facts, then the original message. Oracle: the report is clean wire
//! form, 7-bit where it says so, has its three parts and nothing between them,
//! and a reader of delivery-status fields finds each recipient with its action
//! and code. Nothing that a stranger said makes a field, a line or a part.
//!
//! Read first: RFC 3464 §2, RFC 6522 §3, RFC 6533 §4.

use std::net::IpAddr;

use base::{MessageId, Wall};
use mail::dsn::{Action, Original, Outcome, Remote, Report, compose};
use mail::envelope::{parse_envid, parse_orcpt};
use mail::{Address, Body, Domain, Host, Notify, Recipient, Return, Status};

use crate::input::Input;
use crate::quoted_printable;
use crate::wire::{assert_wire_form, unstuffed, wire_form};

/// Runs the target.
pub fn mail_dsn(data: &[u8]) {
    let mut input = Input::new(data);
    let bits = input.byte();
    let smtputf8 = bits & 1 != 0;
    let to = address(input.bytes(), "sender@a.example");
    let envid = parse_envid(input.bytes()).ok();
    let facts: Vec<Fact> = (0..1 + input.below(3)).map(|_| Fact::read(&mut input)).collect();
    let wire = wire_form(input.rest());
    let host = Domain::parse("out.example").expect("a name");
    let recipients: Vec<Outcome<'_>> = facts.iter().map(Fact::outcome).collect();
    let composed = compose(&Report {
        unique: UNIQUE,
        now: Wall::from_millis(1_750_000_000_000),
        host: &host,
        from: &to,
        to: &to,
        template: None,
        original: Original {
            id: MessageId::from_u64(7),
            arrival: Wall::from_millis(1_749_000_000_000),
            envid: envid.as_deref(),
            ret: [None, Some(Return::Full), Some(Return::Headers)][usize::from(bits >> 1 & 3) % 3],
            smtputf8,
            wire: &wire,
            is_whole: bits & 8 == 0,
        },
        recipients: &recipients,
    });

    assert_wire_form(&composed.wire);
    assert_eq!(composed.smtputf8, !to.is_ascii());
    assert!(composed.body == Body::EightBit || composed.wire.is_ascii(), "8-bit but not said so");
    assert!(composed.body == Body::SevenBit || !composed.wire.is_ascii() || composed.smtputf8);
    // Nobody outside can know the boundary; an input that has it proves nothing.
    if !data.windows(UNIQUE.len()).any(|window| window == UNIQUE.as_bytes()) {
        check_parts(&unstuffed(&composed.wire), &recipients);
    }
}

const UNIQUE: &str = "9a8b7c6d.unique";

/// What a stranger may decide about one recipient.
struct Fact {
    recipient: Recipient,
    action: Action,
    status: Status,
    remote: Option<Host>,
    reply: Vec<u8>,
    reason: String,
    attempts: u32,
    last_attempt: Option<Wall>,
}

impl Fact {
    fn read(input: &mut Input<'_>) -> Self {
        let action =
            input.pick(&[Action::Failed, Action::Delayed, Action::Relayed, Action::Delivered]);
        let class = match action {
            Action::Failed => 5,
            Action::Delayed => 4,
            Action::Relayed | Action::Delivered => 2,
        };
        let recipient = Recipient {
            address: address(input.bytes(), "c@d.example"),
            notify: Notify::UNSET,
            orcpt: parse_orcpt(input.bytes(), true).ok(),
        };
        let host = input.text();
        Self {
            recipient,
            action,
            status: Status::new(class, input.byte().into(), input.byte().into()),
            remote: Host::parse(&host).ok(),
            reply: input.bytes().to_vec(),
            reason: input.text(),
            attempts: input.byte().into(),
            last_attempt: input.flag().then(|| Wall::from_millis(input.number() >> 20)),
        }
    }

    fn outcome(&self) -> Outcome<'_> {
        let ip = Some(IpAddr::from([192, 0, 2, 1]));
        Outcome {
            recipient: &self.recipient,
            action: self.action,
            status: self.status,
            remote: self.remote.as_ref().map(|host| Remote { host, ip }),
            reply: &self.reply,
            reason: &self.reason,
            attempts: self.attempts,
            last_attempt: self.last_attempt,
            retry_until: self.last_attempt,
        }
    }
}

fn address(bytes: &[u8], otherwise: &str) -> Address {
    let address = Address::parse(bytes, true);
    address.unwrap_or_else(|_| otherwise.parse().expect("an address"))
}

/// Reads the report as a mail program would.
fn check_parts(content: &[u8], recipients: &[Outcome<'_>]) {
    let content = String::from_utf8_lossy(content).into_owned();
    let boundary = format!("--=_{UNIQUE}");
    let mut lines = content.split("\r\n");
    let head: Vec<&str> = lines.by_ref().take_while(|line| *line != boundary).collect();
    let header = head.split(|line| line.is_empty()).next().expect("a header");
    for field in ["From: ", "To: ", "Subject: ", "Date: ", "Message-ID: ", "MIME-Version: 1.0"] {
        let count = header.iter().filter(|line| line.starts_with(field)).count();
        assert_eq!(count, 1, "{field} in {header:?}");
    }
    let body: Vec<&str> = lines.collect();
    let mut parts = body.split(|line| *line == boundary).collect::<Vec<_>>();
    assert_eq!(parts.len(), 3, "a report has three parts");
    let last = parts.pop().expect("three parts");
    let close = format!("{boundary}--");
    assert_eq!(last.iter().rposition(|line| *line == close), Some(last.len() - 2));
    assert_eq!(last.iter().filter(|line| **line == close).count(), 1);
    check_machine(parts[1], recipients);
}

/// The second part: a group of fields for the message and one for each
/// recipient.
fn check_machine(part: &[&str], recipients: &[Outcome<'_>]) {
    let empty = part.iter().position(|line| line.is_empty()).expect("an empty line");
    let (head, rest) = part.split_at(empty);
    assert!(head[0].starts_with("Content-Type: message/"), "{head:?}");
    let mut text = rest[1..].join("\r\n");
    if head.iter().any(|line| line.ends_with("quoted-printable")) {
        // The line end in front of the boundary is not part of it.
        let decoded = quoted_printable::decode(wire_form(text.as_bytes()).as_slice());
        text = String::from_utf8(decoded).expect("fields are UTF-8");
    }
    let text = text.replace("\r\n ", " ");
    let groups: Vec<&str> =
        text.split("\r\n\r\n").filter(|group| !group.trim().is_empty()).collect();
    assert_eq!(groups.len(), 1 + recipients.len(), "groups of fields in {text:?}");
    let of = |group: &str, name: &str| -> Vec<String> {
        let fields = group.split("\r\n").filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| *field == name).map(|(_, value)| value.to_owned()).collect()
    };
    assert_eq!(of(groups[0], "Reporting-MTA"), ["dns; out.example"]);
    for (group, outcome) in groups[1..].iter().zip(recipients) {
        assert_eq!(of(group, "Action"), [outcome.action.as_str()]);
        assert_eq!(of(group, "Status"), [outcome.status.to_string()]);
        assert_eq!(of(group, "Final-Recipient").len(), 1);
        assert!(of(group, "Diagnostic-Code").len() <= 1);
        for line in group.split("\r\n").filter(|line| !line.is_empty()) {
            let (name, _) = line.split_once(':').unwrap_or_else(|| panic!("{line:?} is no field"));
            assert!(FIELDS.contains(&name), "a field that is not ours: {line:?}");
        }
    }
}

const FIELDS: [&str; 8] = [
    "Original-Recipient",
    "Final-Recipient",
    "Action",
    "Status",
    "Remote-MTA",
    "Diagnostic-Code",
    "Last-Attempt-Date",
    "Will-Retry-Until",
];
