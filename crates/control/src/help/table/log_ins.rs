//! The part of the table on log-ins at relay hosts.

use super::live;
use crate::help::Help;

pub(super) const LOG_INS: &[Help] = &[
    live(
        "delivery.sender_auth",
        "\"none\"",
        "a list of log-ins with `match`, at most 10000, or \"none\"",
        "Log-ins of senders: mail of whom `match` takes first goes out by that log-in at each host \
         without an `auth` of its own, all other mail by `auth`. Connections are never shared.",
    ),
    live(
        "delivery.sender_auth.match",
        "(must be given)",
        "a domain, \"*.domain\", \"user@domain\" or \"*\"",
        "Whose log-in it is, by the envelope's sender.",
    ),
    live("delivery.sender_auth.user", "(must be given)", "1 to 255 octets", "As `auth.user`."),
    live("delivery.sender_auth.password_file", "(none)", "a path", "As `auth.password_file`."),
    live("delivery.sender_auth.token_file", "(none)", "a path", "As `auth.token_file`."),
    live(
        "delivery.sender_auth.token_command",
        "(none)",
        "as `auth.token_command`",
        "As `auth.token_command`.",
    ),
    live(
        "delivery.sender_auth.token_timeout",
        "10s",
        "as `auth.token_timeout`",
        "As `auth.token_timeout`.",
    ),
    live(
        "delivery.sender_auth.methods",
        "(all of its kind)",
        "as `auth.methods`",
        "As `auth.methods`.",
    ),
    live("delivery.sender_auth.unchecked", "false", "true or false", "As `auth.unchecked`."),
    live(
        "delivery.auth",
        "(none)",
        "a table with user, password_file, token_file or token_command, methods, unchecked; or none",
        "The log-in at relay hosts. Mail of different log-ins never shares a connection.",
    ),
    live("delivery.auth.user", "(needed)", "a name", "Who logs in."),
    live(
        "delivery.auth.password_file",
        "(this, token_file or token_command is needed)",
        "a path, from the configuration file's folder",
        "A file whose one line is the password. It is never shown or logged.",
    ),
    live(
        "delivery.auth.token_file",
        "(this, password_file or token_command is needed)",
        "a path, from the configuration file's folder",
        "A file whose one line is an OAuth 2 token.",
    ),
    live(
        "delivery.auth.token_command",
        "(this, password_file or token_file is needed)",
        "a program by its absolute path, or a list of it and its arguments",
        "Prints an OAuth 2 token: alone on the first line, or as JSON with `access_token` and \
         perhaps `expires_in`. It is run without a shell when a token is needed, and its token \
         kept until shortly before it expires, 5 minutes where nothing is said of that, or until \
         a host refuses it. While it runs mail waits, and after it failed for 10s, doubled up to \
         10m; that counts as no attempt. What it prints is never shown or logged.",
    ),
    live(
        "delivery.auth.token_timeout",
        "10s",
        "a span from 100ms to 10m",
        "How long the program may take; then it is killed with all that it started.",
    ),
    live(
        "delivery.auth.methods",
        "(all that go with a password, or a token, the safest first)",
        "scram-sha-256, cram-md5, plain, login; xoauth2",
        "Methods that may be used.",
    ),
    live(
        "delivery.auth.unchecked",
        "false",
        "true, false",
        "Whether the secret may go to a host that has not proved who it is.",
    ),
];
