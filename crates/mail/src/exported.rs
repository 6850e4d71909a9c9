//! A waiting message as a file: its envelope and how far it has come stand in
//! fields in front of what is sent, so that another queue can go on with it.
//!
//! In front: `X-Ringpost-Export`, `X-Sender`, then for each recipient that is
//! still owed the message an `X-Receiver` and an `X-Ringpost-Recipient`. The
//! two `X-Ringpost` fields hold attributes, `name` or `name=value`, joined by
//! semicolons; a value that is no word stands in quotes. All that follows is the
//! message, octet by octet. Never here: files; when it is tried again.
//!
//! Invariants: what is written is read back the same, whatever the message
//! holds; what is not known is refused, not passed over.
//!
//! Read first: RFC 5322 §2.2, RFC 5321 §4.5.2, RFC 3461 §4.

use std::fmt::Write;
use std::net::IpAddr;

use base::Wall;

use crate::date::Timestamp;
use crate::envelope::{Body, Envelope, Notify, Recipient, Return, parse_envid, parse_orcpt};
use crate::pickup::next_field;
use crate::{Address, ReversePath, Status};

/// The first field of a file; its value begins with the form's version.
pub const MESSAGE_FIELD: &str = "X-Ringpost-Export";
/// The field about one recipient.
pub const RECIPIENT_FIELD: &str = "X-Ringpost-Recipient";
/// Octets of all fields in front that are read.
pub const FIELDS_BYTES_MAX: usize = 64 << 20;
/// Octets of a client's name, and of a host's.
pub const NAME_BYTES_MAX: usize = 255;

/// A waiting message without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// What it was called in the queue it comes from; for people.
    pub id: Box<str>,
    /// Sender, and the recipients that are still owed it.
    pub envelope: Envelope,
    /// What had happened to it.
    pub past: Past,
}

/// What had happened to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// When it was accepted.
    pub arrived: Wall,
    /// The client that handed it in.
    pub client: Option<IpAddr>,
    /// What that called itself.
    pub helo: Box<str>,
    /// Where each recipient stands, in the order of the envelope.
    pub standings: Vec<Standing>,
}

/// Where one recipient stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Kept until released.
    pub held: bool,
    /// Sent once without a known answer.
    pub in_doubt: bool,
    /// The sender has been told of the delay.
    pub delay_noticed: bool,
    /// Crashes in a row that found an attempt open.
    pub crashes: u8,
    /// Attempts made.
    pub attempts: u16,
    /// When to try next; the origin means at once.
    pub next: Wall,
    /// When it would have been given up; for people: whoever takes the file
    /// gives it the lifetime of its own routes, counted from the same arrival.
    pub expires: Option<Wall>,
    /// The last answer.
    pub answer: Option<LastAnswer>,
}

/// What was said about a recipient last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastAnswer {
    /// Its status code.
    pub status: Status,
    /// The remote's words, or ours.
    pub text: Box<str>,
    /// The host that said so; empty when none was reached.
    pub host: Box<str>,
}

/// Why a file cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportedError {
    /// It does not begin as such a file does.
    #[error(
        "it does not begin with an {MESSAGE_FIELD} field: a plain message goes into the pickup folder"
    )]
    PeerForm,
    /// Written by a program that writes another form.
    #[error("its form has version {0:?}; this program reads version 1")]
    PeerVersion(String),
    /// A field that should follow does not.
    #[error("the field {0} is missing in its place")]
    PeerField(&'static str),
    /// A value that cannot be read.
    #[error("{field}: {why}")]
    PeerValue {
        /// The field.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// More in front of the message than is read.
    #[error("the fields in front of the message are too large")]
    PeerTooLarge,
}

/// Writes a file: the fields, then `wire`, a message as it goes over the wire
/// (CRLF, dot-stuffed), without the dots put in for that.
///
/// # Panics
/// As [`fields`].
pub fn write(exported: &Exported, wire: &[u8], out: &mut Vec<u8>) {
    let text = fields(exported);
    out.reserve(text.len() + wire.len());
    out.extend_from_slice(text.as_bytes());
    unstuffed(wire, out);
}

/// The fields that stand in front of the message's text.
///
/// # Panics
/// There is not one standing for each recipient.
pub fn fields(exported: &Exported) -> String {
    let Exported { id, envelope, past } = exported;
    assert_eq!(envelope.recipients.len(), past.standings.len(), "each recipient stands somewhere");
    let mut text = format!("{MESSAGE_FIELD}: {VERSION}");
    attribute(&mut text, "recipients", &envelope.recipients.len());
    attribute(&mut text, "id", id);
    attribute(&mut text, "arrived", &Timestamp(past.arrived));
    attribute(&mut text, "body", &envelope.body);
    flag(&mut text, "smtputf8", envelope.smtputf8);
    option(&mut text, "ret", envelope.ret.as_ref());
    option(&mut text, "envid", envelope.envid.as_ref());
    option(&mut text, "client", past.client.as_ref());
    option(&mut text, "helo", Some(&past.helo).filter(|helo| !helo.is_empty()));
    let _ = write!(text, "\r\nX-Sender: {}\r\n", envelope.sender);
    for (recipient, standing) in envelope.recipients.iter().zip(&past.standings) {
        let _ = write!(text, "X-Receiver: <{}>\r\n{RECIPIENT_FIELD}: ", recipient.address);
        text.push_str(if standing.held { "held" } else { "waiting" });
        flag(&mut text, "in-doubt", standing.in_doubt);
        flag(&mut text, "delay-noticed", standing.delay_noticed);
        attribute(&mut text, "attempts", &standing.attempts);
        option(&mut text, "crashes", Some(&standing.crashes).filter(|crashes| **crashes > 0));
        let next = Some(Timestamp(standing.next)).filter(|_| standing.next > Wall::default());
        option(&mut text, "next", next.as_ref());
        option(&mut text, "expires", standing.expires.map(Timestamp).as_ref());
        option(&mut text, "notify", Some(&recipient.notify).filter(|notify| notify.is_set()));
        option(&mut text, "orcpt", recipient.orcpt.as_ref());
        if let Some(LastAnswer { status, text: said, host }) = &standing.answer {
            attribute(&mut text, "status", status);
            option(&mut text, "host", Some(host).filter(|host| !host.is_empty()));
            attribute(&mut text, "answer", said);
        }
        text.push_str("\r\n");
    }
    text
}

impl Exported {
    /// Leaves only recipients with these addresses, each as often as it is
    /// named. True: some are left.
    pub fn narrow(&mut self, addresses: &[&str]) -> bool {
        let mut named: Vec<&str> = addresses.to_vec();
        let pairs = std::mem::take(&mut self.envelope.recipients)
            .into_iter()
            .zip(std::mem::take(&mut self.past.standings));
        for (recipient, standing) in pairs {
            let address = recipient.address.to_string();
            if let Some(at) = named.iter().position(|name| *name == address) {
                named.swap_remove(at);
                self.envelope.recipients.push(recipient);
                self.past.standings.push(standing);
            }
        }
        !self.envelope.recipients.is_empty()
    }
}

/// Reads a file; gives the message behind its fields. Lines may end in LF.
///
/// # Errors
/// [`ExportedError`].
pub fn read(file: &[u8]) -> Result<(Exported, &[u8]), ExportedError> {
    let mut fields = Fields { file, rest: file };
    let value = fields.expect(MESSAGE_FIELD).map_err(|_| ExportedError::PeerForm)?;
    let mut found = Attributes::split(MESSAGE_FIELD, value)?;
    if found.first != VERSION {
        return Err(ExportedError::PeerVersion(found.first.chars().take(20).collect()));
    }
    let count: u16 = found.needed("recipients")?;
    let mut envelope = Envelope::new(ReversePath::Null, Vec::new());
    envelope.smtputf8 = found.flag("smtputf8");
    let Timestamp(arrived) = found.time("arrived")?.ok_or(found.lacks("arrived"))?;
    let id = found.take("id").unwrap_or_default().into();
    if let Some(body) = found.take("body") {
        envelope.body = found.checked("body", Body::parse(body.as_bytes()))?;
    }
    if let Some(ret) = found.take("ret") {
        envelope.ret = Some(found.checked("ret", Return::parse(ret.as_bytes()))?);
    }
    if let Some(envid) = found.take("envid") {
        envelope.envid = Some(found.checked("envid", parse_envid(envid.as_bytes()))?);
    }
    let client = found.number("client")?;
    let helo = found.name("helo")?;
    found.end()?;
    let sender = fields.expect("X-Sender")?;
    envelope.sender = of_field("X-Sender", ReversePath::parse(sender.trim_ascii(), true))?;
    let mut standings = Vec::new();
    for _ in 0..count {
        let to = fields.expect("X-Receiver")?.trim_ascii();
        let bare = to.strip_prefix(b"<").and_then(|to| to.strip_suffix(b">")).unwrap_or(to);
        let address = of_field("X-Receiver", Address::parse(bare, true))?;
        let (recipient, standing) = recipient(address, fields.expect(RECIPIENT_FIELD)?)?;
        envelope.recipients.push(recipient);
        standings.push(standing);
    }
    if standings.is_empty() {
        return Err(ExportedError::PeerField("X-Receiver"));
    }
    let past = Past { arrived, client, helo, standings };
    Ok((Exported { id, envelope, past }, fields.rest))
}

fn recipient(address: Address, value: &[u8]) -> Result<(Recipient, Standing), ExportedError> {
    let mut found = Attributes::split(RECIPIENT_FIELD, value)?;
    let held = match found.first {
        "held" => true,
        "waiting" => false,
        _ => return Err(found.refused("it begins with `held` or `waiting`".into())),
    };
    let mut recipient = Recipient::new(address);
    if let Some(notify) = found.take("notify") {
        recipient.notify = found.checked("notify", Notify::parse(notify.as_bytes()))?;
    }
    if let Some(orcpt) = found.take("orcpt") {
        recipient.orcpt = Some(found.checked("orcpt", parse_orcpt(orcpt.as_bytes(), true))?);
    }
    let mut standing = Standing {
        held,
        in_doubt: found.flag("in-doubt"),
        delay_noticed: found.flag("delay-noticed"),
        crashes: found.number("crashes")?.unwrap_or(0),
        attempts: found.number("attempts")?.unwrap_or(0),
        next: found.time("next")?.map_or(Wall::default(), |Timestamp(next)| next),
        expires: found.time("expires")?.map(|Timestamp(at)| at),
        answer: None,
    };
    let status = found.take("status");
    let (host, text) = (found.name("host")?, found.take("answer").unwrap_or_default().into());
    if let Some(status) = status {
        let status = Status::parse(status.as_bytes()).ok_or(());
        let status = status.map_err(|()| found.refused("status is no status code".into()))?;
        standing.answer = Some(LastAnswer { status, text, host });
    }
    found.end()?;
    Ok((recipient, standing))
}

/// The fields in front, in their order.
struct Fields<'a> {
    file: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn expect(&mut self, name: &'static str) -> Result<&'a [u8], ExportedError> {
        let Some((field, rest)) = next_field(self.rest) else {
            return Err(ExportedError::PeerField(name));
        };
        if !field.name.eq_ignore_ascii_case(name.as_bytes()) {
            return Err(ExportedError::PeerField(name));
        }
        if self.file.len() - rest.len() > FIELDS_BYTES_MAX {
            return Err(ExportedError::PeerTooLarge);
        }
        self.rest = rest;
        Ok(field.value)
    }
}

/// The attributes of one field.
struct Attributes<'a> {
    field: &'static str,
    /// What stands before the first semicolon.
    first: &'a str,
    named: Vec<(&'a str, String)>,
}

impl<'a> Attributes<'a> {
    fn split(field: &'static str, value: &'a [u8]) -> Result<Self, ExportedError> {
        let refused = |why: &str| ExportedError::PeerValue { field, why: why.into() };
        let value = str::from_utf8(value).map_err(|_| refused("it is not UTF-8"))?;
        let (first, mut rest) = value.split_once(';').unwrap_or((value, ""));
        let mut named: Vec<(&str, String)> = Vec::new();
        while !rest.trim_ascii().is_empty() {
            rest = rest.trim_ascii_start();
            let end = rest.find(['=', ';']).unwrap_or(rest.len());
            let (name, behind) = rest.split_at(end);
            let (value, behind) = match behind.strip_prefix('=') {
                Some(behind) => read_value(behind).ok_or(refused("a quote has no end"))?,
                None => (String::new(), behind),
            };
            let name = name.trim_ascii();
            if named.iter().any(|(known, _)| *known == name) {
                return Err(refused(&format!("{} is given twice", shown(name))));
            }
            named.push((name, value));
            let behind = behind.trim_ascii_start();
            rest = match behind.strip_prefix(';') {
                Some(next) => next,
                None if behind.is_empty() => behind,
                None => return Err(refused("a semicolon is missing")),
            };
        }
        Ok(Self { field, first: first.trim_ascii(), named })
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.named.iter().position(|(known, _)| *known == name)?;
        Some(self.named.swap_remove(at).1)
    }

    fn flag(&mut self, name: &str) -> bool {
        self.take(name).is_some()
    }

    fn number<T: std::str::FromStr>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, ExportedError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let read = value.parse().map_err(|_| self.refused(format!("{name} cannot be read")));
        read.map(Some)
    }

    fn needed<T: std::str::FromStr>(&mut self, name: &'static str) -> Result<T, ExportedError> {
        self.number(name)?.ok_or(self.lacks(name))
    }

    fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, ExportedError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let read = Timestamp::parse(value.as_bytes());
        let form = "is a time such as 2026-11-22T18:00:00.000Z";
        read.map(Some).ok_or_else(|| self.refused(format!("{name} {form}")))
    }

    fn name(&mut self, name: &'static str) -> Result<Box<str>, ExportedError> {
        let value = self.take(name).unwrap_or_default();
        if value.len() > NAME_BYTES_MAX {
            return Err(self.refused(format!("{name} is longer than {NAME_BYTES_MAX} bytes")));
        }
        Ok(value.into())
    }

    fn checked<T>(
        &self,
        name: &str,
        value: Result<T, crate::ParameterError>,
    ) -> Result<T, ExportedError> {
        value.map_err(|error| self.refused(format!("{name}: {error}")))
    }

    fn lacks(&self, name: &str) -> ExportedError {
        self.refused(format!("{name} is missing"))
    }

    fn refused(&self, why: String) -> ExportedError {
        ExportedError::PeerValue { field: self.field, why }
    }

    /// Nothing may be left.
    fn end(&self) -> Result<(), ExportedError> {
        match self.named.first() {
            Some((name, _)) => Err(self.refused(format!("{} is not known", shown(name)))),
            None => Ok(()),
        }
    }
}

fn of_field<T>(
    field: &'static str,
    read: Result<T, crate::AddressError>,
) -> Result<T, ExportedError> {
    read.map_err(|error| ExportedError::PeerValue { field, why: error.to_string() })
}

/// A word or a quoted text, and what follows it; none where a quote has no end.
fn read_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return Some((text[..end].trim_ascii().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(plain(chars.next()?.1)),
            char => value.push(plain(char)),
        }
    }
    None
}

fn flag(text: &mut String, name: &str, set: bool) {
    if set {
        let _ = write!(text, "; {name}");
    }
}

fn option(text: &mut String, name: &str, value: Option<&impl std::fmt::Display>) {
    if let Some(value) = value {
        attribute(text, name, value);
    }
}

/// Each on a line of its own, so that lines stay short.
fn attribute(text: &mut String, name: &str, value: &impl std::fmt::Display) {
    let value = value.to_string();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:+".contains(&byte);
    if !value.is_empty() && value.bytes().all(is_word) {
        let _ = write!(text, ";\r\n {name}={value}");
        return;
    }
    let _ = write!(text, ";\r\n {name}=\"");
    for char in value.chars() {
        match char {
            '"' | '\\' => text.extend(['\\', char]),
            char => text.push(plain(char)),
        }
    }
    text.push('"');
}

/// A space for what may not stand in a field.
fn plain(char: char) -> char {
    if char.is_ascii_control() { ' ' } else { char }
}

/// Appends a message without the dots put in for the wire (RFC 5321 §4.5.2).
fn unstuffed(wire: &[u8], out: &mut Vec<u8>) {
    let mut rest = wire.strip_prefix(b".").unwrap_or(wire);
    while let Some(at) = memchr::memmem::find(rest, b"\r\n.") {
        out.extend_from_slice(&rest[..at + 2]);
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
}

fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(40).collect::<String>())
}

const VERSION: &str = "1";

#[cfg(test)]
mod tests;
