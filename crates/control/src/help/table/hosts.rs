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
];
