//! One finding about a configuration, and where in the text it is.

use std::fmt;

/// Whether a finding stops the configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// Allowed, but hardly meant.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The key's path, such as `delivery.retry` or `route[3].match`, where
    /// routes count from 1; empty for the text as a whole.
    pub key: String,
    /// What is wrong, in plain words.
    pub message: String,
    /// Error or warning.
    pub severity: Severity,
}

/// `line 3, column 9: delivery.retry must not be empty`
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, key, message, severity } = self;
        write!(f, "line {line}, column {column}: ")?;
        if *severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !key.is_empty() {
            write!(f, "{key} ")?;
        }
        f.write_str(message)
    }
}

/// One finding per line.
pub(super) fn listing(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}

/// Finds line and column of a byte offset.
pub(super) struct Lines<'t> {
    text: &'t str,
    /// Offset of the first byte of each line.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let ends = text.match_indices('\n');
        let starts = std::iter::once(0).chain(ends.map(|(end, _)| end + 1)).collect();
        Self { text, starts }
    }

    /// Line and column, from 1; the end of the text for an offset beyond it.
    pub(super) fn place(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let before = self.text.get(start..offset).unwrap_or_default();
        (line as u32, before.chars().count() as u32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let lines = Lines::new("a = 1\n\u{e9}\u{e9} = 2\n");
        for (offset, place) in
            [(0, (1, 1)), (4, (1, 5)), (5, (1, 6)), (6, (2, 1)), (10, (2, 3)), (99, (3, 1))]
        {
            assert_eq!(lines.place(offset), place, "{offset}");
        }
    }
}
