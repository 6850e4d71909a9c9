//! From a question's bytes to the answer's bytes.
//!
//! Never touches a socket.

use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::zone::{Fate, Node, Zones, canonical};

/// Octets of a UDP answer to a question without EDNS (RFC 1035 §4.2.1).
const UDP_BYTES: usize = 512;
/// Aliases followed for one question.
const ALIASES_MAX: usize = 16;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Silence,
    Now(Vec<u8>),
    After(Duration, Vec<u8>),
}

/// Answers `question`, and says which name and type it was about.
pub(super) fn answer(
    zones: &Zones,
    question: &[u8],
    transport: Transport,
) -> (Option<(String, String)>, Answer) {
    let Ok(message) = Message::from_vec(question) else { return (None, Answer::Silence) };
    let Some(query) = message.queries.first() else { return (None, Answer::Silence) };
    if message.metadata.message_type != MessageType::Query {
        return (None, Answer::Silence);
    }
    let name = canonical(&query.name().to_ascii());
    let key = Some((name.clone(), query.query_type().to_string()));
    let fate = zones.nodes.get(&name).map_or(Fate::Answered, |node| node.fate);
    let mut response = respond(zones, &message, query);
    match fate {
        Fate::Silent => return (key, Answer::Silence),
        Fate::SilentOverTcp if transport == Transport::Tcp => return (key, Answer::Silence),
        Fate::Garbage => return (key, Answer::Now(b"this is no DNS message".to_vec())),
        Fate::ServFail => response = fail(&response, ResponseCode::ServFail),
        Fate::Refused => response = fail(&response, ResponseCode::Refused),
        Fate::WrongId => response.metadata.id ^= 1,
        Fate::Answered | Fate::Late(_) | Fate::Truncated | Fate::SilentOverTcp => {}
    }
    let cut_anyway = matches!(fate, Fate::Truncated | Fate::SilentOverTcp);
    let Ok(mut bytes) = response.to_vec() else { return (key, Answer::Silence) };
    let room = message.edns.as_ref().map_or(UDP_BYTES, |edns| usize::from(edns.max_payload()));
    if transport == Transport::Udp && (cut_anyway || bytes.len() > room.max(UDP_BYTES)) {
        bytes = response.truncate().to_vec().unwrap_or_default();
    }
    match fate {
        Fate::Late(span) => (key, Answer::After(span, bytes)),
        _ => (key, Answer::Now(bytes)),
    }
}

fn respond(zones: &Zones, message: &Message, query: &Query) -> Message {
    let mut response = Message::response(message.metadata.id, OpCode::Query);
    response.metadata.recursion_desired = message.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.metadata.authoritative = true;
    response.add_query(query.clone());
    response.edns.clone_from(&message.edns);
    let mut owner = query.name().clone();
    let mut name = canonical(&owner.to_ascii());
    for _ in 0..ALIASES_MAX {
        let node = zones.nodes.get(&name);
        let alias = node.and_then(|node| node.cname.as_deref());
        if let Some(target) = alias.filter(|_| query.query_type() != RecordType::CNAME) {
            let Some(target) = wire_name(target) else { break };
            let record = RData::CNAME(CNAME(target.clone()));
            response.add_answer(Record::from_rdata(owner, zones.ttl, record));
            name = canonical(&target.to_ascii());
            owner = target;
            continue;
        }
        if node.is_none() && !zones.exists(&name) {
            response.metadata.response_code = ResponseCode::NXDomain;
        }
        let data = node.map(|node| records(node, query.query_type())).unwrap_or_default();
        if data.is_empty() {
            response.add_authority(start_of_authority(zones));
        }
        for one in data {
            response.add_answer(Record::from_rdata(owner.clone(), zones.ttl, one));
        }
        break;
    }
    response
}

fn records(node: &Node, kind: RecordType) -> Vec<RData> {
    let mx = node.mx.iter().filter_map(|(preference, exchanger)| {
        Some(RData::MX(MX::new(*preference, wire_name(exchanger)?)))
    });
    let cname = node.cname.iter().filter_map(|name| Some(RData::CNAME(CNAME(wire_name(name)?))));
    match kind {
        RecordType::MX => mx.collect(),
        RecordType::A => node.a.iter().map(|address| RData::A(A(*address))).collect(),
        RecordType::AAAA => node.aaaa.iter().map(|address| RData::AAAA(AAAA(*address))).collect(),
        RecordType::CNAME => cname.collect(),
        _ => Vec::new(),
    }
}

/// Says how long it may be believed that there is nothing (RFC 2308 §3).
fn start_of_authority(zones: &Zones) -> Record {
    let name = |text: &str| wire_name(text).unwrap_or_else(Name::root);
    let minimum = zones.negative_ttl;
    let soa = SOA::new(name("ns.example"), name("hostmaster.example"), 1, 60, 60, 60, minimum);
    Record::from_rdata(name("example"), minimum, RData::SOA(soa))
}

fn fail(response: &Message, code: ResponseCode) -> Message {
    let mut failed = response.truncate();
    failed.metadata.truncation = false;
    failed.metadata.response_code = code;
    failed
}

fn wire_name(name: &str) -> Option<Name> {
    let absolute = if name.ends_with('.') { name.to_owned() } else { format!("{name}.") };
    Name::from_ascii(absolute).ok()
}
