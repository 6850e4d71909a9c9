//! The part of the table on alerts.

use super::{Help, live, section};

pub(super) const ALERTS: &[Help] = &[
    section(
        "alerts",
        "What somebody is told of before mail is late: by mail, and as event `alert` in the log, which \
         webhooks and syslog read. An alert is cleared when its value is better than the limit by a \
         quarter.",
    ),
    live(
        "alerts.mail_to",
        "[]",
        "mailboxes, at most 16",
        "Who gets mail when an alert is raised and when it is cleared; at most 20 messages an hour. Use \
         one whose mail does not depend on this machine.",
    ),
    live(
        "alerts.raise_after",
        "\"1m\"",
        "a span from 1s to 1d",
        "How long a value must be at its limit or beyond before that is told.",
    ),
    live(
        "alerts.clear_after",
        "\"5m\"",
        "a span from 1s to 1d",
        "How long it must be good before that is told.",
    ),
    live(
        "alerts.queue_age",
        "\"4h\"",
        "a span from 1s, or none",
        "Told when a quarter of the waiting recipients, and at least 20, is older; in steps of 5, 10, 20, 40 and so on minutes.",
    ),
    live(
        "alerts.queue_size",
        "100000",
        "a number from 1, or none",
        "Told when so many recipients wait.",
    ),
    live(
        "alerts.queue_full",
        "\"80%\"",
        "1% to 100%, or none",
        "Told when the queue holds so much of what queue.max_bytes or queue.max_messages allows.",
    ),
    live(
        "alerts.failure_rate",
        "\"25%\"",
        "1% to 100%, or none",
        "Told when so much of the mail that came to an end in the last ten minutes, at least 50 recipients, failed for good.",
    ),
    live(
        "alerts.site_down",
        "\"30m\"",
        "a span from 1s, or none",
        "Told when a site for which 100 recipients wait is down for so long.",
    ),
    live(
        "alerts.route_down",
        "\"10m\"",
        "a span from 1s, or none",
        "Told when a route that relays has mail, and for so long none of its hosts takes any: they fail, cannot be looked up, or are suspended. The main way is the route `default`.",
    ),
    live(
        "alerts.port_25",
        "5",
        "a number from 1 to 1000, or none",
        "Told when so many sites have timed out, one after the other, and no exchanger has answered at all: the provider of this machine may block port 25. From then on a time-out is no attempt of any mail and no site's fault; single connections find out when it is over. With none, nobody is told, and it begins at 5.",
    ),
    live(
        "alerts.disk_free",
        "\"3GiB\"",
        "a size from 1B, or none",
        "Told when no more than this is free where the queue lies.",
    ),
    live(
        "alerts.certificate",
        "\"14d\"",
        "a span from 1s, or none",
        "Told when a certificate that we prove ourselves with is good for this long only.",
    ),
    live(
        "alerts.clock_step",
        "\"5s\"",
        "a span from 1s, or none",
        "Told when the machine's clock was set by so much.",
    ),
    live(
        "alerts.resolver",
        "1",
        "a number from 1, or none",
        "Told when look-ups are needed and no name server answers.",
    ),
    live(
        "alerts.lines_lost",
        "1",
        "a number from 1, or none",
        "Told when the event log has dropped so many lines since the last look, a few seconds before.",
    ),
];
