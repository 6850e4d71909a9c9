//! The pure rooms carry one list of what they must not touch; a room without
//! the list, or with a softer one, is a breach.

use std::fs;

use crate::floors::PURE;
use crate::report;

/// Must be forbidden by name: a clock, a socket, a file, a thread, the
/// environment, randomness, a lock.
const FORBIDDEN: [&str; 12] = [
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::fs::File",
    "std::fs::read",
    "std::thread::spawn",
    "std::env::var",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::hash::RandomState",
    "std::sync::Mutex",
];

#[test]
fn every_pure_room_carries_the_same_list() {
    let root = tests::workspace();
    let mut breaches = Vec::new();
    let list = |room: &str| {
        fs::read_to_string(root.join(format!("crates/{room}/clippy.toml"))).unwrap_or_default()
    };
    let first = list(PURE[0]);
    for name in FORBIDDEN {
        if !first.contains(&format!("\"{name}\"")) {
            breaches.push(format!("crates/{}/clippy.toml: {name} is not forbidden", PURE[0]));
        }
    }
    for room in &PURE[1..] {
        if list(room) != first {
            breaches.push(format!("crates/{room}/clippy.toml: differs from that of {}", PURE[0]));
        }
    }
    // The fuzz targets compute as the rooms do, so that a finding repeats.
    if fs::read_to_string(root.join("fuzz/clippy.toml")).unwrap_or_default() != first {
        breaches.push(format!("fuzz/clippy.toml: differs from that of {}", PURE[0]));
    }
    report(breaches);
}
