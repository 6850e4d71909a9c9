//! The name server: a zone that answers real DNS messages as a recursive
//! server would, and names that fail.
//!
//! Shares no code with the client it answers (`dns`): messages are read and
//! written by `hickory-proto`. A query that is none gets no answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, MX, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::observation::{Resolved, Text};

/// How long answers may be kept, in seconds: positive, and none.
const TTL: u32 = 300;
const TTL_OF_NOTHING: u32 = 900;

/// How a name server fails at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It says that it cannot tell.
    ServFail,
    /// It says that it does not want to.
    Refused,
    /// It says that there is no such name.
    NxDomain,
    /// It says that there is no such record.
    NoData,
    /// It says nothing.
    Silent,
    /// A datagram has no room for the answer: TCP does.
    Truncated,
    /// It says what nobody understands.
    Garbage,
}

/// What the name server knows.
#[derive(Default)]
pub struct Names {
    records: BTreeMap<String, Vec<RData>>,
    troubles: BTreeMap<String, Trouble>,
    /// Name servers that do not answer.
    pub down: BTreeSet<SocketAddr>,
    /// Whether [`Names::asked`] is kept.
    pub(super) forgetful: bool,
    /// Questions asked, by name.
    pub asked: Vec<String>,
}

impl Names {
    /// `domain` has one exchanger at an address.
    pub fn exchanger(&mut self, domain: &str, preference: u16, host: &str, ip: [u8; 4]) {
        self.mx(domain, preference, host);
        self.address(host, ip);
    }

    /// A host has an address.
    pub fn address(&mut self, host: &str, ip: [u8; 4]) {
        self.add(host, RData::A(A(Ipv4Addr::from(ip))));
    }

    /// A host has an address of the other family.
    pub fn address_v6(&mut self, host: &str, ip: Ipv6Addr) {
        self.add(host, RData::AAAA(AAAA(ip)));
    }

    /// `domain` has one more exchanger, whose address is known already.
    pub fn mx(&mut self, domain: &str, preference: u16, host: &str) {
        self.add(domain, RData::MX(MX::new(preference, name(host))));
    }

    /// `domain` takes no mail.
    pub fn null_mx(&mut self, domain: &str) {
        self.mx(domain, 0, ".");
    }

    /// Questions about `name` give SERVFAIL from now on, or no more.
    pub fn fail(&mut self, name: &str, fails: bool) {
        self.trouble(name, fails.then_some(Trouble::ServFail));
    }

    /// Questions about `name` are not answered.
    pub fn silence(&mut self, name: &str) {
        self.trouble(name, Some(Trouble::Silent));
    }

    /// Questions about `name` fail so, or no more.
    pub fn trouble(&mut self, name: &str, how: Option<Trouble>) {
        match how {
            Some(how) => self.troubles.insert(name.to_owned(), how),
            None => self.troubles.remove(name),
        };
    }

    /// All troubles are over.
    pub fn mend(&mut self) {
        self.troubles.clear();
        self.down.clear();
    }

    /// What comes of a query; nothing for what is none.
    pub(super) fn ask(&mut self, query: &[u8], server: SocketAddr, tcp: bool) -> Option<Asked> {
        let query = Message::from_vec(query).ok()?;
        let question = query.queries.first()?;
        let kind = question.query_type();
        let asked = question.name().to_ascii().to_lowercase();
        let asked = asked.trim_end_matches('.');
        if !self.forgetful {
            self.asked.push(asked.to_owned());
        }
        let mut trouble = self.troubles.get(asked).copied();
        if self.down.contains(&server) {
            trouble = Some(Trouble::Silent);
        }
        let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        reply.metadata.recursion_desired = true;
        reply.metadata.recursion_available = true;
        let mut how = Resolved::Unknown;
        match trouble {
            Some(Trouble::ServFail) => reply.metadata.response_code = ResponseCode::ServFail,
            Some(Trouble::Refused) => reply.metadata.response_code = ResponseCode::Refused,
            Some(Trouble::NxDomain) => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                reply.add_authority(nothing_there());
                how = Resolved::Never;
            }
            Some(Trouble::NoData) => {
                reply.add_authority(nothing_there());
                how = Resolved::Nothing;
            }
            Some(Trouble::Truncated) if !tcp => reply.metadata.truncation = true,
            Some(Trouble::Silent) => how = Resolved::Silence,
            Some(Trouble::Garbage) => {}
            Some(Trouble::Truncated) | None => how = self.look_up(asked, kind, &mut reply),
        }
        let (name, kind) = (asked.into(), kind.into());
        reply.add_queries(query.queries);
        let bytes = match trouble {
            Some(Trouble::Silent) => None,
            Some(Trouble::Garbage) => Some(b"no answer at all".to_vec()),
            _ => reply.to_vec().ok(),
        };
        Some(Asked { name, kind, how, bytes })
    }

    /// A name without records of the type gives NODATA, any other NXDOMAIN.
    fn look_up(&self, asked: &str, kind: RecordType, reply: &mut Message) -> Resolved {
        let records = self.records.get(asked);
        if records.is_none() {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
        let fitting = records.into_iter().flatten().filter(|data| data.record_type() == kind);
        let mut found = false;
        for data in fitting {
            reply.add_answer(Record::from_rdata(name(asked), TTL, data.clone()));
            found = true;
        }
        let null = |data: &RData| matches!(data, RData::MX(mx) if mx.exchange.is_root());
        if !found {
            reply.add_authority(nothing_there());
        }
        match records {
            Some(_) if !found => Resolved::Nothing,
            Some(records) if !records.iter().any(null) => Resolved::Found,
            _ => Resolved::Never,
        }
    }

    fn add(&mut self, owner: &str, data: RData) {
        self.records.entry(owner.to_owned()).or_default().push(data);
    }
}

/// What came of a query.
pub(super) struct Asked {
    /// The name, lower case, without the last dot.
    pub(super) name: Text,
    /// The type's number.
    pub(super) kind: u16,
    /// What the answer says.
    pub(super) how: Resolved,
    /// The answer, unless there is silence.
    pub(super) bytes: Option<Vec<u8>>,
}

/// What stands below an answer that has nothing to tell (RFC 2308 §2).
fn nothing_there() -> Record {
    let soa = SOA::new(name("ns"), name("root"), 1, 1, 1, 1, TTL_OF_NOTHING);
    Record::from_rdata(name("."), TTL_OF_NOTHING, RData::SOA(soa))
}

/// A name, with or without its last dot.
fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a story names names");
    name.set_fqdn(true);
    name
}
