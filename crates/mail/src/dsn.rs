//! Reports to the sender about what became of a message: delivery status
//! notifications.
//!
//! [`compose`] writes a whole message from facts it is given. It decides how
//! the report is put, never whether one is due, to whom, or what happened; a
//! report to a null sender is not its doing either. Whatever a remote host
//! said is made harmless first: no control character, no line of its own, a
//! bounded length.
//!
//! A report can be sent wherever its recipient can be reached: it is 7-bit
//! but for a whole 8-bit message returned in it, and asks for SMTPUTF8 only
//! when the address it goes to does.
//!
//! Read first: RFC 3464 §2, RFC 6522 §3, RFC 3461 §6, RFC 6533 §4, RFC 3834 §5.

mod machine;
mod template;
mod text;

use std::net::IpAddr;

use base::{MessageId, Wall};

use crate::address::{Address, Host};
use crate::domain::Domain;
use crate::envelope::{Body, Recipient, Return};
use crate::header::{self, Scanner};
use crate::quoted_printable;
use crate::status::Status;
use crate::wire::Lines;
pub use template::{TEMPLATE_BYTES_MAX, Template, TemplateError};

/// Octets of an original message that is returned whole; of a larger one the
/// header alone is returned, whatever RET asked for (RFC 3461 §6.2).
pub const RETURNED_MESSAGE_BYTES_MAX: usize = 262_144;
/// Octets of the original's header that are returned.
pub const RETURNED_HEADER_BYTES_MAX: usize = 65_536;
/// Octets of a remote host's reply that are shown.
pub const REPLY_SHOWN_BYTES_MAX: usize = 2_048;
/// Octets of [`Report::unique`].
pub const UNIQUE_BYTES_MAX: usize = 60;

/// All that one report says.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Names the report: the left side of its Message-ID and its MIME
    /// boundary. Letters, digits, dots, hyphens, 1 to 60 of them; never used
    /// twice, and not to be guessed by whoever wrote the original.
    pub unique: &'a str,
    /// When the report is written.
    pub now: Wall,
    /// Our own name.
    pub host: &'a Domain,
    /// Who tells it.
    pub from: &'a Address,
    /// Whom to tell.
    pub to: &'a Address,
    /// The words for people, where they are not the usual ones.
    pub template: Option<&'a Template>,
    /// The message it is about.
    pub original: Original<'a>,
    /// At least one recipient of that message, each once.
    pub recipients: &'a [Outcome<'a>],
}

/// The message a report is about.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    /// Its id in our queue.
    pub id: MessageId,
    /// When we took it.
    pub arrival: Wall,
    /// ENVID, xtext as received.
    pub envid: Option<&'a str>,
    /// RET. Unset, the header is returned.
    pub ret: Option<Return>,
    /// Whether it was sent with SMTPUTF8.
    pub smtputf8: bool,
    /// The message in wire form; or just the start of it, with the whole
    /// header, where [`Original::is_whole`] says so.
    pub wire: &'a [u8],
    /// Whether `wire` is the whole message.
    pub is_whole: bool,
}

/// What became of one recipient.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Whom the message was for.
    pub recipient: &'a Recipient,
    /// What happened.
    pub action: Action,
    /// Why, as a code. Its class fits the action.
    pub status: Status,
    /// The host that was asked last, if one was.
    pub remote: Option<Remote<'a>>,
    /// What it replied: the lines as received, codes included. Empty when it
    /// said nothing.
    pub reply: &'a [u8],
    /// Our own words for what happened, a sentence without its full stop;
    /// empty when the reply says it all.
    pub reason: &'a str,
    /// Attempts made.
    pub attempts: u32,
    /// When the last attempt was made.
    pub last_attempt: Option<Wall>,
    /// Until when more will be made; for delays.
    pub retry_until: Option<Wall>,
}

/// A host we spoke to or tried to.
#[derive(Clone, Copy, Debug)]
pub struct Remote<'a> {
    /// Its name.
    pub host: &'a Host,
    /// The address that was dialled.
    pub ip: Option<IpAddr>,
}

/// What happened to a recipient (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It is over, without success.
    Failed,
    /// Not yet; more attempts follow.
    Delayed,
    /// Handed to a host that will not report.
    Relayed,
    /// Delivered to its mailbox.
    Delivered,
}

/// A report ready to be queued, to be sent with a null reverse-path and
/// NOTIFY=NEVER (RFC 3461 §6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// The message in wire form, without the final dot.
    pub wire: Vec<u8>,
    /// What to declare it as.
    pub body: Body,
    /// Whether its transaction needs SMTPUTF8.
    pub smtputf8: bool,
}

/// Writes the report.
///
/// # Panics
/// When [`Report::unique`] or [`Report::recipients`] is not as told there: a
/// bug of the caller.
pub fn compose(report: &Report<'_>) -> Composed {
    assert!(!report.recipients.is_empty(), "a report is about somebody");
    assert!((1..=UNIQUE_BYTES_MAX).contains(&report.unique.len()));
    assert!(report.unique.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')));

    let is_global = report.original.smtputf8;
    let smtputf8 = !report.to.is_ascii();
    let parts = [
        text::part(report, is_global),
        machine::part(report, is_global),
        returned_part(report, is_global),
    ];
    // An address beyond ASCII is reached through SMTPUTF8 hosts only, and those
    // take 8 bits (RFC 6531 §3.1). Everyone else gets 7 bits (RFC 6533 §4.1).
    let parts = parts.map(|part| part.encode(smtputf8));
    let is_8bit = smtputf8 || parts.iter().any(|part| part.encoding == Encoding::EightBit);

    let mut out = Lines::default();
    out.wire.reserve(1_024 + parts.iter().map(|part| part.wire.len()).sum::<usize>());
    message_header(report, is_8bit, &mut out);
    for part in &parts {
        part.write(report.unique, &mut out);
    }
    out.line(format_args!("--=_{}--", report.unique));
    let body = if is_8bit { Body::EightBit } else { Body::SevenBit };
    Composed { wire: out.wire, body, smtputf8 }
}

impl Action {
    /// The word of the report (RFC 3464 §2.3.3).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Relayed => "relayed",
            Self::Delivered => "delivered",
        }
    }
}

fn message_header(report: &Report<'_>, is_8bit: bool, out: &mut Lines) {
    let Report { unique, host, .. } = report;
    out.line(format_args!("From: Mail Delivery System <{}>", report.from));
    out.line(format_args!("To: {}", report.to));
    match report.template.and_then(|template| template.subject(report)) {
        Some(subject) => out.field("Subject", &subject),
        None => out.field("Subject", subject(report.recipients)),
    }
    header::date_field(report.now, &mut out.wire);
    header::message_id_field(unique, host, &mut out.wire);
    out.line(format_args!("Auto-Submitted: auto-replied"));
    out.line(format_args!("MIME-Version: 1.0"));
    out.line(format_args!("Content-Type: multipart/report; report-type=delivery-status;"));
    out.line(format_args!("    boundary=\"=_{unique}\""));
    if is_8bit {
        out.line(format_args!("Content-Transfer-Encoding: 8bit"));
    }
    out.empty_line();
    out.line(format_args!("This report has several parts, made for MIME."));
    out.empty_line();
}

/// The worst news names the report.
fn subject(recipients: &[Outcome<'_>]) -> &'static str {
    match recipients.iter().map(|outcome| outcome.action).min() {
        Some(Action::Failed) => "Undelivered mail returned to sender",
        Some(Action::Delayed) => "Mail delayed, still being tried",
        Some(Action::Relayed) => "Mail passed on, no report to be expected",
        Some(Action::Delivered) | None => "Mail delivered",
    }
}

/// The original's header, or all of it (RFC 6522 §3).
fn returned_part(report: &Report<'_>, is_global: bool) -> Part {
    let original = &report.original;
    let has_failed = report.recipients.iter().any(|outcome| outcome.action == Action::Failed);
    let is_full = original.ret == Some(Return::Full)
        && original.is_whole
        && original.wire.ends_with(b"\r\n")
        && has_failed
        && original.wire.len() <= RETURNED_MESSAGE_BYTES_MAX;
    if is_full {
        let content_type = if is_global { "message/global" } else { "message/rfc822" };
        return Part { content_type, may_encode: is_global, ..Part::new(original.wire.to_vec()) };
    }
    let content_type = if is_global { "message/global-headers" } else { "text/rfc822-headers" };
    Part { content_type, ..Part::new(returned_header(original.wire).to_vec()) }
}

/// The header in whole lines, as many as are returned.
fn returned_header(wire: &[u8]) -> &[u8] {
    let bytes = Scanner::scan(wire).header_bytes.min(RETURNED_HEADER_BYTES_MAX);
    let header = &wire[..bytes];
    &header[..memchr::memrchr(b'\n', header).map_or(0, |newline| newline + 1)]
}

/// One part of the report, its content in wire form.
struct Part {
    content_type: &'static str,
    encoding: Encoding,
    /// Whether the content may be encoded; message/rfc822 may not
    /// (RFC 2046 §5.2.1).
    may_encode: bool,
    wire: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    SevenBit,
    EightBit,
    QuotedPrintable,
}

impl Part {
    fn new(wire: Vec<u8>) -> Self {
        Self { content_type: "", encoding: Encoding::SevenBit, may_encode: true, wire }
    }

    fn encode(mut self, take_8bit: bool) -> Self {
        if self.wire.is_ascii() {
            return self;
        }
        if take_8bit || !self.may_encode {
            return Self { encoding: Encoding::EightBit, ..self };
        }
        let mut wire = Vec::with_capacity(self.wire.len() + self.wire.len() / 4);
        quoted_printable::encode(&self.wire, &mut wire);
        self.wire = wire;
        Self { encoding: Encoding::QuotedPrintable, ..self }
    }

    fn write(&self, unique: &str, out: &mut Lines) {
        out.line(format_args!("--=_{unique}"));
        out.line(format_args!("Content-Type: {}", self.content_type));
        match self.encoding {
            Encoding::SevenBit => {}
            Encoding::EightBit => out.line(format_args!("Content-Transfer-Encoding: 8bit")),
            Encoding::QuotedPrintable => {
                out.line(format_args!("Content-Transfer-Encoding: quoted-printable"));
            }
        }
        out.empty_line();
        out.wire.extend_from_slice(&self.wire);
        // The line end in front of a boundary belongs to the boundary.
        out.empty_line();
    }
}

#[cfg(test)]
mod tests;
