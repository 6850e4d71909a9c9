//! 8-bit mail for a next hop without 8BITMIME: conversion to quoted-printable.
//!
//! Done only where it is certain to lose nothing: one text, unsigned, with an
//! ASCII header. Everything else is refused, and the caller bounces it. Never
//! here: multipart bodies (each part would need its own decision), base64,
//! any change to a message that is 7-bit already.
//!
//! Read first: RFC 6152 §3, RFC 2045 §6, RFC 1428 §3.

use std::borrow::Cow;

use crate::header::{HeaderEnd, Scanner};
use crate::quoted_printable;
use crate::status::Status;

/// Octets of an 8-bit message that is converted. Conversion holds up whoever
/// asks for it and may triple the size; texts beyond this are not mail that
/// people write.
pub const CONVERTED_MESSAGE_BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// Why a message is not converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConversionError {
    /// A signature covers what would change.
    #[error("the message is signed and would lose its signature")]
    PeerSigned,
    /// 8-bit header fields, which no encoding of the body helps.
    #[error("the header is not ASCII")]
    PeerHeader,
    /// Not one text: several parts, a message in the message, or binary data.
    #[error("the body is not a single text")]
    PeerNotText,
    /// MIME fields that contradict the body or each other.
    #[error("the MIME fields do not fit the body")]
    PeerMime,
    /// Larger than is converted.
    #[error("the message is too large to be converted")]
    LocalTooLarge,
}

impl ConversionError {
    /// The code to bounce with (RFC 6152 §3).
    pub const fn status(self) -> Status {
        Status::CONVERSION_IMPOSSIBLE
    }
}

/// The message as 7-bit text. Both forms are wire forms; a message that is
/// 7-bit already comes back as it is.
///
/// # Errors
/// The first reason found not to convert it.
pub fn to_seven_bit(wire: &[u8]) -> Result<Cow<'_, [u8]>, ConversionError> {
    if wire.is_ascii() {
        return Ok(Cow::Borrowed(wire));
    }
    if wire.len() > CONVERTED_MESSAGE_BYTES_MAX {
        return Err(ConversionError::LocalTooLarge);
    }
    let facts = Scanner::scan(wire);
    if facts.eight_bit {
        return Err(ConversionError::PeerHeader);
    }
    let (header, body) = wire.split_at(facts.header_bytes);
    let body = match facts.end {
        HeaderEnd::EmptyLine => &body[2..],
        HeaderEnd::NotAField | HeaderEnd::Open => body,
    };
    let mime = Mime::of(header)?;

    let mut out = Vec::with_capacity(wire.len() + wire.len() / 4);
    for field in fields(header).filter(|field| !is_named(field, "content-transfer-encoding")) {
        out.extend_from_slice(field);
    }
    if !mime.has_version {
        out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    }
    if !mime.has_type {
        // Nobody said what the octets mean, and we do not guess (RFC 1428 §3).
        out.extend_from_slice(b"Content-Type: text/plain; charset=unknown-8bit\r\n");
    }
    out.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    quoted_printable::encode(body, &mut out);
    Ok(Cow::Owned(out))
}

/// What the header says about the body, once it is known to be one text.
struct Mime {
    has_version: bool,
    has_type: bool,
}

impl Mime {
    fn of(header: &[u8]) -> Result<Self, ConversionError> {
        let mut mime = Self { has_version: false, has_type: false };
        let mut has_encoding = false;
        for field in fields(header) {
            if SIGNATURES.iter().any(|name| is_named(field, name)) {
                return Err(ConversionError::PeerSigned);
            } else if is_named(field, "mime-version") {
                mime.has_version = true;
            } else if is_named(field, "content-type") {
                if std::mem::replace(&mut mime.has_type, true) {
                    return Err(ConversionError::PeerMime);
                }
                is_text(value(field)).then_some(()).ok_or(ConversionError::PeerNotText)?;
            } else if is_named(field, "content-transfer-encoding") {
                let is_plain = PLAIN.iter().any(|word| value(field).eq_ignore_ascii_case(word));
                if std::mem::replace(&mut has_encoding, true) || !is_plain {
                    return Err(ConversionError::PeerMime);
                }
            }
        }
        Ok(mime)
    }
}

/// Fields whose presence means that somebody may check the body as it is.
const SIGNATURES: [&str; 4] =
    ["dkim-signature", "arc-message-signature", "arc-seal", "domainkey-signature"];
/// Encodings that leave the body as it is (RFC 2045 §6.2) and are text.
const PLAIN: [&[u8]; 2] = [b"8bit", b"7bit"];

/// The fields of a header, each with its folded lines and line ends.
fn fields(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let end = memchr::memchr_iter(b'\n', rest)
            .map(|newline| newline + 1)
            .find(|next| !matches!(rest.get(*next), Some(b' ' | b'\t')))
            .unwrap_or(rest.len());
        let (field, tail) = rest.split_at(end);
        rest = tail;
        (!field.is_empty()).then_some(field)
    })
}

fn is_named(field: &[u8], name: &str) -> bool {
    match memchr::memchr(b':', field) {
        Some(colon) => field[..colon].trim_ascii_end().eq_ignore_ascii_case(name.as_bytes()),
        None => false,
    }
}

fn value(field: &[u8]) -> &[u8] {
    let colon = memchr::memchr(b':', field).map_or(0, |colon| colon + 1);
    field[colon..].trim_ascii()
}

fn is_text(content_type: &[u8]) -> bool {
    content_type.get(..5).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(message: &str) -> Result<String, ConversionError> {
        let wire = to_seven_bit(message.as_bytes())?;
        Ok(String::from_utf8(wire.into_owned()).unwrap())
    }

    /// Proves: RFC 6152 §3
    /// Covers: A6.12, B57
    #[test]
    fn a_single_text_is_converted() {
        for (message, expected) in [
            ("A: b\r\n\r\nplain\r\n", "A: b\r\n\r\nplain\r\n"),
            (
                "A: b\r\nContent-Transfer-Encoding:\r\n 8bit\r\nMIME-Version: 1.0\r\n\
                 Content-Type: TEXT/html;\r\n\tcharset=utf-8\r\nZ: z\r\n\r\n..\u{e9}=\r\n",
                "A: b\r\nMIME-Version: 1.0\r\n\
                 Content-Type: TEXT/html;\r\n\tcharset=utf-8\r\nZ: z\r\n\
                 Content-Transfer-Encoding: quoted-printable\r\n\r\n..=C3=A9=3D\r\n",
            ),
            (
                "A: b\r\n\r\n\u{e9}\r\n",
                "A: b\r\nMIME-Version: 1.0\r\n\
                 Content-Type: text/plain; charset=unknown-8bit\r\n\
                 Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9\r\n",
            ),
            (
                "A: b\r\nbody \u{e9}\r\n",
                "A: b\r\nMIME-Version: 1.0\r\n\
                 Content-Type: text/plain; charset=unknown-8bit\r\n\
                 Content-Transfer-Encoding: quoted-printable\r\n\r\nbody =C3=A9\r\n",
            ),
        ] {
            assert_eq!(converted(message).as_deref(), Ok(expected));
        }
    }

    /// Covers: A4.4, A6.12, B57
    #[test]
    fn what_might_lose_something_is_refused() {
        use ConversionError::*;
        for (header, fault) in [
            ("DKIM-Signature: v=1\r\n", PeerSigned),
            ("ARC-Seal : i=1\r\n", PeerSigned),
            ("Subject: \u{e9}\r\n", PeerHeader),
            ("Content-Type: multipart/mixed; boundary=x\r\n", PeerNotText),
            ("Content-Type: message/rfc822\r\n", PeerNotText),
            ("Content-Type: text\r\n", PeerNotText),
            ("Content-Type: text/plain\r\nContent-Type: text/html\r\n", PeerMime),
            ("Content-Transfer-Encoding: base64\r\n", PeerMime),
            ("Content-Transfer-Encoding: binary\r\n", PeerMime),
            ("Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: 7bit\r\n", PeerMime),
        ] {
            assert_eq!(converted(&format!("{header}\r\n\u{e9}\r\n")), Err(fault), "{header}");
            assert_eq!(fault.status().to_string(), "5.6.3");
        }
    }

    #[test]
    fn the_bound_holds_at_the_bound() {
        let mut message = b"A: b\r\n\r\n\xe9".to_vec();
        message.resize(CONVERTED_MESSAGE_BYTES_MAX - 2, b'a');
        message.extend_from_slice(b"\r\n");
        assert!(to_seven_bit(&message).is_ok());
        message.insert(9, b'a');
        assert_eq!(to_seven_bit(&message), Err(ConversionError::LocalTooLarge));
        message[8] = b'a';
        assert!(matches!(to_seven_bit(&message), Ok(Cow::Borrowed(_))));
    }
}
