//! The part of the table on ways out: sources and pools.

use super::{live, section};
use crate::help::Help;

pub(super) const EXITS: &[Help] = &[
    section("source", "Ways out, one a `[[source]]`: an own address and what goes with it."),
    live(
        "source.name",
        "(must be given)",
        "1 to 64 letters, digits, \"-\", \"_\" and \".\"",
        "What ways and pools call it.",
    ),
    live(
        "source.address",
        "(the machine's choice)",
        "one IPv4 and one IPv6 address at most",
        "Own addresses to dial from. A family without one is not dialled.",
    ),
    live(
        "source.hostname",
        "(as `hostname`)",
        "a full host name",
        "The name said in EHLO; it should agree with the address's PTR record.",
    ),
    live(
        "source.connections",
        "(as the way says)",
        "1 to 100000",
        "Connections from here to one site, summed over all shards. With this or `rate`, both are \
         counted apart from those of other sources.",
    ),
    live(
        "source.rate",
        "(as the way says)",
        "a count per span, as \"1000/1m\"",
        "Messages from here to one site.",
    ),
    live(
        "source.socks5",
        "(no proxy)",
        "an address with port, or a table with server, user, password_file",
        "A SOCKS5 server that its connections go through; receivers see that server's address. A \
         proxy that is dead or refuses us counts as no attempt.",
    ),
    live("source.socks5.server", "(must be given)", "an address with port", "Where it listens."),
    live("source.socks5.user", "(no log-in)", "1 to 255 octets", "The log-in there."),
    live(
        "source.socks5.password_file",
        "(no log-in)",
        "a path; the file holds 1 to 255 octets on one line",
        "Its password.",
    ),
    live(
        "source.haproxy",
        "(no proxy)",
        "an address with port, or a table with server",
        "A proxy that takes the PROXY protocol, version 2, and connects on from `address`, which is \
         one of its own.",
    ),
    live("source.haproxy.server", "(must be given)", "an address with port", "Where it listens."),
    section("pool", "Sources among which messages are spread, one list a `[[pool]]`."),
    live("pool.name", "(must be given)", "as a source's, and not the same", "What ways call it."),
    live(
        "pool.sources",
        "(must be given)",
        "names, or tables with `source` and `weight`, at most 1024",
        "Its sources. One that cannot be used is passed over.",
    ),
    live("pool.sources.source", "(must be given)", "the name of a source", "The source."),
    live(
        "pool.sources.weight",
        "1",
        "1 to 1000",
        "Its share of the messages, against the sum of all weights.",
    ),
];
