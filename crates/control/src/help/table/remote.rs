//! The part of the table on control from elsewhere.

use super::{Help, live, section};

pub(super) const REMOTE: &[Help] = &[
    section(
        "control",
        "Control from elsewhere: all that the control socket answers, over TLS 1.2 or 1.3, for \
         `ringpost --host` and curl. Off unless the first four are set; then each client has to \
         prove itself with a certificate of the authority, and may do everything. `ringpost \
         remote-key` makes all that it takes.",
    ),
    live(
        "control.listen",
        "(none)",
        "IP addresses with a port, such as [\"192.0.2.10:8026\"], at most 16",
        "Where it listens; without a port at 8026, as with `--host`. An address that cannot be \
         had is told of in the log and tried again.",
    ),
    live(
        "control.certificate",
        "(none)",
        "a file name",
        "What the daemon proves itself with: its certificate, and those that lead to its root, in \
         PEM. Read again with the configuration.",
    ),
    live("control.key", "(none)", "a file name", "The key of that certificate, in PEM."),
    live(
        "control.client_authority",
        "(none)",
        "a file name",
        "The certificate, in PEM, of the authority whose certificates clients prove themselves with; \
         of several where there are several. Whoever has its key can let anybody in.",
    ),
    live(
        "control.names",
        "(all)",
        "common names, at most 256",
        "Only clients whose certificate was made out to one of these, by its common name.",
    ),
];
