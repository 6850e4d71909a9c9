//! What reading a configuration carries along: the path of the key being read
//! and the findings so far. Nothing is thrown: a reader that finds a fault
//! reports it and leaves the setting as it was, so that one run finds them all.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Lines, Severity};
use super::submission::pem;
use super::{CONFIG_BYTES_MAX, DIAGNOSTICS_MAX};
use crate::help::distance;
use crate::remote::Authority;

/// A value and its place in the text.
pub(super) type Item<'t> = Spanned<DeValue<'t>>;

/// One key of a table: its name, and what reads it into `T`.
pub(super) type Key<T> = (&'static str, fn(&mut Cx<'_>, &Item<'_>, &mut T));

/// The keys of one table.
pub(super) type Keys<T> = [Key<T>];

/// How far a name is from a known one: letters that differ, or next to nothing
/// where the known one only goes on.
fn misspelt(known: &str, name: &str) -> usize {
    let goes_on = name.len() >= 4 && known.starts_with(name);
    if goes_on { 1 } else { distance(known, name) }
}

/// The names of a table's keys behind `before`.
pub(super) fn named<T>(before: &str, keys: &Keys<T>) -> Vec<String> {
    keys.iter().map(|(name, _)| format!("{before}{name}")).collect()
}

/// Gives a file's content, or the words for why not.
pub type ReadFile<'f> = dyn FnMut(&str) -> Result<Vec<u8>, String> + 'f;

pub(super) struct Cx<'t> {
    text: &'t str,
    files: &'t mut ReadFile<'t>,
    /// Files of roots that were read, by their names: every route may have the
    /// same.
    authorities: BTreeMap<Box<str>, Arc<Authority>>,
    path: Vec<Cow<'static, str>>,
    /// Where each key outside of routes was set.
    places: BTreeMap<String, Range<usize>>,
    /// Each with its offset; lines are counted once, at the end.
    diagnostics: Vec<(usize, Diagnostic)>,
    errors: usize,
    unreported: usize,
}

impl<'t> Cx<'t> {
    pub(super) fn new(text: &'t str, files: &'t mut ReadFile<'t>) -> Self {
        Self {
            text,
            files,
            authorities: BTreeMap::new(),
            path: Vec::new(),
            places: BTreeMap::new(),
            diagnostics: Vec::new(),
            errors: 0,
            unreported: 0,
        }
    }

    /// Errors reported so far.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// The content of a file that the configuration names.
    pub(super) fn file(&mut self, path: &str) -> Result<Vec<u8>, String> {
        (self.files)(path)
    }

    /// The roots in the file that is named here, read once; `None`, with the fault
    /// reported, if there are none.
    pub(super) fn authority(&mut self, item: &Item<'_>) -> Option<Arc<Authority>> {
        let named = item.get_ref().as_str()?;
        if let Some(known) = self.authorities.get(named) {
            return Some(known.clone());
        }
        let (file, bytes) = pem(self, item, "CERTIFICATE")?;
        let read = Arc::new(Authority { file: file.clone(), certificates: bytes.into() });
        self.authorities.insert(file, read.clone());
        Some(read)
    }

    /// The TOML document; `None`, with the faults reported, if it is none.
    pub(super) fn document(&mut self) -> Option<DeTable<'t>> {
        if self.text.len() > CONFIG_BYTES_MAX {
            let limit = crate::units::Size(CONFIG_BYTES_MAX as u64);
            self.error(0..0, format!("the configuration is larger than {limit}"));
            return None;
        }
        let (document, faults) = DeTable::parse_recoverable(self.text);
        for fault in &faults {
            let message = fault.message().lines().collect::<Vec<_>>().join("; ");
            self.error(fault.span().unwrap_or(0..0), message);
        }
        faults.is_empty().then(|| document.into_inner())
    }

    /// Everything found, in the order of the text, and whether an error is
    /// among it.
    pub(super) fn finish(mut self) -> (bool, Vec<Diagnostic>) {
        if self.diagnostics.is_empty() {
            return (false, Vec::new());
        }
        self.diagnostics.sort_by_key(|(offset, _)| *offset);
        let lines = Lines::new(self.text);
        let placed = |(offset, diagnostic)| {
            let (line, column) = lines.place(offset);
            Diagnostic { line, column, ..diagnostic }
        };
        let mut diagnostics: Vec<_> = self.diagnostics.into_iter().map(placed).collect();
        if let Some(last) = diagnostics.last().filter(|_| self.unreported > 0) {
            let message = format!("and {} more", self.unreported);
            let (line, column) = (last.line, last.column);
            let severity = if self.errors > 0 { Severity::Error } else { Severity::Warning };
            diagnostics.push(Diagnostic { line, column, key: String::new(), message, severity });
        }
        (self.errors > 0, diagnostics)
    }

    /// Reads what stands behind `part` of the path.
    pub(super) fn within<R>(
        &mut self,
        part: impl Into<Cow<'static, str>>,
        read: impl FnOnce(&mut Self) -> R,
    ) -> R {
        self.path.push(part.into());
        let result = read(self);
        self.path.pop();
        result
    }

    /// Reads each key of a table by its entry in `keys`, into `into`; the rest
    /// is unknown.
    pub(super) fn table<T>(&mut self, item: &Item<'_>, keys: &Keys<T>, into: &mut T) {
        match item.get_ref() {
            DeValue::Table(table) => self.entries(table, keys, into),
            _ => self.error(item.span(), "must be a table"),
        }
    }

    /// As [`Cx::table`], for the document itself.
    pub(super) fn entries<T>(&mut self, table: &DeTable<'_>, keys: &Keys<T>, into: &mut T) {
        for (key, item) in table {
            let name = key.get_ref().as_ref();
            match keys.iter().find(|(known, _)| *known == name) {
                Some((known, read)) => self.within(*known, |cx| {
                    cx.remember(item.span());
                    read(cx, item, into);
                }),
                None => self.unknown(key.span(), name, keys.iter().map(|(known, _)| *known)),
            }
        }
    }

    /// Sets `slot` if `read` finds a value.
    pub(super) fn set<T>(
        &mut self,
        slot: &mut T,
        item: &Item<'_>,
        read: impl FnOnce(&mut Self, &Item<'_>) -> Option<T>,
    ) {
        if let Some(value) = read(self, item) {
            *slot = value;
        }
    }

    /// Where the key with this path stands; the start of the text if it is not
    /// set.
    pub(super) fn place_of(&self, path: &str) -> Range<usize> {
        self.places.get(path).cloned().unwrap_or(0..0)
    }

    /// Whether the key with this path is set.
    pub(super) fn is_set(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// Reports an error at the key being read.
    pub(super) fn error(&mut self, at: Range<usize>, message: impl Into<String>) {
        self.report(at, self.path.join("."), message.into(), Severity::Error);
    }

    /// Reports an error at another key.
    pub(super) fn error_at(&mut self, path: &str, message: impl Into<String>) {
        self.report(self.place_of(path), path.into(), message.into(), Severity::Error);
    }

    /// Reports a warning at the key being read.
    pub(super) fn warn(&mut self, at: Range<usize>, message: impl Into<String>) {
        self.report(at, self.path.join("."), message.into(), Severity::Warning);
    }

    /// Reports a warning at another key.
    pub(super) fn warn_at(&mut self, path: &str, message: impl Into<String>) {
        self.report(self.place_of(path), path.into(), message.into(), Severity::Warning);
    }

    pub(super) fn unknown(
        &mut self,
        at: Range<usize>,
        name: &str,
        known: impl Iterator<Item = &'static str> + Clone,
    ) {
        let near = known.clone().min_by_key(|known| misspelt(known, name));
        let message = match near.filter(|near| misspelt(near, name) <= name.len().min(6) / 2) {
            Some(near) => format!("is not a known key; did you mean `{near}`?"),
            None => {
                let known: Vec<_> = known.collect();
                format!("is not a known key; known here: {}", known.join(", "))
            }
        };
        let name: String = name.chars().take(64).collect();
        self.within(name, |cx| cx.error(at, message));
    }

    /// Reports that nothing is called `name`, with the nearest of the names
    /// that there are.
    pub(super) fn unnamed<'n>(
        &mut self,
        at: Range<usize>,
        name: &str,
        known: impl Iterator<Item = &'n str>,
    ) {
        let quoted = super::values::quoted(name);
        let near = known.min_by_key(|known| distance(known, name));
        let message = match near.filter(|near| distance(near, name) <= 2) {
            Some(near) => format!("names {quoted}, which is not there; did you mean `{near}`?"),
            None => format!("names {quoted}, which is not there"),
        };
        self.error(at, message);
    }

    fn remember(&mut self, place: Range<usize>) {
        // Entries of lists keep their own places: there may be many of them.
        if !self.path[0].contains('[') {
            self.places.insert(self.path.join("."), place);
        }
    }

    fn report(&mut self, at: Range<usize>, key: String, message: String, severity: Severity) {
        self.errors += usize::from(severity == Severity::Error);
        if self.diagnostics.len() >= DIAGNOSTICS_MAX {
            // A warning must not take an error's place.
            let warning = |(_, d): &(usize, Diagnostic)| d.severity == Severity::Warning;
            let place = self.diagnostics.iter().rposition(warning);
            self.unreported += 1;
            match place.filter(|_| severity == Severity::Error) {
                Some(place) => drop(self.diagnostics.remove(place)),
                None => return,
            }
        }
        let unplaced = Diagnostic { line: 0, column: 0, key, message, severity };
        self.diagnostics.push((at.start, unplaced));
    }
}
