//! A message as a file, whose header says who sends it to whom: in `X-Sender`
//! and `X-Receiver` fields, or else in those that people see.
//!
//! `X-Sender` and `X-Receiver` (one address a field, or several) name the
//! envelope; without `X-Receiver` the recipients are those of To, Cc and Bcc,
//! without `X-Sender` the sender is that of Sender, else the only one of From.
//! A list that names nobody of the envelope may be as odd as it likes.
//! These two fields, those of exported messages (`exported`) and Bcc are taken
//! out; all else stays as it is, octet by
//! octet. Never here: files, line ends, whether anybody may send.
//!
//! Read first: RFC 5322 §3.6.2, RFC 5322 §3.6.3.

use base::Set;

use crate::address::{Address, AddressError, ReversePath};
use crate::envelope::{Envelope, Recipient};

/// Why a file is no message that could be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickupError {
    /// No field names a recipient.
    #[error("it names no recipient: no X-Receiver, To, Cc or Bcc field has an address")]
    PeerNoRecipient,
    /// No field names a sender.
    #[error("it names no sender: no X-Sender, Sender or From field has an address")]
    PeerNoSender,
    /// From has several, and nothing says which of them sends.
    #[error("{0} names several senders: an X-Sender or Sender field says which of them sends")]
    PeerSenders(&'static str),
    /// A quoted string, comment or angle bracket without its end.
    #[error("a list of addresses cannot be read: {0} has no end")]
    PeerList(&'static str),
    /// Something that is no address.
    #[error("{0:?} is no address: {1}")]
    PeerAddress(String, AddressError),
}

/// The envelope that a message's header names, and the message as it is sent.
///
/// # Errors
/// [`PickupError`].
pub fn read(text: &[u8]) -> Result<(Envelope, Vec<u8>), PickupError> {
    let mut found = Found::default();
    let mut message = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((field, behind)) = next_field(rest) {
        if !found.note(field)? {
            message.extend_from_slice(field.whole);
        }
        rest = behind;
    }
    message.extend_from_slice(rest);
    Ok((found.envelope()?, message))
}

/// One field of a header, its folded lines and line end included.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    whole: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// The field at the start of `text`, and what follows it; none at the end of
/// the header.
pub(crate) fn next_field(text: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let colon = memchr::memchr2(b':', b'\n', text).filter(|at| text[*at] == b':')?;
    let name = text[..colon].trim_ascii_end();
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let mut end = colon;
    loop {
        end = memchr::memchr(b'\n', &text[end..]).map_or(text.len(), |at| end + at + 1);
        if !matches!(text.get(end), Some(b' ' | b'\t')) {
            break;
        }
    }
    let (whole, rest) = text.split_at(end);
    Some((Field { whole, name, value: &whole[colon + 1..] }, rest))
}

/// What the header named so far.
#[derive(Default)]
struct Found {
    x_sender: Option<Vec<Address>>,
    x_receivers: Option<Vec<Address>>,
    sender: Seen,
    from: Seen,
    receivers: Seen,
}

/// What fields that may not matter name, and what is wrong with the first of them
/// that cannot be read.
#[derive(Default)]
struct Seen {
    addresses: Vec<Address>,
    fault: Option<PickupError>,
}

impl Seen {
    fn note(&mut self, value: &[u8]) {
        let read = addresses(value, false, &mut self.addresses);
        self.fault = self.fault.take().or(read.err());
    }

    fn take(self) -> Result<Vec<Address>, PickupError> {
        self.fault.map_or(Ok(self.addresses), Err)
    }
}

impl Found {
    /// Takes a field in; whether it is taken out of the message.
    fn note(&mut self, field: Field<'_>) -> Result<bool, PickupError> {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        if is(crate::exported::MESSAGE_FIELD) || is(crate::exported::RECIPIENT_FIELD) {
            return Ok(true);
        }
        if is("X-Sender") {
            addresses(field.value, true, self.x_sender.get_or_insert_default())?;
        } else if is("X-Receiver") {
            addresses(field.value, false, self.x_receivers.get_or_insert_default())?;
        } else if is("Sender") {
            self.sender.note(field.value);
        } else if is("From") {
            self.from.note(field.value);
        } else if is("To") || is("Cc") || is("Bcc") {
            self.receivers.note(field.value);
        }
        Ok(is("X-Sender") || is("X-Receiver") || is("Bcc"))
    }

    fn envelope(self) -> Result<Envelope, PickupError> {
        let only = |mut list: Vec<Address>, field: &'static str| match list.len() {
            0 => Ok(None),
            1 => Ok(list.pop()),
            _ => Err(PickupError::PeerSenders(field)),
        };
        let sender = match self.x_sender {
            Some(list) => only(list, "X-Sender")?.map_or(ReversePath::Null, ReversePath::Address),
            None => match only(self.sender.take()?, "Sender")? {
                Some(sender) => ReversePath::Address(sender),
                None => {
                    let from = only(self.from.take()?, "From")?;
                    ReversePath::Address(from.ok_or(PickupError::PeerNoSender)?)
                }
            },
        };
        let mut seen = Set::default();
        let named = self.x_receivers.map_or_else(|| self.receivers.take(), Ok)?;
        let recipients: Vec<Recipient> = named
            .into_iter()
            .filter(|to| seen.insert(to.to_string()))
            .map(Recipient::new)
            .collect();
        if recipients.is_empty() {
            return Err(PickupError::PeerNoRecipient);
        }
        let smtputf8 = !sender.is_ascii() || recipients.iter().any(|to| !to.address.is_ascii());
        Ok(Envelope { smtputf8, ..Envelope::new(sender, recipients) })
    }
}

/// The addresses in a list of mailboxes and groups (RFC 5322 §3.6.3), display
/// names and comments left out. With `may_be_null`, `<>` is nobody.
fn addresses(value: &[u8], may_be_null: bool, into: &mut Vec<Address>) -> Result<(), PickupError> {
    let mut rest = value;
    let (mut plain, mut angle) = (Vec::new(), None::<Vec<u8>>);
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'"' => rest = copied(byte, rest, b'"', &mut plain, "a quoted string")?,
            b'[' => rest = copied(byte, rest, b']', &mut plain, "an address literal")?,
            b'(' => rest = without_comment(rest)?,
            b'<' => {
                let (inner, behind) = in_angle(rest)?;
                (angle, rest) = (Some(inner), behind);
            }
            // A group's name stands before the colon.
            b':' => plain.clear(),
            b',' | b';' => flush(&mut plain, &mut angle, may_be_null, into)?,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => plain.push(*byte),
        }
    }
    flush(&mut plain, &mut angle, may_be_null, into)
}

fn flush(
    plain: &mut Vec<u8>,
    angle: &mut Option<Vec<u8>>,
    may_be_null: bool,
    into: &mut Vec<Address>,
) -> Result<(), PickupError> {
    let text = match (angle.take(), std::mem::take(plain)) {
        (Some(angle), _) if angle.is_empty() && may_be_null => return Ok(()),
        (Some(angle), _) => angle,
        (None, plain) if plain.is_empty() => return Ok(()),
        (None, plain) => plain,
    };
    match Address::parse(&text, true) {
        Ok(address) => into.push(address),
        Err(why) => {
            let shown = String::from_utf8_lossy(&text[..text.len().min(100)]).into_owned();
            return Err(PickupError::PeerAddress(shown, why));
        }
    }
    Ok(())
}

/// What stands in angle brackets, without blanks outside of quotes.
fn in_angle(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), PickupError> {
    let mut inner = Vec::new();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'>' => return Ok((inner, rest)),
            b'"' => rest = copied(byte, rest, b'"', &mut inner, "a quoted string")?,
            b'(' => rest = without_comment(rest)?,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => inner.push(*byte),
        }
    }
    Err(PickupError::PeerList("an angle bracket"))
}

/// Copies what `first` began, up to and including `last`.
fn copied<'a>(
    first: &u8,
    rest: &'a [u8],
    last: u8,
    into: &mut Vec<u8>,
    what: &'static str,
) -> Result<&'a [u8], PickupError> {
    into.push(*first);
    let mut bytes = rest.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                into.push(*byte);
                into.extend(bytes.next().map(|(_, escaped)| *escaped));
            }
            // Folding is no part of what is quoted.
            b'\r' | b'\n' => {}
            byte => {
                into.push(*byte);
                if *byte == last {
                    return Ok(&rest[at + 1..]);
                }
            }
        }
    }
    Err(PickupError::PeerList(what))
}

/// What follows a comment, which may hold others.
fn without_comment(rest: &[u8]) -> Result<&[u8], PickupError> {
    let mut depth = 1usize;
    let mut bytes = rest.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(&rest[at + 1..]);
                }
            }
            _ => {}
        }
    }
    Err(PickupError::PeerList("a comment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str) -> Vec<String> {
        let (envelope, _) = read(text.as_bytes()).unwrap();
        envelope.recipients.iter().map(|to| to.address.to_string()).collect()
    }

    #[test]
    fn the_fields_that_people_see_name_the_envelope_and_bcc_is_taken_out() {
        let text = "From: \"Ann, A.\" <a@from.example>\r\nTO: b@b.example (Bob (B.)),\r\n c@c.example\r\n\
                    Bcc: secret@d.example\r\n\tmore@d.example\r\nCc: Team: x@e.example, \
                    \"y z\"@e.example;, b@B.example\r\nSubject: x\r\n\r\nBcc: stays@f.example\r\n";
        let text = text.replace("secret@d.example\r\n\t", "secret@d.example,\r\n\t");
        let (envelope, message) = read(text.as_bytes()).unwrap();
        assert_eq!(envelope.sender.to_string(), "<a@from.example>");
        let wanted = [
            "b@b.example",
            "c@c.example",
            "secret@d.example",
            "more@d.example",
            "x@e.example",
            "\"y z\"@e.example",
        ];
        assert_eq!(to(&text), wanted);
        let message = String::from_utf8(message).unwrap();
        assert!(!message.contains("d.example"), "{message}");
        assert!(message.ends_with("Subject: x\r\n\r\nBcc: stays@f.example\r\n"));
        assert!(message.starts_with("From: \"Ann, A.\" <a@from.example>\r\nTO: b@b"));
    }

    #[test]
    fn x_fields_name_the_envelope_alone() {
        let text = "X-Sender: <bounce@from.example>\nX-Receiver: one@b.example\n\
                    x-receiver: <two@b.example>\nFrom: a@from.example\nTo: list@c.example\n\nx\n";
        let (envelope, message) = read(text.as_bytes()).unwrap();
        assert_eq!(envelope.sender.to_string(), "<bounce@from.example>");
        assert_eq!(to(text), ["one@b.example", "two@b.example"]);
        assert_eq!(message, b"From: a@from.example\nTo: list@c.example\n\nx\n");
        let null = read(b"X-Sender: <>\nTo: b@b.example\n\n").unwrap().0;
        assert!(null.sender.is_null());
    }

    /// An application that names the envelope itself writes what it likes into the
    /// fields for people: its file was set aside for that, and nothing was sent.
    #[test]
    fn fields_that_name_nobody_of_the_envelope_may_be_odd() {
        let text = "X-Sender: <>\nX-Receiver: b@b.example\nFrom: MAILER-DAEMON\n\
                    To: undisclosed recipients\nBcc: \"x\n\nx\n";
        let (envelope, message) = read(text.as_bytes()).unwrap();
        assert!(envelope.sender.is_null());
        assert_eq!(to(text), ["b@b.example"]);
        assert_eq!(message, b"From: MAILER-DAEMON\nTo: undisclosed recipients\n\nx\n");
        let text = "Sender: s@b.example\nFrom: Ann <ann>\nTo: b@b.example\n\nx\n";
        assert_eq!(read(text.as_bytes()).unwrap().0.sender.to_string(), "<s@b.example>");
        assert!(read(b"From: a@b.example\nTo: b@b.example\nCc: nobody\n\n").is_err());
    }

    #[test]
    fn a_sender_says_which_author_sends() {
        let several = "From: a@b.example, c@d.example\nTo: e@f.example\n\nx";
        assert_eq!(read(several.as_bytes()), Err(PickupError::PeerSenders("From")));
        let (envelope, _) = read(format!("Sender: s@b.example\n{several}").as_bytes()).unwrap();
        assert_eq!(envelope.sender.to_string(), "<s@b.example>");
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_its_reason() {
        for (text, words) in [
            ("", "no sender"),
            ("no header at all\n", "no sender"),
            ("To: b@b.example\n\n", "no sender"),
            ("From: a@b.example\n\n", "no recipient"),
            ("From: a@b.example\nTo: undisclosed-recipients:;\n\n", "no recipient"),
            ("From: a@b.example\nTo: nobody\n\n", "is no address"),
            ("From: a@b.example\nTo: <>\n\n", "is no address"),
            ("From: a@b.example\nTo: \"b@c.example\n\n", "a quoted string has no end"),
            ("From: a@b.example\nTo: <b@c.example\n\n", "an angle bracket has no end"),
            ("From: a@b.example\nTo: b@c.example (\\)\n\n", "a comment has no end"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let pieces: [&[u8]; 14] = [
            b"To:",
            b"From: a@b.c",
            b"\n",
            b"\r\n",
            b" ",
            b"<",
            b">",
            b"\"",
            b"\\",
            b"(",
            b")",
            b"[",
            b":",
            b"\xff",
        ];
        let mut rng = base::Rng::new(7);
        for _ in 0..20_000 {
            let parts: Vec<&[u8]> =
                (0..12).map(|_| pieces[rng.next_u64() as usize % pieces.len()]).collect();
            let _ = read(&parts.concat());
        }
    }
}
