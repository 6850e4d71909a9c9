//! For tests: a name server in memory. Query bytes in, scripted answer bytes
//! out, and a small zone that answers as a recursive server would.
//!
//! Never here: anything of this crate, so that property tests can include the
//! file too.

#![allow(dead_code, reason = "each including test uses its own part")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// A name, with or without its last dot.
pub fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}

/// What a query asks: the name in lower case without last dot, and the type.
pub fn question(query: &[u8]) -> (String, RecordType) {
    let message = Message::from_vec(query).unwrap();
    let question = &message.queries[0];
    let text = question.name().to_ascii().to_lowercase();
    (text.trim_end_matches('.').to_owned(), question.query_type())
}

/// An answer under construction.
pub struct Reply(pub Message);

impl Reply {
    /// An empty answer to `query`, NOERROR, recursion available.
    pub fn to(query: &[u8]) -> Self {
        let query = Message::from_vec(query).unwrap();
        let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.metadata.recursion_available = true;
        message.add_queries(query.queries);
        Self(message)
    }

    pub fn code(mut self, code: ResponseCode) -> Self {
        self.0.metadata.response_code = code;
        if code.high() > 0 {
            self.0.set_edns(Edns::new());
        }
        self
    }

    pub fn truncated(mut self) -> Self {
        self.0.metadata.truncation = true;
        self
    }

    pub fn record(mut self, owner: &str, ttl: u32, data: RData) -> Self {
        self.0.add_answer(Record::from_rdata(name(owner), ttl, data));
        self
    }

    pub fn a(self, owner: &str, ttl: u32, ip: [u8; 4]) -> Self {
        self.record(owner, ttl, RData::A(A(Ipv4Addr::from(ip))))
    }

    pub fn aaaa(self, owner: &str, ttl: u32, ip: Ipv6Addr) -> Self {
        self.record(owner, ttl, RData::AAAA(AAAA(ip)))
    }

    pub fn mx(self, owner: &str, ttl: u32, preference: u16, host: &str) -> Self {
        self.record(owner, ttl, RData::MX(MX::new(preference, name(host))))
    }

    pub fn txt(self, owner: &str, ttl: u32, strings: &[&str]) -> Self {
        let strings = strings.iter().map(|text| (*text).to_owned()).collect();
        self.record(owner, ttl, RData::TXT(TXT::new(strings)))
    }

    pub fn cname(self, owner: &str, ttl: u32, target: &str) -> Self {
        self.record(owner, ttl, RData::CNAME(CNAME(name(target))))
    }

    pub fn soa(mut self, zone: &str, ttl: u32, minimum: u32) -> Self {
        let soa = SOA::new(name("ns.invalid"), name("root.invalid"), 1, 1, 1, 1, minimum);
        self.0.add_authority(Record::from_rdata(name(zone), ttl, RData::SOA(soa)));
        self
    }

    pub fn referral(mut self, zone: &str) -> Self {
        let data = RData::NS(NS(name("ns.elsewhere.invalid")));
        self.0.add_authority(Record::from_rdata(name(zone), 60, data));
        self
    }

    pub fn additional(mut self, owner: &str, data: RData) -> Self {
        self.0.add_additional(Record::from_rdata(name(owner), 60, data));
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.to_vec().unwrap()
    }
}

/// Records by name. A name of the zone without records of the type asked for
/// gives NODATA, any other name NXDOMAIN; aliases are followed in the answer.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    records: BTreeMap<String, Vec<RData>>,
    failing: BTreeMap<String, ResponseCode>,
}

impl Zone {
    pub fn with(mut self, owner: &str, data: RData) -> Self {
        self.records.entry(owner.to_owned()).or_default().push(data);
        self
    }

    pub fn mx(self, owner: &str, preference: u16, host: &str) -> Self {
        self.with(owner, RData::MX(MX::new(preference, name(host))))
    }

    pub fn a(self, owner: &str, ip: [u8; 4]) -> Self {
        self.with(owner, RData::A(A(Ipv4Addr::from(ip))))
    }

    pub fn aaaa(self, owner: &str, ip: Ipv6Addr) -> Self {
        self.with(owner, RData::AAAA(AAAA(ip)))
    }

    pub fn cname(self, owner: &str, target: &str) -> Self {
        self.with(owner, RData::CNAME(CNAME(name(target))))
    }

    /// A name without records.
    pub fn bare(mut self, owner: &str) -> Self {
        self.records.entry(owner.to_owned()).or_default();
        self
    }

    /// A name that every question about fails.
    pub fn failing(mut self, owner: &str, code: ResponseCode) -> Self {
        self.failing.insert(owner.to_owned(), code);
        self
    }

    /// The answer to `query`.
    pub fn answer(&self, query: &[u8]) -> Vec<u8> {
        let (asked, kind) = question(query);
        let mut reply = Reply::to(query);
        let mut here = asked;
        for _ in 0..20 {
            if let Some(code) = self.failing.get(&here) {
                return reply.code(*code).bytes();
            }
            let Some(records) = self.records.get(&here) else {
                return reply.code(ResponseCode::NXDomain).soa(".", 900, 900).bytes();
            };
            let mut alias = None;
            for data in records {
                if let RData::CNAME(target) = data {
                    alias = Some(target.0.to_ascii().trim_end_matches('.').to_owned());
                }
                if data.record_type() == kind || data.record_type() == RecordType::CNAME {
                    reply = reply.record(&here, 300, data.clone());
                }
            }
            match alias {
                Some(target) => here = target,
                None if records.iter().any(|data| data.record_type() == kind) => break,
                None => return reply.soa(".", 900, 900).bytes(),
            }
        }
        reply.bytes()
    }
}
