//! A message as stored: its envelope in front (the head), then the body as it
//! goes on the wire.
//!
//! Reading copies nothing: [`Message`] borrows the segment's bytes, and only
//! those of the head, so that looking at a million envelopes touches no body.
//! Never here: what became of the recipients (`state`), where a record stands
//! (`writer`, `index`).
//!
//! Invariants: whatever the bytes say, parsing ends in a [`Message`] whose
//! every field lies inside the head, or in [`Unreadable`].

use std::fmt::Write as _;
use std::net::IpAddr;

use base::planted::{Bug, planted};
use base::{MessageId, SegmentId, Wall};
use mail::{Body, Envelope, Notify, Return, ReversePath};

use crate::medium::{Medium, Place};
use crate::record::{HEADER_BYTES, Kind, Record, record_at, u16_at};
use crate::state::Prefix;

/// What is stored beside the envelope.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meta<'a> {
    /// The client that handed the message in; none for our own reports.
    pub client: Option<IpAddr>,
    /// Its EHLO name; the first 255 octets are kept.
    pub helo: &'a str,
    /// A delivery status notification of our own: may use the room that is
    /// kept back for marks.
    pub report: bool,
}

/// Why a message cannot be read from where it should stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The segment is gone or another message stands there: it was moved or
    /// ended; ask its writer.
    #[error("the message no longer stands there")]
    LocalGone,
    /// The stored bytes are damaged.
    #[error("the stored message is damaged")]
    LocalDamaged,
}

/// A stored message, its head checked.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    id: MessageId,
    place: Place,
    arrival: Wall,
    head: &'a [u8],
    recipients_at: u32,
    body_offset: u32,
    body_bytes: u32,
    body_crc: u32,
}

/// One recipient of a stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecipientView<'a> {
    /// `local@domain` as accepted.
    pub address: &'a str,
    /// Which events to report.
    pub notify: Notify,
    /// The address the message was first meant for, `type;xtext`.
    pub orcpt: Option<&'a str>,
}

/// Reads the message `id` from `place`, head only. Works for every shard's
/// segments; a relocated message is found under its first id.
///
/// # Errors
/// [`Unreadable::LocalGone`] when the place is stale,
/// [`Unreadable::LocalDamaged`] when it is not but the bytes are bad.
pub fn message_at(
    medium: &(impl Medium + ?Sized),
    id: MessageId,
    place: Place,
) -> Result<Message<'_>, Unreadable> {
    // A retired segment cannot be read, though it may still exist.
    if medium.read(place.segment, place.offset, HEADER_BYTES).is_none() {
        return Err(Unreadable::LocalGone);
    }
    let record = record_at(medium, place.segment, place.offset).ok_or(Unreadable::LocalDamaged)?;
    let message = Message::parse(&record).ok_or(Unreadable::LocalDamaged)?;
    if message.id != id {
        return Err(Unreadable::LocalGone);
    }
    Ok(message)
}

/// Whether the body is what was accepted. Reads all of it.
pub fn verify_body(medium: &(impl Medium + ?Sized), message: &Message<'_>) -> bool {
    planted(Bug::BodyCrcSkipped)
        || message.body(medium).is_some_and(|body| crc32c::crc32c(body) == message.body_crc)
}

impl<'a> Message<'a> {
    /// The message in a record of a message kind; `None` when its head is not
    /// that of one.
    pub(crate) fn parse(record: &Record<'a>) -> Option<Self> {
        let own = MessageId { segment: record.segment, offset: record.offset };
        let (id, head) = match record.header.kind {
            Kind::Message => (own, record.head),
            Kind::Relocated => {
                let (prefix, head) = Prefix::split(record.head)?;
                (prefix.block.message, head)
            }
            Kind::Report => (own, Prefix::split(record.head)?.1),
            Kind::Attempt | Kind::State | Kind::Index => return None,
        };
        let recipients_at = check_head(head)?;
        Some(Self {
            id,
            place: record.place(),
            arrival: record.header.time,
            head,
            recipients_at,
            body_offset: record.body_offset(),
            body_bytes: record.body_bytes(),
            body_crc: record.header.body_crc,
        })
    }

    /// The message's name.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// Where its record stands now.
    pub fn place(&self) -> Place {
        self.place
    }

    /// When it was accepted.
    pub fn arrival(&self) -> Wall {
        self.arrival
    }

    /// The reverse-path's text; empty for the null one.
    pub fn sender(&self) -> &'a str {
        self.text(FIXED_BYTES, usize::from(u16_at(self.head, 4)))
    }

    /// What the body was declared as.
    pub fn body_kind(&self) -> Body {
        if self.flag(EIGHT_BIT) { Body::EightBit } else { Body::SevenBit }
    }

    /// Whether SMTPUTF8 was asked for.
    pub fn smtputf8(&self) -> bool {
        self.flag(SMTPUTF8)
    }

    /// How much a failure report returns.
    pub fn ret(&self) -> Option<Return> {
        if self.flag(RET_FULL) {
            return Some(Return::Full);
        }
        self.flag(RET_HEADERS).then_some(Return::Headers)
    }

    /// Whether it is a report of our own.
    pub fn is_report(&self) -> bool {
        self.flag(REPORT)
    }

    /// The sender's id for the envelope, xtext.
    pub fn envid(&self) -> Option<&'a str> {
        let at = FIXED_BYTES + usize::from(u16_at(self.head, 4));
        self.flag(ENVID).then(|| self.text(at, usize::from(u16_at(self.head, 6))))
    }

    /// The client's EHLO name.
    pub fn helo(&self) -> &'a str {
        let at =
            FIXED_BYTES + usize::from(u16_at(self.head, 4)) + usize::from(u16_at(self.head, 6));
        self.text(at, usize::from(self.head[8]))
    }

    /// The client's address.
    pub fn client(&self) -> Option<IpAddr> {
        let octets = self.head[CLIENT_AT..].first_chunk::<16>()?;
        match self.head[9] {
            4 => Some(IpAddr::from([octets[0], octets[1], octets[2], octets[3]])),
            6 => Some(IpAddr::from(*octets)),
            _ => None,
        }
    }

    /// Number of recipients.
    pub fn recipient_count(&self) -> u16 {
        u16_at(self.head, 2)
    }

    /// All recipients, in the order of their RCPT commands.
    pub fn recipients(&self) -> impl Iterator<Item = RecipientView<'a>> + use<'a> {
        let mut rest = &self.head[self.recipients_at as usize..];
        std::iter::from_fn(move || {
            let (recipient, after) = split_recipient(rest)?;
            rest = after;
            Some(recipient)
        })
        .take(usize::from(self.recipient_count()))
    }

    /// One recipient; `None` beyond the last. Walks those before it.
    pub fn recipient(&self, index: u16) -> Option<RecipientView<'a>> {
        self.recipients().nth(usize::from(index))
    }

    /// Segment, offset and length of the body as it goes on the wire: CRLF,
    /// dot-stuffed, without the final dot.
    pub fn body_range(&self) -> (SegmentId, u32, u32) {
        (self.place.segment, self.body_offset, self.body_bytes)
    }

    /// The envelope as stored.
    pub(crate) fn envelope_bytes(&self) -> &'a [u8] {
        self.head
    }

    /// The body's bytes, unchecked; `None` when they cannot be read.
    pub fn body<'m>(&self, medium: &'m (impl Medium + ?Sized)) -> Option<&'m [u8]> {
        medium.read(self.place.segment, self.body_offset, self.body_bytes)
    }

    fn flag(&self, bit: u16) -> bool {
        u16_at(self.head, 0) & bit != 0
    }

    fn text(&self, at: usize, len: usize) -> &'a str {
        let bytes = self.head.get(at..at + len).unwrap_or_default();
        str::from_utf8(bytes).unwrap_or_default()
    }
}

/// Appends the head of a message to `out`.
pub(crate) fn encode_head(envelope: &Envelope, meta: &Meta<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; FIXED_BYTES]);
    let sender = append_text(out, |out| match &envelope.sender {
        ReversePath::Null => Ok(()),
        ReversePath::Address(address) => write!(out, "{address}"),
    });
    let envid = envelope.envid.as_deref().unwrap_or_default();
    out.extend_from_slice(envid.as_bytes());
    let helo = &meta.helo[..meta.helo.floor_char_boundary(HELO_BYTES_MAX)];
    out.extend_from_slice(helo.as_bytes());
    for recipient in &envelope.recipients {
        let at = out.len();
        out.extend_from_slice(&[0; RECIPIENT_BYTES]);
        let address = append_text(out, |out| write!(out, "{}", recipient.address));
        let orcpt = recipient.orcpt.as_deref().unwrap_or_default();
        out.extend_from_slice(orcpt.as_bytes());
        out[at..at + 2].copy_from_slice(&address.to_le_bytes());
        out[at + 2..at + 4].copy_from_slice(&u16_len(orcpt).to_le_bytes());
        out[at + 4] = recipient.notify.bits();
        out[at + 5] = u8::from(recipient.orcpt.is_some());
    }
    let mut flags = 0;
    for (bit, set) in [
        (EIGHT_BIT, envelope.body == Body::EightBit),
        (SMTPUTF8, envelope.smtputf8),
        (RET_FULL, envelope.ret == Some(Return::Full)),
        (RET_HEADERS, envelope.ret == Some(Return::Headers)),
        (REPORT, meta.report),
        (ENVID, envelope.envid.is_some()),
    ] {
        flags |= if set { bit } else { 0 };
    }
    let count = u16::try_from(envelope.recipients.len())
        .expect("a session takes fewer recipients than a u16 counts");
    let fixed = &mut out[start..start + FIXED_BYTES];
    fixed[0..2].copy_from_slice(&u16::to_le_bytes(flags));
    fixed[2..4].copy_from_slice(&count.to_le_bytes());
    fixed[4..6].copy_from_slice(&sender.to_le_bytes());
    fixed[6..8].copy_from_slice(&u16_len(envid).to_le_bytes());
    fixed[8] = helo.len() as u8;
    match meta.client {
        None => {}
        Some(IpAddr::V4(ip)) => {
            fixed[9] = 4;
            fixed[CLIENT_AT..CLIENT_AT + 4].copy_from_slice(&ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            fixed[9] = 6;
            fixed[CLIENT_AT..CLIENT_AT + 16].copy_from_slice(&ip.octets());
        }
    }
}

/// Checks all lengths of a head and that its texts are text; gives the offset
/// of the first recipient.
fn check_head(head: &[u8]) -> Option<u32> {
    if head.len() < FIXED_BYTES || u16_at(head, 2) == 0 {
        return None;
    }
    let texts = [usize::from(u16_at(head, 4)), usize::from(u16_at(head, 6)), usize::from(head[8])];
    let mut at = FIXED_BYTES;
    for len in texts {
        str::from_utf8(head.get(at..at + len)?).ok()?;
        at += len;
    }
    let recipients_at = u32::try_from(at).ok()?;
    let mut rest = &head[at..];
    for _ in 0..u16_at(head, 2) {
        (_, rest) = split_recipient(rest)?;
    }
    rest.is_empty().then_some(recipients_at)
}

fn split_recipient(bytes: &[u8]) -> Option<(RecipientView<'_>, &[u8])> {
    let (fixed, rest) = bytes.split_first_chunk::<RECIPIENT_BYTES>()?;
    let (address, rest) = rest.split_at_checked(usize::from(u16_at(fixed, 0)))?;
    let (orcpt, rest) = rest.split_at_checked(usize::from(u16_at(fixed, 2)))?;
    let orcpt = str::from_utf8(orcpt).ok()?;
    let view = RecipientView {
        address: str::from_utf8(address).ok()?,
        notify: Notify::from_bits(fixed[4])?,
        orcpt: (fixed[5] != 0).then_some(orcpt),
    };
    Some((view, rest))
}

/// Appends what `write` displays and gives its length.
fn append_text(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Appender<'_>) -> std::fmt::Result,
) -> u16 {
    let start = out.len();
    write(&mut Appender(out)).expect("writing to memory does not fail");
    u16::try_from(out.len() - start).expect("addresses are shorter than a path may be")
}

fn u16_len(text: &str) -> u16 {
    u16::try_from(text.len()).expect("parameters are shorter than a command line")
}

struct Appender<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Appender<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

const EIGHT_BIT: u16 = 1;
const SMTPUTF8: u16 = 2;
const RET_FULL: u16 = 4;
const RET_HEADERS: u16 = 8;
const REPORT: u16 = 16;
const ENVID: u16 = 32;

const FIXED_BYTES: usize = 32;
const CLIENT_AT: usize = 16;
const RECIPIENT_BYTES: usize = 6;
const HELO_BYTES_MAX: usize = 255;
