//! What was said in a session, for the log's `detail` level and for those who
//! are attached: one line per line of dialogue, everything escaped.
//!
//! Never message content, and never a secret: of a log-in only the names of
//! commands and mechanisms, neither what proves somebody nor what was asked.

use base::ConnId;
use eventlog::{Field, Kind, Line};

use crate::effect::Effect;
use crate::shard::{Shard, Turn};

/// Octets of one read that are told.
const TOLD_BYTES_MAX: usize = 4_096;
/// What a step of a log-in begins with (RFC 4954 §4).
const CHALLENGE: &[u8] = b"334 ";

impl Shard {
    /// Tells what is about to be said, before anything else is heard of the
    /// client; gives how many octets that were.
    pub(crate) fn tell_said(&mut self, turn: &mut Turn<'_>, conn: ConnId, out: &[u8]) -> usize {
        if out.is_empty() || !self.detailed() {
            return 0;
        }
        self.said(turn, conn, "in", out);
        out.len()
    }

    /// Says it; the first `told` octets were told of already.
    pub(crate) fn say_to_client(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        bytes: Vec<u8>,
        told: usize,
    ) {
        self.tell_said(turn, conn, &bytes[told..]);
        turn.effects.push(Effect::Send { conn, bytes });
    }

    /// What we said to a next hop; of a log-in only the command's first words.
    pub(crate) fn said_to_host(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        bytes: &[u8],
        secret: bool,
    ) {
        if !secret {
            return self.said(turn, conn, "out", bytes);
        }
        let command = bytes.starts_with(b"AUTH ").then(|| bytes.split(|byte| *byte == b' ').nth(1));
        let mechanism = command
            .flatten()
            .map_or("", |word| str::from_utf8(word.trim_ascii()).unwrap_or_default());
        let shown = format!("AUTH {mechanism} …").into_bytes();
        self.said(turn, conn, "out", if command.is_some() { &shown } else { b"(log-in)" });
    }

    /// What we said. `way` is `in` in a client's session, `out` in one of ours.
    pub(crate) fn said(&mut self, turn: &mut Turn<'_>, conn: ConnId, way: &str, bytes: &[u8]) {
        self.tell_lines(turn, conn, way, Field::Said, bytes);
    }

    /// What the peer said.
    pub(crate) fn heard_in(&mut self, turn: &mut Turn<'_>, conn: ConnId, way: &str, bytes: &[u8]) {
        self.tell_lines(turn, conn, way, Field::Heard, bytes);
    }

    fn tell_lines(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        way: &str,
        whose: Field,
        bytes: &[u8],
    ) {
        for line in bytes[..bytes.len().min(TOLD_BYTES_MAX)].split(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            let shown = if line.starts_with(CHALLENGE) { "334 …".as_bytes() } else { line };
            let entry = Line::new(turn.now.wall, Kind::Dialogue).text(Field::Way, way);
            let entry = entry.session(self.session_name(conn));
            self.tell(turn, conn, entry.text(whose, &String::from_utf8_lossy(shown)));
        }
    }
}
