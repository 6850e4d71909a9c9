//! `dns …` and `hosts …`: what this shard knows of mail domains and of single
//! hosts, and whom it asks. Each shard learns for itself, so rows name theirs.

use std::net::SocketAddr;

use control::api::{DnsCache, Pin};
use dns::Exchange;
use eventlog::rfc3339;
use mail::Domain;
use serde_json::{Value, json};

use crate::command::Answer;
use crate::peer::Peer;
use crate::settings::{DNS_CACHE_ENTRIES_MAX, dns_config};
use crate::shard::{Shard, Turn};

impl Shard {
    /// What is in the cache; rows of one domain, or of all up to a limit.
    pub(crate) fn dns_cache(&self, turn: &Turn<'_>, asked: &DnsCache) -> Answer {
        let wanted = |row: &(&Domain, &Exchange, base::Monotonic)| {
            asked.domain.as_ref().is_none_or(|domain| domain == row.0)
        };
        let mut rows: Vec<_> = self.dns.exchanges().filter(wanted).collect();
        // In the order of names: the cache has none that anybody could follow.
        rows.sort_unstable_by_key(|(domain, ..)| *domain);
        rows.truncate(asked.limit as usize);
        let rows: Vec<Value> = rows
            .into_iter()
            .map(|(domain, exchange, until)| {
                let (result, hosts) = shown(exchange);
                json!({
                    "domain": domain.as_str(),
                    "shard": self.id.0,
                    "result": result,
                    "hosts": hosts,
                    "good_until": rfc3339(turn.now.wall_at(until)),
                    "stale": until <= turn.now.mono && matches!(exchange, Exchange::Found(_)),
                })
            })
            .collect();
        Answer::ok(json!({
            "domains": rows,
            "entries": self.dns.exchanges().count(),
            "records": self.dns.records().count(),
            "entries_max": DNS_CACHE_ENTRIES_MAX,
        }))
    }

    /// Forgets what is known of a domain, or everything: the next attempt of
    /// its mail looks it up anew.
    pub(crate) fn dns_flush(&mut self, domain: Option<&Domain>) -> Answer {
        let entries = match domain {
            Some(domain) => u64::from(self.dns.flush(domain)),
            None => {
                let entries = self.dns.exchanges().count() as u64;
                self.dns.flush_all();
                entries
            }
        };
        self.queue.forget_resolutions();
        Answer::ok(json!({ "entries": entries }))
    }

    /// What was learned of hosts: those that are down first.
    pub(crate) fn hosts(&self, turn: &Turn<'_>, limit: usize) -> Answer {
        let mut rows = self.host_rows(turn, None);
        rows.sort_by_key(|row| (row["down"].is_null(), row["address"].to_string()));
        rows.truncate(limit);
        Answer::ok(json!({ "hosts": rows }))
    }

    /// Rows of one host, or of all.
    pub(crate) fn host_rows(&self, turn: &Turn<'_>, host: Option<SocketAddr>) -> Vec<Value> {
        let now = turn.now;
        let wanted = |row: &(SocketAddr, &Peer)| host.is_none_or(|host| host == row.0);
        let row = |(address, peer): (SocketAddr, &Peer)| {
            let until = peer.down_until();
            let down = until > now.mono;
            let ends = down && peer.pin.is_none();
            json!({
                "address": address.to_string(),
                "shard": self.id.0,
                "last_good": peer.good.map(|at| rfc3339(now.wall_at(at))),
                "tls": (!peer.tls.is_empty()).then_some(&*peer.tls),
                "down": down.then(|| peer.reason().to_owned()),
                "down_until": ends.then(|| rfc3339(now.wall_at(until))),
                "tls_broken": self.peers.tls_broken(now.mono, address),
                "pipelining_broken": self.peers.pipelining_broken(now.mono, address),
                "pinned": peer.pin.map(|pin| if pin == Pin::Down { "down" } else { "up" }),
            })
        };
        self.peers.iter().filter(wanted).map(row).collect()
    }

    /// Whom this shard asks; the first shard answers for all.
    pub(crate) fn dns_servers(&self) -> Answer {
        if self.id.0 != 0 {
            return Answer::not_found("the first shard answers this");
        }
        let servers = dns_config(&self.policy, &self.name_servers, 0).servers;
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let machine = self.policy.dns.servers.is_empty();
        let origin = if machine { "the machine's own" } else { "dns.servers" };
        Answer::ok(json!({ "servers": servers, "origin": origin }))
    }
}

pub(crate) fn shown(exchange: &Exchange) -> (String, Vec<Value>) {
    let exchangers = match exchange {
        Exchange::Found(exchangers) => exchangers,
        Exchange::NullMx => return ("null-mx".into(), Vec::new()),
        Exchange::NoDomain => return ("no-domain".into(), Vec::new()),
        Exchange::NoAddress => return ("no-address".into(), Vec::new()),
        Exchange::Loop => return ("loop".into(), Vec::new()),
        Exchange::Unknown { reason, .. } => return (format!("unknown: {reason}"), Vec::new()),
    };
    let hosts = exchangers.hosts.iter().map(|host| {
        let addresses: Vec<String> = host.addresses.iter().map(ToString::to_string).collect();
        json!({ "name": host.name.as_str(), "preference": host.preference, "addresses": addresses })
    });
    ("found".into(), hosts.collect())
}
