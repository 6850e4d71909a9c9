//! The part of the table on where lines of the event log go beyond its files.

use super::{Help, live, section};

pub(super) const SINKS: &[Help] = &[
    section(
        "webhook",
        "Lines of the event log, posted in batches to a web server, each line at least once.",
    ),
    live(
        "webhook.name",
        "(must be given)",
        "1 to 64 letters, digits, -, _ and .",
        "What it is called. How far it has come is kept by this name: a webhook that comes back \
         under its old name goes on where it was, a new one begins with what happens from then on.",
    ),
    live(
        "webhook.url",
        "(must be given)",
        "https://… or http://…, at most 2048 characters, without user and fragment",
        "Where batches are posted to, as a JSON array of lines. Anything but an answer of 2xx is \
         tried again, with the same batch and the same Idempotency-Key. No redirect is followed.",
    ),
    live(
        "webhook.events",
        "[]",
        "kinds of event, such as \"delivered\"",
        "Which kinds are sent; empty: all but those that only the log's level detail has.",
    ),
    live("webhook.domain", "(all)", "a domain", "Only lines on mail from or to it."),
    live("webhook.site", "(all)", "a site, host or address", "Only lines that name it."),
    live(
        "webhook.secret_file",
        "(none)",
        "a file of one line",
        "What batches are signed with: the header Ringpost-Signature is then \"v1=\" and HMAC-SHA256, \
         in hexadecimal, over the value of Ringpost-Timestamp, a dot and the body.",
    ),
    live("webhook.batch", "500", "1 to 10000", "Most lines of a batch."),
    live(
        "webhook.wait",
        "\"1s\"",
        "a span from 10ms to 1h",
        "How long a batch that is not full waits for more lines.",
    ),
    live(
        "webhook.timeout",
        "\"30s\"",
        "a span from 100ms to 10m",
        "For one attempt from the look-up to the end of the answer.",
    ),
    live(
        "webhook.retry",
        "\"1m\"",
        "a span from 1s to 1d",
        "The longest wait between two attempts; it begins with 1s and doubles.",
    ),
    live(
        "webhook.trust",
        "\"webpki\"",
        "as `delivery.trust`",
        "Who may vouch for the server's certificate, which is always checked.",
    ),
    live(
        "webhook.plain",
        "false",
        "true, false",
        "Permits http:// to other machines. Addresses then cross the network in the clear.",
    ),
    section(
        "syslog",
        "Lines of the event log as messages of syslog (RFC 5424) or entries of the systemd journal.",
    ),
    live(
        "syslog.name",
        "(must be given)",
        "1 to 64 letters, digits, -, _ and .",
        "What it is called. How far it has come is kept by this name, as with a webhook.",
    ),
    live(
        "syslog.to",
        "(must be given)",
        "udp://HOST, tcp://HOST, tls://HOST, each perhaps with :PORT; unix:PATH; journal",
        "Where messages go: a server by UDP, by TCP (with the length of each in front) or by TLS; the \
         machine's own socket, such as unix:/dev/log; or the journal in its native protocol, with a \
         field for each of ours. UDP loses what nobody listens for; the others wait and try again.",
    ),
    live(
        "syslog.events",
        "[]",
        "kinds of event, such as \"failed\"",
        "Which kinds are sent; empty: all but those that only the log's level detail has.",
    ),
    live("syslog.domain", "(all)", "a domain", "Only lines on mail from or to it."),
    live("syslog.site", "(all)", "a site, host or address", "Only lines that name it."),
    live(
        "syslog.facility",
        "\"mail\"",
        "kern, user, mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv, ftp, local0 to local7",
        "The facility of all messages; how grave each is follows from its kind.",
    ),
    live("syslog.timeout", "\"30s\"", "a span from 100ms to 10m", "For one attempt."),
    live(
        "syslog.retry",
        "\"1m\"",
        "a span from 1s to 1d",
        "The longest wait between two attempts; it begins with 1s and doubles.",
    ),
    live(
        "syslog.trust",
        "\"webpki\"",
        "as `delivery.trust`",
        "Who may vouch for the server's certificate, by TLS.",
    ),
];
