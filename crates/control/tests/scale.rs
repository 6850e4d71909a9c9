//! A configuration with 100 000 routes: how long it takes to read it, and how
//! long to find the route of an address.
//!
//! Each answer is right at any speed; figures are printed, and held to their
//! bounds with RINGPOST_LONG=1, in a release build:
//! `RINGPOST_LONG=1 cargo test --release -p control --test scale -- --nocapture`

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that measures, and says what it found"
)]

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use control::Config;
use mail::{Address, Domain};

const ROUTES: usize = 100_000;
const LOOKUPS: usize = 1_000_000;
const READ_MAX: Duration = Duration::from_secs(1);
const LOOKUP_MAX: Duration = Duration::from_micros(1);

/// A third of the routes each: domains, subdomains, mailboxes.
fn pattern(n: usize) -> String {
    match n % 3 {
        0 => format!("d{n}.example"),
        1 => format!("*.d{n}.example"),
        _ => format!("user{n}@d{n}.example"),
    }
}

/// Shows: S3.12, S3.13
#[test]
fn a_hundred_thousand_routes_are_read_and_searched() {
    let mut text = String::new();
    for n in 0..ROUTES {
        let (pattern, lifetime) = (pattern(n), 1 + n % 700);
        write!(text, "[[route]]\nmatch = \"{pattern}\"\nlifetime = \"{lifetime}h\"\n").unwrap();
    }
    let name = Domain::parse("mail.example.com").unwrap();
    let began = Instant::now();
    let policy = Config::parse(&text, &name).unwrap().policy;
    let read = began.elapsed();
    let addresses: Vec<(Address, usize)> = (0..1_000)
        .map(|n| n * 97 % ROUTES)
        .map(|n| match n % 3 {
            0 => (format!("somebody@d{n}.example"), n + 1),
            1 => (format!("somebody@a.b.d{n}.example"), n + 1),
            // Every second one is another mailbox, which no route takes.
            _ if n % 2 == 0 => (format!("USER{n}@d{n}.example"), n + 1),
            _ => (format!("nobody@d{n}.example"), 0),
        })
        .map(|(text, index)| (Address::parse(text, false).unwrap(), index))
        .collect();
    for (address, index) in &addresses {
        assert_eq!(policy.route(address).index.0 as usize, *index, "{address}");
    }
    let began = Instant::now();
    for n in 0..LOOKUPS {
        black_box(policy.route(black_box(&addresses[n % addresses.len()].0)));
    }
    let lookup = began.elapsed() / LOOKUPS as u32;
    println!("{ROUTES} routes: read in {read:.1?}, a look-up takes {lookup:.1?}");
    if std::env::var_os("RINGPOST_LONG").is_some_and(|value| value == "1") {
        assert!(read <= READ_MAX, "the configuration takes too long");
        assert!(lookup <= LOOKUP_MAX, "a look-up takes too long");
    }
}
