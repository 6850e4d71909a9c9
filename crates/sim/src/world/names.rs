//! The name server: a zone that answers real DNS messages as a recursive
//! server would, and names that fail.
//!
//! Shares no code with the client it answers (`dns`): messages are read and
//! written by `hickory-proto`. A query that is none gets no answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, MX, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// How long answers may be kept, in seconds: positive, and none.
const TTL: u32 = 300;
const TTL_OF_NOTHING: u32 = 900;

/// What the name server knows.
#[derive(Default)]
pub struct Names {
    records: BTreeMap<String, Vec<RData>>,
    silent: BTreeSet<String>,
    failing: BTreeSet<String>,
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
        if fails {
            self.failing.insert(name.to_owned());
        } else {
            self.failing.remove(name);
        }
    }

    /// Questions about `name` are not answered.
    pub fn silence(&mut self, name: &str) {
        self.silent.insert(name.to_owned());
    }

    /// The answer to a query, unless there is silence.
    pub fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).ok()?;
        let question = query.queries.first()?;
        let kind = question.query_type();
        let asked = question.name().to_ascii().to_lowercase();
        let asked = asked.trim_end_matches('.');
        self.asked.push(asked.to_owned());
        if self.silent.contains(asked) {
            return None;
        }
        let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        reply.metadata.recursion_desired = true;
        reply.metadata.recursion_available = true;
        if self.failing.contains(asked) {
            reply.metadata.response_code = ResponseCode::ServFail;
        } else {
            self.look_up(asked, kind, &mut reply);
        }
        reply.add_queries(query.queries);
        reply.to_vec().ok()
    }

    /// A name without records of the type gives NODATA, any other NXDOMAIN.
    fn look_up(&self, asked: &str, kind: RecordType, reply: &mut Message) {
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
        if !found {
            let soa = SOA::new(name("ns"), name("root"), 1, 1, 1, 1, TTL_OF_NOTHING);
            reply.add_authority(Record::from_rdata(name("."), TTL_OF_NOTHING, RData::SOA(soa)));
        }
    }

    fn add(&mut self, owner: &str, data: RData) {
        self.records.entry(owner.to_owned()).or_default().push(data);
    }
}

/// A name, with or without its last dot.
fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a story names names");
    name.set_fqdn(true);
    name
}
