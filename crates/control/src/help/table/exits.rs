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
    live(
        "source.on_demand",
        "(always up)",
        "a table with raise, lower, raise_timeout, lower_timeout, retry, idle, recipients, wait",
        "A link that must be raised before anything leaves from here. Until it is up mail waits, \
         which counts as no attempt. A stop lowers what was raised; after a crash nothing is \
         assumed, so raising a link that is up must do no harm.",
    ),
    live(
        "source.on_demand.raise",
        "(must be given)",
        "a program by its absolute path, or a list of it and its arguments",
        "Raises the link: ends with exit status 0 once it is up, with another if it cannot be \
         raised. It is run without a shell, as the daemon's user, with PATH as its whole \
         environment. What it leaves running goes on.",
    ),
    live(
        "source.on_demand.lower",
        "(none: it comes down by itself)",
        "as raise",
        "Lowers the link; run too when raising was cut off.",
    ),
    live(
        "source.on_demand.raise_timeout",
        "1m",
        "a span from 100ms to 10m",
        "How long raising may take; then it is killed with all that it started.",
    ),
    live(
        "source.on_demand.lower_timeout",
        "1m",
        "a span from 100ms to 10m",
        "How long lowering may take.",
    ),
    live(
        "source.on_demand.retry",
        "[\"1m\", \"5m\", \"15m\"]",
        "a span or a list of them, from 100ms to 1d, at most 64",
        "Waits before raising is tried again after it failed; the last one repeats. `queue flush` \
         tries at once. Lowering that failed is tried again so too.",
    ),
    live(
        "source.on_demand.idle",
        "1m",
        "a span from 2s to 1d",
        "How long it stays up without a connection.",
    ),
    live("source.on_demand.recipients", "1", "1 to 100000", "So many waiting recipients raise it."),
    live(
        "source.on_demand.wait",
        "15m",
        "a span, or 0s",
        "However few wait, it is raised once the first has waited so long.",
    ),
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
