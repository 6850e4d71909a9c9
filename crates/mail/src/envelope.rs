//! The envelope of a message: who sent it, who gets it, what the submitter
//! asked for by ESMTP parameters.
//!
//! Parameters that are only passed on (ORCPT, ENVID) are checked once and then
//! kept as received. Never here: the message itself, delivery state.
//!
//! Read first: RFC 3461 §4, RFC 6152 §3, RFC 6531 §3.4.

use std::fmt;

use crate::address::{Address, ReversePath};
use crate::xtext::{self, XtextError};

/// Octets of an ENVID value (RFC 3461 §4.4).
pub const ENVID_BYTES_MAX: usize = 100;
/// Octets of an ORCPT value (RFC 3461 §4.2).
pub const ORCPT_BYTES_MAX: usize = 500;

/// A whole envelope. Bounds on the number of recipients are the session's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Where reports go.
    pub sender: ReversePath,
    /// In the order of their RCPT commands.
    pub recipients: Vec<Recipient>,
    /// What the body was declared as.
    pub body: Body,
    /// Whether SMTPUTF8 was asked for.
    pub smtputf8: bool,
    /// How much of the message a failure report returns; unset: our choice.
    pub ret: Option<Return>,
    /// The sender's own id for this envelope, xtext as received.
    pub envid: Option<Box<str>>,
}

/// One recipient with its wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Whom to deliver to.
    pub address: Address,
    /// Which events to report.
    pub notify: Notify,
    /// The address the message was first meant for, `type;xtext` as received.
    pub orcpt: Option<Box<str>>,
}

/// NOTIFY: which events the sender wants to hear of (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Notify(u8);

/// RET: how much of the message a failure report returns (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Return {
    /// The whole message.
    Full,
    /// Its header fields only.
    Headers,
}

/// BODY: what the message's octets may be (RFC 6152 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Body {
    /// ASCII.
    #[default]
    SevenBit,
    /// Any octet, in lines.
    EightBit,
}

/// Why a parameter's value is refused, with 501 and 5.5.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// None of the words that may stand there.
    #[error("a value that does not exist")]
    PeerWord,
    /// NEVER together with something else.
    #[error("NOTIFY=NEVER stands alone")]
    PeerNeverAlone,
    /// Longer than the parameter may be.
    #[error("the value is too long")]
    PeerTooLong,
    /// An ORCPT without address type and semicolon.
    #[error("ORCPT is an address type, a semicolon and an address")]
    PeerAddressType,
    /// Bad xtext.
    #[error("{0}")]
    PeerXtext(#[from] XtextError),
}

impl Envelope {
    /// One without parameters: 7BIT, and nothing asked for.
    pub fn new(sender: ReversePath, recipients: Vec<Recipient>) -> Self {
        let body = Body::SevenBit;
        Self { sender, recipients, body, smtputf8: false, ret: None, envid: None }
    }
}

impl Recipient {
    /// A recipient without wishes.
    pub fn new(address: Address) -> Self {
        Self { address, notify: Notify::UNSET, orcpt: None }
    }
}

impl Notify {
    /// Nothing said: failures are reported, delays may be.
    pub const UNSET: Self = Self(0);
    /// Report a delivery.
    pub const SUCCESS: Self = Self(1);
    /// Report a failure.
    pub const FAILURE: Self = Self(2);
    /// Report a delay.
    pub const DELAY: Self = Self(4);
    /// Report nothing.
    pub const NEVER: Self = Self(8);

    /// Reads `NEVER` or a list of `SUCCESS`, `FAILURE`, `DELAY`, in any case
    /// (RFC 3461 §4.1).
    ///
    /// # Errors
    /// [`ParameterError::PeerWord`], [`ParameterError::PeerNeverAlone`].
    pub fn parse(value: &[u8]) -> Result<Self, ParameterError> {
        let mut bits = 0;
        for word in value.split(|byte| *byte == b',') {
            let (_, notify) = WORDS
                .iter()
                .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()))
                .ok_or(ParameterError::PeerWord)?;
            bits |= notify.0;
        }
        Self::from_bits(bits).ok_or(ParameterError::PeerNeverAlone)
    }

    /// The value as one octet for storage.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The inverse of [`Notify::bits`]; none for bits that mean nothing.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits <= Self::NEVER.0 { Some(Self(bits)) } else { None }
    }

    /// Whether the parameter was given at all.
    pub const fn is_set(self) -> bool {
        self.0 != 0
    }

    /// Whether to report a delivery: only when asked.
    pub const fn wants_success(self) -> bool {
        self.0 & Self::SUCCESS.0 != 0
    }

    /// Whether to report a failure: when asked or nothing was said.
    pub const fn wants_failure(self) -> bool {
        self.0 == 0 || self.0 & Self::FAILURE.0 != 0
    }

    /// Whether to report a delay: when asked or nothing was said
    /// (RFC 3461 §5.2.5).
    pub const fn wants_delay(self) -> bool {
        self.0 == 0 || self.0 & Self::DELAY.0 != 0
    }
}

/// As in the parameter; nothing when unset.
impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, notify) in WORDS {
            if self.0 & notify.0 != 0 {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

impl Return {
    /// Reads `FULL` or `HDRS` in any case (RFC 3461 §4.3).
    ///
    /// # Errors
    /// [`ParameterError::PeerWord`].
    pub fn parse(value: &[u8]) -> Result<Self, ParameterError> {
        match value {
            _ if value.eq_ignore_ascii_case(b"FULL") => Ok(Self::Full),
            _ if value.eq_ignore_ascii_case(b"HDRS") => Ok(Self::Headers),
            _ => Err(ParameterError::PeerWord),
        }
    }
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        })
    }
}

impl Body {
    /// Reads `7BIT` or `8BITMIME` in any case (RFC 6152 §3).
    ///
    /// # Errors
    /// [`ParameterError::PeerWord`]; BINARYMIME among them, which is not offered.
    pub fn parse(value: &[u8]) -> Result<Self, ParameterError> {
        match value {
            _ if value.eq_ignore_ascii_case(b"7BIT") => Ok(Self::SevenBit),
            _ if value.eq_ignore_ascii_case(b"8BITMIME") => Ok(Self::EightBit),
            _ => Err(ParameterError::PeerWord),
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SevenBit => "7BIT",
            Self::EightBit => "8BITMIME",
        })
    }
}

/// Checks an ENVID value: xtext of at most 100 octets (RFC 3461 §4.4).
///
/// # Errors
/// [`ParameterError::PeerTooLong`], [`ParameterError::PeerXtext`].
pub fn parse_envid(value: &[u8]) -> Result<Box<str>, ParameterError> {
    if value.len() > ENVID_BYTES_MAX {
        return Err(ParameterError::PeerTooLong);
    }
    Ok(xtext::check(value, false)?.into())
}

/// Checks an ORCPT value: address type, semicolon, xtext, at most 500 octets
/// (RFC 3461 §4.2). With `smtputf8` the address of type `utf-8` may stand
/// unencoded (RFC 6533 §3).
///
/// # Errors
/// [`ParameterError::PeerTooLong`], [`ParameterError::PeerAddressType`],
/// [`ParameterError::PeerXtext`].
pub fn parse_orcpt(value: &[u8], smtputf8: bool) -> Result<Box<str>, ParameterError> {
    if value.len() > ORCPT_BYTES_MAX {
        return Err(ParameterError::PeerTooLong);
    }
    let semicolon = memchr::memchr(b';', value).ok_or(ParameterError::PeerAddressType)?;
    let (kind, address) = (&value[..semicolon], &value[semicolon + 1..]);
    let is_type = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if kind.is_empty() || !kind.iter().all(is_type) || address.is_empty() {
        return Err(ParameterError::PeerAddressType);
    }
    xtext::check(address, smtputf8 && kind.eq_ignore_ascii_case(b"utf-8"))?;
    Ok(str::from_utf8(value).map_err(|_| XtextError::PeerCharacter)?.into())
}

const WORDS: [(&str, Notify); 4] = [
    ("NEVER", Notify::NEVER),
    ("SUCCESS", Notify::SUCCESS),
    ("FAILURE", Notify::FAILURE),
    ("DELAY", Notify::DELAY),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves: RFC 3461 §4.1
    /// Covers: A7.1
    #[test]
    fn notify_is_never_or_a_list() {
        for (text, shown) in [
            ("NEVER", "NEVER"),
            ("success", "SUCCESS"),
            ("Delay,Failure", "FAILURE,DELAY"),
            ("SUCCESS,FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"),
        ] {
            let notify = Notify::parse(text.as_bytes()).unwrap();
            assert_eq!(notify.to_string(), shown);
            assert_eq!(Notify::from_bits(notify.bits()), Some(notify));
        }
        for text in ["", ",", "SUCCESS,", "SUCCESS FAILURE", "ALWAYS"] {
            assert_eq!(Notify::parse(text.as_bytes()), Err(ParameterError::PeerWord), "{text}");
        }
        assert_eq!(Notify::parse(b"NEVER,DELAY"), Err(ParameterError::PeerNeverAlone));
        assert_eq!(Notify::from_bits(9), None);
    }

    /// Proves: RFC 3461 §5.2.5
    /// Covers: A7.6, A7.7
    #[test]
    fn notify_answers_who_hears_of_what() {
        let asks =
            |notify: Notify| (notify.wants_success(), notify.wants_failure(), notify.wants_delay());
        assert_eq!(asks(Notify::UNSET), (false, true, true));
        assert_eq!(asks(Notify::NEVER), (false, false, false));
        assert_eq!(asks(Notify::SUCCESS), (true, false, false));
        assert_eq!(asks(Notify::FAILURE), (false, true, false));
        assert_eq!(asks(Notify::DELAY), (false, false, true));
        assert!(!Notify::default().is_set());
    }

    /// Covers: A1.3, A6.10, A6.13, A7.2
    #[test]
    fn words_are_read_in_any_case_and_written_as_defined() {
        assert_eq!(Return::parse(b"full").map(|ret| ret.to_string()).as_deref(), Ok("FULL"));
        assert_eq!(Return::parse(b"Hdrs").map(|ret| ret.to_string()).as_deref(), Ok("HDRS"));
        assert_eq!(Return::parse(b"BODY"), Err(ParameterError::PeerWord));
        assert_eq!(Body::parse(b"8bitmime").map(|b| b.to_string()).as_deref(), Ok("8BITMIME"));
        assert_eq!(Body::parse(b"7bit").map(|b| b.to_string()).as_deref(), Ok("7BIT"));
        assert_eq!(Body::parse(b"BINARYMIME"), Err(ParameterError::PeerWord));
    }

    /// Proves: RFC 3461 §4.4
    /// Covers: A7.2, A7.3
    #[test]
    fn envid_is_bounded_xtext() {
        assert_eq!(parse_envid(b"QQ+2B314").as_deref(), Ok("QQ+2B314"));
        assert!(parse_envid(&[b'a'; ENVID_BYTES_MAX]).is_ok());
        assert_eq!(parse_envid(&[b'a'; ENVID_BYTES_MAX + 1]), Err(ParameterError::PeerTooLong));
        assert_eq!(parse_envid(b"a+0Ab"), Err(XtextError::PeerHidden.into()));
        assert_eq!(parse_envid(b"a\nb"), Err(XtextError::PeerCharacter.into()));
    }

    /// Proves: RFC 3461 §4.2
    /// Covers: A7.2, A7.3
    #[test]
    fn orcpt_is_a_type_and_bounded_xtext() {
        let longest = format!("rfc822;{}", "a".repeat(ORCPT_BYTES_MAX - 7));
        assert!(parse_orcpt(longest.as_bytes(), false).is_ok());
        let longer = format!("{longest}a");
        assert_eq!(parse_orcpt(longer.as_bytes(), false), Err(ParameterError::PeerTooLong));
        assert_eq!(parse_orcpt(b"RFC822;a+2Bb@c", false).as_deref(), Ok("RFC822;a+2Bb@c"));
        for text in ["", "a@b", ";a@b", "rfc822;", "rf c;a@b", "rfc822"] {
            let error = parse_orcpt(text.as_bytes(), false);
            assert_eq!(error, Err(ParameterError::PeerAddressType), "{text}");
        }
        assert_eq!(parse_orcpt(b"rfc822;a+0D+0A", false), Err(XtextError::PeerHidden.into()));
    }

    /// Proves: RFC 6533 §3
    /// Covers: A6.17
    #[test]
    fn orcpt_may_be_utf8_under_smtputf8_and_of_that_type_only() {
        let value = "utf-8;j\u{f6}rg@b".as_bytes();
        assert!(parse_orcpt(value, true).is_ok());
        let fault = Err(XtextError::PeerCharacter.into());
        assert_eq!(parse_orcpt(value, false), fault);
        assert_eq!(parse_orcpt("rfc822;j\u{f6}rg@b".as_bytes(), true), fault);
        assert!(parse_orcpt(b"utf-8;j\\x{F6}rg@b", false).is_ok());
    }
}
