//! `ringpost dns …`: the cache of mail domains, and whom the daemon asks.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{ask, encoded, text};
use crate::Socket;
use crate::print::Table;

/// `ringpost dns …`
#[derive(Debug, Subcommand)]
pub enum DnsVerb {
    /// What is known of mail domains
    #[command(subcommand)]
    Cache(CacheVerb),
    /// The name servers that are asked, and who named them
    Servers(Socket),
}

/// `ringpost dns cache …`
#[derive(Debug, Subcommand)]
pub enum CacheVerb {
    /// Domains with their exchangers, and until when that is good
    List {
        /// Only this domain
        #[arg(long)]
        domain: Option<String>,
        /// Rows of each shard at most
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        socket: Socket,
    },
    /// Forget a domain, or everything: the next attempt looks it up anew
    Flush {
        /// Only this domain
        #[arg(long, required_unless_present = "all", conflicts_with = "all")]
        domain: Option<String>,
        /// Everything
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        socket: Socket,
    },
    /// How much is in the cache
    Size(Socket),
}

/// `ringpost dns …`
pub fn run(verb: &DnsVerb) -> ExitCode {
    match verb {
        DnsVerb::Cache(CacheVerb::List { domain, limit, socket }) => {
            let mut path = format!("/v1/dns/cache?limit={limit}");
            if let Some(domain) = domain {
                path.push_str(&format!("&domain={}", encoded(domain)));
            }
            ask(socket, "GET", &path, None, table)
        }
        DnsVerb::Cache(CacheVerb::Flush { domain, socket, .. }) => {
            let body = match domain {
                Some(domain) => json!({ "domain": domain }),
                None => json!({ "all": true }),
            };
            ask(socket, "POST", "/v1/dns/flush", Some(&body), |answer| {
                format!("{} entries forgotten\n", answer["entries"])
            })
        }
        DnsVerb::Cache(CacheVerb::Size(socket)) => {
            ask(socket, "GET", "/v1/dns/cache?limit=1", None, |body| {
                let count = |key: &str| text(&body[key]);
                format!(
                    "{} domains and {} records, of {} each at most\n",
                    count("entries"),
                    count("records"),
                    count("entries_max")
                )
            })
        }
        DnsVerb::Servers(socket) => ask(socket, "GET", "/v1/dns/servers", None, |body| {
            let servers = body["servers"].as_array().map_or(&[][..], Vec::as_slice);
            let servers: Vec<String> = servers.iter().map(text).collect();
            format!("{}\nfrom: {}\n", servers.join("\n"), text(&body["origin"]))
        }),
    }
}

fn table(body: &Value) -> String {
    let mut table = Table::new(&["DOMAIN", "SHARD", "RESULT", "STALE", "GOOD UNTIL", "HOSTS"]);
    for row in body["domains"].as_array().map_or(&[][..], Vec::as_slice) {
        let hosts = row["hosts"].as_array().map_or(&[][..], Vec::as_slice);
        let hosts: Vec<String> = hosts.iter().map(|host| text(&host["name"])).collect();
        let plain = ["domain", "shard", "result", "stale", "good_until"].map(|key| text(&row[key]));
        table.row([&plain[..], &[hosts.join(" ")]].concat());
    }
    table.to_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_domains_and_their_hosts() {
        let row = json!({ "domain": "a.example", "shard": 0, "result": "found", "stale": true,
                          "hosts": [{ "name": "mx.a.example" }] });
        let shown = table(&json!({ "domains": [row] }));
        assert!(shown.contains("mx.a.example") && shown.contains("true"), "{shown}");
    }
}
