//! Mailbox addresses and the paths that carry them in MAIL and RCPT.
//!
//! An [`Address`] can always be sent on as it stands: its local part is kept
//! as received, quotes and case included, and its domain is the A-label form,
//! under SMTPUTF8 too. Never here: rewriting, aliases, sub-addresses, any
//! opinion on whether a mailbox exists. Never inside an address: a control
//! character, not even quoted.
//!
//! Read first: RFC 5321 §4.1.2, RFC 5321 §4.1.3, RFC 5321 §4.5.3.1,
//! RFC 6531 §3.3.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base::limits::{LOCAL_PART_BYTES_MAX, PATH_BYTES_MAX};

use crate::domain::{Domain, DomainError};
use crate::status::Status;

/// What stands behind the `@`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name, to be looked up.
    Name(Domain),
    /// An address literal, never looked up (RFC 5321 §4.1.3).
    Literal(IpAddr),
}

/// `local@host`: at most 254 octets, 64 of them before the `@`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    local: Box<str>,
    host: Host,
}

/// Whom failure is reported to (RFC 5321 §4.1.1.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReversePath {
    /// `<>`: nobody. No report may ever follow (RFC 5321 §4.5.5).
    Null,
    /// A mailbox.
    Address(Address),
}

/// Whom a message is for (RFC 5321 §4.1.1.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForwardPath {
    /// `<postmaster>` without domain, in any case (RFC 5321 §4.5.1).
    Postmaster,
    /// A mailbox.
    Address(Address),
}

/// Why a text is no address or path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A path that does not stand in one pair of angle brackets.
    #[error("a path stands in angle brackets")]
    PeerBrackets,
    /// A source route without its colon.
    #[error("the source route has no end")]
    PeerRoute,
    /// A control character, quoted or not.
    #[error("an address has no control characters")]
    PeerControl,
    /// Not ASCII, and SMTPUTF8 was not asked for.
    #[error("an address that is not ASCII needs SMTPUTF8")]
    PeerNotAscii,
    /// Neither ASCII nor UTF-8.
    #[error("the address is not UTF-8")]
    PeerNotUtf8,
    /// A local part that is neither atoms joined by dots nor a quoted string.
    #[error("the part before the @ is malformed")]
    PeerLocalPart,
    /// A local part of more than 64 octets.
    #[error("the part before the @ is longer than 64 octets")]
    PeerLocalPartTooLong,
    /// No `@`.
    #[error("the address has no domain")]
    PeerNoDomain,
    /// Square brackets without an IP address in the form of RFC 5321 §4.1.3.
    #[error("the address literal is not an IP address")]
    PeerLiteral,
    /// A faulty domain.
    #[error("{0}")]
    PeerDomain(DomainError),
    /// More than 256 octets with the angle brackets.
    #[error("the path is longer than 256 octets")]
    PeerPathTooLong,
}

impl Address {
    /// Reads `local@host`. With `utf8`, both sides may go beyond ASCII
    /// (RFC 6531 §3.3); the domain is converted to A-labels.
    ///
    /// # Errors
    /// The first fault found.
    pub fn parse(text: impl AsRef<[u8]>, utf8: bool) -> Result<Self, AddressError> {
        let (local, rest) = split_local_part(text.as_ref())?;
        Self::from_text(local, rest, utf8)
    }

    /// `postmaster` at `domain`.
    pub fn postmaster(domain: Domain) -> Self {
        Self { local: "postmaster".into(), host: Host::Name(domain) }
    }

    /// The local part as received, quotes and case kept.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// What stands behind the `@`.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The domain; none for an address literal.
    pub fn domain(&self) -> Option<&Domain> {
        match &self.host {
            Host::Name(domain) => Some(domain),
            Host::Literal(_) => None,
        }
    }

    /// Whether a host without SMTPUTF8 can be given this address.
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii()
    }

    fn from_text(local: &[u8], host: &[u8], utf8: bool) -> Result<Self, AddressError> {
        if local.len() > LOCAL_PART_BYTES_MAX {
            return Err(AddressError::PeerLocalPartTooLong);
        }
        let local = utf8_text(local, utf8)?;
        let host = Host::parse(utf8_text(host, utf8)?)?;
        if 2 + local.len() + 1 + host.text_bytes() > PATH_BYTES_MAX {
            return Err(AddressError::PeerPathTooLong);
        }
        Ok(Self { local: local.into(), host })
    }
}

impl Host {
    /// Reads a domain, U-labels allowed, or an address literal in its square
    /// brackets: `[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3).
    ///
    /// # Errors
    /// [`AddressError::PeerLiteral`], [`AddressError::PeerDomain`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let Some(inner) = text.strip_prefix('[') else {
            return Domain::parse_utf8(text).map(Self::Name).map_err(AddressError::PeerDomain);
        };
        let inner = inner.strip_suffix(']').ok_or(AddressError::PeerLiteral)?;
        let ip = match inner.split_at_checked(IPV6_TAG.len()) {
            Some((tag, ip)) if tag.eq_ignore_ascii_case(IPV6_TAG) => ip.parse().map(IpAddr::V6),
            _ => inner.parse().map(IpAddr::V4),
        };
        ip.map(Self::Literal).map_err(|_| AddressError::PeerLiteral)
    }

    fn text_bytes(&self) -> usize {
        match self {
            Self::Name(domain) => domain.as_str().len(),
            // The longest is "[IPv6:" and 45 characters: far below any bound.
            Self::Literal(_) => 0,
        }
    }
}

impl ReversePath {
    /// Reads `<>`, `<address>` or `<@route:address>` and nothing behind it.
    ///
    /// # Errors
    /// The first fault found.
    pub fn parse(text: impl AsRef<[u8]>, utf8: bool) -> Result<Self, AddressError> {
        whole(Self::parse_prefix(text.as_ref(), utf8)?)
    }

    /// Reads the path at the start of `text`, the argument of `MAIL FROM:`, and
    /// hands back what follows its closing bracket.
    ///
    /// # Errors
    /// The first fault found.
    pub fn parse_prefix(text: &[u8], utf8: bool) -> Result<(Self, &[u8]), AddressError> {
        if let Some(rest) = text.strip_prefix(b"<>") {
            return Ok((Self::Null, rest));
        }
        let (address, rest) = path(text, utf8)?;
        Ok((Self::Address(address), rest))
    }

    /// The mailbox; none for the null path.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }

    /// Whether this is `<>`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether a host without SMTPUTF8 can be given this path.
    pub fn is_ascii(&self) -> bool {
        self.address().is_none_or(Address::is_ascii)
    }
}

impl ForwardPath {
    /// Reads `<postmaster>`, `<address>` or `<@route:address>` and nothing behind it.
    ///
    /// # Errors
    /// The first fault found.
    pub fn parse(text: impl AsRef<[u8]>, utf8: bool) -> Result<Self, AddressError> {
        whole(Self::parse_prefix(text.as_ref(), utf8)?)
    }

    /// Reads the path at the start of `text`, the argument of `RCPT TO:`, and
    /// hands back what follows its closing bracket.
    ///
    /// # Errors
    /// The first fault found.
    pub fn parse_prefix(text: &[u8], utf8: bool) -> Result<(Self, &[u8]), AddressError> {
        if let Some((head, rest)) = text.split_at_checked(POSTMASTER.len())
            && head.eq_ignore_ascii_case(POSTMASTER)
        {
            return Ok((Self::Postmaster, rest));
        }
        let (address, rest) = path(text, utf8)?;
        Ok((Self::Address(address), rest))
    }

    /// The mailbox, with `hostname` standing in for a missing domain.
    pub fn or_at(self, hostname: &Domain) -> Address {
        match self {
            Self::Postmaster => Address::postmaster(hostname.clone()),
            Self::Address(address) => address,
        }
    }
}

impl AddressError {
    /// The enhanced code when the address was a sender's.
    pub fn sender_status(self) -> Status {
        if self == Self::PeerNotAscii { Status::NOT_ASCII } else { Status::BAD_SENDER_SYNTAX }
    }

    /// The enhanced code when the address was a recipient's.
    pub fn recipient_status(self) -> Status {
        if self == Self::PeerNotAscii { Status::NOT_ASCII } else { Status::BAD_RECIPIENT_SYNTAX }
    }
}

/// `local@host`, as it stands on the wire between angle brackets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.local)?;
        f.write_str("@")?;
        self.host.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// As [`Address::parse`], ASCII only.
impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text, false)
    }
}

/// The name, or the literal in its brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(domain) => f.write_str(domain.as_str()),
            Self::Literal(IpAddr::V4(ip)) => write!(f, "[{ip}]"),
            Self::Literal(IpAddr::V6(ip)) => write!(f, "[{IPV6_TAG}{ip}]"),
        }
    }
}

/// With the angle brackets.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Address(address) => write!(f, "<{address}>"),
        }
    }
}

/// With the angle brackets.
impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("<postmaster>"),
            Self::Address(address) => write!(f, "<{address}>"),
        }
    }
}

const IPV6_TAG: &str = "IPv6:";
const POSTMASTER: &[u8] = b"<postmaster>";

fn whole<T>((value, rest): (T, &[u8])) -> Result<T, AddressError> {
    if rest.is_empty() { Ok(value) } else { Err(AddressError::PeerBrackets) }
}

fn path(text: &[u8], utf8: bool) -> Result<(Address, &[u8]), AddressError> {
    let inner = text.strip_prefix(b"<").ok_or(AddressError::PeerBrackets)?;
    let (local, rest) = split_local_part(skip_route(inner)?)?;
    let end = memchr::memchr(b'>', rest).ok_or(AddressError::PeerBrackets)?;
    Ok((Address::from_text(local, &rest[..end], utf8)?, &rest[end + 1..]))
}

/// A source route is read and dropped, never sent on (RFC 5321 §3.6.1 and its
/// appendix C). Its hosts are not looked at beyond what keeps the path apart
/// from its surroundings.
fn skip_route(path: &[u8]) -> Result<&[u8], AddressError> {
    if path.first() != Some(&b'@') {
        return Ok(path);
    }
    let end = memchr::memchr3(b':', b'>', b'"', path);
    match end {
        Some(end) if path[end] == b':' && path[..end].iter().all(|byte| is_route_byte(*byte)) => {
            Ok(&path[end + 1..])
        }
        _ => Err(AddressError::PeerRoute),
    }
}

fn is_route_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@' | b',')
}

/// The local part, checked but for its length and encoding, and what follows
/// the `@`.
fn split_local_part(text: &[u8]) -> Result<(&[u8], &[u8]), AddressError> {
    let end = if text.first() == Some(&b'"') { quoted_string(text)? } else { dot_string(text)? };
    let (local, rest) = text.split_at(end);
    match rest.split_first() {
        Some((b'@', host)) => Ok((local, host)),
        None | Some((b'>', _)) => Err(AddressError::PeerNoDomain),
        Some((byte, _)) if byte.is_ascii_control() => Err(AddressError::PeerControl),
        Some(_) => Err(AddressError::PeerLocalPart),
    }
}

/// The end of the atoms joined by dots at the start of `text`.
fn dot_string(text: &[u8]) -> Result<usize, AddressError> {
    let end = text.iter().position(|byte| !is_atext(*byte) && *byte != b'.');
    let end = end.unwrap_or(text.len());
    let local = &text[..end];
    let dotted = local.starts_with(b".") || local.ends_with(b".");
    if dotted || local.windows(2).any(|pair| pair == b"..") {
        return Err(AddressError::PeerLocalPart);
    }
    if local.is_empty() {
        return Err(match text.first() {
            Some(byte) if byte.is_ascii_control() => AddressError::PeerControl,
            _ => AddressError::PeerLocalPart,
        });
    }
    Ok(end)
}

/// The end of the quoted string at the start of `text`, behind its quote.
fn quoted_string(text: &[u8]) -> Result<usize, AddressError> {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return Ok(at + 1),
            b'\\' => match text.get(at + 1) {
                Some(b' '..=b'~') => at += 2,
                Some(byte) if byte.is_ascii_control() => return Err(AddressError::PeerControl),
                _ => return Err(AddressError::PeerLocalPart),
            },
            byte if byte.is_ascii_control() => return Err(AddressError::PeerControl),
            _ => at += 1,
        }
    }
    Err(AddressError::PeerLocalPart)
}

/// `atext` of RFC 5322 §3.2.3, and every octet beyond ASCII (RFC 6531 §3.3):
/// those are judged when the whole part is read as UTF-8.
fn is_atext(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | 0x80..
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'/'
        | b'=' | b'?' | b'^' | b'_' | b'`' | b'{' | b'|' | b'}' | b'~')
}

/// The octets as text: ASCII, or UTF-8 without control characters when allowed.
fn utf8_text(text: &[u8], utf8: bool) -> Result<&str, AddressError> {
    let is_ascii = text.is_ascii();
    if !is_ascii && !utf8 {
        return Err(AddressError::PeerNotAscii);
    }
    let text = str::from_utf8(text).map_err(|_| AddressError::PeerNotUtf8)?;
    let has_control = if is_ascii {
        text.bytes().any(|byte| byte.is_ascii_control())
    } else {
        text.chars().any(char::is_control)
    };
    if has_control { Err(AddressError::PeerControl) } else { Ok(text) }
}

#[cfg(test)]
mod tests;
