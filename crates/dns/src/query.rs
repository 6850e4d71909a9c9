//! Queries: the question as bytes, with an id and letter case that nobody who
//! does not see the packet can guess.
//!
//! Never here: sockets and ports (each transmission gets a fresh socket, so the
//! port is random too), any choice of server. DO and AD are never set: answers
//! are not trusted as authenticated (RFC 6840 §5.7).
//!
//! Read first: RFC 1035 §4.1, RFC 5452 §9.2, RFC 6891 §6.

use std::hash::{Hash, Hasher};

use base::Rng;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::RecordType;

use crate::name::Name;

/// What is asked of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Mail exchangers.
    Mx,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Texts.
    Txt,
    /// Names of an address.
    Ptr,
}

impl Kind {
    pub(crate) fn record_type(self) -> RecordType {
        match self {
            Self::Mx => RecordType::MX,
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Txt => RecordType::TXT,
            Self::Ptr => RecordType::PTR,
        }
    }
}

/// How a query is put to one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Over TCP instead of UDP.
    pub tcp: bool,
    /// With an OPT record (RFC 6891 §6.1).
    pub edns: bool,
    /// With random letter case.
    pub mixed_case: bool,
}

/// What an answer must match: everything that went out but the flags.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// The message id.
    pub id: u16,
    /// What was asked for.
    pub kind: Kind,
    /// Whether an OPT record went with it.
    pub edns: bool,
    /// The question section to the octet, letter case included.
    pub question: Vec<u8>,
}

/// The message that asks for `kind` of `name`, and what its answer must match
/// (RFC 5452 §9.1).
pub(crate) fn encode(dice: &mut Dice, name: &Name, kind: Kind, manner: Manner) -> (Vec<u8>, Sent) {
    let id = dice.roll() as u16;
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.to_wire(), kind.record_type()));
    if manner.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(EDNS_BYTES_MAX);
        message.set_edns(edns);
    }
    let mut bytes = message.to_vec().expect("one question with a valid name always encodes");
    let question_end = HEADER_BYTES + name.wire_bytes() + TYPE_AND_CLASS_BYTES;
    assert!(bytes.len() >= question_end, "hickory wrote the question uncompressed");
    if manner.mixed_case {
        dice.mix_case(&mut bytes[HEADER_BYTES..question_end - TYPE_AND_CLASS_BYTES]);
    }
    let question = bytes[HEADER_BYTES..question_end].to_vec();
    (bytes, Sent { id, kind, edns: manner.edns, question })
}

/// Unpredictable bits: SipHash of a secret and a counter. The plain generator
/// would not do, because queries show its output to strangers, and enough of
/// it tells all that follows (RFC 5452 §9.2).
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    secret: [u64; 2],
    rolls: u64,
}

impl Dice {
    /// Dice whose rolls are fixed by the state of `rng`.
    pub fn new(rng: &mut Rng) -> Self {
        Self { secret: [rng.next_u64(), rng.next_u64()], rolls: 0 }
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.rolls += 1;
        let mut hasher = std::hash::DefaultHasher::new();
        (self.secret, self.rolls).hash(&mut hasher);
        hasher.finish()
    }

    /// Gives each letter of a wire name a random case. Length octets are below
    /// 64, letters above.
    fn mix_case(&mut self, name: &mut [u8]) {
        for chunk in name.chunks_mut(64) {
            let bits = self.roll();
            for (place, byte) in chunk.iter_mut().enumerate() {
                if byte.is_ascii_lowercase() && bits >> place & 1 == 1 {
                    byte.make_ascii_uppercase();
                }
            }
        }
    }
}

/// The UDP answer size we offer: what passes every path unfragmented
/// (RFC 6891 §6.2.5).
const EDNS_BYTES_MAX: u16 = 1_232;
/// Octets of a message header (RFC 1035 §4.1.1).
pub(crate) const HEADER_BYTES: usize = 12;
const TYPE_AND_CLASS_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use mail::Domain;

    fn name(text: &str) -> Name {
        Name::of(&Domain::parse(text).unwrap()).unwrap()
    }

    const ALL: Manner = Manner { tcp: false, edns: true, mixed_case: true };

    /// Proves: RFC 6891 §6.2.5
    /// Covers: A12.5
    #[test]
    fn a_query_asks_one_question_with_recursion_and_a_modest_size() {
        let mut dice = Dice::new(&mut Rng::new(1));
        let (bytes, sent) = encode(&mut dice, &name("example.com"), Kind::Mx, ALL);
        let message = Message::from_vec(&bytes).unwrap();
        assert_eq!(message.metadata.id, sent.id);
        assert!(message.metadata.recursion_desired);
        assert!(!message.metadata.authentic_data);
        assert_eq!(message.queries.len(), 1);
        assert_eq!(message.queries[0].query_type(), RecordType::MX);
        let edns = message.edns.unwrap();
        assert_eq!(edns.max_payload(), 1_232);
        assert!(!edns.flags().dnssec_ok);
        let plain = Manner { edns: false, ..ALL };
        let (bytes, _) = encode(&mut dice, &name("example.com"), Kind::Mx, plain);
        assert!(Message::from_vec(&bytes).unwrap().edns.is_none());
    }

    /// Proves: RFC 5452 §9.2
    /// Covers: A12.2, A12.3
    #[test]
    fn ids_and_letter_case_spread_over_their_whole_range() {
        let mut dice = Dice::new(&mut Rng::new(2));
        let mut ids = Vec::new();
        let mut cases = Vec::new();
        for _ in 0..4_000 {
            let (_, sent) = encode(&mut dice, &name("abcdefgh.example"), Kind::A, ALL);
            ids.push(sent.id);
            cases.push(sent.question);
        }
        let mut high = [0u32; 16];
        ids.iter().for_each(|id| high[usize::from(id >> 12)] += 1);
        assert!(high.iter().all(|n| (150..350).contains(n)), "{high:?}");
        assert!(ids.windows(2).filter(|pair| pair[1] == pair[0].wrapping_add(1)).count() < 5);
        cases.sort_unstable();
        cases.dedup();
        assert!(cases.len() > 2_500, "15 letters give 32 768 spellings");
        assert!(cases.iter().all(|case| case.eq_ignore_ascii_case(&cases[0])));
    }

    #[test]
    fn the_longest_name_keeps_its_case_when_told_to() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        let mut dice = Dice::new(&mut Rng::new(3));
        let manner = Manner { mixed_case: false, ..ALL };
        let (_, sent) = encode(&mut dice, &name(&longest), Kind::Txt, manner);
        assert_eq!(sent.question.len(), 255 + 4);
        assert!(!sent.question.iter().any(u8::is_ascii_uppercase));
    }
}
