//! The table of settings, in the order of the reference. A new key of the
//! parser gets its line here; a test says so if it does not.

mod alerts;
mod exits;
mod hosts;
mod locals;
mod log_ins;
mod pace;
mod remote;
mod sinks;

use self::alerts::ALERTS;
use self::exits::EXITS;
use self::hosts::HOSTS;
use self::locals::LOCALS;
use self::log_ins::LOG_INS;
use self::pace::PACE;
use self::remote::REMOTE;
use self::sinks::SINKS;
use super::TakesEffect::{AtOnce, NextStart};
use super::{Help, TakesEffect};

const fn section(path: &'static str, meaning: &'static str) -> Help {
    Help { path, meaning, default: "", values: "", takes_effect: AtOnce }
}

const fn live(
    path: &'static str,
    default: &'static str,
    values: &'static str,
    meaning: &'static str,
) -> Help {
    Help { path, meaning, default, values, takes_effect: AtOnce }
}

const fn at_start(
    path: &'static str,
    default: &'static str,
    values: &'static str,
    meaning: &'static str,
) -> Help {
    let takes_effect: TakesEffect = NextStart;
    Help { path, meaning, default, values, takes_effect }
}

/// Every section and setting.
pub const SETTINGS: &[Help] = &joined();

const PARTS: [&[Help]; 11] =
    [MAIN, HOSTS, AFTER, LOG_INS, PACE, SECTIONS, EXITS, LOCALS, SINKS, ALERTS, REMOTE];

const COUNT: usize = {
    let (mut count, mut part) = (0, 0);
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
};

const fn joined() -> [Help; COUNT] {
    let mut all = [MAIN[0]; COUNT];
    let (mut place, mut part, mut within) = (0, 0, 0);
    while place < all.len() {
        if within == PARTS[part].len() {
            (part, within) = (part + 1, 0);
        }
        all[place] = PARTS[part][within];
        (place, within) = (place + 1, within + 1);
    }
    all
}

const MAIN: &[Help] = &[
    live(
        "hostname",
        "(the machine's name)",
        "a full host name",
        "The name said in EHLO, in the trace field and in reports. Many receivers want it to agree \
         with the address's PTR record.",
    ),
    at_start(
        "shards",
        "(one per core)",
        "1 to 256",
        "Executors, each with its share of the queue and of the connections.",
    ),
    section("submission", "Who may hand mail in, and how much."),
    at_start(
        "submission.listen",
        "[\"127.0.0.1:2525\"]",
        "addresses with ports, or tables of address, tls, certificate, key, proxies, protocol; at most 1024",
        "Where mail is taken by SMTP, each with its TLS: none, opportunistic (STARTTLS is offered), \
         required (no mail before STARTTLS) or implicit (TLS from the first byte). With proxies \
         (networks), only they may connect, and a PROXY header, version 2, names the client. With \
         protocol = \"lmtp\", LMTP is spoken there, not at port 25. An empty list takes none. One \
         that the machine lacks is listened at all the same, with a warning. Addresses take effect \
         at the next start, their TLS at once.",
    ),
    live(
        "submission.tls",
        "(none)",
        "{ certificate = FILE, key = FILE }, both PEM",
        "What listeners without a certificate of their own prove themselves with; with it, STARTTLS \
         is offered unless a listener says otherwise.",
    ),
    live(
        "submission.allow",
        "[\"127.0.0.0/8\", \"::1/128\"]",
        "networks, at most 1024",
        "Who may relay without a log-in.",
    ),
    live(
        "submission.users",
        "(none)",
        "a file of lines such as \"name\" = \"SCRAM-SHA-256$…\"",
        "Who may log in (AUTH by SCRAM-SHA-256, PLAIN, LOGIN), and then relay from anywhere. \
         `ringpost user hash` makes an entry.",
    ),
    live(
        "submission.auth_in_clear",
        "[]",
        "networks, at most 1024",
        "Who may log in without TLS. Nobody else is offered that.",
    ),
    live(
        "submission.etrn",
        "[]",
        "networks, at most 1024",
        "Who may ask by ETRN (RFC 1985) that mail which waits for a domain is tried now, as `queue \
         flush` does; of `@domain` with all below it. The same once a minute. Nobody else is \
         offered that; without an entry it is not known at all (502).",
    ),
    live(
        "submission.wrong_passwords",
        "\"10/10m\"",
        "a rate",
        "Wrong passwords that one address may try, at each shard; then log-ins from there are put \
         off (454).",
    ),
    live(
        "submission.user_limits",
        "(none)",
        "{ messages = RATE, recipients = RATE, connections = COUNT }",
        "How much each user may hand in who has no limits of its own in the file of users. Each \
         shard has its share, at least one; what is too much is put off (450, 421).",
    ),
    live(
        "submission.limits",
        "(none)",
        "tables of network, messages, recipients, connections; at most 1024",
        "How much networks may hand in, each as a whole; the first that holds the client counts.",
    ),
    live(
        "submission.max_message",
        "\"50MiB\"",
        "a size from 64KiB to 2GiB",
        "Largest message; a segment must hold it and 1MiB beside it.",
    ),
    live(
        "submission.max_recipients",
        "1000",
        "100 to 50000",
        "Recipients of one transaction (RFC 5321 §4.5.3.1.8).",
    ),
    live(
        "submission.max_connections",
        "1000",
        "1 to 1000000",
        "Sessions at once, summed over all shards.",
    ),
    live(
        "submission.max_connections_per_peer",
        "500",
        "1 to 1000000",
        "Sessions at once from one address, summed over all shards.",
    ),
    live(
        "submission.timeout",
        "\"5m\"",
        "a span from 100ms to 1d",
        "How long a session may be silent (RFC 5321 §4.5.3.2.7).",
    ),
    live(
        "submission.max_errors",
        "20",
        "1 to 10000",
        "Errors after which a session is closed with 421.",
    ),
    section("queue", "Bounds of the queue, and what is done about mail in doubt."),
    at_start(
        "queue.segment",
        "\"64MiB\"",
        "a size from 2MiB to 2GiB, a multiple of 4KiB",
        "Size of one file of the queue.",
    ),
    live(
        "queue.max_bytes",
        "\"100GiB\"",
        "a size",
        "Bytes of waiting mail; beyond them new mail is answered 452.",
    ),
    live(
        "queue.max_messages",
        "10000000",
        "a number from 1",
        "Waiting messages; beyond them new mail is answered 452.",
    ),
    live(
        "queue.min_free",
        "\"2GiB\"",
        "a size, 0B for none",
        "Free room on the disk below which new mail is answered 452.",
    ),
    live(
        "queue.in_doubt",
        "\"program\"",
        "program, power",
        "After which accident the list of mail in doubt is exact. With power the final dot waits \
         for a sync.",
    ),
    live(
        "queue.in_doubt_policy",
        "\"retry\"",
        "retry, hold",
        "What becomes of mail that may have been delivered already.",
    ),
    section("delivery", "The default way of delivery. Every setting may stand in a route too."),
    live(
        "delivery.mode",
        "\"independent\"",
        "independent, relay",
        "By the recipients' own mail exchangers, or through the hosts that are named.",
    ),
];

/// What follows the relay hosts.
const AFTER: &[Help] = &[
    live(
        "delivery.routes_in_relay_mode",
        "\"obey\"",
        "obey, ignore",
        "Whether routes count while mode = \"relay\". With ignore they are for independent mode \
         alone. No route has this setting.",
    ),
    live(
        "delivery.port",
        "25",
        "1 to 65535",
        "Port of mail exchangers, and of relay hosts that name none.",
    ),
    live(
        "delivery.tls",
        "\"opportunistic\"",
        "none, opportunistic, required, implicit",
        "Whether connections are encrypted: never, where offered, always with a certificate that \
         holds, or from the first byte on.",
    ),
    live(
        "delivery.source",
        "\"none\"",
        "the name of a source or pool, or \"none\"",
        "Where connections leave from; without it as `egress.source` says. A message leaves by the \
         same source at each attempt.",
    ),
    live(
        "delivery.trust",
        "\"webpki\"",
        "webpki, system, or the path of a PEM file",
        "Who may have signed a certificate that must hold. A file lies in the folder of the \
         configuration unless its path begins with /, is tried with it, and read again with it.",
    ),
];

const SECTIONS: &[Help] = &[
    section(
        "route",
        "Routes, each written as [[route]], at most 250000: the first that matches a recipient is \
         its way. What a route does not set comes from the default way.",
    ),
    live(
        "route.match",
        "(needed)",
        "domain, *.domain, user@domain, *",
        "What mail goes this way. *.domain takes subdomains only.",
    ),
    live(
        "route.dsn",
        "(as [dsn] says)",
        "a table of failure, delay, success, expiry, template",
        "Reports about mail whose recipient this route takes, where they are not as `[dsn]` says.",
    ),
    live(
        "route.dsn.failure",
        "(as [dsn] says)",
        "sender, postmaster, none",
        "Who is told that mail failed for good.",
    ),
    live(
        "route.dsn.delay",
        "(as [dsn] says)",
        "sender, postmaster, none",
        "Who is told that mail is late.",
    ),
    live(
        "route.dsn.success",
        "(as [dsn] says)",
        "sender, postmaster, none",
        "Who is told of a delivery, where the sender asked for that.",
    ),
    live(
        "route.dsn.expiry",
        "(as its failure, else as [dsn] says)",
        "sender, postmaster, none",
        "Who is told that mail was given up when its time was over.",
    ),
    live(
        "route.dsn.template",
        "(as [dsn] says)",
        "a path, or none for the usual words",
        "The words of its reports.",
    ),
    section("egress", "Where connections leave from, and what they must not reach."),
    live(
        "egress.source",
        "[]",
        "own addresses, at most 1024",
        "Addresses to dial from; an empty list leaves it to the machine.",
    ),
    live(
        "egress.permit",
        "[]",
        "networks, at most 1024",
        "Networks that mail exchangers may lie in although they are forbidden: loopback, private \
         and the like.",
    ),
    live(
        "egress.family",
        "\"ipv6-first\"",
        "ipv6-first, ipv4-first, ipv6, ipv4",
        "Which family of addresses is dialled first, or alone.",
    ),
    section("dns", "How names are looked up."),
    live(
        "dns.servers",
        "(the machine's own)",
        "addresses, with or without port, at most 16",
        "Name servers to ask.",
    ),
    live("dns.timeout", "\"3s\"", "a span from 10ms to 1m", "How long one answer is waited for."),
    live("dns.attempts", "4", "2 to 20", "Questions sent before a look-up is given up for now."),
    live("dns.stale", "\"1d\"", "up to 7d", "How long old answers serve while no server can tell."),
    section("dsn", "Who is told what became of mail."),
    live(
        "dsn.failure",
        "\"sender\"",
        "sender, postmaster, none",
        "Who is told that mail failed for good.",
    ),
    live("dsn.delay", "\"sender\"", "sender, postmaster, none", "Who is told that mail is late."),
    live(
        "dsn.success",
        "\"sender\"",
        "sender, postmaster, none",
        "Who is told of a delivery, where the sender asked for that.",
    ),
    live(
        "dsn.expiry",
        "(as failure)",
        "sender, postmaster, none",
        "Who is told that mail was given up when its lifetime or its attempts were over.",
    ),
    live("dsn.from", "(MAILER-DAEMON@ the hostname)", "a mailbox", "The author of reports."),
    live(
        "dsn.postmaster",
        "(postmaster@ the hostname)",
        "a mailbox",
        "Who gets what is for the postmaster.",
    ),
    live(
        "dsn.template",
        "(the usual words)",
        "a path, or none; the file has text with {hostname}, {id}, {arrived}, {to}, {kind}, {subject}, \
         {count}, and {details} in a line of its own; its first line may be `Subject: …`",
        "The words of reports for people; what programs read stays as it is. Without {details} \
         they come last.",
    ),
    section("pickup", "Files that become mail."),
    live(
        "pickup.folder",
        "(none)",
        "a path; a relative one is taken from the data folder",
        "Each file in it whose name ends in .eml becomes mail and is removed once that is on \
         stable storage; write it under another name and rename it. Its X-Sender and X-Receiver \
         fields name the envelope, or else From, To, Cc and Bcc. What can never be sent goes to \
         bad/ with its reason. Whoever may write there may send mail.",
    ),
    section("log", "What is logged, and how much of it is kept."),
    live(
        "log.level",
        "\"basic\"",
        "quiet, basic, detail",
        "What becomes of mail (`basic`); connections and every command both ways too (`detail`); or nothing about single messages (`quiet`).",
    ),
    live(
        "log.size",
        "\"100MiB\"",
        "a size from 64KiB",
        "Bytes of a log file before the next one is begun.",
    ),
    live(
        "log.age",
        "\"1d\"",
        "a span from 1m to 365d",
        "Age of a log file at which the next one is begun.",
    ),
    live(
        "log.max_bytes",
        "\"2GiB\"",
        "a size from 128KiB",
        "Bytes of all log files together, closed ones compressed; the oldest go first.",
    ),
    live(
        "log.retention",
        "\"90d\"",
        "a span from 1m to 36500d",
        "Age at which closed log files go.",
    ),
    section(
        "page",
        "The web page: what the daemon does, for people. It reads and changes nothing.",
    ),
    live(
        "page.listen",
        "(none)",
        "an address of 127.0.0.0/8 or ::1 with a port, as \"127.0.0.1:8025\"",
        "Where a browser on this machine, or at the end of a tunnel, finds the page. Whoever may \
         connect there sees addresses of mail and the texts of configurations, as with \
         status.sock, which has the page too.",
    ),
    section("metrics", "The daemon's numbers for Prometheus; the control sockets have them too."),
    live(
        "metrics.listen",
        "(none)",
        "an IP address with a port, such as 127.0.0.1:9090",
        "A port that answers GET /metrics, /health and /ready, and nothing else.",
    ),
    live(
        "metrics.anywhere",
        "false",
        "true, false",
        "Whether that port may be on an address that others reach. Whoever reaches it sees where \
         mail goes.",
    ),
    live(
        "metrics.names",
        "50",
        "a number from 1 to 1000",
        "Sites, and domains, with series of their own: those with the most mail waiting, and those \
         with the most traffic. All others stand as one.",
    ),
];
