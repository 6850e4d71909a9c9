//! DNS messages in words, for a log that is asked for detail: what is asked,
//! what was answered.
//!
//! Nothing is decided by it. Invariants: any bytes are taken, and never make it
//! panic; the text is bounded.
//!
//! Read first: RFC 1035 §4.1.

use std::fmt::Write;

use hickory_proto::op::{Header, Query};
use hickory_proto::rr::{self, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::name::Name;

/// Records that are shown.
const RECORDS_MAX: usize = 32;
/// Octets of an answer's text, about.
const TEXT_BYTES_MAX: usize = 2_048;

/// A message in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The name asked for, in lower case, without the last dot.
    pub name: String,
    /// The type of record asked for, as `MX`.
    pub kind: String,
    /// Of an answer: its code, and the records in their order.
    pub text: String,
    /// Hosts that an answer leads to: exchangers, and targets of aliases.
    pub hosts: Vec<String>,
}

/// Reads a query or an answer; `None` where it is neither.
pub fn read(bytes: &[u8]) -> Option<Shown> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    if header.counts.queries != 1 {
        return None;
    }
    let question = Query::read(&mut decoder).ok()?;
    let mut shown = Shown {
        name: in_lower_case(question.name())?,
        kind: question.query_type().to_string(),
        text: code(header.metadata.response_code.low()),
        hosts: Vec::new(),
    };
    let mut between = ": ";
    for _ in 0..usize::from(header.counts.answers).min(RECORDS_MAX) {
        let Ok(record) = Record::read(&mut decoder) else {
            shown.text += " (torn)";
            break;
        };
        if shown.text.len() >= TEXT_BYTES_MAX {
            shown.text += " …";
            break;
        }
        // Writing to a String cannot fail.
        let _ = write!(shown.text, "{between}{} {}", record.record_type(), record.data);
        between = ", ";
        shown.hosts.extend(host_of(&record));
    }
    Some(shown)
}

fn host_of(record: &Record) -> Option<String> {
    match &record.data {
        RData::MX(mx) => in_lower_case(&mx.exchange),
        RData::CNAME(target) => in_lower_case(&target.0),
        _ => None,
    }
}

fn in_lower_case(name: &rr::Name) -> Option<String> {
    Name::from_wire(name).map(|name| name.to_string())
}

fn code(low: u8) -> String {
    match low {
        0 => "NOERROR".into(),
        1 => "FORMERR".into(),
        2 => "SERVFAIL".into(),
        3 => "NXDOMAIN".into(),
        4 => "NOTIMP".into(),
        5 => "REFUSED".into(),
        other => format!("RCODE{other}"),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::ResponseCode;

    use super::*;
    use crate::query::{Dice, Kind, Manner, encode};
    use crate::script::Reply;

    fn query(kind: Kind) -> Vec<u8> {
        let mut dice = Dice::new(&mut base::Rng::new(7));
        let manner = Manner { tcp: false, edns: true, mixed_case: true };
        let name = Name::from_wire(&crate::script::name("a.example")).unwrap();
        encode(&mut dice, &name, kind, manner).0
    }

    #[test]
    fn a_question_and_its_answer_are_words() {
        let asked = query(Kind::Mx);
        let shown = read(&asked).unwrap();
        assert_eq!((shown.name.as_str(), shown.kind.as_str()), ("a.example", "MX"));
        let answer = Reply::to(&asked)
            .mx("a.example", 60, 10, "MX1.b.example")
            .mx("a.example", 60, 20, "mx2.b.example")
            .bytes();
        let shown = read(&answer).unwrap();
        assert!(shown.text.starts_with("NOERROR: MX 10 "), "{}", shown.text);
        assert_eq!(shown.hosts, ["mx1.b.example", "mx2.b.example"]);
        let none = Reply::to(&query(Kind::Aaaa)).code(ResponseCode::NXDomain).bytes();
        let shown = read(&none).unwrap();
        assert_eq!((shown.kind.as_str(), shown.text.as_str()), ("AAAA", "NXDOMAIN"));
    }

    #[test]
    fn any_bytes_are_taken_and_the_text_is_bounded() {
        let mut large = Reply::to(&query(Kind::Mx));
        for n in 0..500 {
            large = large.mx("a.example", 60, n, &format!("{}.example", "x".repeat(60)));
        }
        let bytes = large.bytes();
        let shown = read(&bytes).unwrap();
        assert!(shown.text.len() < TEXT_BYTES_MAX + 512, "{}", shown.text.len());
        assert!(shown.hosts.len() <= RECORDS_MAX);
        for end in 0..300 {
            let _ = read(&bytes[..end]);
            let torn: Vec<u8> = bytes[..end].iter().map(|byte| byte ^ 0x55).collect();
            let _ = read(&torn);
        }
        assert_eq!(read(b""), None);
    }
}
