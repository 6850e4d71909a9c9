//! Names of things. A message's id is the address at which it was first
//! stored, so an id found in a log leads to the bytes without a look-up table;
//! segment numbers are never used twice, so neither are ids.

use std::fmt;
use std::str::FromStr;

/// One executor with its queue segment, DNS and SMTP pipelines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// One segment file. Numbers grow over the life of a data folder and are never
/// given out twice; 0 is never a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u32);

/// One connection, inbound or outbound. Given out by whoever opens it and
/// never used twice within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// One message: where its record was first written. Printed as 13 characters
/// of lower-case base 32 without `i l o u` (Crockford's alphabet).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The segment that first held the message.
    pub segment: SegmentId,
    /// Offset of its record in that segment, in bytes.
    pub offset: u32,
}

/// The text is not a message id: wrong length or a character outside the alphabet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMessageId;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of a message id.
pub const ID_CHARS: usize = 13;

impl MessageId {
    /// The id as one number: segment in the upper half, offset in the lower.
    pub const fn as_u64(self) -> u64 {
        ((self.segment.0 as u64) << 32) | self.offset as u64
    }

    /// What is printed, without the detour by way of formatting.
    pub fn octets(self) -> [u8; ID_CHARS] {
        let bits = self.as_u64();
        let mut text = [0u8; ID_CHARS];
        for (place, slot) in text.iter_mut().rev().enumerate() {
            *slot = ALPHABET[(bits >> (5 * place)) as usize & 31];
        }
        text
    }

    /// The inverse of [`MessageId::as_u64`].
    pub const fn from_u64(bits: u64) -> Self {
        Self { segment: SegmentId((bits >> 32) as u32), offset: bits as u32 }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.octets()).expect("the alphabet is ASCII"))
    }
}

impl FromStr for MessageId {
    type Err = NotAMessageId;

    fn from_str(text: &str) -> Result<Self, NotAMessageId> {
        if text.len() != ID_CHARS {
            return Err(NotAMessageId);
        }
        let mut bits: u128 = 0;
        for byte in text.bytes() {
            let byte = byte.to_ascii_lowercase();
            let digit = ALPHABET.iter().position(|a| *a == byte).ok_or(NotAMessageId)?;
            bits = bits << 5 | digit as u128;
        }
        u64::try_from(bits).map(Self::from_u64).map_err(|_| NotAMessageId)
    }
}

impl fmt::Display for NotAMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message id is {ID_CHARS} letters and digits, without i, l, o and u")
    }
}

impl std::error::Error for NotAMessageId {}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_as_text() {
        for bits in [0, 1, 31, 32, 0xdead_beef_0123_4567, u64::MAX] {
            let id = MessageId::from_u64(bits);
            let text = id.to_string();
            assert_eq!(text.len(), ID_CHARS);
            assert_eq!(text.parse(), Ok(id));
            assert_eq!(text.to_uppercase().parse(), Ok(id));
        }
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in
            ["", "0", "00000000000000", "000000000000i", "zzzzzzzzzzzzz", "000000000000\u{e9}"]
        {
            assert_eq!(text.parse::<MessageId>(), Err(NotAMessageId), "{text}");
        }
    }
}
