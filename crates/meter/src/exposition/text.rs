//! The text format itself: families with HELP and TYPE, samples with labels.

use std::fmt::Write;

use crate::exposition::families::{FAMILIES, Family};
use crate::histogram::Histogram;

/// A text that grows.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    /// The family that samples belong to.
    family: &'static str,
    /// Families written so far.
    begun: Vec<&'static str>,
}

const TAKEN: &str = "a String takes everything";

impl Text {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Begins a family, or goes on with it.
    pub(super) fn family(&mut self, name: &'static str) -> &mut Self {
        if self.family == name {
            return self;
        }
        assert!(!self.begun.contains(&name), "{name} is written in one piece");
        let known = FAMILIES.iter().find(|family| family.name == name);
        let Family { name, kind, help } = known.expect("each family is in the table");
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name()).expect(TAKEN);
        self.begun.push(name);
        self.family = name;
        self
    }

    /// One sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        self.start("", labels);
        writeln!(self.text, " {value}").expect(TAKEN);
    }

    /// One sample in seconds, given in microseconds.
    pub(super) fn seconds(&mut self, labels: &[(&str, &str)], micros: u64) {
        self.start("", labels);
        self.text.push(' ');
        self.push_seconds(micros);
        self.text.push('\n');
    }

    /// The samples of one histogram, in seconds.
    pub(super) fn histogram(&mut self, label: (&str, &str), times: &Histogram, bounds_us: &[u64]) {
        for bound in bounds_us {
            self.text.push_str(self.family);
            self.text.push_str("_bucket{");
            self.push_label(label);
            self.text.push_str(",le=\"");
            self.push_seconds(*bound);
            writeln!(self.text, "\"}} {}", times.within(*bound)).expect(TAKEN);
        }
        let count = times.count();
        self.start("_bucket", &[label, ("le", "+Inf")]);
        writeln!(self.text, " {count}").expect(TAKEN);
        self.start("_sum", &[label]);
        self.text.push(' ');
        self.push_seconds(times.sum());
        self.text.push('\n');
        self.start("_count", &[label]);
        writeln!(self.text, " {count}").expect(TAKEN);
    }

    pub(super) fn end(self) -> String {
        self.text
    }

    fn start(&mut self, suffix: &str, labels: &[(&str, &str)]) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        for (at, label) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.push_label(*label);
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
    }

    /// A label; what would end its value early is escaped.
    fn push_label(&mut self, (name, value): (&str, &str)) {
        self.text.push_str(name);
        self.text.push_str("=\"");
        for char in value.chars() {
            match char {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            }
        }
        self.text.push('"');
    }

    /// Microseconds as seconds, without needless digits.
    fn push_seconds(&mut self, micros: u64) {
        let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
        write!(self.text, "{whole}").expect(TAKEN);
        if part > 0 {
            let digits = format!(".{part:06}");
            self.text.push_str(digits.trim_end_matches('0'));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_carry_labels_that_cannot_break_out() {
        let mut text = Text::new();
        let family = text.family("ringpost_build_info");
        family.sample(&[("version", "a\"b\\c\nd")], 1);
        family.seconds(&[], 1_500_000);
        family.seconds(&[], 42);
        family.seconds(&[], 3_000_000);
        let said = text.end();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[1], "# TYPE ringpost_build_info gauge");
        assert_eq!(lines[2], r#"ringpost_build_info{version="a\"b\\c\nd"} 1"#);
        let seconds = [3, 4, 5].map(|at| lines[at].rsplit_once(' ').unwrap().1);
        assert_eq!(seconds, ["1.5", "0.000042", "3"]);
    }

    #[test]
    fn a_histogram_has_buckets_that_add_up() {
        let mut times = Histogram::default();
        [10, 20, 900, 70_000].into_iter().for_each(|micros| times.record(micros));
        let mut text = Text::new();
        let family = text.family("ringpost_stage_duration_seconds");
        family.histogram(("stage", "x"), &times, &[50, 1_000]);
        let said = text.end();
        let lines: Vec<&str> = said.lines().skip(2).collect();
        let name = "ringpost_stage_duration_seconds";
        assert_eq!(lines[0], format!("{name}_bucket{{stage=\"x\",le=\"0.00005\"}} 2"));
        assert_eq!(lines[1], format!("{name}_bucket{{stage=\"x\",le=\"0.001\"}} 3"));
        assert_eq!(lines[2], format!("{name}_bucket{{stage=\"x\",le=\"+Inf\"}} 4"));
        assert_eq!(lines[3], format!("{name}_sum{{stage=\"x\"}} 0.07093"));
        assert_eq!(lines[4], format!("{name}_count{{stage=\"x\"}} 4"));
    }
}
