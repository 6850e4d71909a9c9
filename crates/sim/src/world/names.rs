//! The name server: a zone that answers real DNS messages, and names that fail.

use std::collections::BTreeSet;

use hickory_proto::op::ResponseCode;

#[path = "../../../dns/src/script.rs"]
mod script;

/// What the name server knows.
#[derive(Default)]
pub struct Names {
    zone: script::Zone,
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
        self.change(|zone| zone.a(host, ip));
    }

    /// `domain` has one more exchanger, whose address is known already.
    pub fn mx(&mut self, domain: &str, preference: u16, host: &str) {
        self.change(|zone| zone.mx(domain, preference, host));
    }

    /// `domain` takes no mail.
    pub fn null_mx(&mut self, domain: &str) {
        self.change(|zone| zone.mx(domain, 0, "."));
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

    pub fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let (name, _) = script::question(query);
        self.asked.push(name.clone());
        if self.failing.contains(&name) {
            return Some(script::Reply::to(query).code(ResponseCode::ServFail).bytes());
        }
        (!self.silent.contains(&name)).then(|| self.zone.answer(query))
    }

    fn change(&mut self, with: impl FnOnce(script::Zone) -> script::Zone) {
        self.zone = with(std::mem::take(&mut self.zone));
    }
}
