//! Command lines, as a server reads them.
//!
//! Never here: whether a command stands in its place (`submission`), or how a
//! client writes its own (`transaction`). A line is parsed into a value that
//! cannot hold a control character, or refused with the reply that says why.
//!
//! Read first: RFC 5321 §4.1.1, RFC 5321 §4.1.2, RFC 3461 §4.

use std::fmt;

use mail::envelope::{parse_envid, parse_orcpt};
use mail::xtext;
use mail::{
    AddressError, Body, Domain, ForwardPath, Notify, ParameterError, Return, ReversePath, Status,
};

use crate::answer::Answer;
use crate::ehlo::{Extension, Extensions};

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// EHLO, or HELO when not `esmtp`.
    Hello {
        /// Whether the client speaks ESMTP.
        esmtp: bool,
        /// What it calls itself: 1 to 255 printable ASCII characters.
        name: &'a str,
    },
    /// LHLO (RFC 2033 §4.1).
    LmtpHello {
        /// As of EHLO.
        name: &'a str,
    },
    /// MAIL; its argument for [`parse_mail`].
    Mail(&'a [u8]),
    /// RCPT; its argument for [`parse_rcpt`].
    Rcpt(&'a [u8]),
    /// DATA.
    Data,
    /// BDAT; none when its size cannot be read, so that nobody knows where the
    /// next command begins.
    Bdat(Option<Chunk>),
    /// RSET.
    Reset,
    /// NOOP.
    Noop,
    /// HELP.
    Help,
    /// VRFY.
    Verify,
    /// QUIT.
    Quit,
    /// STARTTLS (RFC 3207 §4).
    StartTls,
    /// AUTH (RFC 4954 §4).
    Auth {
        /// The mechanism's name, in any case.
        mechanism: &'a [u8],
        /// The initial response, in base64 or `=`.
        initial: Option<&'a [u8]>,
    },
    /// ETRN (RFC 1985 §5); its argument for [`parse_etrn`].
    Etrn(&'a [u8]),
}

/// The argument of ETRN: whose waiting mail is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Recipients of this domain.
    pub domain: Domain,
    /// And of all domains below it (RFC 1985 §5.3).
    pub below: bool,
}

/// As it stands behind ETRN.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "@" } else { "" }, self.domain)
    }
}

/// The argument of BDAT (RFC 3030 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Octets that follow the command.
    pub bytes: u64,
    /// Whether the message ends with them.
    pub last: bool,
}

/// The argument of MAIL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailArgument {
    /// The reverse-path, a source route taken off.
    pub sender: ReversePath,
    /// SIZE, in octets; a number beyond `u64` counts as its largest.
    pub size: Option<u64>,
    /// BODY.
    pub body: Body,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// RET.
    pub ret: Option<Return>,
    /// ENVID, xtext as received.
    pub envid: Option<Box<str>>,
}

/// The argument of RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcptArgument {
    /// The forward-path, a source route taken off.
    pub path: ForwardPath,
    /// NOTIFY.
    pub notify: Notify,
    /// ORCPT, as received.
    pub orcpt: Option<Box<str>>,
}

/// Reads a command line, given without its CRLF, of a server that offers
/// `served`.
///
/// # Errors
/// The reply that refuses the line.
pub fn parse(line: &[u8], served: Extensions) -> Result<Command<'_>, Answer> {
    let line = line.trim_ascii_end();
    if line.iter().any(u8::is_ascii_control) {
        return Err(syntax("Control character in command"));
    }
    let verb_end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let (verb, argument) = line.split_at(verb_end);
    let argument = argument.trim_ascii_start();
    let is = |name: &str| verb.eq_ignore_ascii_case(name.as_bytes());
    let alone = |command| match argument {
        [] => Ok(command),
        _ => Err(bad_argument("No argument allowed")),
    };
    match verb.len() {
        4 if is("MAIL") => keyword(argument, b"FROM:").map(Command::Mail),
        4 if is("RCPT") => keyword(argument, b"TO:").map(Command::Rcpt),
        4 if is("DATA") => alone(Command::Data),
        4 if is("BDAT") && served.has(Extension::Chunking) => Ok(Command::Bdat(chunk(argument))),
        4 if is("AUTH") && served.has(Extension::Auth) => auth(argument),
        4 if is("ETRN") && served.has(Extension::Etrn) => Ok(Command::Etrn(argument)),
        4 if is("EHLO") => Ok(Command::Hello { esmtp: true, name: hello(argument)? }),
        4 if is("HELO") => Ok(Command::Hello { esmtp: false, name: hello(argument)? }),
        4 if is("LHLO") => Ok(Command::LmtpHello { name: hello(argument)? }),
        4 if is("RSET") => alone(Command::Reset),
        4 if is("QUIT") => alone(Command::Quit),
        4 if is("NOOP") => Ok(Command::Noop),
        4 if is("HELP") => Ok(Command::Help),
        4 if is("VRFY") => match argument {
            [] => Err(bad_argument("VRFY needs an address")),
            _ => Ok(Command::Verify),
        },
        8 if is("STARTTLS") && served.has(Extension::StartTls) => alone(Command::StartTls),
        _ if NOT_IMPLEMENTED.iter().any(|name| is(name)) => {
            Err(Answer::new(502, Status::BAD_COMMAND, "Command not implemented"))
        }
        _ => Err(not_recognized()),
    }
}

/// The answer to a command that nobody knows.
pub(crate) fn not_recognized() -> Answer {
    Answer::new(500, Status::BAD_COMMAND, "Command not recognized")
}

/// Reads what follows `MAIL FROM:` (RFC 5321 §4.1.1.2).
///
/// # Errors
/// The reply that refuses the command.
pub fn parse_mail(argument: &[u8], served: Extensions) -> Result<MailArgument, Answer> {
    // Whether UTF-8 may stand in the path is said behind it.
    let utf8 = served.has(Extension::SmtpUtf8);
    let (sender, rest) = ReversePath::parse_prefix(argument, utf8)
        .map_err(|error| bad_path(error, error.sender_status()))?;
    let path = &argument[..argument.len() - rest.len()];
    let mut mail = MailArgument {
        sender,
        size: None,
        body: Body::SevenBit,
        smtputf8: false,
        ret: None,
        envid: None,
    };
    let mut seen = Seen::default();
    for parameter in parameters(rest)? {
        let (name, value) = parameter?;
        let is = |keyword: &str| name.eq_ignore_ascii_case(keyword.as_bytes());
        if is("SIZE") && served.has(Extension::Size) {
            seen.once(0)?;
            mail.size = Some(decimal(needed(value)?).ok_or_else(unreadable)?);
        } else if is("BODY") && served.has(Extension::EightBitMime) {
            seen.once(1)?;
            mail.body = Body::parse(needed(value)?).map_err(bad_value)?;
        } else if is("SMTPUTF8") && served.has(Extension::SmtpUtf8) {
            seen.once(2)?;
            if value.is_some() {
                return Err(bad_argument("SMTPUTF8 takes no value"));
            }
            mail.smtputf8 = true;
        } else if is("RET") && served.has(Extension::Dsn) {
            seen.once(3)?;
            mail.ret = Some(Return::parse(needed(value)?).map_err(bad_value)?);
        } else if is("ENVID") && served.has(Extension::Dsn) {
            seen.once(4)?;
            mail.envid = Some(parse_envid(needed(value)?).map_err(bad_value)?);
        } else if is("AUTH") && served.has(Extension::Auth) {
            // Read, and not believed: who hands mail in answers for it
            // (RFC 4954 §5).
            seen.once(5)?;
            let value = needed(value)?;
            if value != b"<>" {
                xtext::check(value, mail.smtputf8).map_err(|_| unreadable())?;
            }
        } else {
            return Err(unknown_parameter());
        }
    }
    if !mail.smtputf8 && !path.is_ascii() {
        return Err(bad_path(AddressError::PeerNotAscii, Status::NOT_ASCII));
    }
    Ok(mail)
}

/// Reads what follows `RCPT TO:` (RFC 5321 §4.1.1.3); `smtputf8` as MAIL said.
///
/// # Errors
/// The reply that refuses the command.
pub fn parse_rcpt(
    argument: &[u8],
    smtputf8: bool,
    served: Extensions,
) -> Result<RcptArgument, Answer> {
    let (path, rest) = ForwardPath::parse_prefix(argument, smtputf8)
        .map_err(|error| bad_path(error, error.recipient_status()))?;
    let mut rcpt = RcptArgument { path, notify: Notify::UNSET, orcpt: None };
    let mut seen = Seen::default();
    for parameter in parameters(rest)? {
        let (name, value) = parameter?;
        let is = |keyword: &str| name.eq_ignore_ascii_case(keyword.as_bytes());
        if is("NOTIFY") && served.has(Extension::Dsn) {
            seen.once(0)?;
            rcpt.notify = Notify::parse(needed(value)?).map_err(bad_value)?;
        } else if is("ORCPT") && served.has(Extension::Dsn) {
            seen.once(1)?;
            rcpt.orcpt = Some(parse_orcpt(needed(value)?, smtputf8).map_err(bad_value)?);
        } else {
            return Err(unknown_parameter());
        }
    }
    Ok(rcpt)
}

/// Reads what follows `ETRN` (RFC 1985 §5): a domain, or `@` in front of one.
///
/// # Errors
/// The reply that refuses the command: 458 for `#`, which names a queue, for
/// there is none by name (RFC 1985 §5.3).
pub fn parse_etrn(argument: &[u8]) -> Result<Node, Answer> {
    let (below, name) = match argument {
        [b'#', _, ..] => {
            return Err(Answer::new(458, Status::new(4, 3, 3), "There are no queues by name"));
        }
        [b'@', name @ ..] => (true, name),
        name => (false, name),
    };
    let domain = str::from_utf8(name).ok().and_then(|name| Domain::parse(name).ok());
    let domain = domain.ok_or_else(|| bad_argument("ETRN needs one domain, perhaps behind @"))?;
    Ok(Node { domain, below })
}

/// Commands that exist and are not served (RFC 5321 §4.2.4).
const NOT_IMPLEMENTED: [&str; 9] =
    ["EXPN", "BDAT", "STARTTLS", "AUTH", "ETRN", "TURN", "SEND", "SOML", "SAML"];

const HELLO_NAME_BYTES_MAX: usize = 255;

fn hello(argument: &[u8]) -> Result<&str, Answer> {
    let printable = argument.iter().all(u8::is_ascii_graphic);
    if argument.is_empty() || argument.len() > HELLO_NAME_BYTES_MAX || !printable {
        return Err(bad_argument("EHLO and HELO need one host name"));
    }
    str::from_utf8(argument).map_err(|_| unreadable())
}

/// Takes `FROM:` or `TO:` off. Blanks behind the colon are not in the grammar,
/// but in use.
fn keyword<'a>(argument: &'a [u8], keyword: &[u8]) -> Result<&'a [u8], Answer> {
    match argument.split_at_checked(keyword.len()) {
        Some((word, path)) if word.eq_ignore_ascii_case(keyword) => Ok(path.trim_ascii_start()),
        _ => Err(bad_argument("Syntax: MAIL FROM:<address> or RCPT TO:<address>")),
    }
}

fn auth(argument: &[u8]) -> Result<Command<'_>, Answer> {
    let mut words = argument.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) => Ok(Command::Auth { mechanism, initial }),
        _ => Err(bad_argument("AUTH needs a mechanism and at most one response")),
    }
}

fn chunk(argument: &[u8]) -> Option<Chunk> {
    let mut words = argument.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let size = words.next()?;
    let bytes = decimal(size)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
        Some(_) => return None,
    };
    if words.next().is_some() || bytes == u64::MAX {
        return None;
    }
    Some(Chunk { bytes, last })
}

/// A number of 1 to 20 digits; what `u64` cannot hold is its largest value.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add((digit - b'0').into());
    Some(digits.iter().fold(0, add))
}

type Parameter<'a> = Result<(&'a [u8], Option<&'a [u8]>), Answer>;

/// The parameters behind a path: keywords, each with a value or none
/// (RFC 5321 §4.1.2).
fn parameters(rest: &[u8]) -> Result<impl Iterator<Item = Parameter<'_>>, Answer> {
    if !rest.is_empty() && !rest.starts_with(b" ") {
        return Err(bad_argument("Something stands behind the address"));
    }
    let words = rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    Ok(words.map(|word| {
        let end = memchr::memchr(b'=', word).unwrap_or(word.len());
        let (name, value) = word.split_at(end);
        let is_keyword = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        if name.is_empty() || name[0] == b'-' || !name.iter().all(is_keyword) {
            return Err(unreadable());
        }
        Ok((name, value.strip_prefix(b"=")))
    }))
}

/// Which parameters of a command were given already.
#[derive(Default)]
struct Seen(u8);

impl Seen {
    fn once(&mut self, place: u8) -> Result<(), Answer> {
        let bit = 1 << place;
        if self.0 & bit != 0 {
            return Err(bad_argument("Parameter given twice"));
        }
        self.0 |= bit;
        Ok(())
    }
}

fn needed(value: Option<&[u8]>) -> Result<&[u8], Answer> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| bad_argument("Parameter needs a value"))
}

fn syntax(text: &'static str) -> Answer {
    Answer::new(500, Status::BAD_SYNTAX, text)
}

fn bad_argument(text: &'static str) -> Answer {
    Answer::new(501, Status::BAD_ARGUMENT, text)
}

fn unreadable() -> Answer {
    bad_argument("Argument cannot be read")
}

fn bad_value(error: ParameterError) -> Answer {
    Answer::new(501, Status::BAD_ARGUMENT, error.to_string())
}

/// An unknown parameter (RFC 5321 §4.1.1.11).
fn unknown_parameter() -> Answer {
    Answer::new(555, Status::BAD_ARGUMENT, "Parameter not recognized")
}

fn bad_path(error: AddressError, status: Status) -> Answer {
    let code = if error == AddressError::PeerNotAscii { 553 } else { 501 };
    Answer::new(code, status, error.to_string())
}

#[cfg(test)]
mod tests;
