//! The settings of ways that say when and how much: waits, deadlines, limits,
//! and what becomes of mail that fails.

use super::live;
use crate::help::Help;

/// In the order of the reference.
pub(super) const PACE: &[Help] = &[
    live(
        "delivery.schedule",
        "\"immediately\"",
        "immediately, or a table of zone and windows; at most 64 different ones",
        "When mail may leave. Outside its windows it waits, which counts as no attempt; its \
         lifetime goes on. `queue flush` sends once all the same.",
    ),
    live(
        "delivery.schedule.zone",
        "(needed)",
        "a time zone such as \"Europe/Berlin\" or \"UTC\"",
        "Whose clocks the windows go by, with their changes to and from summer time.",
    ),
    live(
        "delivery.schedule.windows",
        "(needed)",
        "\"mon-fri 22:00-06:00\", \"sat,sun 00:00-24:00\", \"12:00-13:00\"; at most 32",
        "The windows. One that ends before it begins goes on into the day after; without days \
         it is every day's.",
    ),
    live(
        "delivery.retry",
        "[\"5m\", \"10m\", \"20m\", \"40m\", \"1h\"]",
        "a span, a list of them from 100ms, at most 64, or a table of first, factor and max",
        "Waits between attempts; the last one repeats.",
    ),
    live("delivery.retry.first", "(needed)", "a span", "The first of growing waits."),
    live(
        "delivery.retry.factor",
        "(2)",
        "1.1 to 100",
        "What each wait is multiplied with to give the next one.",
    ),
    live("delivery.retry.max", "(needed)", "a span", "The longest wait, which repeats."),
    live(
        "delivery.retry_after",
        "{}",
        "a table of greylisted, limited and unreachable, each as retry",
        "Waits of their own after some kinds of trouble; after any other, those of retry. A route \
         that has the key names all of its own.",
    ),
    live(
        "delivery.retry_after.greylisted",
        "(as retry)",
        "as retry",
        "After an answer that puts off the first try of every stranger, told by its words.",
    ),
    live(
        "delivery.retry_after.limited",
        "(as retry)",
        "as retry",
        "After an answer that we send too much, told by its words.",
    ),
    live(
        "delivery.retry_after.unreachable",
        "(as retry)",
        "as retry",
        "After an attempt to which no host gave an answer; its site rests as long.",
    ),
    live(
        "delivery.jitter",
        "\"10%\"",
        "0% to 50%",
        "By how much each wait differs, to either side, so that not all mail comes back at once.",
    ),
    live(
        "delivery.lifetime",
        "\"5d\"",
        "a span from 1s to 3650d",
        "How long mail may stay in the queue, in any state.",
    ),
    live(
        "delivery.max_attempts",
        "0",
        "0 to 10000",
        "Attempts after the first; 0 leaves the end to the lifetime.",
    ),
    live(
        "delivery.timeout",
        "(one for each phase)",
        "a span from 10ms to 1d, or a table of phases",
        "Deadlines of a session, phase by phase or one for all (RFC 5321 §4.5.3.2).",
    ),
    live(
        "delivery.timeout.connect",
        "\"30s\"",
        "a span from 10ms to 1d",
        "For a connection to stand.",
    ),
    live("delivery.timeout.greeting", "\"5m\"", "a span from 10ms to 1d", "For the greeting."),
    live(
        "delivery.timeout.ehlo",
        "\"5m\"",
        "a span from 10ms to 1d",
        "For the answer to EHLO or HELO.",
    ),
    live(
        "delivery.timeout.tls",
        "\"30s\"",
        "a span from 10ms to 1d",
        "For STARTTLS and the handshake, each.",
    ),
    live("delivery.timeout.mail", "\"5m\"", "a span from 10ms to 1d", "For the answer to MAIL."),
    live("delivery.timeout.rcpt", "\"5m\"", "a span from 10ms to 1d", "For the answer to RCPT."),
    live("delivery.timeout.data", "\"2m\"", "a span from 10ms to 1d", "For the answer to DATA."),
    live(
        "delivery.timeout.data_block",
        "\"3m\"",
        "a span from 10ms to 1d",
        "For each piece of the content to be taken.",
    ),
    live(
        "delivery.timeout.data_done",
        "\"10m\"",
        "a span from 10ms to 1d",
        "For the answer to the final dot. A shorter one makes second copies.",
    ),
    live("delivery.timeout.rset", "\"20s\"", "a span from 10ms to 1d", "For the answer to RSET."),
    live("delivery.timeout.quit", "\"10s\"", "a span from 10ms to 1d", "For the answer to QUIT."),
    live(
        "delivery.connections",
        "20",
        "1 to 100000",
        "Connections to one site at once, summed over all shards.",
    ),
    live(
        "delivery.messages_per_connection",
        "100",
        "1 to 1000000",
        "Messages over one connection before it is closed.",
    ),
    live(
        "delivery.recipients_per_message",
        "100",
        "1 to 10000",
        "Recipients in one transaction (RFC 5321 §4.5.3.1.8).",
    ),
    live(
        "delivery.rate",
        "\"none\"",
        "a rate such as 1000/1m, or none",
        "Messages to one site in a window, summed over all shards.",
    ),
    live(
        "delivery.idle",
        "\"5s\"",
        "a span up to 1h",
        "How long a connection without work is kept.",
    ),
    live(
        "delivery.on_failure",
        "\"retry\"",
        "retry, hold, bounce",
        "What becomes of mail after a temporary failure.",
    ),
    live(
        "delivery.fallback",
        "true",
        "true, false",
        "Whether a route whose hosts are all down falls back to the default way.",
    ),
    live(
        "delivery.delay_notice",
        "\"4h\"",
        "a span from 1s to 3650d, or none",
        "When the sender is told that mail is late.",
    ),
];
