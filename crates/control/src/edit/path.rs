//! Paths of settings as an operator writes them: `dns.timeout`,
//! `delivery.timeout.mail`, `route[3].hosts`, `route["*.example.com"].tls`,
//! `local[1].aliases.sales`.
//!
//! Invariant: a path that is read leads to a setting that the configuration
//! knows; what is misspelt is told with the nearest right name.

use super::EditError;
use crate::help;

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// As it was written, for answers.
    pub(super) written: String,
    /// The entry of a list that it is in, if it is in one.
    pub(super) entry: Option<Entry>,
    /// The keys that lead to it; from the entry, if it is in one.
    pub(super) keys: Vec<String>,
}

/// A route or a local domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// `route` or `local`.
    pub(super) list: &'static str,
    /// Its place, from 1, or its pattern.
    pub(super) name: String,
}

/// Lists whose entries are named in brackets.
const LISTS: [&str; 2] = ["route", "local"];
/// What stands behind this is a name of the operator's own.
const NAMES: &str = "local.aliases.";

pub(super) fn parse(written: &str) -> Result<Path, EditError> {
    let bracket =
        |list: &&'static str| Some((*list, written.strip_prefix(*list)?.strip_prefix('[')?));
    let (entry, rest) = match LISTS.iter().find_map(bracket) {
        Some((list, rest)) => {
            let (name, rest) = name_of_entry(rest).ok_or_else(|| {
                let form = format!("must be written as {list}[3].KEY or {list}[\"PATTERN\"].KEY");
                refused(written, &form)
            })?;
            (Some(Entry { list, name }), rest)
        }
        None => (None, written),
    };
    let keys: Vec<String> = rest.split('.').map(str::to_owned).collect();
    let section = entry.as_ref().map_or_else(String::new, |entry| format!("{}.", entry.list));
    known(&format!("{section}{rest}"), written)?;
    match keys[0].as_str() {
        "route" if entry.is_none() => {
            Err(refused(written, "needs the route, such as route[1].hosts"))
        }
        "local" if entry.is_none() => {
            Err(refused(written, "needs the entry, such as local[1].users"))
        }
        _ => Ok(Path { written: written.to_owned(), entry, keys }),
    }
}

/// The key of a route as one path.
pub(super) fn of_route(route: &str, key: &str) -> Result<Path, EditError> {
    known(&format!("route.{key}"), key)?;
    let keys = key.split('.').map(str::to_owned).collect();
    Ok(Path { written: format!("route[{route}].{key}"), entry: None, keys })
}

fn known(path: &str, written: &str) -> Result<(), EditError> {
    let named = path.strip_prefix(NAMES).filter(|name| !name.is_empty() && !name.contains('.'));
    match help::find(if named.is_some() { &NAMES[..NAMES.len() - 1] } else { path }) {
        Some(help) if help.is_section() => {
            Err(refused(written, "is a section; name one of its settings"))
        }
        Some(_) => Ok(()),
        None => Err(refused(written, &help::unknown(path))),
    }
}

pub(super) fn refused(path: &str, reason: &str) -> EditError {
    let path: String = path.chars().take(200).collect();
    EditError::PeerPath { path: path.escape_debug().to_string(), reason: reason.to_owned() }
}

/// What stands behind `route[`: the route, and the keys behind the dot.
fn name_of_entry(rest: &str) -> Option<(String, &str)> {
    if let Some(quoted) = rest.strip_prefix('"') {
        // A pattern may hold a quoted mailbox; the last quote before "]." ends it.
        let end = quoted.rfind("\"].")?;
        return Some((quoted[..end].to_owned(), &quoted[end + 3..]));
    }
    let (route, keys) = rest.split_once("].")?;
    Some((route.to_owned(), keys))
}
