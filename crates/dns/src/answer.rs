//! Answers: bytes that claim to answer a query → what they mean for us.
//!
//! Never here: a server's health, retry, the cache. Only the answer section is
//! believed; authority tells how long a "none" may be kept, and additional data
//! only an extended response code (RFC 2181 §5.4.1). Invariants: no bytes make
//! this panic, loop or hold more than the bounds below; what does not match the
//! query to the octet is never decoded.
//!
//! Read first: RFC 1035 §4.1, RFC 2308 §2, RFC 5452 §9.1.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use base::limits::{ADDRESSES_PER_HOST_MAX, CNAME_CHAIN_MAX};
use base::planted::{Bug, planted};
use hickory_proto::op::Header;
use hickory_proto::rr::{self, DNSClass, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

use crate::error::Reason;
use crate::name::Name;
use crate::query::{HEADER_BYTES, Kind, Sent};

/// The records of one kind that a name has; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// By preference, then name; at most 64, the best of them.
    Mx(Vec<Mx>),
    /// Without repetition, at most 8.
    A(Vec<Ipv4Addr>),
    /// Without repetition, at most 8.
    Aaaa(Vec<Ipv6Addr>),
    /// One text a record, its strings joined; at most 16 of at most 4 096 octets.
    Txt(Vec<Vec<u8>>),
    /// Without repetition, at most 16.
    Ptr(Vec<Name>),
}

impl Records {
    fn is_empty(&self) -> bool {
        match self {
            Self::Mx(list) => list.is_empty(),
            Self::A(list) => list.is_empty(),
            Self::Aaaa(list) => list.is_empty(),
            Self::Txt(list) => list.is_empty(),
            Self::Ptr(list) => list.is_empty(),
        }
    }
}

/// One MX record (RFC 1035 §3.3.9).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    /// Lower is preferred.
    pub preference: u16,
    /// The exchanger's name; the root in a null MX (RFC 7505 §3).
    pub exchange: Name,
}

/// What bytes on a query's socket mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// No answer to this query: wait on.
    NotOurs,
    /// An answer to this query but for the letter case: wait on for a better
    /// one, then ask again without mixed case.
    Folded,
    /// Cut short: ask over TCP (RFC 7766 §5).
    Truncated,
    /// The server stumbled over the OPT record: ask without (RFC 6891 §7).
    NoEdns,
    /// The name has such records.
    Found { records: Records, ttl: Duration },
    /// The name has no such records, or (`nxdomain`) does not exist.
    None { nxdomain: bool, ttl: Duration },
    /// The name is an alias, `hops` times over, and the answer ends there.
    Alias { target: Name, hops: usize, ttl: Duration },
    /// The answer is no answer.
    Failed(Reason),
}

/// Reads `bytes` as the answer to what was `sent`.
pub(crate) fn read(bytes: &[u8], sent: &Sent) -> Reading {
    let Some(code) = matching_code(bytes, sent) else { return Reading::NotOurs };
    match code {
        Code::Folded => return Reading::Folded,
        Code::Response(FORMERR | NOTIMP) if sent.edns => return Reading::NoEdns,
        Code::Response(FORMERR | NOTIMP) => return Reading::Failed(Reason::PeerFormat),
        Code::Response(REFUSED) => return Reading::Failed(Reason::PeerRefused),
        Code::Response(NOERROR | NXDOMAIN) => {}
        Code::Response(SERVFAIL) if planted(Bug::ServfailIsNone) => {
            return Reading::None { nxdomain: true, ttl: negative(None) };
        }
        Code::Response(_) => return Reading::Failed(Reason::PeerServerFailure),
    }
    if bytes[2] & TRUNCATED != 0 {
        return Reading::Truncated;
    }
    decode(bytes, sent).unwrap_or(Reading::Failed(Reason::PeerMalformed))
}

enum Code {
    Folded,
    Response(u8),
}

/// The response code if `bytes` answer what was `sent`: id and question are
/// compared as octets, before anything is decoded (RFC 5452 §9.1). A server
/// that cannot read a query may leave the question out of its complaint.
fn matching_code(bytes: &[u8], sent: &Sent) -> Option<Code> {
    let header = bytes.get(..HEADER_BYTES)?;
    if header[..2] != sent.id.to_be_bytes() || header[2] & RESPONSE_AND_OPCODE != RESPONSE {
        return None;
    }
    let code = header[3] & 0x0f;
    match u16::from_be_bytes([header[4], header[5]]) {
        0 if matches!(code, FORMERR | NOTIMP) => return Some(Code::Response(code)),
        1 => {}
        _ => return None,
    }
    let question = bytes.get(HEADER_BYTES..HEADER_BYTES + sent.question.len())?;
    if question == sent.question {
        Some(Code::Response(code))
    } else if question.eq_ignore_ascii_case(&sent.question) {
        Some(Code::Folded)
    } else {
        None
    }
}

fn decode(bytes: &[u8], sent: &Sent) -> Result<Reading, DecodeError> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder)?;
    let question = rr::Name::read(&mut decoder)?;
    decoder.read_slice(sent.question.len() - (decoder.index() - HEADER_BYTES))?;

    let answers = read_records(&mut decoder, header.counts.answers)?;
    let Some(chain) = Chain::follow(&question, &answers, sent.kind) else {
        return Ok(Reading::Failed(Reason::PeerAliasLoop));
    };
    let nxdomain = header.metadata.response_code.low() == NXDOMAIN;
    if let Some(records) = collect(&answers, chain.end, sent.kind) {
        return Ok(match records {
            Some((records, ttl)) if !nxdomain => {
                Reading::Found { records, ttl: positive(ttl.min(chain.ttl)) }
            }
            _ => Reading::Failed(Reason::PeerMalformed),
        });
    }
    if usize::from(header.counts.answers) > RECORDS_READ_MAX {
        return Ok(Reading::Failed(Reason::PeerMalformed));
    }
    let authority = Authority::read(&mut decoder, &header, chain.end)?;
    if let Some(reading) = extended_code(&mut decoder, &header, sent)? {
        return Ok(reading);
    }
    Ok(without_records(&header, &chain, &authority))
}

/// What an answer without the records asked for means (RFC 2308 §2).
fn without_records(header: &Header, chain: &Chain<'_>, authority: &Authority) -> Reading {
    let nxdomain = header.metadata.response_code.low() == NXDOMAIN;
    let ttl = negative(authority.ttl).min(positive(chain.ttl));
    if nxdomain || authority.ttl.is_some() {
        return Reading::None { nxdomain, ttl };
    }
    if chain.hops > 0 {
        return match Name::from_wire(chain.end) {
            Some(target) => Reading::Alias { target, hops: chain.hops, ttl: positive(chain.ttl) },
            None => Reading::Failed(Reason::PeerMalformed),
        };
    }
    let resolves = header.metadata.recursion_available || header.metadata.authoritative;
    if authority.referral || !resolves {
        // A referral is no "none": it says that this server does not know.
        return Reading::Failed(Reason::PeerNotRecursive);
    }
    Reading::None { nxdomain: false, ttl }
}

/// Reads records of class IN, at most as many as are used; the rest stays unread.
fn read_records(decoder: &mut BinDecoder<'_>, count: u16) -> Result<Vec<Record>, DecodeError> {
    let count = usize::from(count).min(RECORDS_READ_MAX);
    let mut records = Vec::with_capacity(count.min(16));
    for _ in 0..count {
        let record = Record::read(decoder)?;
        if record.dns_class == DNSClass::IN {
            records.push(record);
        }
    }
    Ok(records)
}

/// The CNAMEs of one answer, followed (RFC 1034 §3.6.2).
struct Chain<'a> {
    end: &'a rr::Name,
    hops: usize,
    ttl: u32,
}

impl<'a> Chain<'a> {
    /// Follows from `start`; `None` when there are too many or they circle.
    fn follow(start: &'a rr::Name, answers: &'a [Record], kind: Kind) -> Option<Self> {
        let mut chain = Self { end: start, hops: 0, ttl: u32::MAX >> 1 };
        let wanted = kind.record_type();
        loop {
            let here = chain.end;
            if answers.iter().any(|r| r.record_type() == wanted && r.name == *here) {
                return Some(chain);
            }
            let alias = answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == *here => Some((&target.0, record.ttl)),
                _ => None,
            });
            let Some((target, ttl)) = alias else { return Some(chain) };
            if chain.hops == CNAME_CHAIN_MAX {
                return None;
            }
            chain.end = target;
            chain.hops += 1;
            chain.ttl = chain.ttl.min(ttl_seconds(ttl));
        }
    }
}

/// The records of `kind` at `name` and the shortest of their times; `None` when
/// there are none, `Some(None)` when none of those there is usable.
fn collect(answers: &[Record], name: &rr::Name, kind: Kind) -> Option<Option<(Records, u32)>> {
    let wanted = kind.record_type();
    let mut ttl = None::<u32>;
    let mut mx = Vec::new();
    let mut a = Vec::new();
    let mut aaaa = Vec::new();
    let mut txt = Vec::new();
    let mut ptr = Vec::new();
    for record in answers.iter().filter(|r| r.record_type() == wanted && r.name == *name) {
        ttl = Some(ttl_seconds(record.ttl).min(ttl.unwrap_or(u32::MAX)));
        match &record.data {
            RData::MX(data) => mx.extend(
                Name::from_wire(&data.exchange)
                    .map(|exchange| Mx { preference: data.preference, exchange }),
            ),
            RData::A(data) => push_new(&mut a, data.0, ADDRESSES_PER_HOST_MAX),
            RData::AAAA(data) => push_new(&mut aaaa, data.0, ADDRESSES_PER_HOST_MAX),
            RData::PTR(data) => {
                if let Some(name) = Name::from_wire(&data.0) {
                    push_new(&mut ptr, name, POINTERS_KEPT_MAX);
                }
            }
            RData::TXT(data) => {
                let text = data.txt_data.concat();
                if text.len() <= TEXT_BYTES_MAX {
                    push_new(&mut txt, text, TEXTS_MAX);
                }
            }
            _ => {}
        }
    }
    let ttl = ttl?;
    mx.sort_unstable();
    mx.dedup();
    mx.truncate(EXCHANGES_KEPT_MAX);
    let records = match kind {
        Kind::Mx => Records::Mx(mx),
        Kind::A => Records::A(a),
        Kind::Aaaa => Records::Aaaa(aaaa),
        Kind::Txt => Records::Txt(txt),
        Kind::Ptr => Records::Ptr(ptr),
    };
    Some((!records.is_empty()).then_some((records, ttl)))
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T, len_max: usize) {
    if list.len() < len_max && !list.contains(&item) {
        list.push(item);
    }
}

/// What the authority section says about a "none".
struct Authority {
    /// Seconds by the zone's SOA record, if there is one.
    ttl: Option<u32>,
    /// There are name servers; without SOA record, that is a referral.
    referral: bool,
}

impl Authority {
    /// Only a SOA record of a zone that holds `name` counts (RFC 2308 §3,
    /// RFC 2308 §5).
    fn read(
        decoder: &mut BinDecoder<'_>,
        header: &Header,
        name: &rr::Name,
    ) -> Result<Self, DecodeError> {
        let records = read_records(decoder, header.counts.authorities)?;
        let ttl = records.iter().find_map(|record| match &record.data {
            RData::SOA(soa) if record.name.zone_of(name) => {
                Some(ttl_seconds(record.ttl).min(ttl_seconds(soa.minimum)))
            }
            _ => None,
        });
        let referral = records.iter().any(|record| record.record_type() == RecordType::NS);
        Ok(Self { ttl, referral })
    }
}

/// What the upper bits of the response code say, which hide in the additional
/// section (RFC 6891 §6.1.3).
fn extended_code(
    decoder: &mut BinDecoder<'_>,
    header: &Header,
    sent: &Sent,
) -> Result<Option<Reading>, DecodeError> {
    let too_many = usize::from(header.counts.authorities) > RECORDS_READ_MAX;
    let count = usize::from(header.counts.additionals).min(RECORDS_READ_MAX);
    for _ in 0..if too_many { 0 } else { count } {
        let record = Record::read(decoder)?;
        if record.record_type() == RecordType::OPT {
            let upper = (record.ttl >> 24) as u8;
            let lower = header.metadata.response_code.low();
            return Ok(match (upper, lower) {
                (0, _) => None,
                BADVERS if sent.edns => Some(Reading::NoEdns),
                _ => Some(Reading::Failed(Reason::PeerServerFailure)),
            });
        }
    }
    Ok(None)
}

/// A TTL with the top bit set counts as 0 (RFC 2181 §8).
fn ttl_seconds(ttl: u32) -> u32 {
    if ttl >> 31 == 1 { 0 } else { ttl }
}

fn positive(ttl: u32) -> Duration {
    Duration::from_secs(u64::from(ttl)).clamp(TTL_MIN, TTL_MAX)
}

/// RFC 2308 §5; without SOA record as short as can be.
fn negative(ttl: Option<u32>) -> Duration {
    Duration::from_secs(u64::from(ttl.unwrap_or(0))).clamp(TTL_MIN, NEGATIVE_TTL_MAX)
}

/// The shortest time an answer is kept. Zero would ask again for every message
/// of a busy domain; nobody misses a second (our choice against RFC 1035 §3.2.1).
const TTL_MIN: Duration = Duration::from_secs(1);
/// The longest time records are kept (RFC 2181 §8 leaves the bound to us).
const TTL_MAX: Duration = Duration::from_secs(86_400);
/// The longest time a "none" is kept (RFC 2308 §5).
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(3 * 3_600);

/// Records read of one section.
const RECORDS_READ_MAX: usize = 256;
/// MX records kept. More than are used, so that our own name among those left
/// out does not slip away easily.
const EXCHANGES_KEPT_MAX: usize = 64;
/// PTR records kept.
const POINTERS_KEPT_MAX: usize = 16;
/// TXT records kept.
const TEXTS_MAX: usize = 16;
/// Octets of a TXT record kept; longer ones are dropped whole.
const TEXT_BYTES_MAX: usize = 4_096;

const RESPONSE_AND_OPCODE: u8 = 0b1111_1000;
const RESPONSE: u8 = 0b1000_0000;
const TRUNCATED: u8 = 0b0000_0010;

const NOERROR: u8 = 0;
const FORMERR: u8 = 1;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const NOTIMP: u8 = 4;
const REFUSED: u8 = 5;
/// Code 16 as upper and lower part (RFC 6891 §9).
const BADVERS: (u8, u8) = (1, 0);

#[cfg(test)]
mod tests;
