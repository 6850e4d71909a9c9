//! An operator's own words for the part of a report that people read: a text
//! with named fields in braces. What programs read is never touched, and what
//! became of whom is always told: where `{details}` is not named, it comes last.
//!
//! A template is checked as a whole when it is read; filling it cannot fail.
//! Nothing in it is carried out: fields are looked up, once, and what stands in
//! for them is not read again.

use std::fmt::Write;

use super::{Report, subject, text};
use crate::date::MailDate;
use crate::wire::{Lines, clean};

/// Octets of a template.
pub const TEMPLATE_BYTES_MAX: usize = 32_768;
/// Octets of one of its lines.
const LINE_BYTES_MAX: usize = 500;
const SUBJECT: &str = "Subject: ";
/// Braces as themselves are written twice.
const BRACES: [(&str, char); 2] = [("{{", '{'), ("}}", '}')];

/// A template without faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    subject: Option<Vec<Piece>>,
    lines: Vec<Line>,
}

/// What is wrong with a template, and in which of its lines, from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Too long as a whole.
    #[error("it has more than {TEMPLATE_BYTES_MAX} octets")]
    PolicyTooLarge,
    /// No text.
    #[error("it is no UTF-8 text")]
    PolicyNoText,
    /// A line that is too long, or holds what no line of text does.
    #[error("line {0} is longer than {LINE_BYTES_MAX} octets or holds control characters")]
    PolicyLine(usize),
    /// A brace without its other half.
    #[error("line {0} has a lone brace; write {{{{ or }}}} for one as itself")]
    PolicyBrace(usize),
    /// A field that is not known.
    #[error("line {0} names {{{1}}}, which is none of {known}", known = known())]
    PolicyField(usize, String),
    /// The details within a line, or twice.
    #[error("line {0}: {{details}} stands once, in a line of its own")]
    PolicyDetails(usize),
    /// A subject that cannot be one.
    #[error("line 1: a subject has 1 to 200 octets of ASCII")]
    PolicySubject,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Details,
    Text(Vec<Piece>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Hostname,
    Id,
    Arrived,
    To,
    Kind,
    Subject,
    Count,
}

const FIELDS: [(&str, Field); 7] = [
    ("hostname", Field::Hostname),
    ("id", Field::Id),
    ("arrived", Field::Arrived),
    ("to", Field::To),
    ("kind", Field::Kind),
    ("subject", Field::Subject),
    ("count", Field::Count),
];
const DETAILS: &str = "{details}";

impl Template {
    /// Reads a template: an optional first line `Subject: …`, then the text.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(bytes: &[u8]) -> Result<Self, TemplateError> {
        if bytes.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::PolicyTooLarge);
        }
        let text = str::from_utf8(bytes).map_err(|_| TemplateError::PolicyNoText)?;
        let mut template = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            if line.len() > LINE_BYTES_MAX || line.chars().any(char::is_control) {
                return Err(TemplateError::PolicyLine(number));
            }
            if let (1, Some(subject)) = (number, line.strip_prefix(SUBJECT)) {
                let subject = subject.trim();
                if !subject.is_ascii() || !(1..=200).contains(&subject.len()) {
                    return Err(TemplateError::PolicySubject);
                }
                template.subject = Some(pieces(subject, number)?);
            } else if line.trim() == DETAILS {
                if template.lines.contains(&Line::Details) {
                    return Err(TemplateError::PolicyDetails(number));
                }
                template.lines.push(Line::Details);
            } else {
                template.lines.push(Line::Text(pieces(line, number)?));
            }
        }
        if !template.lines.contains(&Line::Details) {
            template.lines.push(Line::Details);
        }
        Ok(template)
    }

    /// The subject of a report, if the template has one.
    pub(super) fn subject(&self, report: &Report<'_>) -> Option<String> {
        let subject = filled(self.subject.as_ref()?, report);
        // A field in it may hold more than ASCII.
        Some(clean(subject.as_bytes(), false, LINE_BYTES_MAX))
    }

    /// Writes the text of a report.
    pub(super) fn write(&self, report: &Report<'_>, is_global: bool, out: &mut Lines) {
        for line in &self.lines {
            match line {
                Line::Details => text::details(report, is_global, out),
                Line::Text(pieces) if pieces.is_empty() => out.empty_line(),
                Line::Text(pieces) => {
                    let line = filled(pieces, report);
                    let blanks = line.len() - line.trim_start_matches(' ').len();
                    out.quote(&line[..blanks], &line);
                }
            }
        }
    }
}

fn pieces(line: &str, number: usize) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        if let Some((pair, brace)) = BRACES.iter().find(|(pair, _)| rest.starts_with(pair)) {
            push_text(&mut pieces, brace.encode_utf8(&mut [0; 4]));
            rest = &rest[pair.len()..];
        } else if let Some(inner) = rest.strip_prefix('{') {
            let (name, after) = inner.split_once('}').ok_or(TemplateError::PolicyBrace(number))?;
            if name == "details" {
                return Err(TemplateError::PolicyDetails(number));
            }
            let field = FIELDS.iter().find(|(known, _)| *known == name);
            let unknown = || TemplateError::PolicyField(number, name.chars().take(40).collect());
            pieces.push(Piece::Field(field.ok_or_else(unknown)?.1));
            rest = after;
        } else if rest.starts_with('}') {
            return Err(TemplateError::PolicyBrace(number));
        } else {
            let end = rest.find(['{', '}']).unwrap_or(rest.len());
            push_text(&mut pieces, &rest[..end]);
            rest = &rest[end..];
        }
    }
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(last)) => last.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

fn filled(pieces: &[Piece], report: &Report<'_>) -> String {
    let mut out = String::new();
    for piece in pieces {
        // Writing to a String cannot fail.
        let _ = match piece {
            Piece::Text(text) => out.write_str(text),
            Piece::Field(Field::Hostname) => write!(out, "{}", report.host),
            Piece::Field(Field::Id) => write!(out, "{}", report.original.id),
            Piece::Field(Field::Arrived) => write!(out, "{}", MailDate(report.original.arrival)),
            Piece::Field(Field::To) => write!(out, "{}", report.to),
            Piece::Field(Field::Kind) => {
                let kind = report.recipients.iter().map(|outcome| outcome.action).min();
                out.write_str(kind.map_or("", |kind| kind.as_str()))
            }
            Piece::Field(Field::Subject) => out.write_str(subject(report.recipients)),
            Piece::Field(Field::Count) => write!(out, "{}", report.recipients.len()),
        };
    }
    out
}

fn known() -> String {
    let names: Vec<_> = FIELDS.iter().map(|(name, _)| format!("{{{name}}}")).collect();
    format!("{}, {DETAILS}", names.join(", "))
}
