//! `ringpost hosts …`: what was learned of single hosts.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{ask, text};
use crate::Socket;
use crate::print::Table;

/// `ringpost hosts …`
#[derive(Debug, Subcommand)]
pub enum HostsVerb {
    /// Hosts by address: last session, TLS, down until when and why
    List {
        /// Rows of each shard at most
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say that a host is down or up, whatever is learned of it, until unpinned or restarted
    Pin {
        /// Its address and port, such as 192.0.2.1:25
        address: String,
        /// What it is
        state: Pinned,
        #[command(flatten)]
        socket: Socket,
    },
    /// Go by what is learned again
    Unpin {
        /// Its address and port
        address: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Forget what was learned of a host, or of all, pins included
    Forget {
        /// Its address and port
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        address: Option<String>,
        /// Of every host
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        socket: Socket,
    },
}

/// What a host is said to be.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Pinned {
    /// Passed over while another host can be tried
    Down,
    /// Never passed over
    Up,
}

/// `ringpost hosts …`
pub fn run(verb: &HostsVerb) -> ExitCode {
    match verb {
        HostsVerb::List { limit, socket } => {
            ask(socket, "GET", &format!("/v1/hosts?limit={limit}"), None, table)
        }
        HostsVerb::Pin { address, state, socket } => {
            let state = if matches!(state, Pinned::Down) { "down" } else { "up" };
            let body = json!({ "address": address, "as": state });
            ask(socket, "POST", "/v1/hosts/pin", Some(&body), table)
        }
        HostsVerb::Unpin { address, socket } => {
            ask(socket, "POST", "/v1/hosts/pin", Some(&json!({ "address": address })), table)
        }
        HostsVerb::Forget { address, socket, .. } => {
            let body = match address {
                Some(address) => json!({ "address": address }),
                None => json!({ "all": true }),
            };
            ask(socket, "POST", "/v1/hosts/forget", Some(&body), |answer| {
                format!("{} entries forgotten\n", answer["entries"])
            })
        }
    }
}

fn table(body: &Value) -> String {
    let keys = ["address", "shard", "pinned", "last_good", "tls", "down_until", "down"];
    let mut table = Table::new(&["ADDRESS", "SHARD", "PIN", "LAST GOOD", "TLS", "UNTIL", "DOWN"]);
    for row in body["hosts"].as_array().map_or(&[][..], Vec::as_slice) {
        table.row(keys.map(|key| text(&row[key])).into());
    }
    table.to_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_who_is_down_and_why() {
        let row = json!({ "address": "192.0.2.1:25", "shard": 0, "down": "refused" });
        assert!(table(&json!({ "hosts": [row] })).contains("refused"));
    }
}
