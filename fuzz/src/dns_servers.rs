//! The machine's list of name servers, out of any text.
//!
//! Oracle: there is always a server, none twice, all on port 53; the list
//! written out as a file reads as the same list.

use std::net::SocketAddr;

use dns::servers_from_resolv_conf;

/// Runs the target.
pub fn dns_servers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let servers = servers_from_resolv_conf(&text);
    assert!(!servers.is_empty(), "nobody to ask");
    let mut distinct = servers.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), servers.len(), "a server twice");
    assert!(servers.iter().all(|server| server.port() == 53));
    let written: String = servers.iter().map(line).collect();
    assert_eq!(servers_from_resolv_conf(&written), servers, "{written}");
}

fn line(server: &SocketAddr) -> String {
    match server {
        SocketAddr::V6(server) if server.scope_id() != 0 => {
            format!("nameserver {}%{}\n", server.ip(), server.scope_id())
        }
        server => format!("nameserver {}\n", server.ip()),
    }
}
