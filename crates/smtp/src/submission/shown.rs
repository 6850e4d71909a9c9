//! What may be shown of a line that a client sent as a command, to whoever
//! reads the log.
//!
//! Invariant: nothing but commands is shown. What a client says after a refused
//! AUTH may be its password, and after a refused DATA it may be a letter.
//!
//! Read first: RFC 4954 §4, RFC 2920 §3.1.

use super::log_in::is_auth;

/// Shown instead of a line that is none of ours.
const NO_COMMAND: &[u8] = b"(not a command)";
/// Shown instead of AUTH.
const LOG_IN: &[u8] = b"AUTH (log-in)";

/// Commands whose arguments are shown where they begin like this.
const SHOWN: [(&[u8], &[u8]); 8] = [
    (b"EHLO", b""),
    (b"HELO", b""),
    (b"LHLO", b""),
    (b"MAIL", b"FROM:"),
    (b"RCPT", b"TO:"),
    (b"BDAT", b""),
    (b"ETRN", b""),
    (b"STARTTLS", b""),
];
/// Commands that are shown without what may follow.
const BARE: [&[u8]; 9] =
    [b"DATA", b"RSET", b"NOOP", b"QUIT", b"HELP", b"VRFY", b"EXPN", b"TURN", b"XCLIENT"];

/// What may be shown of a command line.
pub(super) fn to_show(line: &[u8]) -> &[u8] {
    if is_auth(line) {
        return LOG_IN;
    }
    let line = line.trim_ascii_end();
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (verb, arguments) = line.split_at(end);
    let shown = SHOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(verb));
    if let Some((_, begin)) = shown {
        let first = arguments.trim_ascii_start().get(..begin.len()).unwrap_or_default();
        return if first.eq_ignore_ascii_case(begin) { line } else { verb };
    }
    match BARE.iter().any(|known| known.eq_ignore_ascii_case(verb)) {
        true => verb,
        false => NO_COMMAND,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that sends ahead does not stop because AUTH or DATA was
    /// refused: its password and its letter came as commands, and stood in the
    /// log.
    ///
    /// Shows: S4.7
    #[test]
    fn only_commands_are_shown() {
        for (line, shown) in [
            ("EHLO client.example\r\n", "EHLO client.example"),
            ("mail from:<a@b.example> SIZE=7\r\n", "mail from:<a@b.example> SIZE=7"),
            ("RCPT TO: <a@b.example>\r\n", "RCPT TO: <a@b.example>"),
            ("BDAT 70 LAST\r\n", "BDAT 70 LAST"),
            ("QUIT\r\n", "QUIT"),
            ("AUTH PLAIN AGFubgBzZWNyZXQ=\r\n", "AUTH (log-in)"),
            ("  authAGFubgBzZWNyZXQ=\r\n", "AUTH (log-in)"),
            ("cGFzc3dvcmQ=\r\n", "(not a command)"),
            (" AGFubgBzZWNyZXQ=\r\n", "(not a command)"),
            ("Subject: the offer\r\n", "(not a command)"),
            ("Help me, I am out of words\r\n", "Help"),
            ("Mail me tomorrow\r\n", "Mail"),
            ("Data is here\r\n", "Data"),
            (".\r\n", "(not a command)"),
            ("\r\n", "(not a command)"),
        ] {
            assert_eq!(to_show(line.as_bytes()), shown.as_bytes(), "{line}");
        }
    }
}
