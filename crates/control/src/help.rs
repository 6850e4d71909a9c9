//! What each setting means: one table, from which `config help` answers and
//! the reference page (`docs/settings.md`) is made.
//!
//! Never read by the daemon's own decisions. Invariants, held by tests: every
//! key that the parser knows stands here and no other; the defaults are those
//! of an empty configuration.

mod page;
mod table;

pub use page::page;
pub use table::SETTINGS;

/// What there is to know about one setting, or about a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Help {
    /// Its path, such as `delivery.retry`. Settings of routes stand under
    /// `delivery`, but for `route.match`.
    pub path: &'static str,
    /// What it does, in a sentence or two.
    pub meaning: &'static str,
    /// What holds where it is not set: a TOML value, or words in parentheses.
    /// Empty for a section.
    pub default: &'static str,
    /// What may be written: the unit, the bounds, the words.
    pub values: &'static str,
    /// When a change takes effect.
    pub takes_effect: TakesEffect,
}

/// When a change of a setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesEffect {
    /// With the commit, for everything begun after it.
    AtOnce,
    /// At the next start of the daemon.
    NextStart,
}

impl TakesEffect {
    /// Whether it takes a start.
    pub fn is_at_start(self) -> bool {
        self == Self::NextStart
    }
}

/// The same for programs.
pub fn to_json(settings: &[&Help]) -> serde_json::Value {
    let row = |help: &&Help| {
        serde_json::json!({
            "path": help.path,
            "meaning": help.meaning,
            "values": help.values,
            "default": help.default,
            "section": help.is_section(),
            "takes_effect": if help.takes_effect.is_at_start() { "next-start" } else { "at-once" },
        })
    };
    serde_json::json!({ "settings": settings.iter().map(row).collect::<Vec<_>>() })
}

impl Help {
    /// Whether it stands for a group of settings, and has no value itself.
    pub fn is_section(&self) -> bool {
        self.default.is_empty()
    }
}

/// The help for a path; `route.X` is what `delivery.X` is, but for the
/// pattern. A number or pattern behind `route` may stand in brackets.
pub fn find(path: &str) -> Option<&'static Help> {
    let path = plain(path);
    let exact = |path: &str| SETTINGS.iter().find(|help| help.path == path);
    exact(&path).or_else(|| exact(&format!("delivery.{}", path.strip_prefix("route.")?)))
}

/// The help for a path and for everything below it, in the order of the
/// table; all of it for an empty path.
pub fn below(path: &str) -> Vec<&'static Help> {
    let path = plain(path);
    let inside = format!("{path}.");
    let is_meant =
        |help: &&Help| path.is_empty() || help.path == path || help.path.starts_with(&inside);
    let found: Vec<_> = SETTINGS.iter().filter(is_meant).collect();
    if found.is_empty() { find(&path).into_iter().collect() } else { found }
}

/// What to say about a path that is unknown, with the nearest right one.
pub fn unknown(path: &str) -> String {
    let path = plain(path);
    let in_route = path.strip_prefix("route.");
    let wanted = in_route.map_or_else(|| path.clone(), |key| format!("delivery.{key}"));
    let near = SETTINGS.iter().map(|help| help.path).min_by_key(|known| distance(known, &wanted));
    match near.filter(|near| distance(near, &wanted) <= 3) {
        Some(near) => {
            let back = in_route.and_then(|_| near.strip_prefix("delivery."));
            let near = back.map_or_else(|| near.to_owned(), |key| format!("route.{key}"));
            format!("is not a known setting; did you mean `{near}`?")
        }
        None => "is not a known setting; `config help` lists all of them".to_owned(),
    }
}

/// The path without what stands in brackets.
fn plain(path: &str) -> String {
    match (path.find('['), path.rfind(']')) {
        (Some(open), Some(close)) if open < close => [&path[..open], &path[close + 1..]].concat(),
        _ => path.to_owned(),
    }
}

/// Number of letters to insert, delete or replace to make `right` of `left`;
/// a large number for long words, which are no typing errors.
pub(crate) fn distance(left: &str, right: &str) -> usize {
    const WORD_BYTES_MAX: usize = 64;
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() > WORD_BYTES_MAX || right.len() > WORD_BYTES_MAX {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests;
