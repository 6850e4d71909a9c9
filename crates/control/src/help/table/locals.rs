//! The part of the table on local domains.

use super::{live, section};
use crate::help::Help;

pub(super) const LOCALS: &[Help] = &[
    section(
        "local",
        "Local domains, one list of them a `[[local]]`: their mail is handed to mailboxes of your \
         own, whatever routes say, and never looked up in DNS nor sent the default way.",
    ),
    live(
        "local.match",
        "(must be given)",
        "domains, or *.domain for all subdomains; at most 10000",
        "Which domains are local. The first entry that names one takes its mail.",
    ),
    live(
        "local.deliver",
        "(must be given)",
        "{ lmtp = … }, { smtp = … } or { maildir = … }",
        "What their mail is handed to.",
    ),
    live(
        "local.deliver.lmtp",
        "(none)",
        "the path of a Unix socket, or hosts as in delivery.hosts, port 24 unless given",
        "A server that speaks LMTP, such as Dovecot's. It answers for each recipient.",
    ),
    live(
        "local.deliver.smtp",
        "(none)",
        "hosts as in delivery.hosts, port 25 unless given",
        "A server that speaks SMTP.",
    ),
    live(
        "local.deliver.maildir",
        "(none)",
        "an absolute path with {user} and {domain}, as \"/var/mail/{domain}/{user}\"",
        "Mail folders, for one mailbox each, in lower case. What is in front of the first field must \
         be there; the rest is made, for the daemon's user alone.",
    ),
    live(
        "local.users",
        "(everybody)",
        "names as they stand before the @, at most 1000000",
        "Who is known. Without this and users_file, everybody is. Case makes no difference.",
    ),
    live(
        "local.users_file",
        "(none)",
        "a path; the file has a name on each line, and remarks behind #",
        "More users. Read anew when the configuration is.",
    ),
    live(
        "local.aliases",
        "(none)",
        "{ name = \"ADDRESS\", other = [\"name\", \"a@b.example\"] }; a key may be a whole address",
        "Names that stand for others, here or elsewhere, one behind another up to 16 and for up to \
         1000 addresses. One that names itself keeps its mailbox.",
    ),
    live(
        "local.aliases_file",
        "(none)",
        "a path; the file has such lines: name = [\"ADDRESS\", …]",
        "More aliases. Those in `aliases` go before.",
    ),
    live(
        "local.unknown",
        "\"reject\"",
        "reject, bounce, hold, or { forward = ADDRESS }",
        "What becomes of mail for nobody who is known: refused at RCPT (550 5.1.1), taken and \
         returned, taken and held, or passed to somebody.",
    ),
    live("local.unknown.forward", "(none)", "a mailbox", "Who gets mail for nobody who is known."),
    live("local.retry", "(as in [delivery])", "as in [delivery]", "Waits between attempts."),
    live("local.jitter", "(as in [delivery])", "as in [delivery]", "How far waits are spread."),
    live(
        "local.lifetime",
        "(as in [delivery])",
        "as in [delivery]",
        "How long mail may stay before it is returned.",
    ),
    live(
        "local.max_attempts",
        "(as in [delivery])",
        "as in [delivery]",
        "Attempts after the first; 0 leaves the end to the lifetime.",
    ),
    live("local.timeout", "(as in [delivery])", "as in [delivery]", "Deadlines of a session."),
    live(
        "local.connections",
        "20",
        "1 to 100000",
        "Connections to the server, or messages written at once.",
    ),
    live("local.rate", "\"none\"", "a count per span, as \"1000/1m\"", "Messages handed over."),
    live(
        "local.on_failure",
        "(as in [delivery])",
        "retry, hold, bounce",
        "What becomes of mail after a temporary failure.",
    ),
    live(
        "local.delay_notice",
        "(as in [delivery])",
        "as in [delivery]",
        "When the sender is told that mail is late.",
    ),
];
