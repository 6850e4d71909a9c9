//! What was said in a session, for the log's `detail` level: one line per line
//! of dialogue, message content left out, everything escaped.

use eventlog::{Field, Kind, Line, SessionName};

use crate::shard::Turn;

/// Octets of one read that are logged.
const LOGGED_BYTES_MAX: usize = 4_096;

/// Logs what we said to a next hop; of a log-in only the command's first words.
pub(crate) fn said_to_host(turn: &mut Turn<'_>, session: SessionName, bytes: &[u8], secret: bool) {
    if !secret {
        return said(turn, session, "out", bytes);
    }
    let command = bytes.starts_with(b"AUTH ").then(|| bytes.split(|byte| *byte == b' ').nth(1));
    let mechanism =
        command.flatten().map_or("", |word| str::from_utf8(word.trim_ascii()).unwrap_or_default());
    let shown = format!("AUTH {mechanism} …").into_bytes();
    said(turn, session, "out", if command.is_some() { &shown } else { b"(log-in)" });
}

/// Logs what we said. `way` is `in` in a client's session, `out` in one of ours.
pub(crate) fn said(turn: &mut Turn<'_>, session: SessionName, way: &str, bytes: &[u8]) {
    log(turn, session, way, Field::Said, bytes);
}

/// Logs what the peer said.
pub(crate) fn heard(turn: &mut Turn<'_>, session: SessionName, way: &str, bytes: &[u8]) {
    log(turn, session, way, Field::Heard, bytes);
}

fn log(turn: &mut Turn<'_>, session: SessionName, way: &str, whose: Field, bytes: &[u8]) {
    for line in bytes[..bytes.len().min(LOGGED_BYTES_MAX)].split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let entry = Line::new(turn.now.wall, Kind::Dialogue).text(Field::Way, way);
        let entry = entry.show(Field::Session, session);
        turn.log(entry.text(whose, &String::from_utf8_lossy(line)));
    }
}
