//! Tables and units for people. Everything here is also to be had as JSON.
//!
//! Text from peers reaches the terminal only through [`clean`].

use std::io::{self, Write};
use std::process::ExitCode;

/// Puts a text out. A reader that has seen enough is no failure.
///
/// # Errors
/// The exit code where it cannot be written; why has been said.
pub fn put(text: &str) -> Result<(), ExitCode> {
    put_into(&mut io::stdout().lock(), text).map_err(|error| {
        eprintln!("this cannot be written: {error}");
        ExitCode::from(1)
    })
}

fn put_into(out: &mut impl Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A table with a heading row; columns as wide as their widest cell.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table under `headings`.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(ToString::to_string).collect()] }
    }

    /// Adds a row of as many cells as there are headings.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(|c| clean(&c)).collect());
    }

    /// The text, a line per row; the last column is not padded.
    pub fn to_text(&self) -> String {
        let columns = self.rows[0].len();
        let widths: Vec<usize> = (0..columns)
            .map(|c| {
                self.rows
                    .iter()
                    .filter_map(|r| r.get(c))
                    .map(|t| t.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                if column + 1 == row.len() {
                    text.push_str(cell);
                } else {
                    text.push_str(&format!("{cell:<width$}  ", width = widths[column]));
                }
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }
}

/// Text without control characters: a peer's words must not drive a terminal.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The same for a text of several lines.
pub fn clean_text(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// A span in the largest two units: `3d4h`, `12m5s`, `250ms`.
pub fn span(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0 => format!("{ms}ms"),
        1..60 => format!("{s}s"),
        60..3_600 => format!("{}m{}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d{}h", s / 86_400, s / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_do_not_pass() {
        let mut table = Table::new(&["SITE", "N"]);
        table.row(vec!["a.example".into(), "12".into()]);
        table.row(vec!["b\u{1b}[2J".into(), "3".into()]);
        assert_eq!(table.to_text(), "SITE       N\na.example  12\nb\u{fffd}[2J      3\n");
    }

    #[test]
    fn spans_read_in_two_units() {
        assert_eq!(
            [250, 59_000, 61_000, 3_700_000, 90_000_000].map(span),
            ["250ms", "59s", "1m1s", "1h1m", "1d1h"]
        );
    }
}
