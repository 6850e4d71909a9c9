//! What was said in a session, for the log's `detail` level: one line per line
//! of dialogue, message content left out, everything escaped.

use base::ConnId;

use crate::delivery_log::Line;
use crate::shard::Turn;

/// Octets of one read that are logged.
const LOGGED_BYTES_MAX: usize = 4_096;

/// Logs what we said to a next hop; of a log-in only the command's first words.
pub(crate) fn log_said(turn: &mut Turn<'_>, conn: ConnId, bytes: &[u8], secret: bool) {
    if !secret {
        return log(turn, conn, "out", ">", bytes);
    }
    let command = bytes.starts_with(b"AUTH ").then(|| bytes.split(|byte| *byte == b' ').nth(1));
    let mechanism =
        command.flatten().map_or("", |word| str::from_utf8(word.trim_ascii()).unwrap_or_default());
    let said = format!("AUTH {mechanism} …").into_bytes();
    log(turn, conn, "out", ">", if command.is_some() { &said } else { b"(log-in)" });
}

/// Logs `bytes` as dialogue of session `conn`. `way` is `in` or `out`,
/// `direction` `<` for what the peer said and `>` for what we said.
pub(crate) fn log(turn: &mut Turn<'_>, conn: ConnId, way: &str, direction: &str, bytes: &[u8]) {
    for line in bytes[..bytes.len().min(LOGGED_BYTES_MAX)].split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let said = String::from_utf8_lossy(line);
        let entry = Line::new(turn.now.wall, "dialogue").text("way", way);
        turn.log(entry.number("session", conn.0).text(direction, &said));
    }
}
