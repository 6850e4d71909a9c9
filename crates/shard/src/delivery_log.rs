//! Log lines as values: one JSON object per line, the same first keys in every
//! line, peers' text escaped. Which lines exist at which level is decided by
//! who writes them; here is only how a line looks.
//!
//! Invariant: whatever a peer says, a line stays one line of valid JSON.

use base::Wall;
use mail::date::civil_from_days;

/// Builds one log line.
#[derive(Debug)]
pub struct Line {
    text: String,
}

impl Line {
    /// Starts a line: `{"time":"…","event":"…"`.
    pub fn new(at: Wall, event: &str) -> Self {
        let mut text = String::with_capacity(256);
        text.push_str("{\"time\":\"");
        push_rfc3339(&mut text, at);
        text.push_str("\",\"event\":");
        push_json(&mut text, event);
        Self { text }
    }

    /// Adds a text.
    pub fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        push_json(&mut self.text, value);
        self
    }

    /// Adds a text unless it is empty.
    pub fn text_if(self, key: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.text(key, value) }
    }

    /// Adds anything that prints itself, as text.
    pub fn show(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        use std::fmt::Write;
        self.key(key);
        let start = self.text.len();
        write!(self.text, "{value}").expect("a String takes everything");
        let shown = self.text.split_off(start);
        push_json(&mut self.text, &shown);
        self
    }

    /// Adds a number.
    pub fn number(mut self, key: &str, value: u64) -> Self {
        use std::fmt::Write;
        self.key(key);
        write!(self.text, "{value}").expect("a String takes everything");
        self
    }

    /// Ends the line.
    pub fn end(mut self) -> String {
        self.text.push('}');
        self.text
    }

    fn key(&mut self, key: &str) {
        self.text.push_str(",\"");
        self.text.push_str(key);
        self.text.push_str("\":");
    }
}

/// `2026-11-21T22:15:30.125Z`.
pub fn rfc3339(at: Wall) -> String {
    let mut text = String::with_capacity(24);
    push_rfc3339(&mut text, at);
    text
}

fn push_rfc3339(text: &mut String, at: Wall) {
    use std::fmt::Write;
    let ms = at.as_millis();
    let (year, month, day) = civil_from_days(ms / 86_400_000);
    let month = month + 1;
    let s = ms / 1_000 % 86_400;
    write!(
        text,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        s / 3_600,
        s / 60 % 60,
        s % 60,
        ms % 1_000
    )
    .expect("a String takes everything");
}

fn push_json(text: &mut String, value: &str) {
    use std::fmt::Write;
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            c if (c as u32) < 0x20 || (0x7f..0xa0).contains(&(c as u32)) => {
                write!(text, "\\u{:04x}", c as u32).expect("a String takes everything");
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: A1.13, A2.12, B46, B90
    #[test]
    fn a_line_is_json_whatever_the_peer_said() {
        let line = Line::new(Wall::from_millis(951_782_400_005), "deferred")
            .text("reply", "451 \"later\"\r\n{\"event\":\"delivered\"}\u{1b}[2J\\")
            .text_if("host", "")
            .show("attempt", 3)
            .number("size", 2_048)
            .end();
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "2000-02-29T00:00:00.005Z");
        assert_eq!(value["event"], "deferred");
        assert_eq!(value["reply"], "451 \"later\"\r\n{\"event\":\"delivered\"}\u{1b}[2J\\");
        assert_eq!(value["size"], 2_048);
        assert_eq!(value.get("host"), None);
    }

    #[test]
    fn times_read_as_rfc_3339() {
        assert_eq!(rfc3339(Wall::from_millis(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Wall::from_millis(1_795_299_330_125)), "2026-11-21T22:15:30.125Z");
    }
}
