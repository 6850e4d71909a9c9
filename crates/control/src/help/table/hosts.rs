//! The part of the table on relay hosts.

use super::live;
use crate::help::Help;

pub(super) const HOSTS: &[Help] = &[
    live(
        "delivery.hosts",
        "(none)",
        "\"name\", \"name:port\", an address, or a table; at most 16",
        "Relay hosts, tried in this order within one attempt.",
    ),
    live(
        "delivery.hosts.host",
        "(needed)",
        "a name or an address, with or without port",
        "The host.",
    ),
    live(
        "delivery.hosts.port",
        "(the way's, else 25; 587 with a log-in, 465 with tls = \"implicit\")",
        "1 to 65535",
        "Its port.",
    ),
    live(
        "delivery.hosts.tls",
        "(the way's, else \"required\" with a log-in)",
        "none, opportunistic, required, implicit",
        "TLS towards this host.",
    ),
    live(
        "delivery.hosts.trust",
        "(the way's)",
        "as `delivery.trust`",
        "Who may have signed this host's certificate.",
    ),
    live(
        "delivery.hosts.preset",
        "(none)",
        "gmail, google-workspace, microsoft365, outlook, yahoo, icloud, fastmail, ses-us-east-1, \
         ses-eu-west-1, ses-eu-central-1, sendgrid, mailgun, mailgun-eu, postmark",
        "A provider's relay host instead of `host`: gives name, port, TLS and the methods of the \
         log-in; what is written beside it counts.",
    ),
    live(
        "delivery.hosts.certificate",
        "(none)",
        "a path to a PEM file",
        "The certificate that we show this host when it asks for one, with those that lead to its \
         root.",
    ),
    live("delivery.hosts.key", "(none)", "a path to a PEM file", "The key of that certificate."),
    live("delivery.hosts.auth", "(the way's)", "a log-in, or none", "The log-in at this host."),
    live(
        "delivery.hosts.pop",
        "(none)",
        "a table of user, password_file, host, tls, trust, remember, unchecked",
        "A log-in at a POP3 server that must succeed before this host is dialled, from the same \
         address. One that fails puts the mail off.",
    ),
    live("delivery.hosts.pop.user", "(needed)", "1 to 255 octets", "Who logs in."),
    live(
        "delivery.hosts.pop.password_file",
        "(needed)",
        "a path, from the configuration file's folder",
        "A file whose one line is the password. It is never shown or logged.",
    ),
    live(
        "delivery.hosts.pop.host",
        "(the relay host)",
        "a name or an address, with or without port; 995, or 110 without implicit TLS",
        "The POP3 server.",
    ),
    live(
        "delivery.hosts.pop.tls",
        "(implicit)",
        "none, required, implicit",
        "TLS towards it: never, by STLS, or from the first byte on; its certificate must hold.",
    ),
    live(
        "delivery.hosts.pop.trust",
        "(the relay host's)",
        "as `delivery.trust`",
        "Who may have signed its certificate.",
    ),
    live(
        "delivery.hosts.pop.remember",
        "(10m)",
        "a span from 1s to 1d",
        "How long a log-in is good for further connections.",
    ),
    live(
        "delivery.hosts.pop.unchecked",
        "(false)",
        "true, false",
        "Whether the password may go over a connection without TLS.",
    ),
];
